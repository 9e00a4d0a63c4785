"""What was acknowledged to senders, kept until its study is accepted: a success survives any kill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.service.dimse.schema import received
from trabecula.work.records import ContentRef, Source


@dataclass(frozen=True)
class Received:
    """One instance whose bytes lie in the content store. Identifiers: never logged."""

    study_uid: str
    sop_uid: str
    sop_class: str
    content: ContentRef
    source: Source = Source.DIMSE


@dataclass(frozen=True)
class Extent:
    """How much of a study is in the journal."""

    instances: int
    total_bytes: int


async def record(connection: AsyncConnection, instance: Received, at: datetime) -> None:
    """Remember an instance; the same content that was accepted before stays accepted."""
    values = {
        "study_uid": instance.study_uid,
        "sop_uid": instance.sop_uid,
        "sop_class": instance.sop_class,
        "sha256": instance.content.sha256,
        "size_bytes": instance.content.size_bytes,
        "source": instance.source.value,
        "received_at": at,
        "accepted_at": None,
    }
    await connection.execute(
        insert(received)
        .values(values)
        .on_conflict_do_update(
            index_elements=["study_uid", "sop_uid"],
            set_=values,
            where=(received.c.sha256 != instance.content.sha256) | received.c.accepted_at.is_(None),
        )
    )


async def extent(connection: AsyncConnection, study_uid: str) -> Extent:
    """How much of a study was received."""
    row = (
        await connection.execute(
            select(func.count(), func.coalesce(func.sum(received.c.size_bytes), 0)).where(
                received.c.study_uid == study_uid
            )
        )
    ).one()
    return Extent(int(row[0]), int(row[1]))


async def open_studies(connection: AsyncConnection) -> int:
    """Studies of which something is not accepted yet."""
    statement = select(func.count(received.c.study_uid.distinct())).where(received.c.accepted_at.is_(None))
    return int((await connection.execute(statement)).scalar_one())


async def quiet_since(connection: AsyncConnection, moment: datetime) -> list[str]:
    """Open studies of which nothing came after the moment."""
    rows = await connection.execute(
        select(received.c.study_uid)
        .where(received.c.accepted_at.is_(None))
        .group_by(received.c.study_uid)
        .having(func.max(received.c.received_at) < moment)
    )
    return [row.study_uid for row in rows]


async def lock_study(connection: AsyncConnection, study_uid: str) -> None:
    """Until the commit nobody else accepts this study."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:uid, 7))"), {"uid": study_uid})


async def study(connection: AsyncConnection, study_uid: str) -> tuple[list[Received], bool]:
    """All that is known of a study, and whether anything of it is not accepted yet."""
    rows = await connection.execute(
        select(received).where(received.c.study_uid == study_uid).order_by(received.c.received_at, received.c.sop_uid)
    )
    found = rows.all()
    instances = [
        Received(row.study_uid, row.sop_uid, row.sop_class, ContentRef(row.sha256, row.size_bytes), Source(row.source))
        for row in found
    ]
    return instances, any(row.accepted_at is None for row in found)


async def mark_accepted(connection: AsyncConnection, instances: Iterable[Received], at: datetime) -> None:
    """These are part of an accepted study; what came since stays open."""
    for instance in instances:
        await connection.execute(
            update(received)
            .where(
                received.c.study_uid == instance.study_uid,
                received.c.sop_uid == instance.sop_uid,
                received.c.sha256 == instance.content.sha256,
            )
            .values(accepted_at=at)
        )


async def known(connection: AsyncConnection, sop_uids: Iterable[str]) -> dict[str, str]:
    """SOP classes of those instances that were received, by SOP Instance UID."""
    rows = await connection.execute(
        select(received.c.sop_uid, received.c.sop_class).where(received.c.sop_uid.in_(list(sop_uids)))
    )
    return {row.sop_uid: row.sop_class for row in rows}


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Forget studies of which all was accepted before the moment; how many rows went."""
    open_ones = select(received.c.study_uid).where(
        received.c.accepted_at.is_(None) | (received.c.accepted_at >= before)
    )
    done = await connection.execute(delete(received).where(received.c.study_uid.not_in(open_ones)))
    return done.rowcount
