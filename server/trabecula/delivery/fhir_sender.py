"""One attempt at delivering a result to an EHR's FHIR server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from trabecula.delivery.answers import Setback, Verdict
from trabecula.delivery.capability import NEEDED, Capability, Rung, plan_for
from trabecula.delivery.destinations import FhirDestination, What
from trabecula.delivery.fallback import document_reference, the_report
from trabecula.delivery.fhir_client import FhirClient
from trabecula.delivery.ladder import Ladder, Memory
from trabecula.delivery.patients import bound_to, find_patient, patient_identifier
from trabecula.delivery.resource_set import Json, without_profiles, without_types
from trabecula.delivery.sending import Parcel, Sent

CAPABILITY_LIFE: Final = timedelta(hours=24)
"""After this /metadata is read again, and what a server has refused by deed is tried again."""


@dataclass(frozen=True)
class Experience:
    """What is known of a destination: what it says, and what it has refused although it says so."""

    capability: Capability
    read_at: datetime
    refused_rungs: frozenset[Rung] = frozenset()
    refused_types: frozenset[str] = frozenset()

    def lower(self, rung: Rung, resource_type: str | None) -> Experience:
        """After the server did not do what it said. A type that the result can do without is left out from now on;
        otherwise the rung is."""
        if resource_type is not None and resource_type not in NEEDED and resource_type not in self.refused_types:
            return replace(self, refused_types=self.refused_types | {resource_type})
        return replace(self, refused_rungs=self.refused_rungs | {rung})


class Experiences(Protocol):
    """Keeps what is known of destinations; outlives the process."""

    async def load(self, destination: str) -> Experience | None: ...

    async def save(self, destination: str, experience: Experience) -> None: ...


LoadPdf = Callable[[Parcel], Awaitable[bytes | None]]
"""The report of the parcel's screening as PDF; None when there is none."""


@dataclass
class FhirSender:
    """Sends parcels to one FHIR destination."""

    destination: FhirDestination
    client: FhirClient
    memory: Memory
    experiences: Experiences
    load_pdf: LoadPdf
    clock: Callable[[], datetime]
    could_double: bool = field(default=True, init=False)
    """Whether two at once could make duplicates there; so it is until the server has shown better."""

    async def __call__(self, parcel: Parcel) -> Sent:
        """Raises Setback as :data:`trabecula.delivery.sending.Send` says."""
        experience = await self.experience()
        value, issuer = patient_identifier(parcel.resources)
        patient = await find_patient(value, issuer, self.destination.patient, self.client.search, self.client.read)
        resources = bound_to(parcel.resources, patient)
        pdf = await self.load_pdf(parcel) if self._wants_document(experience) else None
        if What.DOCUMENTS in self.destination.send:
            the_report(resources)
            resources = (*resources, document_reference(resources, pdf))
        return await self._climb_down(resources, pdf, experience)

    async def experience(self, *, fresh: bool = False) -> Experience:
        """What is known of the server, read anew when it is old or ``fresh`` is asked for."""
        known = None if fresh else await self.experiences.load(self.destination.name)
        if known is not None and self.clock() - known.read_at < CAPABILITY_LIFE:
            return known
        found = Experience(await self.client.capability(), self.clock())
        await self.experiences.save(self.destination.name, found)
        return found

    def _wants_document(self, experience: Experience) -> bool:
        writable = experience.capability.writable
        return What.DOCUMENTS in self.destination.send or not all(writable(each) for each in NEEDED)

    async def _climb_down(self, resources: tuple[Json, ...], pdf: bytes | None, experience: Experience) -> Sent:
        asked_again = False
        while True:
            out = frozenset(self.destination.leave_out) | experience.refused_types
            wanted = without_types(resources, out)
            types = {each["resourceType"] for each in wanted}
            plan = plan_for(experience.capability, types, experience.refused_rungs)
            self.could_double = plan.rung.server_ids
            ladder = Ladder(self.client, experience.capability, self.destination.limits, self.memory)
            # Our profiles ask for our ids and for the whole set, which not every server lets us keep
            whole = not plan.rung.server_ids and not plan.left_out and len(wanted) == len(resources)
            if not (whole and self.destination.declare_profiles):
                wanted = tuple(without_profiles(each) for each in wanted)
            try:
                behind = await ladder.write(plan.rung, without_types(wanted, plan.left_out), pdf)
            except Setback as setback:
                if setback.verdict is not Verdict.LOWER:
                    raise
                if not asked_again:
                    # It may have been changed since we last asked
                    asked_again = True
                    said = await self.client.capability()
                    if said != experience.capability:
                        experience = Experience(said, self.clock())
                        await self.experiences.save(self.destination.name, experience)
                        continue
                experience = experience.lower(plan.rung, setback.resource_type)
                await self.experiences.save(self.destination.name, experience)
            else:
                there = {each["resourceType"] for each in resources}
                return Sent(plan.rung.value, (out & there) | plan.left_out | behind)
