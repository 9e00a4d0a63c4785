"""Screenings on a real PostgreSQL: every cell of the table of states, the fence, and one transaction for each step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import report_samples
from procrastinate.exceptions import ConnectorException
from sqlalchemy import insert, select, text, update

from trabecula.errors import (
    AlreadyEnded,
    AlreadyExists,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PixelsDeleted,
    ScreeningTimedOut,
    TrabeculaError,
    WorkerCrashed,
)
from trabecula.outcome import Stage
from trabecula.patient import PatientContext, Sex
from trabecula.telemetry.events import AttemptStarted, Outcome, ScreeningEnded, ScreeningQueued
from trabecula.telemetry.events import Event as TelemetryEvent
from trabecula.work.attempts import Claim
from trabecula.work.changes import SHUTDOWN
from trabecula.work.database import Database
from trabecula.work.reading import Filters
from trabecula.work.records import ContentRef, DocumentKind, Job, Priority, Source, StageProgress, Submission
from trabecula.work.runner import Completion
from trabecula.work.schema import document, screening, transition
from trabecula.work.states import Event, IllegalTransition, State
from trabecula.work.store import ScreeningStore

REFS = (ContentRef("a" * 64, 300), ContentRef("b" * 64, 200))
DOCUMENTS = {DocumentKind.REPORT_JSON: ContentRef("c" * 64, 10)}
PATIENT = PatientContext(age_years=71.0, sex=Sex.FEMALE)


def submission(
    key: str | None = None, fingerprint: str = "f" * 64, priority: Priority = Priority.ROUTINE
) -> Submission:
    return Submission(key, fingerprint, 2, 500, priority, Source.GRPC)


def completion(*, refused: bool = False) -> Completion:
    report = report_samples.refused() if refused else report_samples.reported()
    return Completion(report.status, tuple(DOCUMENTS), report)


def job(claim: Claim) -> Job:
    return Job(claim.record.screening_id, (), Path(), claim.patient, claim.want_masks)


@pytest.fixture
def store(database: Database) -> ScreeningStore:
    return ScreeningStore(database, content=None, max_attempts=3)


async def accepted(store: ScreeningStore, **changes: object) -> str:
    record, _ = await store.accept(replace(submission(), **changes), REFS, PATIENT, want_masks=True)  # type: ignore[arg-type]
    return record.screening_id


async def claimed(store: ScreeningStore, screening_id: str) -> Claim:
    claim = await store.claim(screening_id)
    assert claim is not None
    return claim


async def waiting_jobs(database: Database) -> list[tuple[str, int]]:
    async with database.transaction() as connection:
        rows = await connection.execute(
            text("SELECT args->>'screening_id', priority FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        )
        return [(row[0], row[1]) for row in rows]


# Every cell of (state, event), as the store has it. What is not legal must leave everything as it was.


async def make(store: ScreeningStore, state: State) -> Claim:
    """A screening in a state, and a claim that fits it."""
    screening_id = await accepted(store)
    claim = await claimed(store, screening_id)
    if state is State.QUEUED:
        await store.give_back(screening_id, 1, None)
    elif state is State.REPORTED:
        await store.end_with_result(claim, job(claim), completion(), DOCUMENTS)
    elif state is State.REFUSED:
        await store.end_with_result(claim, job(claim), completion(refused=True), DOCUMENTS)
    elif state is State.FAILED:
        await store.end_with_failure(claim, ScreeningTimedOut())
    elif state is State.CANCELLED:
        await store.cancel(screening_id)
        await store.end_as_cancelled(claim)
    assert (await store.get(screening_id)).state is state
    return claim


STEPS: dict[Event, Callable[[ScreeningStore, Claim], Awaitable[object]]] = {
    Event.START: lambda store, claim: store.claim(claim.record.screening_id),
    Event.REPORT: lambda store, claim: store.end_with_result(claim, job(claim), completion(), DOCUMENTS),
    Event.REFUSE: lambda store, claim: store.end_with_result(claim, job(claim), completion(refused=True), DOCUMENTS),
    Event.FAIL: lambda store, claim: store.end_with_failure(claim, ScreeningTimedOut()),
    Event.REQUEUE: lambda store, claim: store.give_back(claim.record.screening_id, claim.record.attempt, None),
    Event.CANCEL: lambda store, claim: store.cancel(claim.record.screening_id),
    Event.STOP: lambda store, claim: store.end_as_cancelled(claim),
    Event.REVIVE: lambda store, claim: store.revive(claim.record.screening_id),
}

# A dot: nothing happens. A word in capitals: an error, and nothing happens. queued+fail has a test of its own.
EXPECTED = """
           start    report    refuse   fail    requeue  cancel     stop       revive
queued     running  .         .        .       .        cancelled  .          NotReady
running    .        reported  refused  failed  queued   running    cancelled  NotReady
reported   .        .         .        .       .        Ended      .          Ended
refused    .        .         .        .       .        Ended      .          Ended
failed     .        .         .        .       .        Ended      .          queued
cancelled  .        .         .        .       .        cancelled  .          queued
"""
ERRORS: dict[str, type[TrabeculaError]] = {"NotReady": NotReady, "Ended": AlreadyEnded}


def cells() -> list[tuple[State, Event, str]]:
    head, *rows = [line.split() for line in EXPECTED.strip().splitlines()]
    return [(State(row[0]), Event(event), cell) for row in rows for event, cell in zip(head, row[1:], strict=True)]


@pytest.mark.parametrize(("state", "event", "expected"), cells())
async def test_cell(database: Database, store: ScreeningStore, state: State, event: Event, expected: str) -> None:
    claim = await make(store, state)
    screening_id = claim.record.screening_id
    before, steps = await store.get(screening_id), await store.steps(screening_id)

    async def take() -> None:
        await STEPS[event](store, claim)

    if expected in ERRORS:
        with pytest.raises(ERRORS[expected]):
            await take()
    else:
        await take()
    after = await store.get(screening_id)
    if expected in ERRORS or expected == "." or (state, event) == (State.CANCELLED, Event.CANCEL):
        assert after == before
        assert await store.steps(screening_id) == steps
    else:
        assert after.state is State(expected)
        last = (await store.steps(screening_id))[-1]
        assert (last.event, last.state, last.attempt) == (event.value, after.state, after.attempt)
    waiting = [each for each, _ in await waiting_jobs(database)]
    assert waiting == ([screening_id] if after.state is State.QUEUED else waiting)
    assert len(waiting) <= 1


def test_every_cell_is_looked_at() -> None:
    assert {(state, event) for state, event, _ in cells()} == {(state, event) for state in State for event in Event}


async def test_a_queued_study_without_images_is_a_dead_letter(database: Database, store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM instance"))
    assert await store.claim(screening_id) is None
    record = await store.get(screening_id)
    assert record.state is State.FAILED
    assert record.failure is not None
    assert record.failure.code == "pixels-deleted"


async def test_the_record_itself_refuses_an_illegal_step(store: ScreeningStore) -> None:
    record = await store.get(await accepted(store))
    with pytest.raises(IllegalTransition):
        record.after(Event.REPORT, datetime.now(UTC))


# Coming in


async def test_accepting_keeps_row_files_first_step_and_job_together(database: Database, store: ScreeningStore) -> None:
    screening_id = await accepted(store, priority=Priority.STAT)
    claim = await claimed(store, screening_id)
    assert (claim.instances, claim.patient, claim.want_masks) == (REFS, PATIENT, True)
    assert await waiting_jobs(database) == [(screening_id, int(Priority.STAT))]
    assert [step.event for step in await store.steps(screening_id)] == ["accept", "start"]


async def test_a_fault_in_the_middle_of_accepting_leaves_nothing(database: Database, store: ScreeningStore) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE procrastinate_jobs ADD CONSTRAINT none CHECK (false) NOT VALID"))
    with pytest.raises(ConnectorException):
        await accepted(store)
    assert await store.page(10) == ((), "")
    async with database.transaction() as connection:
        for table in ("instance", "transition", "procrastinate_jobs"):
            assert (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one() == 0  # noqa: S608


async def test_the_same_key_at_once_gives_one_screening(database: Database, store: ScreeningStore) -> None:
    answers = await asyncio.gather(*(store.accept(submission("k" * 64), REFS, PATIENT) for _ in range(8)))
    assert len({record.screening_id for record, _ in answers}) == 1
    assert sum(is_new for _, is_new in answers) == 1
    assert len(await waiting_jobs(database)) == 1


async def test_the_same_key_with_other_content_is_refused(store: ScreeningStore) -> None:
    await store.accept(submission("k" * 64), REFS, PATIENT)
    with pytest.raises(AlreadyExists):
        await store.accept(submission("k" * 64, "e" * 64), REFS, PATIENT)


# The fence


async def test_two_claims_at_once_give_one_attempt(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    claims = await asyncio.gather(*(store.claim(screening_id) for _ in range(5)))
    assert sum(claim is not None for claim in claims) == 1
    assert (await store.get(screening_id)).attempt == 1


async def test_an_overtaken_attempt_changes_nothing(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    first = await claimed(store, screening_id)
    await store.give_back(screening_id, 1, WorkerCrashed())
    second = await claimed(store, screening_id)
    progress = StageProgress(Stage.BONE, 0.5)
    assert (await store.progress(first, progress)).overtaken
    assert await store.end_with_result(first, job(first), completion(), DOCUMENTS) is None
    assert await store.end_with_failure(first, ScreeningTimedOut()) is None
    assert await store.end_as_cancelled(first) is None
    assert await store.give_back(screening_id, 1, WorkerCrashed()) is None
    record = await store.get(screening_id)
    assert (record.state, record.attempt, record.progress) == (State.RUNNING, 2, None)
    assert not (await store.progress(second, progress)).overtaken
    assert (await store.get(screening_id)).progress == progress
    assert await store.end_with_result(second, job(second), completion(), DOCUMENTS) is not None


async def test_two_ends_at_once_give_one(database: Database, store: ScreeningStore) -> None:
    claim = await claimed(store, await accepted(store))
    ends = await asyncio.gather(
        *(store.end_with_result(claim, job(claim), completion(), DOCUMENTS) for _ in range(3)),
        store.end_with_failure(claim, ScreeningTimedOut()),
    )
    assert sum(end is not None for end in ends) == 1
    async with database.transaction() as connection:
        ended = (await connection.execute(select(transition).where(transition.c.event != "accept"))).all()
    assert len(ended) == 2


# Ending


async def test_a_result_and_what_it_brings_along_are_one(database: Database) -> None:
    async def note(connection: object, record: object, _job: Job, _completion: Completion) -> None:
        await connection.execute(
            insert(transition).values(  # type: ignore[attr-defined]
                screening_id=record.screening_id,
                at=record.ended_at,
                event="sink",
                state="reported",
                attempt=1,  # type: ignore[attr-defined]
            )
        )

    async def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    broken = ScreeningStore(database, content=None, sinks=[note, fail])
    claim = await claimed(broken, await accepted(broken))
    with pytest.raises(OSError, match="No space"):
        await broken.end_with_result(claim, job(claim), completion(), DOCUMENTS)
    assert (await broken.get(claim.record.screening_id)).state is State.RUNNING
    assert "sink" not in [step.event for step in await broken.steps(claim.record.screening_id)]
    whole = ScreeningStore(database, content=None, sinks=[note])
    ended = await whole.end_with_result(claim, job(claim), completion(), DOCUMENTS)
    assert ended is not None
    assert (await whole.get(claim.record.screening_id)).documents == (DocumentKind.REPORT_JSON,)
    assert "sink" in [step.event for step in await whole.steps(claim.record.screening_id)]


async def test_attempts_that_took_their_worker_end_as_a_dead_letter(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    for attempt in (1, 2, 3):
        await claimed(store, screening_id)
        await store.give_back(screening_id, attempt, WorkerCrashed())
    record = await store.get(screening_id)
    assert record.state is State.FAILED
    assert record.failure is not None
    assert record.failure.code == "worker-crashed"
    assert "attempts=3" in record.failure.message


async def test_shutdowns_and_a_full_disk_are_not_held_against_a_study(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    reasons: list[TrabeculaError | None] = [None, Overloaded(), None, Overloaded(), WorkerCrashed(), WorkerCrashed()]
    for attempt, error in enumerate(reasons, start=1):
        await claimed(store, screening_id)
        await store.give_back(screening_id, attempt, error)
        assert (await store.get(screening_id)).state is State.QUEUED
    assert {step.reason for step in await store.steps(screening_id)} >= {SHUTDOWN, "overloaded", "worker-crashed"}


async def test_an_attempt_that_was_to_be_cancelled_is_cancelled_when_its_worker_is_lost(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    claim = await claimed(store, screening_id)
    await store.cancel(screening_id)
    assert (await store.progress(claim, None)).cancel_requested
    await store.give_back(screening_id, 1, WorkerCrashed())
    assert (await store.get(screening_id)).state is State.CANCELLED


async def test_a_dead_letter_gets_all_its_attempts_again(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    for attempt in (1, 2, 3):
        await claimed(store, screening_id)
        await store.give_back(screening_id, attempt, WorkerCrashed())
    await store.revive(screening_id)
    record = await store.get(screening_id)
    assert (record.state, record.attempt, record.failure) == (State.QUEUED, 0, None)
    await claimed(store, screening_id)
    await store.give_back(screening_id, 1, WorkerCrashed())
    assert (await store.get(screening_id)).state is State.QUEUED


async def test_a_study_whose_images_are_gone_cannot_be_tried_again(database: Database, store: ScreeningStore) -> None:
    claim = await make(store, State.FAILED)
    async with database.transaction() as connection:
        await connection.execute(update(screening).values(pixels_deleted_at=datetime.now(UTC)))
    with pytest.raises(PixelsDeleted):
        await store.revive(claim.record.screening_id)


async def test_a_cancelled_study_leaves_the_queue(database: Database, store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    await store.cancel(screening_id)
    assert await waiting_jobs(database) == []


async def test_a_legal_hold_is_kept_with_its_step(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    assert (await store.set_legal_hold(screening_id, hold=True)).legal_hold
    await store.set_legal_hold(screening_id, hold=True)
    assert (await store.get(screening_id)).legal_hold
    assert not (await store.set_legal_hold(screening_id, hold=False)).legal_hold
    assert [step.event for step in await store.steps(screening_id)] == ["accept", "hold", "release"]


async def test_changes_are_told_after_their_commit(database: Database) -> None:
    told: list[TelemetryEvent] = []
    store = ScreeningStore(database, content=None, tell=told.append)
    screening_id = await accepted(store)
    claim = await claimed(store, screening_id)
    await store.cancel(screening_id)
    await store.end_as_cancelled(claim)
    assert [type(event) for event in told] == [ScreeningQueued, AttemptStarted, ScreeningEnded]
    assert {event.screening_id for event in told} == {screening_id}  # type: ignore[union-attr]
    assert told[-1].outcome is Outcome.CANCELLED  # type: ignore[union-attr]


# Reading


async def test_pages_go_back_in_time_and_hold_still_while_studies_come_in(database: Database) -> None:
    moment = datetime(2026, 1, 15, 12, tzinfo=UTC)
    moments = iter([moment + timedelta(seconds=each // 2) for each in range(100)])
    store = ScreeningStore(database, content=None, now=lambda: next(moments))
    ids = [await accepted(store) for _ in range(7)]
    first, token = await store.page(3)
    await accepted(store)
    second, token = await store.page(3, token)
    third, end = await store.page(3, token)
    listed = [record.screening_id for record in (*first, *second, *third)]
    assert sorted(listed) == sorted(ids)
    stamps = [(record.submitted_at, record.screening_id) for record in (*first, *second, *third)]
    assert stamps == sorted(stamps, reverse=True)
    assert end == ""


@pytest.mark.parametrize("token", ["", "x", "zz.1", "5." + "0" * 8, "f" * 40 + ".00000000-0000-0000-0000-000000000000"])
async def test_a_made_up_token_is_refused(store: ScreeningStore, token: str) -> None:
    if token:
        with pytest.raises(InvalidRequest):
            await store.page(3, token)
    else:
        assert await store.page(3, token) == ((), "")


async def test_filters_narrow_a_page(store: ScreeningStore) -> None:
    urgent = await accepted(store, priority=Priority.STAT)
    pushed = await accepted(store, source=Source.DIMSE)
    await store.cancel(pushed)
    for filters, expected in (
        (Filters(priorities=(Priority.STAT,)), urgent),
        (Filters(sources=(Source.DIMSE,)), pushed),
        (Filters(states=(State.CANCELLED,)), pushed),
    ):
        records, _ = await store.page(10, "", filters)
        assert [record.screening_id for record in records] == [expected]


async def test_what_is_not_there_is_not_found(store: ScreeningStore) -> None:
    screening_id = await accepted(store)
    for unknown in ("../../etc/passwd", "00000000-0000-0000-0000-000000000000"):
        with pytest.raises(NotFound):
            await store.get(unknown)
    with pytest.raises(NotFound):
        await store.document(screening_id, DocumentKind.REPORT_JSON)
    assert await store.claim("00000000-0000-0000-0000-000000000000") is None


async def test_load_counts_what_is_open_and_times_what_has_ended(database: Database, store: ScreeningStore) -> None:
    claim = await claimed(store, await accepted(store))
    await store.end_with_result(claim, job(claim), completion(), DOCUMENTS)
    async with database.transaction() as connection:
        await connection.execute(update(screening).values(ended_at=screening.c.started_at + timedelta(seconds=8)))
        assert (await connection.execute(select(document.c.sha256))).scalars().all() == ["c" * 64]
    await claimed(store, await accepted(store))
    await accepted(store)
    load = await store.load()
    assert load.jobs == {State.QUEUED: 1, State.RUNNING: 1}
    assert load.mean_run_s == pytest.approx(8.0)
    assert load.oldest_age_s is not None
    assert 0 <= load.oldest_age_s < 60
    assert (await store.counts())[State.REPORTED] == 1
