"""The patient file of ``--patient``: a FHIR R4 Bundle (Patient, Observations, Conditions) or plain JSON.

Plain JSON has the fields of :class:`trabecula.patient.PatientContext`::

    {"age_years": 68, "sex": "female", "height_m": 1.62, "weight_kg": 64, "postmenopausal": true}

From FHIR: Patient.birthDate and .gender; Observation body height (LOINC 8302-2) and weight (29463-7), the newest of
each; Conditions by the codes below. A condition that is not there says nothing: the fact stays unknown.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

from trabecula.errors import InvalidPatientContext
from trabecula.patient import PatientContext, Sex

MAX_FILE_BYTES: Final = 1024 * 1024
_LARGEST: Final = 1e9
"""Beyond which no number is read at all."""

PLAUSIBLE: Final = {"age_years": (0.0, 130.0), "height_m": (0.3, 2.6), "weight_kg": (1.0, 500.0)}
"""Beyond these a figure is a slip of the keyboard or of the unit, not a person."""

_LOINC: Final = "http://loinc.org"
_OBSERVATIONS: Final = {"8302-2": "height_m", "29463-7": "weight_kg"}
_UNITS: Final = {
    "height_m": {"m": 1.0, "cm": 0.01, "[in_i]": 0.0254},
    "weight_kg": {"kg": 1.0, "g": 0.001, "[lb_av]": 0.45359237},
}
"""UCUM codes and what they are worth."""

_SNOMED: Final = "http://snomed.info/sct"
_CONDITIONS: Final[dict[tuple[str, bool], tuple[frozenset[str], tuple[str, ...]]]] = {
    ("known_osteoporosis", True): (frozenset({"64859006", "309745002", "203438009"}), ("M80", "M81")),
    ("prior_fragility_fracture", True): (
        frozenset({"240198002", "311890007", "311891006", "443165006"}),
        ("M80", "Z87.310"),
    ),
    ("postmenopausal", True): (frozenset({"76498008"}), ("Z78.0",)),
    ("postmenopausal", False): (frozenset({"22636003"}), ()),
    ("glucocorticoids", True): (frozenset(), ("Z79.52",)),
}
"""(field, value) by SNOMED CT codes and by ICD-10-CM prefixes."""


def read_patient_file(path: Path, today: date | None = None) -> PatientContext:
    """The patient context of a file.

    Args:
        today: the day on which the age is wanted; the day of the call when not given.

    Raises:
        InvalidPatientContext: if the file is too large, is not JSON, or holds something that cannot be used.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InvalidPatientContext(problem=error.strerror or "unreadable") from error
    if len(content) > MAX_FILE_BYTES:
        raise InvalidPatientContext(problem="larger than the limit", limit_bytes=MAX_FILE_BYTES)
    return parse_patient(content, today)


def parse_patient(content: bytes, today: date | None = None) -> PatientContext:
    """As :func:`read_patient_file`, from the file's content."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        # Without a cause: the parser's message may quote the file.
        raise InvalidPatientContext(problem="not JSON") from None
    if not isinstance(document, dict):
        raise InvalidPatientContext(problem="not a JSON object")
    if "resourceType" in document:
        return check_patient(_from_fhir(document, today or date.today()))
    return check_patient(_from_plain(document))


def check_patient(context: PatientContext) -> PatientContext:
    """The same context, when every figure could be a person's.

    Raises:
        InvalidPatientContext: naming the field, not its value.
    """
    for name, (low, high) in PLAUSIBLE.items():
        value = getattr(context, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise InvalidPatientContext(field=name, at_least=low, at_most=high)
    return context


def _from_plain(document: dict[str, Any]) -> PatientContext:
    known = {each.name for each in dataclasses.fields(PatientContext)}
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            raise InvalidPatientContext(problem="unknown field", known=" ".join(sorted(known)))
        if value is not None:
            values[name] = _plain_value(name, value)
    return PatientContext(**values)


def _plain_value(name: str, value: Any) -> Any:
    if name == "sex":
        return _sex(value)
    if name in PLAUSIBLE:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidPatientContext(field=name, must_be="a number")
        return float(value) if abs(value) <= _LARGEST else math.inf
    if not isinstance(value, bool):
        raise InvalidPatientContext(field=name, must_be="true or false")
    return value


def _sex(value: Any) -> Sex:
    try:
        return Sex(value)
    except ValueError:
        raise InvalidPatientContext(field="sex", must_be="female or male") from None


def _from_fhir(document: dict[str, Any], today: date) -> PatientContext:
    resources = list(_resources(document))
    patients = [each for each in resources if each.get("resourceType") == "Patient"]
    if len(patients) != 1:
        raise InvalidPatientContext(problem="one Patient is needed", patients=len(patients))
    values: dict[str, Any] = {}
    gender = patients[0].get("gender")
    if gender in ("female", "male"):
        values["sex"] = Sex(gender)
    if "birthDate" in patients[0]:
        values["age_years"] = _age_years(patients[0]["birthDate"], today)
    observations = [each for each in resources if each.get("resourceType") == "Observation"]
    for observation in sorted(observations, key=lambda each: str(each.get("effectiveDateTime", ""))):
        values |= _measured(observation)
    for condition in resources:
        if condition.get("resourceType") == "Condition" and not _withdrawn(condition):
            values |= _meaning(condition)
    return PatientContext(**values)


def _resources(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if document["resourceType"] != "Bundle":
        yield document
        return
    for entry in _list(document.get("entry")):
        resource = entry.get("resource")
        if isinstance(resource, dict):
            yield resource


def _age_years(birth_date: Any, today: date) -> float:
    """Whole years; from a year or a month alone, counted from its middle."""
    parts = str(birth_date).split("-")
    try:
        numbers = [int(part) for part in parts]
        year, month, day = ([*numbers, 7, 1] if len(numbers) == 1 else [*numbers, 15])[:3]
        born = date(year, month, day)
    except (ValueError, OverflowError):
        raise InvalidPatientContext(field="birthDate", must_be="YYYY, YYYY-MM or YYYY-MM-DD") from None
    return float(today.year - born.year - ((today.month, today.day) < (born.month, born.day)))


def _measured(observation: dict[str, Any]) -> dict[str, float]:
    field = next(
        (_OBSERVATIONS[code] for system, code in _codes(observation) if system == _LOINC and code in _OBSERVATIONS),
        None,
    )
    if field is None or observation.get("status") in ("entered-in-error", "cancelled"):
        return {}
    quantity = observation.get("valueQuantity")
    if not isinstance(quantity, dict):
        return {}
    value, unit = quantity.get("value"), quantity.get("code") or quantity.get("unit")
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _LARGEST:
        raise InvalidPatientContext(field=field, must_be="a number")
    if not isinstance(unit, str) or unit not in _UNITS[field]:
        raise InvalidPatientContext(field=field, units=" ".join(_UNITS[field]))
    return {field: value * _UNITS[field][unit]}


def _meaning(condition: dict[str, Any]) -> dict[str, bool]:
    found = {}
    for (field, value), (snomed, icd10) in _CONDITIONS.items():
        for system, code in _codes(condition):
            if (system == _SNOMED and code in snomed) or ("icd-10" in system and code.startswith(icd10)):
                found[field] = value
    return found


def _withdrawn(condition: dict[str, Any]) -> bool:
    status = condition.get("verificationStatus")
    codings = _list(status.get("coding")) if isinstance(status, dict) else []
    return any(coding.get("code") in ("refuted", "entered-in-error") for coding in codings)


def _codes(resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    concept = resource.get("code")
    if isinstance(concept, dict):
        for coding in _list(concept.get("coding")):
            yield str(coding.get("system", "")), str(coding.get("code", ""))


def _list(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
