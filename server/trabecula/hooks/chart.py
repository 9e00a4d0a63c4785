"""What the EHR knows of a patient, read out of FHIR resources as EHRs really send them.

Nothing here raises on odd content: an element that cannot be read counts as absent. Resources of another patient are
left out, whatever the EHR put them under.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from trabecula.hooks import chart_codes as codes
from trabecula.hooks.results import PatientIdentifier

Json = Mapping[str, Any]

_WORDS_DXA: Final = re.compile(r"\b(dxa|dexa|bone densitometry)\b", re.IGNORECASE)
_WORDS_OSTEOPOROSIS: Final = re.compile(
    r"^\s*((post-?menopausal|senile|age-related|severe)\s+)?osteoporosis\b", re.IGNORECASE
)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_DONE: Final = frozenset({"final", "amended", "corrected", "appended", "preliminary", "partial", "registered"})
_RESULT_DONE: Final = frozenset({"final", "amended", "corrected", "preliminary", "registered"})
_ORDERED: Final = frozenset({"active", "draft", "on-hold"})
_NOT_PRESENT: Final = frozenset({"inactive", "remission", "resolved"})
_NOT_TRUE: Final = frozenset({"refuted", "entered-in-error"})
_WORDS_LIMIT: Final = 500
MAX_IDENTIFIERS: Final = 100
FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True)
class DxaDone:
    """A DXA on file."""

    on: date | None
    """The latest day it can have been; None when the EHR gives no date that can be read."""


@dataclass(frozen=True)
class DxaOrder:
    """A DXA that is ordered and not done."""

    id: str | None
    status: str


@dataclass(frozen=True)
class Problems:
    """What the problem list says of bone."""

    osteoporosis: bool = False
    osteopenia: bool = False


@dataclass(frozen=True)
class OwnCopies:
    """Our results as the EHR has them."""

    references: Mapping[str, str]
    """From identifier (``urn:uuid:...``) to the EHR's own reference, ``DiagnosticReport/123``."""
    withdrawn: frozenset[str] = frozenset()
    """Identifiers of copies that somebody in the EHR marked as entered in error."""


@dataclass(frozen=True)
class Chart:
    """What is known; None: neither given nor readable."""

    dxa: tuple[DxaDone, ...] | None = None
    """Newest first, those without a date last."""
    orders: tuple[DxaOrder, ...] | None = None
    problems: Problems | None = None
    encounter_fracture: bool = False
    """Whether a fracture is among the encounter's diagnoses."""
    own: OwnCopies = OwnCopies({})


def identifiers_of(patient: Json) -> frozenset[PatientIdentifier]:
    """What identifies a Patient: identifiers with system and value that are in use. Names never do."""
    found = set()
    for each in _dicts(patient.get("identifier"))[:MAX_IDENTIFIERS]:
        system, value = _text(each.get("system")), _text(each.get("value"))
        if system is not None and value is not None and "\0" not in system + value and each.get("use") != "old":
            found.add(PatientIdentifier(system, value))
    return frozenset(found)


def dxa_done(reports: Iterable[Json], results: Iterable[Json], patient_id: str) -> tuple[DxaDone, ...]:
    """DXA on file, from DiagnosticReports and from single results (Observations)."""
    found = [
        DxaDone(_when(each))
        for each in _of_patient(reports, "DiagnosticReport", patient_id)
        if _text(each.get("status")) in _DONE and _is_dxa(each, codes.DXA_STUDIES)
    ]
    found += [
        DxaDone(_when(each))
        for each in _of_patient(results, "Observation", patient_id)
        if _text(each.get("status")) in _RESULT_DONE and _codings_of(each) & (codes.DXA_RESULTS | codes.DXA_STUDIES)
    ]
    return tuple(sorted(found, key=lambda dxa: dxa.on or date.min, reverse=True))


def dxa_orders(requests: Iterable[Json], patient_id: str) -> tuple[DxaOrder, ...]:
    """Orders for a DXA that still stand. A proposal that a program made is no order."""
    return tuple(
        DxaOrder(_text(each.get("id")), str(each.get("status")))
        for each in _of_patient(requests, "ServiceRequest", patient_id)
        if _text(each.get("status")) in _ORDERED and is_dxa_order(each) and not _is_machine_proposal(each)
    )


def is_dxa_order(request: Json) -> bool:
    """Whether an order asks for an axial DXA."""
    return request.get("doNotPerform") is not True and _is_dxa(request, codes.DXA_STUDIES)


def is_chest_ct_order(request: Json) -> bool:
    """Whether an order asks for a CT of the chest."""
    return request.get("doNotPerform") is not True and bool(_codings_of(request) & codes.CT_CHEST)


def problems_of(conditions: Iterable[Json], patient_id: str) -> Problems:
    """Whether osteoporosis or osteopenia is a present problem."""
    present = [each for each in _of_patient(conditions, "Condition", patient_id) if _is_present(each)]
    return Problems(
        osteoporosis=any(
            _is_diagnosis(each, codes.OSTEOPOROSIS_SCT, codes.OSTEOPOROSIS_ICD10, _WORDS_OSTEOPOROSIS)
            for each in present
        ),
        osteopenia=any(_is_diagnosis(each, codes.OSTEOPENIA_SCT, codes.OSTEOPENIA_ICD10) for each in present),
    )


def has_fracture(conditions: Iterable[Json], patient_id: str) -> bool:
    """Whether one of the conditions is a fracture as bone of low density suffers it."""
    return any(
        _is_diagnosis(each, codes.FRACTURE_SCT, codes.FRACTURE_ICD10)
        for each in _of_patient(conditions, "Condition", patient_id)
        if _is_present(each)
    )


def own_copies(reports: Iterable[Json], patient_id: str) -> OwnCopies:
    """Our DiagnosticReports that were delivered to the EHR, by the identifiers we gave them."""
    references: dict[str, str] = {}
    withdrawn = set()
    for each in _of_patient(reports, "DiagnosticReport", patient_id):
        for identifier in _dicts(each.get("identifier")):
            value, own_id = identifier.get("value"), _text(each.get("id"))
            if not isinstance(value, str) or own_id is None:
                continue
            if each.get("status") == "entered-in-error":
                withdrawn.add(value)
            else:
                references[value] = f"DiagnosticReport/{own_id}"
    return OwnCopies(references, frozenset(withdrawn))


def belongs_to(resource: Json, patient_id: str) -> bool:
    """Whether a resource is the patient's: it names no other one."""
    subject = resource.get("subject", resource.get("patient"))
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    if not isinstance(reference, str) or reference.startswith(("#", "urn:")):
        return True
    parts = reference.partition("/_history/")[0].rstrip("/").split("/")
    return parts[-1] == patient_id


def _of_patient(resources: Iterable[Json], kind: str, patient_id: str) -> Iterator[Json]:
    return (each for each in resources if each.get("resourceType") == kind and belongs_to(each, patient_id))


def _is_dxa(resource: Json, wanted: frozenset[tuple[str, str]]) -> bool:
    return bool(_codings_of(resource) & wanted) or any(_WORDS_DXA.search(text) for text in _own_words(resource))


def _is_machine_proposal(request: Json) -> bool:
    """A draft that this program, or another one, delivered to the EHR for a person to turn into an order."""
    meta = request.get("meta")
    labels = _dicts(meta.get("security") if isinstance(meta, Mapping) else None)
    return request.get("intent") == "proposal" and any(each.get("code") == "AIAST" for each in labels)


def _is_present(condition: Json) -> bool:
    clinical = {code for _, code in _codings(condition.get("clinicalStatus"))}
    verification = {code for _, code in _codings(condition.get("verificationStatus"))}
    return not clinical & _NOT_PRESENT and not verification & _NOT_TRUE


def _is_diagnosis(
    condition: Json, sct: frozenset[str], icd10: tuple[str, ...], words: re.Pattern[str] | None = None
) -> bool:
    found = _codings_of(condition)
    for system, code in found:
        if system == codes.SCT and code in sct:
            return True
        if system in (codes.ICD10, codes.ICD10CM) and code.upper().replace(".", "").startswith(icd10):
            return True
    return words is not None and any(words.search(text) for text in _own_words(condition))


def _own_words(resource: Json) -> list[str]:
    """Text and displays of a code that is in none of the standard systems: all that a local code says to others."""
    code = _concept(resource.get("code"))
    if {system for system, _ in _codings(code)} & codes.STANDARD:
        return []
    texts = [code.get("text"), *(each.get("display") for each in _dicts(code.get("coding")))]
    return [text[:_WORDS_LIMIT] for text in texts if isinstance(text, str)]


def _codings_of(resource: Json) -> frozenset[tuple[str, str]]:
    return _codings(resource.get("code"))


def _codings(concept: object) -> frozenset[tuple[str, str]]:
    """(system, code) pairs; a system written as an OID is the same system."""
    found = set()
    for each in _dicts(_concept(concept).get("coding")):
        system, code = each.get("system"), each.get("code")
        if isinstance(code, str) and code.strip():
            system = system.strip() if isinstance(system, str) else ""
            found.add((codes.SAME_SYSTEM.get(system, system), code.strip()))
    return frozenset(found)


def _concept(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _dicts(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _when(resource: Json) -> date | None:
    """When a study was made, else when its report was issued."""
    period = resource.get("effectivePeriod")
    inside = (period.get("end"), period.get("start")) if isinstance(period, Mapping) else ()
    for each in (resource.get("effectiveDateTime"), *inside, resource.get("effectiveInstant"), resource.get("issued")):
        found = latest_day(each)
        if found is not None:
            return found
    return None


def latest_day(text: object) -> date | None:
    """The last day that a FHIR date, dateTime or instant can mean: ``2025`` may be its last of December."""
    match = _DATE.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day = (None if part is None else int(part) for part in match.groups())
    try:
        month = 12 if month is None else month
        return date(year or 0, month, calendar.monthrange(year or 0, month)[1] if day is None else day)
    except ValueError:
        return None
