"""The report as JSON, its inverse, and the published JSON Schema.

Names, units and order are those of :class:`trabecula.report.ScreeningReport`; nothing is renamed on
the way. Every float carries :data:`SIGNIFICANT_DIGITS` significant digits, more than any input
supports, and a value that is not finite is an error here, never ``null`` or ``NaN`` in a file.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import math
import numbers
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trabecula.errors import InvalidReport
from trabecula.report import SCHEMA_VERSION, ScreeningReport

SIGNIFICANT_DIGITS = 6
JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

UNITS = {
    "hu_per_mg_cm3": "HU/(mg/cm3)",
    "slope_standard_uncertainty": "HU/(mg/cm3)",
    "mg_cm3": "mg/cm3",
    "cm2_m2": "cm2/m2",
    "hu2": "HU2",
    "hu": "HU",
    "hu_mean": "HU",
    "hu_sd": "HU",
    "hu_standard_error": "HU",
    "hu_measured": "HU",
    "hu_nominal": "HU",
    "hu_calibrated": "HU",
    "hu_mean_120kvp": "HU",
    "offset_covariance_hu": "HU",
    "mm3": "mm3",
    "mm": "mm",
    "cm2": "cm2",
    "cm": "cm",
    "years": "a",
    "kg": "kg",
    "m": "m",
    "mas": "mAs",
    "mgy": "mGy",
    "kvp": "kV",
    "timings_s": "s",
}
"""Unit by the last words of a field's name; the longest match counts."""


@cache
def _adapter() -> TypeAdapter[ScreeningReport]:
    return TypeAdapter(ScreeningReport)


def to_json(report: ScreeningReport) -> str:
    """The report as JSON text, two blanks of indent, one line feed at the end, fields in declared order.

    Raises:
        ValueError: if a number in the report is not finite.
    """
    document = _rounded(_adapter().dump_python(report, mode="python"))
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> ScreeningReport:
    """Inverse of :func:`to_json`, up to the rounding of floats.

    Fields that this version does not know are ignored (minor versions only add).

    Raises:
        InvalidReport: if the text is not such a report or its major version is another one.
    """
    try:
        report = _adapter().validate_json(text, strict=True)
    except ValidationError as error:
        # pydantic's own text quotes the input, which is patient data
        raise InvalidReport(faults=error.error_count()) from None
    if report.schema_version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise InvalidReport(expected_version=SCHEMA_VERSION)
    return report


def _rounded(value: Any) -> Any:
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        if not math.isfinite(value):
            raise ValueError("the report holds a number that is not finite")
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value]


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the report, with the docstrings of its fields and their units.

    ``unit`` is an annotation (UCUM-like text); validators pass over it.
    """
    schema = _adapter().json_schema(mode="serialization")
    definitions = schema.get("$defs", {})
    for cls in _dataclasses_of(ScreeningReport, set()):
        target = schema if cls is ScreeningReport else definitions.get(cls.__name__)
        if target is not None:
            _annotate(target, cls)
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": f"urn:trabecula:schema:screening-report:{SCHEMA_VERSION}",
        **schema,
        "title": "Trabecula screening report",
    }


def _dataclasses_of(cls: type, seen: set[type]) -> Iterator[type]:
    """``cls`` and every dataclass that its fields name, each once."""
    if cls in seen:
        return
    seen.add(cls)
    yield cls
    hints = inspect.get_annotations(cls, eval_str=True)
    for hint in hints.values():
        for part in _parts(hint):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                yield from _dataclasses_of(part, seen)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for argument in getattr(hint, "__args__", ()):
        yield from _parts(argument)


def _annotate(target: dict[str, Any], cls: type) -> None:
    text = inspect.cleandoc(cls.__doc__ or "")
    target.pop("description", None)
    if text and not text.startswith(f"{cls.__name__}("):  # not the signature that dataclass writes for want of words
        target["description"] = text
    texts = _field_docstrings(cls)
    for name, field in target.get("properties", {}).items():
        if name in texts:
            field["description"] = texts[name]
        unit = _unit(name)
        if unit is not None:
            field["unit"] = unit


def _unit(name: str) -> str | None:
    words = name.split("_")
    endings = ("_".join(words[start:]) for start in range(len(words)))
    return next((UNITS[ending] for ending in endings if ending in UNITS), None)


def _field_docstrings(cls: type) -> dict[str, str]:
    """Strings that stand right after a field of a dataclass, by the field's name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    texts = {}
    for field, after in itertools.pairwise(statements):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            texts[field.target.id] = inspect.cleandoc(after.value.value)
    return texts
