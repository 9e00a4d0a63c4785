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


@pytest.mark.parametrize("body", [rb'{"id": "\u00001"}', rb'{"a": [{"b\u0000": 1}]}', rb'{"a": ["\ud83d"]}'])
def test_texts_that_neither_fhir_nor_the_database_know_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(body)
    assert parse_json(rb'{"a": "\ud83d\ude00", "b": "\\u0000"}')
