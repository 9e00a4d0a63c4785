"""What the service stores about a patient, as far as a card needs it: the record's result in the hooks' own words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol

from trabecula.assessment.assessment import Category
from trabecula.outputs.r4.conclusions import DXA_ACTION
from trabecula.record.results import StoredResult, results_for_identifiers
from trabecula.work.database import Database

SIGNED: Final = frozenset({"final", "amended", "corrected", "appended"})
"""DiagnosticReport.status of a result that a radiologist has signed (R4 diagnostic-report-status)."""
USABLE: Final = SIGNED | {"preliminary"}
"""Every other status (entered-in-error, cancelled, registered, unknown) is never shown."""
_CATEGORIES: Final = {each.value: each for each in Category}


@dataclass(frozen=True)
class PatientIdentifier:
    """``Patient.identifier`` as far as it identifies: both parts, compared exactly."""

    system: str
    value: str


@dataclass(frozen=True)
class DueRule:
    """A guideline rule that asks for a DXA."""

    rule_id: str
    plan_definition: str
    """Canonical address with version, below the project's base."""
    text: str
    citation: str


@dataclass(frozen=True)
class ShownResult:
    """One screening's result as cards show it. Everything that was not measured is None or empty."""

    screening_id: str
    report_id: str
    """Id of the DiagnosticReport."""
    status: str
    """DiagnosticReport.status."""
    issued_at: datetime
    study_uid: str | None = None
    """Results of one study share it."""
    acquired_on: date | None = None
    category: Category | None = None
    """None for a refused study."""
    statement: str = ""
    """The assessment in plain sentences."""
    density_mg_cm3: float | None = None
    """Lumbar-equivalent trabecular density."""
    standard_uncertainty_mg_cm3: float | None = None
    scale: str | None = None
    """``K2HPO4`` or ``HA``."""
    fracture_levels: tuple[str, ...] = ()
    """Vertebrae with a suspected fracture, head to foot."""
    due: tuple[DueRule, ...] = ()
    """Rules that ask for a DXA, in the order of the rule set."""

    @property
    def signed(self) -> bool:
        return self.status in SIGNED

    @property
    def usable(self) -> bool:
        """Whether it may be shown at all: neither withdrawn nor refused."""
        return self.status in USABLE and self.category is not None

    @property
    def report_urn(self) -> str:
        """Identifier that the DiagnosticReport carries, here and in every EHR it was delivered to."""
        return f"urn:uuid:{self.report_id}"


class ResultSource(Protocol):
    """Where stored results come from; one indexed query."""

    async def __call__(self, identifiers: frozenset[PatientIdentifier]) -> Sequence[ShownResult]:
        """Results of the patient that has one of the identifiers; empty when nobody has."""


def results_in(database: Database) -> ResultSource:
    """The record as a source."""

    async def find(identifiers: frozenset[PatientIdentifier]) -> Sequence[ShownResult]:
        pairs = [(each.system, each.value) for each in identifiers]
        return tuple(map(from_record, await results_for_identifiers(database.direct, pairs)))

    return find


def from_record(recorded: StoredResult) -> ShownResult:
    """The part of a recorded result that cards speak of."""
    summary = recorded.summary
    return ShownResult(
        screening_id=recorded.screening_id,
        report_id=recorded.report_id,
        status=recorded.report_status,
        issued_at=recorded.created_at,
        study_uid=recorded.study_uid,
        acquired_on=_day(summary.effective),
        category=None if recorded.refused else _CATEGORIES.get(summary.category or ""),
        statement=summary.statement or "",
        density_mg_cm3=summary.lumbar_equivalent_mg_cm3,
        standard_uncertainty_mg_cm3=summary.lumbar_equivalent_standard_uncertainty_mg_cm3,
        scale=summary.scale,
        fracture_levels=summary.fracture_suspected_at,
        due=tuple(
            DueRule(each.rule_id, each.plan_definition, each.text, each.citation)
            for each in summary.recommendations
            if each.action == DXA_ACTION
        ),
    )


def _day(text: str | None) -> date | None:
    """The day of a FHIR dateTime; None for one that is less than a day exact."""
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None
