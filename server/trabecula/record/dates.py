"""FHIR dates as periods: a date of any precision is the time from its beginning to its end (R4 3.1.1.4.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_DATE: Final = re.compile(
    r"(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"(T(?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,9}))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
END: Final = datetime(9999, 12, 31, tzinfo=UTC)

Period = tuple[datetime, datetime]
"""From (inclusive) to (exclusive), UTC."""


def period(text: str) -> Period:
    """The period of ``YYYY``, ``YYYY-MM``, ``YYYY-MM-DD`` or a time of it; without a zone UTC is meant.

    Raises:
        ValueError: if it is no FHIR date.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError("not a FHIR date")
    parts = match.groupdict()
    month, day = int(parts["month"] or 1), int(parts["day"] or 1)
    start = datetime(int(parts["year"]), month, day, tzinfo=UTC)
    if parts["hour"] is not None:
        return _of_time(start, parts)
    if parts["day"] is not None:
        return start, _add(start, timedelta(days=1))
    if parts["month"] is not None:
        following = start.replace(year=start.year + month // 12, month=month % 12 + 1) if start.year < 9999 else END
        return start, following
    return start, start.replace(year=start.year + 1) if start.year < 9999 else END


def _of_time(day: datetime, parts: dict[str, str | None]) -> Period:
    fraction = parts["fraction"]
    digits = 0 if fraction is None else min(len(fraction), 6)
    start = day.replace(
        hour=int(parts["hour"] or 0),
        minute=int(parts["minute"] or 0),
        second=min(int(parts["second"] or 0), 59),  # a leap second counts as the one before it
        microsecond=int((fraction or "0")[:6].ljust(6, "0")),
    )
    zone = parts["zone"]
    if zone is not None and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:6])
        if hours > 14 or minutes > 59:
            raise ValueError("no such time zone")
        offset = timedelta(hours=hours, minutes=minutes)
        start = _add(start, -offset if zone[0] == "+" else offset)
    if parts["second"] is None:
        return start, _add(start, timedelta(minutes=1))
    return start, _add(start, timedelta(microseconds=10 ** (6 - digits)))


def _add(moment: datetime, delta: timedelta) -> datetime:
    try:
        return moment + delta
    except OverflowError:
        return END if delta > timedelta(0) else BEGINNING


def period_of(value: Any) -> Period | None:
    """Period of a date, dateTime, instant or Period in a resource; None where it holds none."""
    if isinstance(value, str):
        try:
            return period(value)
        except ValueError:
            return None
    if isinstance(value, dict) and ("start" in value or "end" in value):
        start = period_of(value.get("start"))
        end = period_of(value.get("end"))
        return (start[0] if start else BEGINNING), (end[1] if end else END)
    return None


def instant(moment: datetime) -> str:
    """A FHIR instant in milliseconds, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
