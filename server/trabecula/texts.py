"""TOML and JSON that people and other programs wrote: whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
import tomllib
from typing import Any

_TOO_DEEP = "nested too deeply"


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
