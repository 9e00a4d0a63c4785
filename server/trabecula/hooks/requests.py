"""What an EHR sends, as values; :mod:`trabecula.hooks.wire` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trabecula.hooks.services import Hook

Json = Mapping[str, Any]


@dataclass(frozen=True)
class FhirAccess:
    """The EHR's FHIR server, with the token to read it. The token goes to that server alone and into no log."""

    server: str
    token: str | None = field(default=None, repr=False)
    """None for a server that asks for none."""


@dataclass(frozen=True, eq=False)
class Context:
    """Where the user is. Ids are checked; they hold nothing that could change an address."""

    patient_id: str
    user_id: str
    encounter_id: str | None = None
    selections: tuple[str, ...] = ()
    """References to the draft orders that were picked."""
    draft_orders: tuple[Json, ...] = ()
    """Resources of the Bundle of unsigned orders."""

    @property
    def tokens(self) -> dict[str, str]:
        """What prefetch templates may name."""
        encounter = {} if self.encounter_id is None else {"encounterId": self.encounter_id}
        return {"patientId": self.patient_id, "userId": self.user_id, **encounter}

    @property
    def selected(self) -> tuple[Json, ...]:
        """The drafts that were picked."""
        wanted = set(self.selections)
        return tuple(
            each
            for each in self.draft_orders
            if f"{each.get('resourceType')}/{each.get('id')}" in wanted or str(each.get("id")) in wanted
        )


@dataclass(frozen=True, eq=False)
class HookRequest:
    hook: Hook
    hook_instance: str
    """UUID."""
    context: Context
    prefetch: Mapping[str, Any]
    """As sent: anything may be missing, null, or hold an OperationOutcome."""
    fhir: FhirAccess | None = None


@dataclass(frozen=True)
class Feedback:
    """What became of one card."""

    card: str
    """UUID."""
    accepted: bool
    """False: overridden."""
    suggestions: tuple[str, ...]
    """Ids of the suggestions taken."""
    reason_system: str | None
    reason_code: str | None
    comment: str | None = field(repr=False)
    """A clinician's own words; may hold anything, so it goes into the database and nowhere else."""
    at: datetime
