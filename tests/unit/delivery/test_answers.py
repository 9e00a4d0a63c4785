"""What an answer means, and how long to wait after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.delivery.answers import (
    MAX_RETRY_AFTER_S,
    Answer,
    Setback,
    Verdict,
    expect_ok,
    reason_of,
    retry_after_s,
    verdict_of,
)
from trabecula.delivery.backoff import delay_s, pause_s
from trabecula.delivery.destinations import Limits

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TABLE = {
    Verdict.OK: (200, 201, 202, 204),
    Verdict.UNAUTHORIZED: (401,),
    Verdict.LOWER: (405, 501),
    Verdict.RETRY: (408, 425, 429, 500, 502, 503, 504, 507, 509, 599),
    Verdict.PARK: (301, 302, 303, 307, 308, 400, 402, 403, 404, 406, 409, 410, 412, 413, 415, 418, 422, 428, 451),
}


@pytest.mark.parametrize(("verdict", "status"), [(v, s) for v, statuses in TABLE.items() for s in statuses])
def test_verdict_by_status(verdict: Verdict, status: int) -> None:
    assert verdict_of(Answer(status, None)) is verdict


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_server_that_says_not_supported_is_tried_another_way(status: int) -> None:
    issue = {"severity": "error", "code": "not-supported"}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    assert verdict_of(Answer(status, outcome)) is Verdict.LOWER
    mixed = {"resourceType": "OperationOutcome", "issue": [issue, {"severity": "error", "code": "invalid"}]}
    assert verdict_of(Answer(status, mixed)) is Verdict.PARK


def test_the_outcome_is_kept_and_not_shown() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "CANARY Jane Roe"}]}
    with pytest.raises(Setback) as caught:
        expect_ok(Answer(422, outcome), NOW)
    assert caught.value.outcome == outcome
    assert "CANARY" not in f"{caught.value} {caught.value.client_message} {caught.value!r}"
    assert reason_of(Answer(422, outcome)) == "content-refused"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("99999999999999999999999", MAX_RETRY_AFTER_S),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("٣", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@given(st.text(max_size=60))
def test_no_header_is_too_odd(header: str) -> None:
    found = retry_after_s(header, NOW)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER_S


@given(
    failures=st.integers(1, 500),
    chance=st.floats(0, 1, exclude_max=True),
    after=st.none() | st.floats(0, MAX_RETRY_AFTER_S),
)
def test_delays_are_jittered_bounded_and_never_before_the_servers_wish(
    failures: int, chance: float, after: float | None
) -> None:
    limits = Limits()
    found = delay_s(limits, failures, lambda: chance, after)
    if after is None:
        assert 1.0 <= found <= max(1.0, min(limits.max_delay_s, limits.first_delay_s * 2.0 ** min(failures - 1, 60)))
    else:
        assert after <= found <= after * 1.25 + limits.max_delay_s


def test_delays_double() -> None:
    assert [delay_s(Limits(), n, lambda: 0.999) for n in (1, 2, 3, 20)] == pytest.approx(
        [9.99, 19.98, 39.96, 3596.4], rel=1e-3
    )


def test_the_breaker_opens_at_its_number_of_failures() -> None:
    limits = Limits(breaker_failures=3, breaker_pause_s=60.0, max_delay_s=300.0)
    assert [pause_s(limits, n) for n in (0, 2, 3, 4, 5, 6, 90)] == [0.0, 0.0, 60.0, 120.0, 240.0, 300.0, 300.0]
