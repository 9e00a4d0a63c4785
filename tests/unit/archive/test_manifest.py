"""Manifests in and out, and from a folder tree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from synthetic_ct import SeriesSpec, write_series

from trabecula.archive.listing import list_studies
from trabecula.archive.manifest import read_manifest, write_manifest
from trabecula.archive.reference import Reference
from trabecula.errors import InputError, ManifestUnusable


def put_series(folder: Path, study: str, slices: int = 2) -> None:
    write_series(SeriesSpec(np.zeros((slices, 8, 8), np.int16), study_uid=study, series_uid=f"{study}.1"), folder)


def listed(root: Path, **options: bool) -> set[tuple[str, ...]]:
    return {reference.paths for reference in list_studies(root, **options)}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("m.csv", "path\na/b\nc\n", [Reference(("a/b",)), Reference(("c",))]),
        (
            "m.csv",
            '\ufeffnote,path,study_uid\nx,"a, b",\ny,,1.2.3\n',
            [Reference(("a, b",)), Reference(study_uid="1.2.3")],
        ),
        ("m.jsonl", '{"path": "a"}\n\n{"paths": ["b", "c"], "x": 1}\n', [Reference(("a",)), Reference(("b", "c"))]),
    ],
)
def test_a_manifest_is_read(tmp_path: Path, name: str, text: str, expected: list[Reference]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(read_manifest(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("m.csv", b"folder\na\n", 1),
        ("m.csv", b"path\na\n../b\n", 3),
        ("m.csv", b"path\n\xff\xfe\n", None),
        ("m.jsonl", b'{"path": "a"}\nnothing\n', 2),
        ("m.jsonl", b'{"path": "a"}\n[1]\n', 2),
        ("m.jsonl", b'{"path": "/a"}\n', 1),
        ("m.jsonl", b"[" * 100_000, None),
        ("m.jsonl", b'{"path": "' + b"a" * (5 << 20) + b'"}', None),
        ("m.txt", b"a\n", None),
    ],
)
def test_a_manifest_that_cannot_be_read_names_its_line(
    tmp_path: Path, name: str, content: bytes, line: int | None
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestUnusable) as caught:
        list(read_manifest(tmp_path / name))
    assert line is None or caught.value.fields["line"] == line


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestUnusable):
        list(read_manifest(tmp_path / "m.jsonl"))


def test_a_written_manifest_is_read_back(tmp_path: Path) -> None:
    strange = b"M\xfcller".decode("utf-8", "surrogateescape")
    references = [Reference((strange,)), Reference(("b", "ü")), Reference(study_uid="1.2")]
    assert write_manifest(tmp_path / "m.jsonl", iter(references)) == 3
    assert list(read_manifest(tmp_path / "m.jsonl")) == references
    assert [path.name for path in tmp_path.iterdir()] == ["m.jsonl"]


def test_each_study_is_named_by_the_highest_folder_that_is_its_own(tmp_path: Path) -> None:
    put_series(tmp_path / "ann" / "2020" / "lung", "1.1")
    put_series(tmp_path / "ann" / "2020" / "soft", "1.1")
    put_series(tmp_path / "ann" / "2021", "1.2")
    put_series(tmp_path / "bob", "2.1")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("no study")
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips" / "carl.ZIP").write_bytes(b"PK")
    assert listed(tmp_path) == {("ann/2020",), ("ann/2021",), ("bob",), ("zips/carl.ZIP",)}


def test_series_of_one_study_beside_those_of_another_are_put_together(tmp_path: Path) -> None:
    for name, study in (("1", "1.1"), ("2", "1.2"), ("3", "1.1")):
        put_series(tmp_path / "ann" / name, study)
    assert listed(tmp_path) == {("ann/1", "ann/3"), ("ann/2",)}


def test_a_folder_of_several_studies_is_taken_apart(tmp_path: Path) -> None:
    put_series(tmp_path / "flat", "1.1")
    (tmp_path / "flat" / "im0001").rename(tmp_path / "flat" / "a1")
    (tmp_path / "flat" / "im0002").rename(tmp_path / "flat" / "a2")
    put_series(tmp_path / "flat", "1.2")
    assert listed(tmp_path) == {("flat/a1", "flat/a2"), ("flat/im0001", "flat/im0002")}


def test_a_study_between_two_halves_of_another_is_found_when_every_file_is_read(tmp_path: Path) -> None:
    put_series(tmp_path / "flat", "1.1", slices=3)
    put_series(tmp_path / "other", "1.2", slices=1)
    (tmp_path / "other" / "im0001").replace(tmp_path / "flat" / "im0002")
    (tmp_path / "other").rmdir()
    assert listed(tmp_path) == {(".",)}
    assert listed(tmp_path, every_file=True) == {("flat/im0001", "flat/im0003"), ("flat/im0002",)}


def test_a_tree_that_is_one_study_is_named_by_its_root(tmp_path: Path) -> None:
    put_series(tmp_path / "a", "1.1")
    assert listed(tmp_path) == {(".",)}


def test_files_beside_folders_of_other_studies_are_named_by_themselves(tmp_path: Path) -> None:
    put_series(tmp_path / "ann", "1.1")
    put_series(tmp_path / "ann" / "later", "1.2")
    assert listed(tmp_path) == {("ann/im0001", "ann/im0002"), ("ann/later",)}


def test_links_are_not_followed(tmp_path: Path) -> None:
    put_series(tmp_path / "root" / "a", "1.1")
    put_series(tmp_path / "elsewhere", "1.2")
    (tmp_path / "root" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "round").symlink_to(tmp_path / "root")
    assert listed(tmp_path / "root") == {(".",)}


def test_a_tree_without_a_study_gives_none(tmp_path: Path) -> None:
    assert listed(tmp_path) == set()
    with pytest.raises(InputError):
        listed(tmp_path / "not-there")


def test_a_listing_is_a_manifest(tmp_path: Path) -> None:
    put_series(tmp_path / "root" / "ann" / "1", "1.1")
    put_series(tmp_path / "root" / "ann" / "2", "1.2")
    write_manifest(tmp_path / "m.jsonl", list_studies(tmp_path / "root"))
    assert [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()] == [
        {"path": "ann/1"},
        {"path": "ann/2"},
    ]
