"""The JSON form: it says what the report says, its schema is the published one, nothing is lost on the way back."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.errors import InvalidReport
from trabecula.outputs.report_json import from_json, json_schema, to_json
from trabecula.report import ScreeningReport

REPORTS = samples.all_reports()
SIX_DIGITS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9).map(
    lambda value: float(f"{value:.6g}")
)


def with_numbers(value: Any, numbers: Iterator[float]) -> Any:
    """``value`` with every float in it replaced by the next number."""
    if isinstance(value, float):
        return next(numbers)
    if isinstance(value, tuple):
        return tuple(with_numbers(item, numbers) for item in value)
    if isinstance(value, dict):
        return {key: with_numbers(item, numbers) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: with_numbers(getattr(value, field.name), numbers) for field in dataclasses.fields(value)}
        return replace(value, **fields)
    return value


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(REPORTS)), st.lists(SIX_DIGITS, min_size=1, max_size=17))
def test_any_report_comes_back_from_its_json(name: str, numbers: list[float]) -> None:
    report: ScreeningReport = with_numbers(REPORTS[name], itertools.cycle(numbers))
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_fits_the_published_schema(name: str, repository: Path) -> None:
    schema = json.loads((repository / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(to_json(REPORTS[name]))
    validator.validate(document)
    document["vertebrae"] = "none"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


def test_the_published_schema_is_current(repository: Path) -> None:
    published = json.loads((repository / "docs" / "report.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(), "run scripts/write_report_schema.py"


def test_schema_tells_units_and_meaning() -> None:
    vertebra = json_schema()["$defs"]["VertebraResult"]["properties"]
    assert vertebra["vbmd_mg_cm3"]["unit"] == "mg/cm3"
    assert vertebra["hu_mean"]["unit"] == "HU"
    assert "calibration" in vertebra["hu_calibrated"]["description"]
    calibration = json_schema()["$defs"]["Calibration"]["properties"]
    assert calibration["slope_hu_per_mg_cm3"]["unit"] == "HU/(mg/cm3)"
    assert json_schema()["$defs"]["CompositionAtLevel"]["properties"]["muscle_index_cm2_m2"]["unit"] == "cm2/m2"
    assert "unit" not in calibration["method"]


def test_names_are_the_ones_promised() -> None:
    document = json.loads(to_json(REPORTS["reported"]))
    assert document["vertebrae"][0]["level"] == "T11"
    assert document["vertebrae"][0]["hu_mean"] == 121.4
    assert document["vertebrae"][0]["vbmd_mg_cm3"] == 101.8
    assert document["vertebrae"][0]["vbmd_standard_uncertainty_mg_cm3"] == 5.6
    assert document["calibration"]["method"] == "phantomless"
    assert document["calibration"]["scale"] == "K2HPO4"
    assert document["composition"][1]["muscle_area_cm2"] == 78.4
    assert document["assessment"]["category"] == "low-bone-density-range"
    assert document["models"][0]["sha256"] == "a" * 64
    assert document["timings_s"]["total"] == 6.902
    assert json.loads(to_json(REPORTS["refused"]))["refusals"][0]["code"] == "level-not-in-view"


def test_order_is_that_of_the_report() -> None:
    names = [field.name for field in dataclasses.fields(ScreeningReport)]
    assert list(json.loads(to_json(REPORTS["reported"]))) == names


def test_floats_keep_six_digits() -> None:
    report = replace(REPORTS["reported"], timings_s={"total": 1.23456789, "small": 1.23456789e-5})
    assert json.loads(to_json(report))["timings_s"] == {"total": 1.23457, "small": 1.23457e-5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        to_json(replace(REPORTS["reported"], timings_s={"total": value}))


def test_unknown_fields_of_a_later_minor_version_are_passed_over() -> None:
    document = json.loads(to_json(REPORTS["reported"]))
    document["schema_version"] = "1.7.0"
    document["from_the_future"] = 1
    assert from_json(json.dumps(document)).screening_id == REPORTS["reported"].screening_id


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": "1.0.0"}'])
def test_what_is_not_a_report_is_refused(text: str) -> None:
    with pytest.raises(InvalidReport):
        from_json(text)


def test_another_major_version_is_refused() -> None:
    document = json.loads(to_json(REPORTS["reported"]))
    document["schema_version"] = "2.0.0"
    with pytest.raises(InvalidReport):
        from_json(json.dumps(document))


def test_the_error_quotes_no_patient_data() -> None:
    text = to_json(REPORTS["reported"]).replace('"reported"', '"SAMPLE-0001 reported"')
    with pytest.raises(InvalidReport) as caught:
        from_json(text)
    assert "SAMPLE-0001" not in f"{caught.value} {caught.value.client_message} {caught.value.__cause__}"
    assert caught.value.__suppress_context__
