"""DXA results as an EHR sends them in FHIR R4: which patient, when, which sites, which T-scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from trabecula.errors import InvalidRequest
from trabecula.programme.tasks import PatientKey

Json = dict[str, Any]

LOINC: Final = "http://loinc.org"
REPORT_CODES: Final = frozenset({"38268-9", "38269-7", "83012-5", "83014-1", "83311-1", "24890-6"})
"""LOINC codes of a DXA study or its report (reference: OHDSI Themis list of the DXA family, LOINC RAD/BMD table)."""
SITES: Final = {
    "38267-1": "lumbar spine",
    "24966-4": "lumbar spine",
    "104938-6": "spine",
    "38261-4": "hip",
    "38264-8": "hip",
    "24701-5": "femur",
    "38263-0": "femur",
    "38265-5": "forearm",
    "24890-6": "forearm",
    "46278-8": "femoral neck",
    "46279-6": "femoral neck",
}
"""LOINC codes of single DXA measurements. Whether a value is a T-score or a density is read from its unit."""
T_SCORE_UNITS: Final = frozenset({"{T-score}", "{Tscore}", "{t-score}", "{score}", "{SD}", "{s.d.}", "SD", "T-score"})
AREAL_DENSITY_UNIT: Final = "g/cm2"
T_SCORE_CODES: Final = frozenset({"38267-1", "104938-6", "38261-4", "38263-0", "38265-5"})
"""Codes whose value is a T-score where the unit says nothing (``1`` or none)."""
PLAUSIBLE_T_SCORE: Final = (-10.0, 10.0)
PLAUSIBLE_AREAL_BMD_G_CM2: Final = (0.0, 5.0)
"""Far beyond any bone; keeps out slips of the unit and numbers without end."""
_LARGEST: Final = 1e9
ENDED: Final = frozenset({"final", "amended", "corrected", "appended"})
MAX_RESOURCES: Final = 500


@dataclass(frozen=True)
class DxaValue:
    """One measured site; exactly one of the two values is given."""

    site: str
    t_score: float | None = None
    areal_bmd_g_cm2: float | None = None


@dataclass(frozen=True)
class DxaStudy:
    """One DXA result. Patient data: never logged."""

    source: str
    """Identity of the resource where it came from."""
    patients: tuple[PatientKey, ...]
    """Identifiers of the one patient."""
    measured_on: date | None
    values: tuple[DxaValue, ...]

    @property
    def kind(self) -> str:
        """Type of that resource."""
        return self.source.partition("|")[0].partition("/")[0]

    @property
    def lowest_t_score(self) -> float | None:
        """Of all sites, as WHO's reading takes the lowest."""
        scores = [value.t_score for value in self.values if value.t_score is not None]
        return min(scores, default=None)


def read_dxa(resource: Json) -> tuple[DxaStudy, ...]:
    """DXA studies in an Observation, a DiagnosticReport, or a Bundle of such; other resources are passed over.

    Observations that a report in the same bundle names belong to it. Preliminary and erroneous ones are not read.

    Raises:
        InvalidRequest: if there is no finished DXA result in it, a patient is not named by an identifier, or it holds
            too many resources.
    """
    entries = list(_entries(resource))
    if len(entries) > MAX_RESOURCES:
        raise InvalidRequest(field="entry", at_most=MAX_RESOURCES)
    by_reference = {name: item for names, item in entries for name in names}
    reports = [item for _, item in entries if _is_report(item)]
    claimed = {id(found) for report in reports for found in _results(report, by_reference)}
    alone = [item for _, item in entries if _is_observation(item) and id(item) not in claimed]
    studies = tuple(
        _study(item, _results(item, by_reference) if _is_report(item) else [item], by_reference)
        for item in (*reports, *alone)
    )
    if not studies:
        raise InvalidRequest(field="resource", must_be="a final DXA DiagnosticReport or Observation (LOINC)")
    return studies


def _study(item: Json, observations: Sequence[Json], by_reference: dict[str, Json]) -> DxaStudy:
    patients = tuple(_patient(item, by_reference))
    if not patients:
        raise InvalidRequest(field="subject", must_be="a patient with an identifier")
    return DxaStudy(_source(item), patients, _day(item), tuple(v for each in observations for v in _values(each)))


def _entries(resource: Json) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Each resource with the names by which others may refer to it."""
    bundle = resource.get("resourceType") == "Bundle"
    for entry in _list(resource, "entry") if bundle else [{"resource": resource}]:
        item = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(item, dict):
            continue
        names = (str(entry.get("fullUrl", "")), f"{item.get('resourceType')}/{item.get('id')}")
        yield tuple(name for name in names if name), item
        for part in _list(item, "contained"):
            if isinstance(part, dict):
                yield (f"#{part.get('id')}",), {**part, "subject": part.get("subject", item.get("subject"))}


def _list(item: Json, name: str) -> list[Any]:
    value = item.get(name)
    return value if isinstance(value, list) else []


def _codes(concept: object) -> set[str]:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    found = codings if isinstance(codings, list) else []
    return {str(each.get("code")) for each in found if isinstance(each, dict) and each.get("system") == LOINC}


def _is_report(item: Json) -> bool:
    return (
        item.get("resourceType") == "DiagnosticReport"
        and str(item.get("status")) in ENDED
        and bool(_codes(item.get("code")) & REPORT_CODES)
    )


def _is_observation(item: Json) -> bool:
    return (
        item.get("resourceType") == "Observation"
        and str(item.get("status")) in ENDED
        and bool(_codes(item.get("code")) & set(SITES))
    )


def _results(report: Json, by_reference: dict[str, Json]) -> list[Json]:
    names = [str(each.get("reference")) for each in _list(report, "result") if isinstance(each, dict)]
    return [by_reference[name] for name in names if name in by_reference and _is_observation(by_reference[name])]


def _values(observation: Json) -> Iterator[DxaValue]:
    """The observation's own value and those of its components."""
    for part in (observation, *(_list(observation, "component"))):
        quantity = part.get("valueQuantity") if isinstance(part, dict) else None
        codes = _codes(part.get("code")) & set(SITES) if isinstance(part, dict) else set()
        if not isinstance(quantity, dict) or not codes or not _is_number(quantity.get("value")):
            continue
        code, value = min(codes), float(quantity["value"])
        unit = str(quantity.get("code") or quantity.get("unit") or "1")
        if unit == AREAL_DENSITY_UNIT:
            low, high = PLAUSIBLE_AREAL_BMD_G_CM2
            if not low <= value <= high:
                raise InvalidRequest(field="valueQuantity", must_be="an areal density", at_least=low, at_most=high)
            yield DxaValue(SITES[code], areal_bmd_g_cm2=value)
        elif unit in T_SCORE_UNITS or (unit == "1" and code in T_SCORE_CODES):
            low, high = PLAUSIBLE_T_SCORE
            if not low <= value <= high:
                raise InvalidRequest(field="valueQuantity", must_be="a T-score", at_least=low, at_most=high)
            yield DxaValue(SITES[code], t_score=value)


def _is_number(value: object) -> bool:
    """A number of JSON that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _patient(item: Json, by_reference: dict[str, Json]) -> Iterator[PatientKey]:
    subject = item.get("subject")
    if not isinstance(subject, dict):
        return
    identifiers = [subject.get("identifier")]
    identifiers += _list(by_reference.get(str(subject.get("reference")), {}), "identifier")
    for identifier in identifiers:
        if isinstance(identifier, dict) and str(identifier.get("value") or "").strip():
            yield PatientKey(str(identifier.get("system") or ""), str(identifier["value"]).strip())


def _source(item: Json) -> str:
    for identifier in _list(item, "identifier"):
        if isinstance(identifier, dict) and identifier.get("value"):
            return f"{item['resourceType']}|{identifier.get('system', '')}|{identifier['value']}"
    if item.get("id"):
        return f"{item['resourceType']}/{item['id']}"
    raise InvalidRequest(field="identifier", must_be="given, or an id, so that the same result is known again")


def _day(item: Json) -> date | None:
    period = item.get("effectivePeriod")
    text = item.get("effectiveDateTime") or (period.get("start") if isinstance(period, dict) else None)
    try:
        return datetime.fromisoformat(str(text)).date() if text else None
    except ValueError:
        raise InvalidRequest(field="effective", must_be="a date to the day") from None
