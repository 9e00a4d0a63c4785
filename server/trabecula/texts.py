"""TOML and JSON that people and other programs wrote: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final, NoReturn

_TOO_DEEP: Final = "nested too deeply"
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def parse_toml(text: str) -> dict[str, Any]:
    """Like :func:`tomllib.loads`, and text that is nested too deeply is a TOMLDecodeError too."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError(_TOO_DEEP) from None


def parse_json(text: str | bytes) -> Any:
    """Like :func:`json.loads`, and text that is nested too deeply is a ValueError too."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_foreign_json(text: str | bytes) -> Any:
    """Like :func:`parse_json`, for what another program answered and the database may keep.

    NaN, infinities, U+0000 and halves of surrogate pairs, which RFC 8259 or PostgreSQL do not know, are a ValueError.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
        if not is_storable(value):
            raise ValueError("a text or number that cannot be kept")
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return value


def is_storable(value: Any) -> bool:
    """Whether FHIR and PostgreSQL know every text and number in parsed JSON (FHIR R4, datatypes: string, decimal)."""
    if isinstance(value, str):
        return "\0" not in value and not _SURROGATES.search(value)
    if isinstance(value, float):
        return value - value == 0.0  # JSON's 1e999 becomes an infinity
    if isinstance(value, dict):
        return all(is_storable(name) and is_storable(each) for name, each in value.items())
    return all(is_storable(each) for each in value) if isinstance(value, list) else True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
