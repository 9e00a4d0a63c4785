"""Bodies are bounded in depth before they are read."""

from __future__ import annotations

import pytest

from trabecula.errors import InvalidRequest
from trabecula.service.http.facade.negotiate import MAX_DEPTH, parse_json


def test_depth_is_bounded_and_brackets_in_text_do_not_count() -> None:
    fits = b'{"a": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert parse_json(fits)
    assert parse_json(b'{"a": "' + b"[" * 500 + rb"\"[[" + b'"}')
    with pytest.raises(InvalidRequest):
        parse_json(b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")
