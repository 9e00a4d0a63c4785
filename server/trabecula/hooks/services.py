"""The table of services: what discovery tells, and which data each needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from trabecula.hooks import chart_codes as codes
from trabecula.outputs.r4.codes import REPORT_CODE

VERSION: Final = "1.0.0"
"""Of the services, semver: rises with what they answer, not with the program."""


class Hook(StrEnum):
    """https://cds-hooks.hl7.org/hooks/"""

    PATIENT_VIEW = "patient-view"
    ORDER_SELECT = "order-select"
    ORDER_SIGN = "order-sign"
    ENCOUNTER_DISCHARGE = "encounter-discharge"


class Need(StrEnum):
    """Keys of the prefetch."""

    PATIENT = "patient"
    CTBONE = "ctbone"
    DXA = "dxa"
    DXA_RESULTS = "dxaResults"
    PROBLEMS = "problems"
    ORDERS = "orders"
    DIAGNOSES = "diagnoses"


def _tokens(*pairs: tuple[str, tuple[str, ...]]) -> str:
    return ",".join(f"{system}|{code}" for system, found in pairs for code in found)


_STUDIES: Final = _tokens((codes.LOINC, codes.DXA_LOINC), (codes.SCT, codes.DXA_SCT), (codes.CPT, codes.DXA_CPT))
_RESULTS: Final = _tokens((codes.LOINC, codes.DXA_RESULTS_LOINC))
_PATIENT: Final = "patient={{context.patientId}}"
_OWN_REPORT: Final = REPORT_CODE["coding"][0]["code"]

TEMPLATES: Final[Mapping[Need, str]] = {
    Need.PATIENT: "Patient/{{context.patientId}}",
    Need.CTBONE: f"DiagnosticReport?{_PATIENT}&code={codes.LOINC}|{_OWN_REPORT}&_sort=-date&_count=5",
    Need.DXA: f"DiagnosticReport?{_PATIENT}&code={_STUDIES}&_sort=-date&_count=5",
    Need.DXA_RESULTS: f"Observation?{_PATIENT}&code={_RESULTS}&_sort=-date&_count=5",
    Need.PROBLEMS: f"Condition?{_PATIENT}&category=problem-list-item",
    Need.ORDERS: f"ServiceRequest?{_PATIENT}&status=active,draft,on-hold&code={_STUDIES}",
    Need.DIAGNOSES: f"Condition?{_PATIENT}&encounter={{{{context.encounterId}}}}",
}
"""What each key is read by; ``ctbone`` finds the copies of our own reports that were delivered to the EHR."""

NEWEST_FIRST: Final = frozenset({Need.CTBONE, Need.DXA, Need.DXA_RESULTS})
"""Answers that are sorted: their first page says enough."""


@dataclass(frozen=True)
class Service:
    """One row of the table."""

    id: str
    hook: Hook
    title: str
    description: str
    usage: str
    required: tuple[Need, ...]
    """Without these no card can be made: 412."""
    helpful: tuple[Need, ...]
    """Asked for and done without."""

    @property
    def prefetch(self) -> tuple[Need, ...]:
        return (*self.required, *self.helpful)


_CHART: Final = (Need.PATIENT, Need.DXA, Need.PROBLEMS, Need.ORDERS)
_IDENTIFIED: Final = "Patients are matched by Patient.identifier (system and value) with the one in the CT's header."

SERVICES: Final[tuple[Service, ...]] = (
    Service(
        id="trabecula-patient-view",
        hook=Hook.PATIENT_VIEW,
        title="Bone density found on an existing CT",
        description="Shows a low density or a suspected vertebral fracture on a CT that the patient has had, "
        "unless DXA was done or ordered or osteoporosis is known, and offers the DXA order that would confirm it.",
        usage=_IDENTIFIED,
        required=_CHART,
        helpful=(Need.DXA_RESULTS, Need.CTBONE),
    ),
    Service(
        id="trabecula-order-select",
        hook=Hook.ORDER_SELECT,
        title="CT bone density as the reason of a DXA order",
        description="When a DXA is picked, offers to put the density of an existing CT on the order as its reason; "
        "when a chest CT is picked, tells of a result that nobody has acted on.",
        usage=_IDENTIFIED,
        required=_CHART,
        helpful=(Need.DXA_RESULTS, Need.CTBONE),
    ),
    Service(
        id="trabecula-order-sign",
        hook=Hook.ORDER_SIGN,
        title="DXA that is done or ordered already",
        description="Warns before a DXA is signed that one is on file or ordered.",
        usage="Looks at the chart alone; no stored result is needed.",
        required=(Need.DXA, Need.ORDERS),
        helpful=(Need.DXA_RESULTS,),
    ),
    Service(
        id="trabecula-encounter-discharge",
        hook=Hook.ENCOUNTER_DISCHARGE,
        title="Bone density to act on before discharge",
        description="At discharge, and above all after a fracture, shows a low density or a suspected vertebral "
        "fracture on an existing CT that nobody has acted on.",
        usage=_IDENTIFIED,
        required=_CHART,
        helpful=(Need.DXA_RESULTS, Need.CTBONE, Need.DIAGNOSES),
    ),
)

BY_ID: Final[Mapping[str, Service]] = {service.id: service for service in SERVICES}


def prefetch_templates(service: Service) -> dict[str, str]:
    """A service's templates as discovery gives them."""
    return {need.value: TEMPLATES[need] for need in service.prefetch}


def discovery() -> dict[str, Any]:
    """The answer to ``GET /cds-services``."""
    return {
        "services": [
            {
                "hook": service.hook.value,
                "id": service.id,
                "title": service.title,
                "description": service.description,
                "version": VERSION,
                "usageRequirements": service.usage,
                "prefetch": prefetch_templates(service),
            }
            for service in SERVICES
        ]
    }


_TOKEN: Final = re.compile(r"\{\{context\.([A-Za-z]+)\}\}")


def filled_in(template: str, context: Mapping[str, str]) -> str | None:
    """A template as a relative address to read; None when the context lacks a token.

    What comes from the context is escaped, so that an id cannot add a parameter or leave the resource type.
    """
    names = _TOKEN.findall(template)
    if any(name not in context for name in names):
        return None
    path, question, query = template.partition("?")
    path = _TOKEN.sub(lambda match: quote(context[match[1]], safe=""), path)
    escaped = quote(_TOKEN.sub(lambda match: quote(context[match[1]], safe=""), query), safe="=&,|:/.-_%")
    return f"{path}{question}{escaped.replace('|', '%7C')}"
