"""What tests of delivery share: a result, a patient at the EHR, a destination, a clock that is set by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fhir_server import FhirServer
from hostile_ehr import HostileEhr
from report_samples import reported

from trabecula.delivery.deliverer import Deliverer
from trabecula.delivery.destinations import FhirDestination, Limits, Network, PatientSystem
from trabecula.delivery.listing import Filter, list_deliveries, read_delivery
from trabecula.delivery.patients import bound_to
from trabecula.delivery.resource_set import (
    content,
    from_bundle,
    key_of,
    with_references,
    without_profiles,
    without_types,
)
from trabecula.delivery.sending import DeliveryRow
from trabecula.delivery.sink import enqueue_everywhere
from trabecula.delivery.states import DeliveryState
from trabecula.delivery.ways import make_ways
from trabecula.outputs.r4 import to_bundle
from trabecula.report import ScreeningReport
from trabecula.telemetry.events import Event
from trabecula.work.content import ContentStore
from trabecula.work.database import Database

Json = dict[str, Any]

MRN = "urn:oid:2.16.840.1.113883.19.5"
PATIENT: Json = {
    "resourceType": "Patient",
    "id": "p1",
    "active": True,
    "identifier": [{"system": MRN, "value": "SAMPLE-0001"}],
}
START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LIMITS = Limits(timeout_s=20.0, attempt_timeout_s=20.0, max_response_bytes=4_000_000)


@dataclass
class HandClock:
    """Time that passes when a test says so."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def destination(url: str, **changes: Any) -> FhirDestination:
    """An EHR on the loopback."""
    network = Network(private_networks=("127.0.0.0/8",), plain_http=True)
    plain = FhirDestination("fhir", "ehr", url, (PatientSystem(MRN),), network=network, limits=LIMITS)
    return replace(plain, **changes)


@dataclass
class Outlet:
    """A deliverer at one destination."""

    database: Database
    deliverer: Deliverer
    clock: HandClock
    told: list[Event]
    to: FhirDestination

    async def enqueue(self, bundle: Json, chain: str, topic: str = "result") -> str:
        async with self.database.transaction() as connection:
            made = await enqueue_everywhere(
                connection, [self.to], chain=chain, screening_id=None, topic=topic, bundle=bundle, now=self.clock()
            )
        return made[0]

    async def rows(self) -> list[DeliveryRow]:
        """Oldest first."""
        async with self.database.transaction() as connection:
            return (await list_deliveries(connection, Filter(), 1000))[::-1]

    async def until_still(self, most_s: float = 86_400.0) -> int:
        """Let time pass until nothing is pending; gives the number of attempts."""
        end, tried = self.clock() + timedelta(seconds=most_s), 0
        while self.clock() < end:
            await self.deliverer.sweep()
            while await self.deliverer.attempt_delivery(self.to.name):
                tried += 1
            if not any(row.state is DeliveryState.PENDING for row in await self.rows()):
                return tried
            self.clock.pass_s(20.0)
        raise AssertionError("still pending")


def outlet(
    database: Database,
    content: ContentStore,
    to: FhirDestination,
    clock: HandClock | None = None,
    keys_dir: Path | None = None,
) -> Outlet:
    clock = clock or HandClock()
    told: list[Event] = []
    ways = make_ways([to], database, content, keys_dir, clock)
    deliverer = Deliverer(database, ways, clock, random.Random(6).random, told.append)
    return Outlet(database, deliverer, clock, told, to)


@dataclass
class Case:
    """A server with the patient, a hostile proxy before it, and what is to arrive."""

    server: FhirServer
    ehr: HostileEhr
    report: ScreeningReport = field(default_factory=reported)

    @property
    def bundle(self) -> Json:
        return to_bundle(self.report)

    @property
    def chain(self) -> str:
        return self.report.screening_id


def differences(bundle: Json, server: FhirServer, left_out: Sequence[str] = (), *, profiles: bool = True) -> list[str]:
    """What keeps the server from holding exactly one copy of each resource, equal to ours but for the patient found."""
    stored = server.stored()
    wanted = list(without_types(from_bundle(bundle), frozenset(left_out)))
    wanted = wanted if profiles else [without_profiles(each) for each in wanted]
    ids = {key_of(each): _server_id(each, stored) for each in wanted if "identifier" in each}
    ids |= {key_of(each): _about_the_same(each, stored, ids) for each in wanted if "identifier" not in each}
    faults = []
    for each in wanted:
        kind = each["resourceType"]
        if len(found := stored.get(kind, [])) != sum(one["resourceType"] == kind for one in wanted):
            faults.append(f"{kind}: {len(found)} on the server")
        place = ids[key_of(each)]
        if place is None:
            faults.append(f"{kind}: not exactly one")
            continue
        copy = next(one for one in found if one["id"] == place)
        # A study that was there before keeps the profile it came with: it is found, not written again.
        held = content(copy) if profiles else without_profiles(content(copy))
        if held != _expected(each, ids):
            faults.append(f"{kind}: differs")
    return faults


def _server_id(resource: Json, stored: dict[str, list[Json]]) -> str | None:
    there = stored.get(resource["resourceType"], [])
    same = [one["id"] for one in there if one.get("identifier") == resource["identifier"]]
    return same[0] if len(same) == 1 else None


def _about_the_same(
    resource: Json, stored: dict[str, list[Json]], ids: dict[tuple[str, str], str | None]
) -> str | None:
    """A Provenance has no identifier: the one with the same targets."""
    target = _expected(resource, ids)["target"]
    same = [one["id"] for one in stored.get(resource["resourceType"], []) if one["target"] == target]
    return same[0] if len(same) == 1 else None


def _expected(resource: Json, ids: dict[tuple[str, str], str | None]) -> Any:
    places = {key: f"{key[0]}/{place}" for key, place in ids.items() if place is not None}
    (bound,) = bound_to([resource], "p1")
    return content(with_references(bound, places))


async def told_by_server(out: Outlet) -> list[Any]:
    """What the server answered to the attempts of the last delivery, for a test's message."""
    async with out.database.transaction() as connection:
        _, attempts = await read_delivery(connection, (await out.rows())[-1].delivery_id)
    return [(each.step, each.reason, each.status, each.outcome) for each in attempts]
