"""Entries of the clinical data file and of level profiles: their types and how they are read.

In the files every table that has a ``value`` key is one constant; its id is the dotted path of that table::

    [contrast.correction.arterial]
    value = 14.0
    unit = "HU"
    source = "..."          # paper, table; or how it was computed; or whose proposal it is
    verified = true         # read in the source; false: recalled, computed from a model, or a proposal
    population = "..."      # optional, like scale and note

A value is a number, a text, true or false, a list of numbers or of texts, or a flat inline table (a "row",
for rules that have several fields).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from trabecula.errors import ClinicalDataError
from trabecula.texts import parse_toml

Field = float | str | bool | tuple[float, ...] | tuple[str, ...]

_REQUIRED: Final = frozenset({"value", "unit", "source", "verified"})
_OPTIONAL: Final = frozenset({"scale", "population", "note"})


@dataclass(frozen=True)
class Row:
    """A rule's fields by name.

    Raises:
        ClinicalDataError: on a field that is missing or of another type than asked for.
    """

    id: str
    fields: Mapping[str, Field]

    def number(self, name: str) -> float:
        value = self._field(name)
        if isinstance(value, bool) or not isinstance(value, float):
            raise ClinicalDataError(f"{self.id}.{name} is not a number")
        return value

    def text(self, name: str) -> str:
        value = self._field(name)
        if not isinstance(value, str):
            raise ClinicalDataError(f"{self.id}.{name} is not a text")
        return value

    def flag(self, name: str) -> bool:
        value = self._field(name)
        if not isinstance(value, bool):
            raise ClinicalDataError(f"{self.id}.{name} is not true or false")
        return value

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self._field(name)
        if not isinstance(value, tuple) or any(isinstance(item, str) for item in value):
            raise ClinicalDataError(f"{self.id}.{name} is not a list of numbers")
        return tuple(float(item) for item in value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._field(name)
        if not isinstance(value, tuple) or any(not isinstance(item, str) for item in value):
            raise ClinicalDataError(f"{self.id}.{name} is not a list of texts")
        return tuple(str(item) for item in value)

    def has(self, name: str) -> bool:
        return name in self.fields

    def _field(self, name: str) -> Field:
        try:
            return self.fields[name]
        except KeyError:
            raise ClinicalDataError(f"{self.id} has no field {name!r}") from None


@dataclass(frozen=True)
class ClinicalConstant:
    """One constant with what is known of it."""

    id: str
    value: Field | Row
    unit: str
    source: str
    verified: bool
    """True when the figure was read in its source; false when recalled, computed from a model, or proposed."""
    scale: str | None = None
    """``K2HPO4`` or ``HA`` for densities."""
    population: str | None = None
    note: str | None = None


def read_entries(text: str) -> tuple[Mapping[str, Any], Mapping[str, ClinicalConstant]]:
    """The ``[meta]`` table and the constants by id, in file order.

    Raises:
        ClinicalDataError: if the text is not TOML or an entry is incomplete.
    """
    try:
        document = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ClinicalDataError(f"the clinical data file is not TOML: {error}") from error
    meta = document.pop("meta", {})
    constants = {c.id: c for c in _walk("", document)}
    return meta if isinstance(meta, dict) else {}, MappingProxyType(constants)


def _walk(path: str, node: dict[str, Any]) -> Iterator[ClinicalConstant]:
    if "value" in node:
        yield _constant(path, node)
        return
    for name, child in node.items():
        child_path = f"{path}.{name}" if path else name
        if not isinstance(child, dict):
            raise ClinicalDataError(f"{child_path} stands outside a constant (a table with a 'value')", id=child_path)
        yield from _walk(child_path, child)


def _constant(path: str, node: dict[str, Any]) -> ClinicalConstant:
    missing, unknown = _REQUIRED - node.keys(), node.keys() - _REQUIRED - _OPTIONAL
    if missing or unknown:
        detail = f"{path}: missing {sorted(missing)}, unknown {sorted(unknown)}"
        raise ClinicalDataError(detail, id=path)
    texts = {name: node[name] for name in ("unit", "source", *(_OPTIONAL & node.keys()))}
    if any(not isinstance(t, str) or not t.strip() for t in texts.values()) or not isinstance(node["verified"], bool):
        raise ClinicalDataError(f"{path}: unit, source and notes are texts, verified is true or false", id=path)
    return ClinicalConstant(id=path, value=_value(path, node["value"]), verified=node["verified"], **texts)


def _value(path: str, raw: Any) -> Field | Row:
    if isinstance(raw, dict):
        return Row(path, MappingProxyType({name: _field(f"{path}.{name}", item) for name, item in raw.items()}))
    return _field(path, raw)


def _field(path: str, raw: Any) -> Field:
    if isinstance(raw, bool | str):
        return raw
    if isinstance(raw, int | float) and math.isfinite(raw):
        return float(raw)
    if isinstance(raw, list):
        items = [_field(path, item) for item in raw]
        if all(isinstance(item, str) for item in items):
            return tuple(str(item) for item in items)
        if all(isinstance(item, float) for item in items):
            return tuple(item for item in items if isinstance(item, float))
    raise ClinicalDataError(f"{path}: a value of this kind is not allowed", id=path)
