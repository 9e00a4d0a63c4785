"""CT beside DXA: a DXA result closes the recall and becomes one pair for the quality figures."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.assessment.assessment import Category
from trabecula.clinical import ClinicalConstants
from trabecula.programme.dxa import DxaStudy
from trabecula.programme.schema import dxa_result, dxa_task
from trabecula.programme.states import TaskEvent, TaskState
from trabecula.programme.tasks import MACHINE, DuePolicy, PatientKey, step

Z_95: Final = 1.959964
"""Normal quantile of a 95 % interval (Wilson)."""


class DxaClass(StrEnum):
    """WHO's classes of a DXA T-score."""

    OSTEOPOROSIS = "osteoporosis"
    LOW_BONE_MASS = "low-bone-mass"
    NORMAL = "normal"


@dataclass(frozen=True)
class CtReading:
    """What a CT had said of a patient."""

    screening_id: str
    category: Category
    lumbar_equivalent_mg_cm3: float | None
    scanned_on: date | None


@dataclass(frozen=True)
class Received:
    """What became of an incoming DXA result."""

    source: str
    known_before: bool
    task_id: str | None
    """The recall that it closed."""
    screening_id: str | None
    """The CT that it can be compared with."""
    closed: tuple[str, ...] = ()
    """All recalls that it closed."""


@dataclass(frozen=True)
class Share:
    """A proportion with its 95 % interval (Wilson); the numbers are None without cases."""

    of: int
    out_of: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper bound."""
        if not self.out_of:
            return None
        n, p = self.out_of, self.of / self.out_of
        centre = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Agreement:
    """Quality figures over all pairs."""

    pairs: int
    table: Mapping[str, Mapping[str, int]]
    """CT category, then DXA class: number of people."""
    found: Share
    """People with osteoporosis by DXA whose CT asked for attention (any range but no sign)."""
    confirmed: Share
    """People whose CT named the osteoporosis range, of whom DXA found osteoporosis or low bone mass."""
    correlation: float | None
    """Pearson's, of lumbar-equivalent density and lowest T-score; None under three pairs."""
    without_t_score: int
    """DXA results that named no T-score."""


def dxa_class(t_score: float, constants: ClinicalConstants) -> DxaClass:
    """WHO class of a DXA T-score."""
    if t_score <= constants.number("programme.dxa.osteoporosis_at_most_t_score"):
        return DxaClass.OSTEOPOROSIS
    if t_score >= constants.number("programme.dxa.normal_at_least_t_score"):
        return DxaClass.NORMAL
    return DxaClass.LOW_BONE_MASS


def comparable(study: DxaStudy, readings: Sequence[CtReading], constants: ClinicalConstants) -> CtReading | None:
    """The last CT before the DXA, if it is near enough in time to be compared."""
    longest = constants.number("programme.dxa.longest_days_after_ct")
    if study.measured_on is None:
        return None
    dated = [reading for reading in readings if reading.scanned_on is not None]
    before = [
        (days, reading) for reading in dated if 0 <= (days := _days(study.measured_on, reading.scanned_on)) <= longest
    ]
    return min(before, key=lambda pair: pair[0])[1] if before else None


async def receive(
    connection: AsyncConnection,
    study: DxaStudy,
    readings: Sequence[CtReading],
    constants: ClinicalConstants,
    at: datetime,
    policy: DuePolicy,
) -> Received:
    """Keep one DXA result: close the patient's open recalls, record the pair with the CT. Twice changes nothing.

    Args:
        readings: what the record holds of this patient.
    """
    reading = comparable(study, readings, constants)
    tasks = await _open_tasks(connection, study.patients)
    patient = next((key for key, _ in tasks), study.patients[0])
    values: dict[str, Any] = {
        "source": study.source,
        "patient_system": patient.system,
        "patient_value": patient.value,
        "task_id": tasks[0][1] if tasks else None,
        "screening_id": reading.screening_id if reading else None,
        "measured_on": study.measured_on,
        "lowest_t_score": study.lowest_t_score,
        "values": [asdict(value) for value in study.values],
        "ct_category": reading.category.value if reading else None,
        "ct_lumbar_equivalent_mg_cm3": reading.lumbar_equivalent_mg_cm3 if reading else None,
        "days_after_ct": _days(study.measured_on, reading.scanned_on) if reading and study.measured_on else None,
        "received_at": at,
    }
    query = insert(dxa_result).values(values).on_conflict_do_nothing().returning(dxa_result.c.id)
    if (await connection.execute(query)).scalar_one_or_none() is None:
        return Received(study.source, True, None, None)
    for _, task_id in tasks:
        await step(connection, task_id, TaskEvent.DXA_RESULT, MACHINE, at, policy, note=f"DXA of {study.measured_on}")
    closed = tuple(task_id for _, task_id in tasks)
    return Received(study.source, False, values["task_id"], values["screening_id"], closed)


async def agreement(connection: AsyncConnection, constants: ClinicalConstants) -> Agreement:
    """CT against DXA over all results that came back, one pair for each patient and CT (the lowest T-score)."""
    columns = dxa_result.c
    query = select(
        columns.screening_id, columns.lowest_t_score, columns.ct_category, columns.ct_lumbar_equivalent_mg_cm3
    )
    rows = (await connection.execute(query.where(columns.ct_category.is_not(None)))).all()
    pairs: dict[str, tuple[float, str, float | None]] = {}
    for row in rows:
        if row.lowest_t_score is None:
            continue
        before = pairs.get(row.screening_id)
        if before is None or row.lowest_t_score < before[0]:
            pairs[row.screening_id] = (row.lowest_t_score, row.ct_category, row.ct_lumbar_equivalent_mg_cm3)
    without = len({row.screening_id for row in rows} - set(pairs))
    return summarise(list(pairs.values()), without, constants)


def summarise(
    pairs: Sequence[tuple[float, str, float | None]], without_t_score: int, constants: ClinicalConstants
) -> Agreement:
    """Figures of (lowest T-score, CT category, lumbar-equivalent density) pairs."""
    table: dict[str, Counter[str]] = {category.value: Counter() for category in Category}
    for t_score, category, _ in pairs:
        table[category][dxa_class(t_score, constants).value] += 1
    quiet = {Category.NO_SIGN_OF_LOW_DENSITY.value}
    named = {Category.OSTEOPOROSIS_RANGE.value, Category.SEVERE_RANGE_SUSPECTED.value}
    ill = sum(row[DxaClass.OSTEOPOROSIS.value] for row in table.values())
    found = sum(row[DxaClass.OSTEOPOROSIS.value] for name, row in table.items() if name not in quiet)
    low = sum(
        row[DxaClass.OSTEOPOROSIS.value] + row[DxaClass.LOW_BONE_MASS.value]
        for name, row in table.items()
        if name in named
    )
    points = [(density, t_score) for t_score, _, density in pairs if density is not None]
    return Agreement(
        pairs=len(pairs),
        table={name: {kind.value: row[kind.value] for kind in DxaClass} for name, row in table.items()},
        found=Share(found, ill),
        confirmed=Share(low, sum(sum(table[name].values()) for name in named)),
        correlation=_correlation(points),
        without_t_score=without_t_score,
    )


async def _open_tasks(connection: AsyncConnection, patients: Sequence[PatientKey]) -> list[tuple[PatientKey, str]]:
    found = []
    for key in patients:
        query = select(dxa_task.c.id).where(
            dxa_task.c.patient_system == key.system,
            dxa_task.c.patient_value == key.value,
            dxa_task.c.state.not_in([TaskState.DONE.value, TaskState.CLOSED.value]),
        )
        found += [(key, row.id) for row in await connection.execute(query.order_by(dxa_task.c.created_at.desc()))]
    return found


def _days(later: date, earlier: date | None) -> int:
    return (later - earlier).days if earlier is not None else -1


def _correlation(points: Sequence[tuple[float, float]]) -> float | None:
    if len(points) < 3:  # two points always lie on a line
        return None
    try:
        return statistics.correlation([x for x, _ in points], [y for _, y in points])
    except statistics.StatisticsError:  # one of them does not vary
        return None
