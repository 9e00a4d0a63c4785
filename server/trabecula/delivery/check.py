"""Looking at a destination without writing anything there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from trabecula.delivery.answers import Setback, expect_ok
from trabecula.delivery.capability import NEEDED, Capability, Rung, plan_for
from trabecula.delivery.destinations import (
    Destination,
    DimseDestination,
    FhirDestination,
    SmartAuth,
    StowDestination,
)
from trabecula.delivery.pacs.cstore import STORAGE, TRANSFER_SYNTAXES, tls_context
from trabecula.delivery.pacs.stow import DICOM_JSON
from trabecula.delivery.ways import fhir_client, token_source, web_transport
from trabecula.work.clock import utc_now

TYPES = (
    *NEEDED,
    "Device",
    "ImagingStudy",
    "RiskAssessment",
    "DetectedIssue",
    "DocumentReference",
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
    if isinstance(destination, StowDestination):
        return await _check_stow(destination, keys_dir)
    return await asyncio.to_thread(_check_dimse, destination)


async def _check_fhir(destination: FhirDestination, keys_dir: Path | None) -> Checked:
    client = fhir_client(destination, keys_dir, utc_now)
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


async def _check_stow(destination: StowDestination, keys_dir: Path | None) -> Checked:
    transport = web_transport(destination)
    tokens = token_source(destination, transport, keys_dir, utc_now)
    headers = {"accept": DICOM_JSON}
    async with transport.client:
        try:
            if tokens is not None:
                headers["authorization"] = f"Bearer {await tokens.token()}"
            url = f"{destination.base_url.rstrip('/')}/studies?limit=1"
            expect_ok(await transport.send("GET", url, headers=headers), utc_now())
            step = Step("QIDO-RS", True, "studies can be searched; storing is not tried")
        except Setback as setback:
            step = _failed("QIDO-RS", setback)
    return Checked(destination.name, destination.kind, (step,))


def _check_dimse(destination: DimseDestination) -> Checked:
    """C-ECHO, and which classes of results it takes. Blocks."""
    entity = AE(destination.calling_ae_title)
    limits = destination.limits
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = limits.timeout_s
    entity.add_requested_context(Verification)
    for uid in STORAGE:
        entity.add_requested_context(uid, list(TRANSFER_SYNTAXES))
    tls = tls_context(destination)
    association = entity.associate(
        destination.host,
        destination.port,
        ae_title=destination.ae_title,
        tls_args=None if tls is None else (tls, destination.host),
    )
    if not association.is_established:
        why = "association-rejected" if association.is_rejected else "connection"
        return Checked(destination.name, destination.kind, (Step("association", False, why),))
    taken = [
        UID(each.abstract_syntax).name for each in association.accepted_contexts if each.abstract_syntax in STORAGE
    ]
    echoed = association.send_c_echo().get("Status") == 0
    association.release()
    steps = (
        Step("C-ECHO", echoed, "answered" if echoed else "refused"),
        Step("storage", bool(taken), ", ".join(taken) or "takes none of the result classes"),
    )
    return Checked(destination.name, destination.kind, steps)


def _failed(step: str, setback: Setback) -> Step:
    status = "" if setback.status is None else f" (status {setback.status})"
    return Step(step, False, f"{setback.reason}{status}")


def _summary(capability: Capability) -> str:
    whole = "transactions" if capability.transactions else "no transactions"
    return f"{capability.software or 'server'}, R4 {capability.fhir_version}, {whole}"


def _writing(rung: Rung, left_out: tuple[str, ...]) -> str:
    return f"{rung.value}" + (f", without {', '.join(left_out)}" if left_out else "")
