"""One row of a report: numbers with their units in the name, and nobody's name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import report_samples
from archive_studies import VERSIONS

from trabecula.archive.ledger import to_line
from trabecula.archive.pseudonyms import Pseudonyms, own_salt, read_salt
from trabecula.archive.reference import Reference
from trabecula.archive.results import ColumnKind, StudyResult, column_kind, study_result
from trabecula.errors import SiteFileError
from trabecula.report import ScreeningReport

REFERENCE = Reference(("Doe^Jane/2020",))
SECRET = Pseudonyms(b"s" * 32)
KINDS = {
    ColumnKind.TEXT: str,
    ColumnKind.NUMBER: (int, float),
    ColumnKind.WHOLE: int,
    ColumnKind.TRUTH: bool,
}


def row_of(report: ScreeningReport, pseudonyms: Pseudonyms = SECRET) -> StudyResult:
    return study_result(report, REFERENCE, VERSIONS, pseudonyms, 123)


def test_the_row_tells_what_the_report_tells() -> None:
    report = report_samples.reported()
    result = row_of(report)
    row = result.row
    assert result.refusal is None
    assert report.density is not None
    assert row["status"] == "reported"
    assert row["vbmd_mean_mg_cm3"] == pytest.approx(report.density.vbmd_mean_mg_cm3, rel=1e-5)
    by_level = {each.level.value.lower(): each for each in report.vertebrae}
    for level in ("t11", "t12", "l1", "l2"):
        assert row[f"{level}_vbmd_mg_cm3"] == pytest.approx(by_level[level].vbmd_mg_cm3, rel=1e-5)
        assert row[f"{level}_hu_mean"] == pytest.approx(by_level[level].hu_mean, rel=1e-5)
    tissue = {each.level.value.lower(): each for each in report.composition}
    assert row["t12_muscle_area_cm2"] == pytest.approx(tissue["t12"].muscle_area_cm2, rel=1e-5)
    assert report.assessment is not None
    assert row["category"] == report.assessment.category.value
    assert row["peak_memory_bytes"] == 123


def test_a_refusal_is_a_row_with_its_code() -> None:
    report = report_samples.refused()
    result = row_of(report)
    assert result.refusal == report.refusals[0].code.value
    assert result.row["refusals"] == ";".join(each.code.value for each in report.refusals)
    assert result.row["vbmd_mean_mg_cm3"] is None


def test_every_column_is_of_its_kind_and_both_rows_have_the_same() -> None:
    rows = [row_of(report).row for report in (report_samples.reported(), report_samples.refused())]
    assert list(rows[0]) == list(rows[1])
    for row in rows:
        for name, value in row.items():
            if value is not None:
                assert isinstance(value, KINDS[column_kind(name)]), name
                assert isinstance(value, bool) is (column_kind(name) is ColumnKind.TRUTH), name


def test_nobody_is_named() -> None:
    report = report_samples.reported()
    study = report.study
    assert study is not None
    study = replace(
        study, patient_id="PID-77", patient_id_issuer="Clinic", accession_number="ACC-88", patient_weight_kg=81.25
    )
    assert report.acquisition is not None
    acquisition = replace(report.acquisition, acquired_at="2019-07-23T10:11:12", station_hash="feedbeef")
    text = to_line(dict(row_of(replace(report, study=study, acquisition=acquisition)).row))
    told = [study.study_instance_uid, study.series_instance_uid, "PID-77", "ACC-88", "Clinic", "81.25", "Doe", "07-23"]
    assert [word for word in [*told, "feedbeef", report.screening_id] if word in text] == []
    assert json.loads(text)["acquired_year"] == 2019


@pytest.mark.parametrize(("age", "told"), [(89.5, 89.5), (90.0, 90.0), (97.0, 90.0), (None, None)])
def test_the_oldest_are_told_as_ninety(age: float | None, told: float | None) -> None:
    report = report_samples.reported()
    assert row_of(replace(report, patient=replace(report.patient, age_years=age))).row["age_years"] == told


def test_a_pseudonym_needs_the_salt() -> None:
    report = report_samples.reported()
    assert report.study is not None
    mine, again, other = (row_of(report, Pseudonyms(salt)).row for salt in (b"a" * 32, b"a" * 32, b"b" * 32))
    assert mine == again
    assert all(mine[name] != other[name] for name in ("study", "series", "reference", "key"))
    assert mine["study"] != mine["series"]
    kept = row_of(report, Pseudonyms(b"a" * 32, keep_uids=True)).row
    assert kept["study"] == report.study.study_instance_uid
    assert kept["reference"] == REFERENCE.key


def test_the_key_is_of_study_series_and_versions() -> None:
    report = report_samples.reported()
    assert report.study is not None
    key = row_of(report).row["key"]
    elsewhere = study_result(report, Reference(("copy",)), VERSIONS, SECRET, None)
    assert elsewhere.row["key"] == key, "the same study under another name"
    for changed in ("software_version", "clinical_data_version", "models", "settings"):
        versions = replace(VERSIONS, **{changed: "another"})
        assert study_result(report, REFERENCE, versions, SECRET, None).row["key"] != key
    series = replace(report, study=replace(report.study, series_instance_uid="1.2.9"))
    assert row_of(series).row["key"] != key
    nameless = replace(report, study=None)
    assert (
        row_of(nameless).row["key"] != study_result(nameless, Reference(("copy",)), VERSIONS, SECRET, None).row["key"]
    )


def test_a_number_that_is_not_finite_was_not_measured() -> None:
    report = report_samples.reported()
    assert report.density is not None
    broken = replace(report, density=replace(report.density, vbmd_mean_mg_cm3=float("nan")))
    assert row_of(broken).row["vbmd_mean_mg_cm3"] is None


def test_the_salt_is_made_once_and_private(tmp_path: Path) -> None:
    first = own_salt(tmp_path)
    assert own_salt(tmp_path) == first
    assert (tmp_path / "salt.key").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["salt.key"]
    assert own_salt_of_another(tmp_path) != first
    (tmp_path / "short").write_text("0123456789\n")
    for bad in ("short", "not-there"):
        with pytest.raises(SiteFileError):
            read_salt(tmp_path / bad)


def own_salt_of_another(folder: Path) -> bytes:
    (folder / "another").mkdir()
    return own_salt(folder / "another")
