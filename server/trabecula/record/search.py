"""Searching the record: criteria as values, one query each, pages by position and never by offset."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, cast, false, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Uuid

from trabecula.record.dates import Period
from trabecula.record.schema import audit_event, resource
from trabecula.record.store import Identity, Stored, stored_columns, stored_of

COUNTED_UP_TO: Final = 1000
"""A total is exact up to here, and left out beyond (R4 lets a server leave it out)."""


_MOMENT: Final = timedelta(milliseconds=1)


class Prefix(StrEnum):
    """R4 3.1.1.4.5: how a date is compared."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"
    AP = "ap"


@dataclass(frozen=True)
class DateBound:
    prefix: Prefix
    period: Period


@dataclass(frozen=True)
class KeyClause:
    """One of these keys, or none of them when negated."""

    keys: tuple[UUID, ...]
    negated: bool = False
    selective: bool = False
    """Whether few resources have such a key: a patient, an identifier, a study, but not a code or the device."""


@dataclass(frozen=True)
class DateClause:
    """The main date, or the time of the last change, fits one of the bounds."""

    bounds: tuple[DateBound, ...]
    last_updated: bool = False


class SortBy(StrEnum):
    LAST_UPDATED = "last_updated"
    DATE = "date_from"


@dataclass(frozen=True)
class Sort:
    by: SortBy = SortBy.LAST_UPDATED
    descending: bool = True


@dataclass(frozen=True)
class Position:
    """Where a page ended: the sort value (None for no date) and the row."""

    value: datetime | None
    seq: int


@dataclass(frozen=True)
class Criteria:
    """What is looked for. All clauses must hold."""

    type: str
    keys: tuple[KeyClause, ...] = ()
    dates: tuple[DateClause, ...] = ()
    ids: tuple[str, ...] | None = None
    compartment: tuple[UUID, ...] | None = None
    """When given, one of these keys of a patient must hold: the restriction of a patient's token."""
    sort: Sort = Sort()
    count: int = 20
    after: Position | None = None


@dataclass(frozen=True)
class Page:
    matches: tuple[Stored, ...]
    next: Position | None
    """Where to go on; None at the end."""


async def search(connection: AsyncConnection, criteria: Criteria) -> Page:
    """One page of what fits."""
    rows: list[Row[Any]] = []
    for dated in _parts(criteria):
        query = _part(criteria, dated).limit(criteria.count + 1 - len(rows))
        rows += (await connection.execute(query)).all()
        if len(rows) > criteria.count:
            break
    page = rows[: criteria.count]
    last = page[-1] if len(rows) > criteria.count and page else None
    return Page(tuple(stored_of(row) for row in page), None if last is None else Position(last.sort_value, last.seq))


def _parts(criteria: Criteria) -> tuple[bool, ...]:
    """What is read in turn: rows with a sort value and rows without, these last in falling order.

    Two queries, because one with OR over both cannot walk the index from a position on.
    """
    if criteria.sort.by is SortBy.LAST_UPDATED:
        return (True,)
    order = (True, False) if criteria.sort.descending else (False, True)
    begun = criteria.after is not None and criteria.after.value is not None
    # Beyond the first part when the position lies in the second.
    return order[1:] if criteria.after is not None and begun is not order[0] else order


def _part(criteria: Criteria, dated: bool) -> Select[Any]:
    table = _table(criteria.type)
    column, seq = table.c[criteria.sort.by.value], table.c.seq
    query = _where(stored_columns(table).add_columns(seq, column.label("sort_value")), table, criteria)
    if criteria.sort.by is SortBy.DATE:
        query = query.where(column.is_not(None) if dated else column.is_(None))
    after, falling = criteria.after, criteria.sort.descending
    if after is not None and (after.value is not None) is dated:
        here, position = (tuple_(column, seq), (after.value, after.seq)) if dated else (seq, after.seq)
        query = query.where(here < position if falling else here > position)
    by_date = criteria.sort.by is SortBy.DATE
    if falling:  # as the indexes are ordered
        return query.order_by(column.desc().nulls_last() if by_date else column.desc(), seq.desc())
    return query.order_by(column.asc().nulls_first() if by_date else column.asc(), seq.asc())


async def total(connection: AsyncConnection, criteria: Criteria, *, up_to: int | None = COUNTED_UP_TO) -> int | None:
    """How many fit; None when they are more than ``up_to``."""
    table = _table(criteria.type)
    query = _where(select(literal(1).label("one")).select_from(table), table, criteria)
    if up_to is not None:
        query = query.limit(up_to + 1)
    found = int((await connection.execute(select(func.count()).select_from(query.subquery()))).scalar_one())
    return None if up_to is not None and found > up_to else found


async def ids_of(
    connection: AsyncConnection, resource_type: str, keys: Collection[UUID], *, limit: int = 200
) -> tuple[str, ...]:
    """Ids of the resources of a type that have one of the keys; for chained parameters."""
    kind = func.concat(resource.c.type)  # see _where
    query = select(resource.c.id).where(
        kind == resource_type, ~resource.c.deleted, resource.c.search_keys.overlap(_array(keys))
    )
    return tuple((await connection.execute(query.order_by(resource.c.seq.desc()).limit(limit))).scalars())


async def fetch(
    connection: AsyncConnection, identities: Sequence[Identity], *, compartment: Collection[UUID] | None = None
) -> tuple[Stored, ...]:
    """Current resources by identity; what is not there, deleted, or outside the compartment is left out."""
    if not identities:
        return ()
    query = stored_columns(resource).where(
        tuple_(resource.c.type, resource.c.id).in_(list(identities)), ~resource.c.deleted
    )
    if compartment is not None:
        query = query.where(or_(resource.c.type == "Device", resource.c.search_keys.overlap(_array(compartment))))
    return tuple(stored_of(row) for row in await connection.execute(query.order_by(resource.c.seq)))


async def in_compartment(connection: AsyncConnection, identity: Identity, keys: Collection[UUID]) -> bool:
    """Whether the current version of a resource has one of a patient's keys."""
    table = _table(identity[0])
    query = select(literal(1)).where(
        table.c.type == identity[0], table.c.id == identity[1], table.c.search_keys.overlap(_array(keys))
    )
    return (await connection.execute(query)).first() is not None


def _table(resource_type: str) -> Any:
    return audit_event if resource_type == "AuditEvent" else resource


def _where(query: Select[Any], table: Any, criteria: Criteria) -> Select[Any]:
    # Where few rows have the key, it alone is to choose them. The planner takes every key that it has no statistics of
    # for a frequent one, and would walk all rows of the type beside it; an expression is nothing it could walk.
    kind = func.concat(table.c.type) if _is_selective(criteria) else table.c.type
    query = query.where(kind == criteria.type, ~table.c.deleted)
    # Clauses with one key each go into one containment, which the index answers in one walk.
    single = [clause.keys[0] for clause in criteria.keys if len(clause.keys) == 1 and not clause.negated]
    if single:
        query = query.where(table.c.search_keys.contains(_array(single)))
    for clause in criteria.keys:
        if clause.negated:
            query = query.where(~table.c.search_keys.overlap(_array(clause.keys)))
        elif len(clause.keys) != 1:
            query = query.where(table.c.search_keys.overlap(_array(clause.keys)))
    if criteria.compartment is not None:
        query = query.where(table.c.search_keys.overlap(_array(criteria.compartment)))
    if criteria.ids is not None:
        query = query.where(table.c.id.in_(list(criteria.ids)))
    for date in criteria.dates:
        query = query.where(or_(false(), *(_fits(table, bound, date.last_updated) for bound in date.bounds)))
    return query


def _is_selective(criteria: Criteria) -> bool:
    named = any(clause.selective and not clause.negated for clause in criteria.keys)
    return criteria.ids is None and (named or criteria.compartment is not None)


def _array(keys: Collection[UUID]) -> ColumnElement[Any]:
    return cast(list(keys), ARRAY(Uuid(as_uuid=True)))


def _fits(table: Any, bound: DateBound, last_updated: bool) -> ColumnElement[bool]:
    """R4's comparison of the resource's period [start, end) with the one asked for [low, high)."""
    low, high = bound.period
    start: ColumnElement[datetime] = table.c.last_updated if last_updated else table.c.date_from
    end: ColumnElement[datetime] = table.c.last_updated if last_updated else table.c.date_to
    if last_updated:
        # A moment lasts a millisecond; taken off the constants, so that the index can be used.
        low_end, high_end = _shifted(low, -_MOMENT), _shifted(high, -_MOMENT)
    else:
        low_end, high_end = low, high
    within = and_(start >= low, end <= high_end)
    match bound.prefix:
        case Prefix.EQ:
            return within
        case Prefix.NE:
            return or_(start < low, end > high_end)
        case Prefix.GT:
            return end > high_end
        case Prefix.LT:
            return start < low
        case Prefix.GE:
            return or_(end > high_end, within)
        case Prefix.LE:
            return or_(start < low, within)
        case Prefix.SA:
            return start >= high
        case Prefix.EB:
            return end <= low_end
        case Prefix.AP:
            slack = abs(datetime.now(UTC) - low) / 10
            return and_(start < _shifted(high, slack), end > _shifted(low_end, -slack))


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment
