"""Looking at a destination without writing anything there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trabecula.delivery.answers import Setback
from trabecula.delivery.capability import NEEDED, Capability, Rung, plan_for
from trabecula.delivery.destinations import Destination, FhirDestination, SmartAuth
from trabecula.delivery.ways import fhir_client

TYPES = (
    *NEEDED,
    "Device",
    "ImagingStudy",
    "RiskAssessment",
    "DetectedIssue",
    "ServiceRequest",
    "Provenance",
)
"""What a result may consist of."""


@dataclass(frozen=True)
class Step:
    """One thing that was tried."""

    step: str
    works: bool
    detail: str


@dataclass(frozen=True)
class Checked:
    """What works at a destination."""

    name: str
    kind: str
    steps: tuple[Step, ...]
    way: str | None = None
    """Best rung of the ladder that it offers."""
    left_out: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        return all(step.works for step in self.steps)


async def check_destination(destination: Destination, keys_dir: Path | None) -> Checked:
    """Connect, ask what it can do, get an access token, ask for a patient that does not exist.

    Raises:
        DestinationsFileError: if a file that the entry names cannot be used.
    """
    if isinstance(destination, FhirDestination):
        return await _check_fhir(destination, keys_dir)
    raise NotImplementedError(destination.kind)


async def _check_fhir(destination: FhirDestination, keys_dir: Path | None) -> Checked:
    client = fhir_client(destination, keys_dir, lambda: datetime.now(UTC))
    steps: list[Step] = []
    way: str | None = None
    left_out: tuple[str, ...] = ()
    async with client.transport.client:
        if client.tokens is not None and isinstance(destination.auth, SmartAuth):
            try:
                await client.tokens.token()
                steps.append(Step("access token", True, f"as {destination.auth.client_id}"))
            except Setback as setback:
                steps.append(_failed("access token", setback))
        try:
            capability = await client.capability()
            steps.append(Step("metadata", True, _summary(capability)))
            sent = [each for each in TYPES if each not in destination.leave_out]
            plan = plan_for(capability, sent)
            way, left_out = plan.rung.value, tuple(sorted(plan.left_out))
            steps.append(Step("writing", True, _writing(plan.rung, left_out)))
        except Setback as setback:
            steps.append(_failed("metadata", setback))
        if all(step.works for step in steps):
            try:
                nobody = f"{destination.patient[0].system}|trabecula-check-nobody"
                await client.search("Patient", {"identifier": nobody, "_count": "1"})
                steps.append(Step("patient search", True, "by identifier"))
            except Setback as setback:
                steps.append(_failed("patient search", setback))
    return Checked(destination.name, destination.kind, tuple(steps), way, left_out)


def _failed(step: str, setback: Setback) -> Step:
    status = "" if setback.status is None else f" (status {setback.status})"
    return Step(step, False, f"{setback.reason}{status}")


def _summary(capability: Capability) -> str:
    whole = "transactions" if capability.transactions else "no transactions"
    return f"{capability.software or 'server'}, R4 {capability.fhir_version}, {whole}"


def _writing(rung: Rung, left_out: tuple[str, ...]) -> str:
    return f"{rung.value}" + (f", without {', '.join(left_out)}" if left_out else "")
