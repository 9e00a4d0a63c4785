"""Sign-off and recall on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import report_samples as samples
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.errors import InvalidRequest, InvalidStep, NotFound, NotReady, OutOfDate
from trabecula.programme import agreement, dxa, sign_off, tasks
from trabecula.programme.corrections import Corrections
from trabecula.programme.sign_off import Reviewer, SignedResult, Verdict
from trabecula.programme.states import Decision, ReviewStatus, TaskEvent, TaskState
from trabecula.programme.tasks import DuePolicy, PatientKey, TaskFilter
from trabecula.report import ScreeningReport
from trabecula.work.database import Database
from trabecula.work.schema import screening

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REVIEWER = Reviewer("u-17", "Dr. Ada Example")
POLICY = DuePolicy()
MRN = "urn:oid:1.2.3"
ACCEPT = Verdict(Decision.ACCEPT, seen_version=0)


@pytest.fixture(scope="module")
def constants() -> ClinicalConstants:
    return load_constants()


@pytest.fixture(scope="module")
def report() -> ScreeningReport:
    return samples.reported()


async def add_screening(connection: AsyncConnection, state: str = "reported") -> str:
    screening_id = str(uuid.uuid4())
    values = {
        "id": screening_id,
        "state": state,
        "source": "grpc",
        "fingerprint": "0" * 64,
        "instances": 1,
        "total_bytes": 1,
        "submitted_at": NOW,
        "ended_at": None if state in ("queued", "running") else NOW,
    }
    await connection.execute(insert(screening).values(values))
    return screening_id


class TestSignOff:
    async def test_an_accepted_result_is_final_and_unchanged(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            made = await sign_off.sign(connection, screening_id, ACCEPT, REVIEWER, report, constants, NOW)
        assert (made.version, made.status, made.changed) == (1, ReviewStatus.FINAL, False)
        async with database.transaction() as connection:
            assert await sign_off.list_reviews(connection, screening_id) == (made,)
            assert await sign_off.current_report(connection, screening_id, report) is report

    async def test_corrections_are_versions_laid_upon_the_machines_result(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        first = Corrections(left_out={Level.T12: "metal"})
        second = Corrections(left_out={Level.T11: "metal"})
        told: list[SignedResult] = []

        async def sink(_: AsyncConnection, result: SignedResult) -> None:
            told.append(result)

        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            for version, corrections in enumerate((first, second)):
                verdict = Verdict(Decision.CORRECT, version, corrections, "seen")
                await sign_off.sign(connection, screening_id, verdict, REVIEWER, report, constants, NOW, sinks=(sink,))
        async with database.transaction() as connection:
            reviews = await sign_off.list_reviews(connection, screening_id)
            current = await sign_off.current_report(connection, screening_id, report)
        assert [each.status for each in reviews] == [ReviewStatus.FINAL, ReviewStatus.CORRECTED]
        assert [each.corrections for each in reviews] == [first, second]
        assert current.density is not None
        assert Level.T12 in current.density.levels_used
        assert Level.T11 not in current.density.levels_used
        assert len(told[1].reports_before) == 2
        assert told[1].reports_before[0] is report

    async def test_a_rejected_result_is_entered_in_error_for_good(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            reject = Verdict(Decision.REJECT, 0, comment="another patient's scan")
            made = await sign_off.sign(connection, screening_id, reject, REVIEWER, report, constants, NOW)
            assert made.status is ReviewStatus.ENTERED_IN_ERROR
            with pytest.raises(InvalidStep):
                await sign_off.sign(
                    connection, screening_id, replace(ACCEPT, seen_version=1), REVIEWER, report, constants, NOW
                )

    async def test_of_two_decisions_at_once_the_second_is_told_to_look_again(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)

        async def decide(verdict: Verdict) -> object:
            async with database.transaction() as connection:
                return await sign_off.sign(connection, screening_id, verdict, REVIEWER, report, constants, NOW)

        reject = Verdict(Decision.REJECT, 0, comment="wrong")
        answers = await asyncio.gather(decide(ACCEPT), decide(reject), return_exceptions=True)
        assert sorted(type(each).__name__ for each in answers) == ["OutOfDate", "Review"]

    async def test_when_what_follows_fails_there_is_no_decision(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async def broken(_: AsyncConnection, __: SignedResult) -> None:
            raise OSError

        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
        with pytest.raises(OSError):  # noqa: PT011 - the sink's own
            async with database.transaction() as connection:
                await sign_off.sign(connection, screening_id, ACCEPT, REVIEWER, report, constants, NOW, sinks=(broken,))
        async with database.transaction() as connection:
            assert await sign_off.list_reviews(connection, screening_id) == ()

    @pytest.mark.parametrize(
        ("verdict", "field"),
        [
            (Verdict(Decision.REJECT, 0), "comment"),
            (Verdict(Decision.CORRECT, 0), "corrections"),
            (Verdict(Decision.ACCEPT, 0, Corrections(conclusion="x")), "corrections"),
            (Verdict(Decision.ACCEPT, 0, comment="x" * 2001), "comment"),
        ],
    )
    async def test_a_verdict_that_says_too_little_or_too_much_is_refused(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants, verdict: Verdict, field: str
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            with pytest.raises(InvalidRequest) as caught:
                await sign_off.sign(connection, screening_id, verdict, REVIEWER, report, constants, NOW)
        assert caught.value.fields["field"] == field

    async def test_only_a_result_can_be_signed(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            waiting = await add_screening(connection, "queued")
            with pytest.raises(NotReady):
                await sign_off.sign(connection, waiting, ACCEPT, REVIEWER, report, constants, NOW)
            with pytest.raises(NotFound):
                await sign_off.sign(connection, str(uuid.uuid4()), ACCEPT, REVIEWER, report, constants, NOW)

    async def test_a_screen_that_showed_an_older_version_cannot_decide(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            await sign_off.sign(connection, screening_id, ACCEPT, REVIEWER, report, constants, NOW)
            with pytest.raises(OutOfDate):
                await sign_off.sign(connection, screening_id, ACCEPT, REVIEWER, report, constants, NOW)


async def propose(connection: AsyncConnection, report: ScreeningReport) -> str | None:
    return await tasks.propose(connection, await add_screening(connection), report, MRN, NOW, POLICY)


class TestRecall:
    async def test_a_result_that_asks_for_dxa_puts_the_patient_on_the_list(
        self, database: Database, report: ScreeningReport
    ) -> None:
        async with database.transaction() as connection:
            task_id = await propose(connection, report)
            assert task_id is not None
            task = await tasks.get_task(connection, task_id)
        assert task.state is TaskState.PROPOSED
        assert task.due_at == NOW + POLICY.proposed
        assert task.patient == PatientKey(MRN, samples.identity().patient_id or "")
        assert task.rule_ids

    async def test_nobody_is_proposed_without_a_rule_or_without_an_identity(
        self, database: Database, report: ScreeningReport
    ) -> None:
        async with database.transaction() as connection:
            assert await propose(connection, replace(report, recommendations=())) is None
            nameless = replace(samples.identity(), patient_id=" ")
            assert await propose(connection, replace(report, study=nameless)) is None
            assert await propose(connection, samples.refused()) is None
            assert await tasks.list_tasks(connection, TaskFilter(), 10) == ()

    async def test_a_person_is_recalled_once_at_a_time(self, database: Database, report: ScreeningReport) -> None:
        async with database.transaction() as connection:
            first = await propose(connection, report)
            assert first is not None
            assert await propose(connection, report) is None
            steps = await tasks.list_steps(connection, first)
            assert [step.note is not None for step in steps] == [False, True]
            await tasks.step(connection, first, TaskEvent.DECLINE, "nurse", NOW, POLICY)
            assert await propose(connection, report) is not None

    async def test_reopening_beside_another_open_recall_is_refused(
        self, database: Database, report: ScreeningReport
    ) -> None:
        async with database.transaction() as connection:
            first = await propose(connection, report)
            assert first is not None
            await tasks.step(connection, first, TaskEvent.DECLINE, "nurse", NOW, POLICY)
            await propose(connection, report)
            with pytest.raises(InvalidStep):
                await tasks.step(connection, first, TaskEvent.REOPEN, "nurse", NOW, POLICY)
        async with database.transaction() as connection:
            assert (await tasks.get_task(connection, first)).state is TaskState.DECLINED

    async def test_steps_are_kept_and_set_the_next_reminder(self, database: Database, report: ScreeningReport) -> None:
        async with database.transaction() as connection:
            task_id = await propose(connection, report)
            assert task_id is not None
            later = NOW + timedelta(days=3)
            await tasks.step(connection, task_id, TaskEvent.CONTACT, "nurse", later, POLICY, note="by telephone")
            appointment = later + timedelta(days=20)
            booked = await tasks.step(connection, task_id, TaskEvent.BOOK, "nurse", later, POLICY, due_at=appointment)
            assert booked.due_at == appointment
            assert not booked.overdue(later)
            assert booked.overdue(appointment + timedelta(seconds=1))
            overdue = TaskFilter(overdue_at=appointment + timedelta(days=1))
            assert await tasks.list_tasks(connection, overdue, 10) == (booked,)
            counts = await tasks.count_tasks(connection, appointment + timedelta(days=1))
            assert (counts["booked"], counts["overdue"], counts["proposed"]) == (1, 1, 0)
            closed = await tasks.step(connection, task_id, TaskEvent.CLOSE, "nurse", later, POLICY, note="moved away")
            assert closed.due_at is None
            steps = await tasks.list_steps(connection, task_id)
        assert [step.event for step in steps] == [None, TaskEvent.CONTACT, TaskEvent.BOOK, TaskEvent.CLOSE]
        assert [step.by for step in steps] == ["trabecula", "nurse", "nurse", "nurse"]

    async def test_closing_needs_a_reason(self, database: Database, report: ScreeningReport) -> None:
        async with database.transaction() as connection:
            task_id = await propose(connection, report)
            assert task_id is not None
            with pytest.raises(InvalidRequest):
                await tasks.step(connection, task_id, TaskEvent.CLOSE, "nurse", NOW, POLICY, note=" ")

    async def test_pages_cover_every_task_once(self, database: Database, report: ScreeningReport) -> None:
        async with database.transaction() as connection:
            for number in range(7):
                person = replace(samples.identity(), patient_id=f"p{number}")
                task_id = await propose(connection, replace(report, study=person))
                assert task_id is not None
                if number % 2:
                    await tasks.step(connection, task_id, TaskEvent.DECLINE, "nurse", NOW, POLICY)
            seen: list[str] = []
            while page := await tasks.list_tasks(connection, TaskFilter(), 3, seen[-1] if seen else None):
                seen += [task.task_id for task in page]
        assert len(seen) == len(set(seen)) == 7


def dxa_study(source: str = "DiagnosticReport/1", t_score: float | None = -2.8, on: date | None = None) -> dxa.DxaStudy:
    values = () if t_score is None else (dxa.DxaValue("lumbar spine", t_score=t_score),)
    patient = PatientKey(MRN, samples.identity().patient_id or "")
    return dxa.DxaStudy(source, (patient,), on or date(2026, 11, 20), values)


class TestDxaComesBack:
    async def test_it_closes_the_recall_and_makes_one_pair(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            task_id = await propose(connection, report)
            assert task_id is not None
            task = await tasks.get_task(connection, task_id)
            reading = agreement.CtReading(task.screening_id, Category.OSTEOPOROSIS_RANGE, 71.0, date(2026, 10, 1))
            first = await agreement.receive(connection, dxa_study(), (reading,), constants, NOW, POLICY)
            again = await agreement.receive(connection, dxa_study(), (reading,), constants, NOW, POLICY)
            assert (first.task_id, first.known_before) == (task_id, False)
            assert again.known_before
            assert (await tasks.get_task(connection, task_id)).state is TaskState.DONE
            figures = await agreement.agreement(connection, constants)
        assert figures.pairs == 1
        assert figures.table["osteoporosis-range"]["osteoporosis"] == 1
        assert (figures.found.of, figures.found.out_of) == (1, 1)

    async def test_of_several_results_for_one_ct_the_lowest_t_score_counts(
        self, database: Database, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            screening_id = await add_screening(connection)
            reading = agreement.CtReading(screening_id, Category.NO_SIGN_OF_LOW_DENSITY, 130.0, date(2026, 10, 1))
            for source, score in (("a", -0.5), ("b", -2.6), ("c", None)):
                await agreement.receive(connection, dxa_study(source, score), (reading,), constants, NOW, POLICY)
            figures = await agreement.agreement(connection, constants)
        assert figures.pairs == 1
        assert figures.table["no-sign-of-low-density"]["osteoporosis"] == 1
        assert (figures.found.of, figures.found.out_of) == (0, 1)
        assert figures.without_t_score == 0

    async def test_another_patients_dxa_changes_nothing(
        self, database: Database, report: ScreeningReport, constants: ClinicalConstants
    ) -> None:
        async with database.transaction() as connection:
            task_id = await propose(connection, report)
            assert task_id is not None
            stranger = replace(dxa_study(), patients=(PatientKey("urn:other", dxa_study().patients[0].value),))
            received = await agreement.receive(connection, stranger, (), constants, NOW, POLICY)
            assert (received.task_id, received.screening_id) == (None, None)
            assert (await tasks.get_task(connection, task_id)).state is TaskState.PROPOSED


@pytest.mark.parametrize(
    ("scanned", "measured", "compared"),
    [
        (date(2026, 1, 1), date(2026, 6, 1), True),
        (date(2026, 1, 1), date(2027, 1, 1), True),
        (date(2026, 1, 1), date(2027, 1, 2), False),
        (date(2026, 6, 2), date(2026, 6, 1), False),
    ],
)
def test_ct_and_dxa_are_compared_within_a_year_and_ct_first(
    constants: ClinicalConstants, scanned: date, measured: date, compared: bool
) -> None:
    reading = agreement.CtReading("s", Category.OSTEOPOROSIS_RANGE, 70.0, scanned)
    assert (agreement.comparable(dxa_study(on=measured), (reading,), constants) is reading) is compared


def test_figures_of_known_pairs(constants: ClinicalConstants) -> None:
    pairs = [
        (-3.0, "osteoporosis-range", 60.0),
        (-1.5, "osteoporosis-range", 75.0),
        (-0.2, "severe-range-suspected", 70.0),
        (-2.5, "no-sign-of-low-density", 125.0),
        (-1.0, "no-sign-of-low-density", 140.0),
        (-2.6, "not-classified", None),
    ]
    figures = agreement.summarise(pairs, 2, constants)
    assert (figures.found.of, figures.found.out_of) == (2, 3)
    assert (figures.confirmed.of, figures.confirmed.out_of) == (2, 3)
    assert figures.table["no-sign-of-low-density"] == {"osteoporosis": 1, "low-bone-mass": 0, "normal": 1}
    low, high = figures.found.interval or (0, 0)
    # Wilson, 2 of 3, from a published table
    assert (low, high) == (pytest.approx(0.2077, abs=1e-4), pytest.approx(0.9385, abs=1e-4))
    assert figures.correlation == pytest.approx(0.0727, abs=1e-4)
    assert agreement.summarise([], 0, constants).found.interval is None
