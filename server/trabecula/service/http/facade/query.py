"""Search parameters of a request as typed criteria (R4 3.1.1). No text a client sends reaches the database as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from trabecula.errors import InvalidRequest
from trabecula.record.dates import period
from trabecula.record.keys import (
    any_system_key,
    code_key,
    identifier_parameter,
    reference_id_key,
    reference_key,
    system_key,
)
from trabecula.record.parameters import Kind, SearchParameter, is_selective, parameters_of
from trabecula.record.search import Criteria, DateBound, DateClause, KeyClause, Prefix, Sort, SortBy
from trabecula.service.http.facade.interactions import (
    DEFAULT_COUNT,
    IGNORED_PARAMETERS,
    MAX_COUNT,
    includes,
    main_date,
    reverse_includes,
)

Pairs = Sequence[tuple[str, str]]
"""Parameters by name in the order sent."""

MAX_PARAMETERS: Final = 50
MAX_ALTERNATIVES: Final = 200
MAX_VALUE: Final = 2048
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)
_SHOWN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_PREFIX: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=\d)")


@dataclass(frozen=True)
class Chain:
    """``reference.identifier=``: the resource that is referred to has one of these identifiers."""

    parameter: str
    targets: tuple[str, ...]
    identifier_keys: tuple[UUID, ...]
    direct_keys: tuple[UUID, ...]
    """For references that carry the identifier themselves."""


@dataclass(frozen=True)
class Query:
    """A search as understood."""

    criteria: Criteria
    chains: tuple[Chain, ...] = ()
    includes: tuple[tuple[str, str, str | None], ...] = ()
    """Source type, parameter, and target type when only that is wanted."""
    reverse_includes: tuple[tuple[str, str], ...] = ()
    total: str = "estimate"
    count_only: bool = False
    elements: tuple[str, ...] = ()
    understood: tuple[tuple[str, str], ...] = ()
    """For the self link."""
    ignored: tuple[str, ...] = ()
    """Names that were passed over, as far as they may be shown."""


@dataclass
class _Building:
    query: Query
    strict: bool
    keys: list[KeyClause] = field(default_factory=list)
    dates: list[DateClause] = field(default_factory=list)
    ids: set[str] | None = None
    chains: list[Chain] = field(default_factory=list)
    understood: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def refuse(self, name: str, why: str) -> None:
        """An unknown or unusable parameter: an error, or passed over when the client asked for that."""
        if self.strict:
            raise InvalidRequest(field=shown(name), why=why)
        self.ignored.append(shown(name))


def parse_query(resource_type: str, pairs: Pairs, *, strict: bool = True) -> Query:
    """The search that the parameters describe.

    Args:
        strict: whether a parameter that is not known is an error (``Prefer: handling=strict``).

    Raises:
        InvalidRequest: for a value that cannot be read, always; names the parameter, never its value.
    """
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequest(why="too many parameters", at_most=MAX_PARAMETERS)
    building = _Building(Query(Criteria(resource_type, count=DEFAULT_COUNT)), strict)
    known = parameters_of(resource_type)
    for name, value in pairs:
        if name in IGNORED_PARAMETERS:
            continue
        if len(value) > MAX_VALUE or "\x00" in value:
            raise InvalidRequest(field=shown(name), why="value too long or not text")
        if not value:
            building.refuse(name, "no value")
            continue
        before = len(building.ignored)
        if name in _RESULT:
            building.query = _RESULT[name](building, resource_type, name, value)
        else:
            _criterion(building, known, name, value)
        if len(building.ignored) == before:
            building.understood.append((name, value))
    return _built(building)


def _built(building: _Building) -> Query:
    criteria = replace(
        building.query.criteria,
        keys=tuple(building.keys),
        dates=tuple(building.dates),
        ids=None if building.ids is None else tuple(sorted(building.ids)),
    )
    alternatives = sum(len(clause.keys) for clause in criteria.keys) + len(criteria.ids or ())
    alternatives += sum(len(clause.bounds) for clause in criteria.dates)
    if alternatives > MAX_ALTERNATIVES:
        raise InvalidRequest(why="too many values", at_most=MAX_ALTERNATIVES)
    return replace(
        building.query,
        criteria=criteria,
        chains=tuple(building.chains),
        understood=tuple(building.understood),
        ignored=tuple(dict.fromkeys(building.ignored)),
    )


def shown(name: str) -> str:
    """A parameter's name as it may be repeated to the client: a known alphabet, bounded."""
    return name if _SHOWN.fullmatch(name) else "?"


def _criterion(building: _Building, known: Mapping[str, SearchParameter], name: str, value: str) -> None:
    base, _, modifier = name.partition(":")
    base, _, chained = base.partition(".")
    if not chained and "." in modifier:
        modifier, _, chained = modifier.partition(".")
    if base == "_id" and not modifier and not chained:
        found = set(_alternatives(name, value))
        if not all(_ID.fullmatch(each) for each in found):
            raise InvalidRequest(field="_id", why="not an id")
        building.ids = found if building.ids is None else building.ids & found
    elif base == "_lastUpdated" and not modifier and not chained:
        building.dates.append(DateClause(_bounds(name, value), last_updated=True))
    elif base not in known:
        building.refuse(name, "not a search parameter of this type")
    else:
        _of_kind(building, known[base], name, modifier, chained, value)


def _of_kind(
    building: _Building, parameter: SearchParameter, name: str, modifier: str, chained: str, value: str
) -> None:
    if parameter.kind is Kind.DATE and not modifier and not chained:
        building.dates.append(DateClause(_bounds(name, value)))
    elif parameter.kind is Kind.URI and not modifier and not chained:
        keys = tuple(code_key(parameter.name, "", each) for each in _alternatives(name, value))
        building.keys.append(KeyClause(keys))
    elif parameter.kind is Kind.TOKEN and modifier in ("", "not") and not chained:
        keys = tuple(_token(parameter.name, each) for each in _alternatives(name, value))
        building.keys.append(KeyClause(keys, negated=modifier == "not", selective=is_selective(parameter)))
    elif parameter.kind is Kind.REFERENCE:
        _reference(building, parameter, name, modifier, chained, value)
    else:
        building.refuse(name, "modifier or chain not supported")


def _reference(
    building: _Building, parameter: SearchParameter, name: str, modifier: str, chained: str, value: str
) -> None:
    values = _alternatives(name, value)
    by_identifier = modifier == "identifier" or chained == "identifier"
    if by_identifier and (modifier in ("", "identifier", *parameter.targets)) and chained in ("", "identifier"):
        direct = tuple(_token(identifier_parameter(parameter.name), each) for each in values)
        if chained and parameter.targets != ("Patient",):
            targets = (modifier,) if modifier else parameter.targets
            keys = tuple(_token("identifier", each) for each in values)
            building.chains.append(Chain(parameter.name, targets, keys, direct))
        else:
            building.keys.append(KeyClause(direct, selective=True))
    elif not chained and (not modifier or modifier in parameter.targets):
        found = tuple(_target(parameter, modifier, each) for each in values)
        building.keys.append(KeyClause(found, selective=is_selective(parameter)))
    else:
        building.refuse(name, "modifier or chain not supported")


def _target(parameter: SearchParameter, kind: str, value: str) -> UUID:
    """``id``, ``Type/id`` or an absolute address."""
    if "/" in value or ":" in value:
        return reference_key(parameter.name, value)
    kind = kind or (parameter.targets[0] if len(parameter.targets) == 1 else "")
    return reference_key(parameter.name, f"{kind}/{value}") if kind else reference_id_key(parameter.name, value)


def _token(parameter: str, value: str) -> UUID:
    """``code``, ``system|code``, ``|code`` or ``system|``."""
    parts = _split(value, "|")
    if len(parts) == 1:
        return any_system_key(parameter, _unescaped(parts[0]))
    system, code = _unescaped(parts[0]), _unescaped("|".join(parts[1:]))
    if not code:
        return system_key(parameter, system)
    return code_key(parameter, system, code)


def _alternatives(name: str, value: str) -> list[str]:
    """Values between commas, each still with its escapes."""
    found = _split(value, ",")
    if any(not each for each in found):
        raise InvalidRequest(field=shown(name), why="an empty value between commas")
    return found


def _split(value: str, separator: str) -> list[str]:
    """Parts between separators that no backslash stands before."""
    parts, current, escaped = [], "", False
    for character in value:
        if character == separator and not escaped:
            parts.append(current)
            current = ""
            continue
        escaped = character == "\\" and not escaped
        current += character
    return [*parts, current]


def _unescaped(value: str) -> str:
    return re.sub(r"\\([\\,|$])", r"\1", value)


def _bounds(name: str, value: str) -> tuple[DateBound, ...]:
    found = []
    for each in _alternatives(name, value):
        match = _PREFIX.match(each)
        # A form decoder makes a space of the + before a time zone.
        text = (each[2:] if match else each).replace(" ", "+")
        try:
            found.append(DateBound(Prefix(match[1] if match else "eq"), period(text)))
        except (ValueError, OverflowError):
            raise InvalidRequest(field=shown(name), why="not a date") from None
    return tuple(found)


# What shapes the answer, not the criteria


def _count(building: _Building, resource_type: str, name: str, value: str) -> Query:  # noqa: ARG001
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise InvalidRequest(field=name, why="not a count")
    count = min(int(value), MAX_COUNT)
    criteria = replace(building.query.criteria, count=max(count, 1))
    return replace(building.query, criteria=criteria, count_only=building.query.count_only or count == 0)


def _sort(building: _Building, resource_type: str, name: str, value: str) -> Query:
    descending = value.startswith("-")
    by = {"_lastUpdated": SortBy.LAST_UPDATED, main_date(resource_type): SortBy.DATE}.get(value.removeprefix("-"))
    if by is None:
        building.refuse(name, "sorts by _lastUpdated or the type's date, one of them")
        return building.query
    return replace(building.query, criteria=replace(building.query.criteria, sort=Sort(by, descending)))


def _include(building: _Building, resource_type: str, name: str, value: str) -> Query:
    parts = value.split(":")
    if len(parts) not in (2, 3) or ":".join(parts[:2]) not in includes(resource_type):
        building.refuse(name, "this include is not offered")
        return building.query
    found = (parts[0], parts[1], parts[2] if len(parts) == 3 else None)
    return replace(building.query, includes=(*building.query.includes, found))


def _revinclude(building: _Building, resource_type: str, name: str, value: str) -> Query:
    if value not in reverse_includes(resource_type):
        building.refuse(name, "this include is not offered")
        return building.query
    source, _, parameter = value.partition(":")
    return replace(building.query, reverse_includes=(*building.query.reverse_includes, (source, parameter)))


def _total(building: _Building, resource_type: str, name: str, value: str) -> Query:  # noqa: ARG001
    if value not in ("none", "estimate", "accurate"):
        raise InvalidRequest(field=name, why="none, estimate or accurate")
    return replace(building.query, total=value)


def _summary(building: _Building, resource_type: str, name: str, value: str) -> Query:  # noqa: ARG001
    if value not in ("count", "false"):
        building.refuse(name, "count or false")
        return building.query
    return replace(building.query, count_only=value == "count")


def _elements(building: _Building, resource_type: str, name: str, value: str) -> Query:  # noqa: ARG001
    found = tuple(each.strip() for each in value.split(","))
    if not all(re.fullmatch(r"[A-Za-z]{1,64}", each, re.ASCII) for each in found):
        raise InvalidRequest(field=name, why="names of elements, commas between")
    return replace(building.query, elements=found)


_RESULT: Final = {
    "_count": _count,
    "_sort": _sort,
    "_include": _include,
    "_revinclude": _revinclude,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
}
