"""How things stand with each destination, kept in the database: what it can do, and whether it is left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.delivery.backoff import pause_s
from trabecula.delivery.capability import Rung, capability_document, capability_from
from trabecula.delivery.destinations import Limits
from trabecula.delivery.fhir_sender import Experience
from trabecula.delivery.ladder import Known
from trabecula.delivery.resource_set import Key
from trabecula.delivery.schema import delivery_destination, delivery_identity
from trabecula.work.database import Database


@dataclass(frozen=True)
class Breaker:
    """A destination that fails again and again is left alone for a while, then tried with one delivery."""

    failures: int = 0
    """In a row."""
    closed_until: datetime | None = None

    def rests(self, now: datetime) -> bool:
        return self.closed_until is not None and now < self.closed_until

    def trying(self, limits: Limits) -> bool:
        """Whether the next delivery is a trial: one at a time."""
        return self.failures >= limits.breaker_failures


async def read_breaker(connection: AsyncConnection, destination: str) -> Breaker:
    found = select(delivery_destination.c.failures, delivery_destination.c.closed_until)
    row = (await connection.execute(found.where(delivery_destination.c.name == destination))).first()
    return Breaker() if row is None else Breaker(row.failures, row.closed_until)


async def note_success(connection: AsyncConnection, destination: str) -> bool:
    """The destination answers. Gives whether it had been failing."""
    failing = and_(delivery_destination.c.name == destination, delivery_destination.c.failures > 0)
    changed = await connection.execute(
        update(delivery_destination).where(failing).values(failures=0, closed_until=None)
    )
    return changed.rowcount > 0


async def note_failure(
    connection: AsyncConnection, destination: str, limits: Limits, now: datetime, retry_after_s: float | None
) -> Breaker:
    """The destination failed in a way that may pass. A Retry-After holds for all that goes there."""
    made = insert(delivery_destination).values(name=destination, failures=1)
    counted = made.on_conflict_do_update(
        index_elements=["name"], set_={"failures": delivery_destination.c.failures + 1}
    ).returning(delivery_destination.c.failures)
    failures = int((await connection.execute(counted)).scalar_one())
    rest_s = max(pause_s(limits, failures), retry_after_s or 0.0)
    if rest_s <= 0:
        return Breaker(failures)
    until = now + timedelta(seconds=rest_s)
    longer = or_(delivery_destination.c.closed_until.is_(None), delivery_destination.c.closed_until < until)
    await connection.execute(
        update(delivery_destination)
        .where(delivery_destination.c.name == destination, longer)
        .values(closed_until=until)
    )
    return Breaker(failures, until)


async def reopen(connection: AsyncConnection, destination: str) -> None:
    """An operator says that it works again."""
    await connection.execute(
        update(delivery_destination)
        .where(delivery_destination.c.name == destination)
        .values(failures=0, closed_until=None)
    )


@dataclass(frozen=True)
class DatabaseExperiences:
    """:class:`trabecula.delivery.fhir_sender.Experiences` in the database."""

    database: Database

    async def load(self, destination: str) -> Experience | None:
        async with self.database.transaction() as connection:
            query = select(delivery_destination).where(delivery_destination.c.name == destination)
            row = (await connection.execute(query)).mappings().first()
        if row is None or row["capability"] is None:
            return None
        return Experience(
            capability=capability_from(row["capability"]),
            read_at=row["capability_at"],
            refused_rungs=frozenset(Rung(each) for each in row["refused_rungs"] or ()),
            refused_types=frozenset(row["refused_types"] or ()),
        )

    async def save(self, destination: str, experience: Experience) -> None:
        values = {
            "capability": capability_document(experience.capability),
            "capability_at": experience.read_at,
            "refused_rungs": sorted(experience.refused_rungs),
            "refused_types": sorted(experience.refused_types),
        }
        made = insert(delivery_destination).values(name=destination, **values)
        async with self.database.transaction() as connection:
            await connection.execute(made.on_conflict_do_update(index_elements=["name"], set_=values))


@dataclass(frozen=True)
class DatabaseMemory:
    """:class:`trabecula.delivery.ladder.Memory` of one destination in the database."""

    database: Database
    destination: str

    async def recall(self, keys: Sequence[Key]) -> Mapping[Key, Known]:
        table = delivery_identity
        query = select(table).where(
            table.c.destination == self.destination, table.c.resource_id.in_([each[1] for each in keys])
        )
        async with self.database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        found = {(row.resource_type, row.resource_id): Known(row.server_id, row.digest) for row in rows}
        return {key: known for key, known in found.items() if key in set(keys)}

    async def remember(self, key: Key, known: Known) -> None:
        values = {"server_id": known.server_id, "digest": known.digest}
        made = insert(delivery_identity).values(
            destination=self.destination, resource_type=key[0], resource_id=key[1], **values
        )
        same = ["destination", "resource_type", "resource_id"]
        async with self.database.transaction() as connection:
            await connection.execute(made.on_conflict_do_update(index_elements=same, set_=values))
