"""From acknowledged instances to accepted studies. Lives on the event loop; knows no network."""

from __future__ import annotations

import asyncio
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Final

import structlog

from trabecula.config import Settings
from trabecula.errors import CorruptInstance, DatabaseUnavailable, Draining, LimitExceeded, Overloaded, TrabeculaError
from trabecula.imaging import tags
from trabecula.imaging.elements import Elements
from trabecula.imaging.headers import read_header
from trabecula.imaging.limits import ImagingLimits
from trabecula.patient import PatientContext
from trabecula.service.admission import places, retry_after_s
from trabecula.service.dimse import journal
from trabecula.service.dimse.journal import Extent, Received
from trabecula.telemetry.faults import describe_fault
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold
from trabecula.work.database import Database
from trabecula.work.records import Priority, ScreeningRecord, Source
from trabecula.work.states import State
from trabecula.work.store import ScreeningStore
from trabecula.work.submission import submission_of

LONGEST_ROUND_S: Final = 5.0
"""How often quiet studies are looked for, at the least."""
STUDIES_REMEMBERED: Final = 256
_LISTED: Final = (tags.STUDY_UID, tags.SOP_CLASS, tags.SOP_INSTANCE)
_UID: Final = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Instance:
    """One instance as it came. Holds patient data; never logged."""

    study_uid: str
    sop_uid: str
    sop_class: str
    data: bytes
    """A DICOM file (PS3.10)."""
    source: Source = Source.DIMSE


def read_instance(data: bytes, source: Source, limits: ImagingLimits) -> Instance:
    """The identifiers of a DICOM file.

    Raises:
        CorruptInstance: if it cannot be read, or does not name study, class and itself.
    """
    header = Elements(read_header(BytesIO(data), _LISTED, limits)[0])
    study_uid, sop_class, sop_uid = (header.text(tag) for tag in _LISTED)
    if not all(_UID.fullmatch(uid) for uid in (study_uid, sop_class, sop_uid)):
        raise CorruptInstance("its identifiers are missing or malformed")
    return Instance(study_uid, sop_uid, sop_class, data, source)


class Reception:
    """Keeps instances, and accepts their studies when they are complete."""

    def __init__(
        self,
        database: Database,
        content: ContentStore,
        store: ScreeningStore,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._content = content
        self._store = store
        self._settings = settings
        self._now = now
        self._extents: dict[str, Extent] = {}
        self._draining = False
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for quiet studies from now on; those that a killed process left are among them."""
        # pydicom quotes what it finds odd in a header; an odd instance is answered, not told of in the log.
        warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        self._rounds = asyncio.create_task(self._look_for_quiet_studies(), name="dimse-quiet")

    def drain(self) -> None:
        """Take in nothing more."""
        self._draining = True

    async def close(self) -> None:
        """Stop looking; what is open waits in the journal."""
        if self._rounds is not None:
            self._rounds.cancel()
            with suppress(asyncio.CancelledError):
                await self._rounds

    async def take(self, instance: Instance) -> None:
        """Keep one instance; it is durable when this returns.

        Raises:
            Draining, Overloaded: when there is no room; the sender should try again.
            LimitExceeded: when its study grows over a limit.
            DatabaseUnavailable: when the database does not answer.
        """
        if self._draining:
            raise Draining
        known = self._extents.get(instance.study_uid)
        if known is None:
            known = await self._begin(instance.study_uid)
        grown = _grown(known, instance)
        if self._over_limit(grown):  # unless instances that came twice were counted twice
            grown = _grown(await self._begin(instance.study_uid), instance)
            self._check_limits(grown)
        self._content.check_room(len(instance.data))
        ref = await self._content.put(instance.data)
        received = Received(instance.study_uid, instance.sop_uid, instance.sop_class, ref, instance.source)
        async with self._database.transaction() as connection:
            await hold(connection, self._content, [ref])
            await journal.record(connection, received, self._now())
        self._remember(instance.study_uid, grown)

    async def complete(self, study_uid: str) -> ScreeningRecord | None:
        """Accept a study as it is now; None when nothing of it is open. The same content gives the same screening."""
        self._extents.pop(study_uid, None)
        async with self._database.transaction() as connection:
            await journal.lock_study(connection, study_uid)
            instances, is_open = await journal.study(connection, study_uid)
            if not is_open:
                return None
            refs = [instance.content for instance in instances]
            submission = submission_of(
                refs, PatientContext(), idempotency_key=_key(study_uid, instances), source=instances[-1].source
            )
            record, _ = await self._store.accept(submission, refs, PatientContext())
            await journal.mark_accepted(connection, instances, self._now())
        return record

    async def released(self, study_uids: Iterable[str]) -> None:
        """A sender released its association, on which it had sent these studies."""
        if self._settings.dimse_study_complete != "release":
            return
        for study_uid in study_uids:
            await self._complete_or_tell(study_uid)

    async def committed(self, sop_uids: Iterable[str]) -> dict[str, str]:
        """SOP classes of those instances that are kept, by SOP Instance UID."""
        async with self._database.transaction() as connection:
            return await journal.known(connection, sop_uids)

    async def look(self) -> int:
        """Accept all studies that are quiet now, forget old ones; how many were accepted."""
        settings, moment = self._settings, self._now()
        async with self._database.transaction() as connection:
            quiet = await journal.quiet_since(connection, moment - timedelta(seconds=settings.dimse_quiet_s))
            await journal.forget(connection, moment - timedelta(seconds=settings.dimse_journal_s))
        return sum([await self._complete_or_tell(study_uid) for study_uid in quiet])

    async def _complete_or_tell(self, study_uid: str) -> bool:
        try:
            return await self.complete(study_uid) is not None
        except TrabeculaError as error:  # it stays open and is tried again
            structlog.get_logger().warning("dimse-study-not-accepted", code=error.code)
            return False

    async def _look_for_quiet_studies(self) -> None:
        round_s = min(LONGEST_ROUND_S, self._settings.dimse_quiet_s / 2)
        while True:
            try:
                await self.look()
            except DatabaseUnavailable as error:
                structlog.get_logger().warning("dimse-round-failed", fault=describe_fault(error))
            await asyncio.sleep(round_s)

    async def _begin(self, study_uid: str) -> Extent:
        """What is known of a study; a new one is let in only where it could be queued."""
        async with self._database.transaction() as connection:
            found = await journal.extent(connection, study_uid)
            waiting = await journal.open_studies(connection)
        if found.instances == 0:
            load = await self._store.load()
            excess = load.jobs[State.QUEUED] + waiting + 1 - places(Priority.ROUTINE, self._settings.queue_capacity)
            if excess > 0:
                raise Overloaded(retry_after_s=round(retry_after_s(load, excess), 1))
        return found

    def _over_limit(self, grown: Extent) -> bool:
        settings = self._settings
        return grown.instances > settings.max_instances or grown.total_bytes > settings.max_study_bytes

    def _check_limits(self, grown: Extent) -> None:
        settings = self._settings
        if grown.instances > settings.max_instances:
            raise LimitExceeded(instances=grown.instances, at_most=settings.max_instances)
        if grown.total_bytes > settings.max_study_bytes:
            raise LimitExceeded(total_bytes=grown.total_bytes, at_most=settings.max_study_bytes)

    def _remember(self, study_uid: str, grown: Extent) -> None:
        self._extents.pop(study_uid, None)
        self._extents[study_uid] = grown
        while len(self._extents) > STUDIES_REMEMBERED:
            del self._extents[next(iter(self._extents))]


def _grown(known: Extent, instance: Instance) -> Extent:
    return Extent(known.instances + 1, known.total_bytes + len(instance.data))


def _key(study_uid: str, instances: Iterable[Received]) -> str:
    """The same study with the same content is one screening, however often it comes."""
    digest = hashlib.sha256()
    for sha256 in sorted(instance.content.sha256 for instance in instances):
        digest.update(bytes.fromhex(sha256))
    return f"dimse {study_uid} {digest.hexdigest()}"
