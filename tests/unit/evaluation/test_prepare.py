"""Case folders made from data that lies elsewhere, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trabecula.errors import InvalidCase, NoCasesFound
from trabecula.evaluation.case import Case, ReferenceKind, find_case_folders, open_case
from trabecula.evaluation.prepare import cases_from_shared_data, cases_from_toml, phantom_set


def bare_case(folder: Path, info: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "ct.nii.gz").write_bytes(b"ct")
    (folder / "labels.nii.gz").write_bytes(b"labels")
    if info is not None:
        (folder / "case.json").write_text(info)
    return folder


def test_a_listing_becomes_cases_that_link_to_their_data(tmp_path: Path) -> None:
    (tmp_path / "data" / "scan").mkdir(parents=True)
    (tmp_path / "data" / "scan" / "1.dcm").write_bytes(b"d")
    (tmp_path / "data" / "seg.nii.gz").write_bytes(b"s")
    (tmp_path / "data" / "mine.toml").write_text('[labels]\n1 = "T12"\n')
    (tmp_path / "data" / "cases.toml").write_text(
        '[[case]]\nct = "scan"\nlabels = "seg.nii.gz"\nlabel_map = "mine.toml"\nreference = "manual"\nlicence = "CC0"\n'
    )
    (case,) = cases_from_toml(tmp_path / "data" / "cases.toml", tmp_path / "cases")
    assert case.name == "scan"
    assert case.info.reference is ReferenceKind.MANUAL
    assert (case.ct / "1.dcm").read_bytes() == b"d"
    assert case.labels.read_bytes() == b"s"
    assert (case.folder / case.info.label_map).is_file()
    assert find_case_folders(tmp_path / "cases") == (case.folder,)
    again = list(cases_from_toml(tmp_path / "data" / "cases.toml", tmp_path / "cases"))
    assert [each.fingerprint() for each in again] == [case.fingerprint()]


@pytest.mark.parametrize(
    "text", ["", "[[case]]\nct = 'a'\n", "[[case]]\nct = 'missing'\nlabels = 'missing.nii.gz'\n", "case = 3\n", "[["]
)
def test_a_broken_listing_is_a_coded_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "cases.toml").write_text(text)
    with pytest.raises(InvalidCase):
        list(cases_from_toml(tmp_path / "cases.toml", tmp_path / "out"))


def test_the_labelled_scan_beside_the_project(data_dir: Path, tmp_path: Path) -> None:
    (case,) = cases_from_shared_data(data_dir, tmp_path)
    assert case.name == "lidc-idri-0001"
    assert case.info.label_map == "totalseg"
    assert case.info.reference is ReferenceKind.PSEUDO


def test_a_data_folder_without_pairs_is_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase):
        list(cases_from_shared_data(tmp_path, tmp_path / "out"))


def test_phantoms_of_a_set_differ() -> None:
    phantoms = phantom_set(6, 256, 50)
    assert [phantom.spec.seed for phantom in phantoms] == [50, 51, 52, 53, 54, 55]
    assert len({(p.spec.size_cm, p.spec.slice_mm, p.spec.kernel) for p in phantoms}) > 4


def test_a_case_says_what_is_missing(tmp_path: Path) -> None:
    folder = bare_case(tmp_path / "a")
    (folder / "labels.nii.gz").unlink()
    with pytest.raises(InvalidCase, match=r"no labels\.nii\.gz"):
        open_case(folder)
    (folder / "ct.nii.gz").unlink()
    (folder / "case.json").write_text("{}")
    with pytest.raises(InvalidCase, match="neither ct/"):
        open_case(folder)


@pytest.mark.parametrize("info", ["{", '{"reference": "guess"}', '{"notes": 3}', "[]"])
def test_a_description_that_cannot_be_read_is_a_coded_error(tmp_path: Path, info: str) -> None:
    with pytest.raises(InvalidCase) as caught:
        open_case(bare_case(tmp_path / "a", info))
    assert caught.value.code == "invalid-case"


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    case = open_case(bare_case(tmp_path / "a", json.dumps({"name": "x", "seed": 3, "reference": "rendered"})))
    assert (case.name, case.info.reference) == ("x", ReferenceKind.RENDERED)


def test_without_a_description_nothing_is_claimed(tmp_path: Path) -> None:
    case = open_case(bare_case(tmp_path / "a"))
    assert (case.name, case.info.reference, case.info.licence) == ("a", ReferenceKind.PSEUDO, "")


def test_the_fingerprint_follows_labels_and_description(tmp_path: Path) -> None:
    folder = bare_case(tmp_path / "a", "{}")
    seen = {Case(folder, open_case(folder).info).fingerprint()}
    for name, content in (("labels.nii.gz", b"labelz"), ("case.json", b'{"kvp": 80}'), ("ct.nii.gz", b"longer")):
        (folder / name).write_bytes(content)
        seen.add(open_case(folder).fingerprint())
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_no_cases_is_a_coded_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty" / "nothing").mkdir(parents=True)
    with pytest.raises(NoCasesFound):
        find_case_folders(tmp_path / name)
