"""A person is erased: every row that is kept of them, also of studies that never gave a result.

A result bears its patient's identifier. A study that failed, was cancelled or waits bears none in the database: its
instances in the content store are asked, as are those that came by C-STORE or STOW-RS and are no study yet.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.delivery.schema import delivery_identity
from trabecula.errors import ContentDamaged, ContentMissing, InputError, InvalidRequest, NotFound
from trabecula.hooks.schema import hook_card, hook_feedback
from trabecula.imaging import tags
from trabecula.imaging.elements import Elements
from trabecula.imaging.facts import identifier_of
from trabecula.imaging.headers import read_header
from trabecula.imaging.limits import ImagingLimits
from trabecula.programme.schema import dxa_result, dxa_task
from trabecula.record.retention import forget_resources
from trabecula.record.schema import resource, resource_history, result, screen_request
from trabecula.service.dimse.schema import received
from trabecula.work.content import ContentStore, read_all
from trabecula.work.database import Database
from trabecula.work.queue import withdraw
from trabecula.work.reading import check_id
from trabecula.work.records import ContentRef
from trabecula.work.schema import instance, screening
from trabecula.work.states import State

BATCH: Final = 200
HEAD_BYTES: Final = 256 * 1024
"""Read of an instance at first; enough for the header of nearly all."""
WANTED: Final = (tags.PATIENT_ID, tags.STUDY_UID, tags.CHARACTER_SET)


@dataclass(frozen=True)
class Person:
    """Whose data is to go. Never logged."""

    value: str
    system: str | None = None
    """None: whatever system the value is of."""

    @staticmethod
    def read(text: str) -> Person:
        """Of ``system|value``, or the value alone. Raises InvalidRequest."""
        system, separator, value = text.rpartition("|")
        if not value.strip():
            raise InvalidRequest(field="patient", must_be="system|value, or a value")
        return Person(value, system if separator else None)

    def of(self, columns: object) -> ColumnElement[bool]:
        """The rows that bear the person in ``patient_value`` and ``patient_system``."""
        same: ColumnElement[bool] = columns.patient_value == self.value  # type: ignore[attr-defined]
        if self.system is None:
            return same
        return and_(same, columns.patient_system == self.system)  # type: ignore[attr-defined]

    def identified(self, column: ColumnElement[str | None]) -> ColumnElement[bool]:
        """The rows that bear the person in a column with ``system|value``."""
        if self.system is None:
            return column.endswith(f"|{self.value}", autoescape=True)
        return column == f"{self.system}|{self.value}"


@dataclass(frozen=True)
class Erased:
    """What one erasure deleted."""

    screenings: tuple[str, ...]
    without_result: tuple[str, ...]
    """Those of them that name the person in their images alone: failed, cancelled, or waiting."""
    resources: int
    recalls: int
    dxa_results: int
    received: int
    """Instances that came by C-STORE or STOW-RS and whose rows went."""
    requests: int
    """Studies that were asked for over FHIR."""
    held: tuple[str, ...]
    """Screenings that a legal hold keeps, or that are being worked on; nothing was erased while there are any."""
    unreadable: tuple[str, ...]
    """Screenings without a result whose images cannot be read: nobody knows whose they are, and they stayed."""


@dataclass
class _Named:
    """What the headers say."""

    screenings: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    study_uids: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Eraser:
    """Erases people from one installation.

    Attributes:
        patient_system: of the identifiers in images, as the site has named it.
        tell: hears how many instances were looked at.
    """

    database: Database
    content: ContentStore
    limits: ImagingLimits
    patient_system: str | None = None
    tell: Callable[[int], None] = lambda _number: None

    async def erase(self, patient: str, *, also: Sequence[str] = (), dry_run: bool) -> Erased:
        """Delete all that is kept of a person: screenings, results in every version, recalls, DXA results, cards.

        The bytes go with the next collection after their time of grace. AuditEvents stay: they are the proof of who
        saw what.

        Args:
            patient: ``system|value``, or the value alone.
            also: screenings that are the person's though nothing here says so.
            dry_run: do it in a transaction that is rolled back.

        Raises:
            InvalidRequest: for an empty value.
            NotFound: for what is no screening; nothing was erased.
        """
        person = Person.read(patient)
        named = await self._named(person)
        wanted = {check_id(each) for each in also}
        named.screenings |= wanted
        async with self.database.engine.connect() as connection, connection.begin() as transaction:
            erased = await _erase(connection, person, named)
            if not wanted <= set(erased.screenings):
                raise NotFound
            if dry_run or erased.held:
                await transaction.rollback()
        return erased

    async def _named(self, person: Person) -> _Named:
        """Studies without a result, and those that are not whole yet, by what their instances say."""
        named = _Named()
        if person.system not in (None, self.patient_system or ""):
            return named  # images bear identifiers of the site's system alone
        looked = 0
        after = ""
        while True:
            async with self.database.transaction() as connection:
                ids = list((await connection.execute(_without_result(after))).scalars())
            for screening_id in ids:
                looked += await self._ask_screening(screening_id, person, named)
                self.tell(looked)
            if len(ids) < BATCH:
                break
            after = ids[-1]
        await self._ask_received(person, named, looked)
        return named

    async def _ask_screening(self, screening_id: str, person: Person, named: _Named) -> int:
        query = select(instance.c.sha256, instance.c.size_bytes).where(instance.c.screening_id == screening_id)
        async with self.database.transaction() as connection:
            refs = [ContentRef(row.sha256, row.size_bytes) for row in await connection.execute(query)]
        said = [await self._says(ref) for ref in refs]
        uids = {uid for patient_id, uid in filter(None, said) if patient_id == person.value}
        if uids:
            named.screenings.add(screening_id)
            named.study_uids |= uids
        elif not any(said):
            named.unreadable.add(screening_id)
        return len(refs)

    async def _ask_received(self, person: Person, named: _Named, looked: int) -> None:
        query = select(received.c.study_uid, received.c.sha256, received.c.size_bytes).where(
            received.c.accepted_at.is_(None)
        )
        async with self.database.transaction() as connection:
            rows = (await connection.execute(query)).all()
        for number, row in enumerate(rows, looked + 1):
            said = await self._says(ContentRef(row.sha256, row.size_bytes))
            if said is not None and said[0] == person.value:
                named.study_uids.add(row.study_uid)
            self.tell(number)

    async def _says(self, ref: ContentRef) -> tuple[str, str] | None:
        """Patient ID and Study Instance UID of an instance; None when its bytes do not say."""
        try:
            head = b""
            async for piece in self.content.read(ref):
                head += piece
                if len(head) >= HEAD_BYTES:
                    break
            if len(head) < ref.size_bytes and not self._reaches_pixels(head):
                head = await read_all(self.content, ref)
            dataset, _, _ = self._header(head)
        except (InputError, ContentMissing, ContentDamaged):
            return None
        elements = Elements(dataset)
        patient_id, uid = identifier_of(elements, tags.PATIENT_ID) or "", elements.text(tags.STUDY_UID)
        return (patient_id, uid) if patient_id or uid else None

    def _reaches_pixels(self, head: bytes) -> bool:
        """Whether the beginning of a file holds its header to the end: else a value could be half of one."""
        try:
            _, syntax, stream = self._header(head)
        except InputError:
            return False
        return syntax != DeflatedExplicitVRLittleEndian and stream.tell() < len(head)

    def _header(self, file: bytes) -> tuple[Dataset, str, BinaryIO]:
        return read_header(io.BytesIO(file), WANTED, self.limits)


def _without_result(after: str):  # type: ignore[no-untyped-def]
    """Ids of screenings that have instances and no result, from the one after ``after`` on."""
    query = (
        select(screening.c.id)
        .where(
            select(instance.c.screening_id).where(instance.c.screening_id == screening.c.id).exists(),
            ~select(result.c.report_id).where(result.c.screening_id == screening.c.id).exists(),
        )
        .order_by(screening.c.id)
        .limit(BATCH)
    )
    return query.where(screening.c.id > after) if after else query


async def _erase(connection: AsyncConnection, person: Person, named: _Named) -> Erased:
    known = await _with_result(connection, person)
    ids = sorted(known | named.screenings)
    locked = await connection.execute(
        select(screening.c.id, screening.c.state, screening.c.legal_hold)
        .where(screening.c.id.in_(ids))
        .order_by(screening.c.id)
        .with_for_update()
    )
    rows = locked.all()
    ids = [row.id for row in rows]
    held = tuple(row.id for row in rows if row.legal_hold or row.state == State.RUNNING.value)
    uids = (await connection.execute(select(result.c.study_uid).where(result.c.screening_id.in_(ids)))).scalars()
    study_uids = {uid for uid in uids if uid} | {uid for uid in named.study_uids if uid}
    resources = await _erase_resources(connection, person, ids)
    cards = select(hook_card.c.id).where(hook_card.c.screening_id.in_(ids))
    await connection.execute(delete(hook_feedback).where(hook_feedback.c.card_id.in_(cards)))
    await connection.execute(delete(hook_card).where(hook_card.c.screening_id.in_(ids)))
    asked = or_(screen_request.c.study_uid.in_(study_uids), screen_request.c.screening_id.in_(ids))
    requests = await connection.execute(delete(screen_request).where(asked))
    came = await connection.execute(delete(received).where(received.c.study_uid.in_(study_uids)))
    dxa = await connection.execute(delete(dxa_result).where(person.of(dxa_result.c)))
    recalls = await connection.execute(delete(dxa_task).where(person.of(dxa_task.c)))
    for screening_id in ids:
        await withdraw(connection, screening_id)
    await connection.execute(delete(screening).where(screening.c.id.in_(ids)))
    return Erased(
        screenings=tuple(ids),
        without_result=tuple(each for each in ids if each not in known),
        resources=resources,
        recalls=recalls.rowcount,
        dxa_results=dxa.rowcount,
        received=came.rowcount,
        requests=requests.rowcount,
        held=held,
        unreadable=tuple(sorted(named.unreadable - set(ids))),
    )


async def _with_result(connection: AsyncConnection, person: Person) -> set[str]:
    found = select(result.c.screening_id).where(person.of(result.c))
    recalled = select(dxa_task.c.screening_id).where(person.of(dxa_task.c))
    return set((await connection.execute(found.union(recalled))).scalars())


async def _erase_resources(connection: AsyncConnection, person: Person, ids: Iterable[str]) -> int:
    """Every version of the resources of these screenings and of this person; how many went.

    Also what is known of them at destinations that give ids of their own.
    """
    ids = list(ids)
    versions = 0
    for table in (resource, resource_history):
        theirs = or_(table.c.screening_id.in_(ids), person.identified(table.c.patient_identifier))
        same = select(table.c.type, table.c.id).where(
            table.c.type == delivery_identity.c.resource_type, table.c.id == delivery_identity.c.resource_id, theirs
        )
        await connection.execute(delete(delivery_identity).where(same.exists()))
        versions += (await connection.execute(select(func.count()).select_from(table).where(theirs))).scalar_one()
    await forget_resources(connection, ids)
    for table in (resource, resource_history):
        await connection.execute(delete(table).where(person.identified(table.c.patient_identifier)))
    return versions
