"""What a server's answer means for a delivery, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from trabecula.errors import TrabeculaError

Json = dict[str, Any]


class Verdict(StrEnum):
    OK = "ok"
    RETRY = "retry"
    """It may pass by itself."""
    PARK = "park"
    """Only a person can mend it."""
    UNAUTHORIZED = "unauthorized"
    """A new access token may help, once."""
    LOWER = "lower"
    """The server does not do it this way; the next rung of the ladder may."""


class Setback(TrabeculaError):
    """The delivery did not get through."""

    code = "delivery-setback"
    remedy = "docs/delivery.md lists the reasons."

    def __init__(
        self,
        verdict: Verdict,
        reason: str,
        *,
        status: int | None = None,
        outcome: Json | None = None,
        retry_after_s: float | None = None,
        resource_type: str | None = None,
    ) -> None:
        super().__init__("", reason=reason, status=status)
        self.verdict = verdict
        self.reason = reason
        """A code from docs/delivery.md; never content of an answer."""
        self.status = status
        self.outcome = outcome
        """The server's OperationOutcome; may quote patient data, so it is kept in the database only."""
        self.retry_after_s = retry_after_s
        self.resource_type = resource_type
        """The one type that was being written, where it was one."""


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    body: Json | None
    """The JSON object, when it was one of a JSON media type."""
    location: str | None = None
    retry_after: str | None = None

    @property
    def outcome(self) -> Json | None:
        """Its OperationOutcome."""
        if self.body is not None and self.body.get("resourceType") == "OperationOutcome":
            return self.body
        return None


_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509})
_PARKED: Final[Mapping[int, str]] = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    409: "conflict",
    410: "gone",
    412: "several-matches",
    413: "too-large",
    415: "media-type-refused",
    422: "content-refused",
}
_NOT_THIS_WAY: Final = frozenset({405, 501})
_UNSUPPORTED: Final = frozenset({"not-supported"})
"""OperationOutcome.issue.code with which a server says that it does not do this at all."""


def verdict_of(answer: Answer) -> Verdict:
    """What an answer to a write means."""
    status = answer.status
    if 200 <= status < 300:
        return Verdict.OK
    if status == 401:
        return Verdict.UNAUTHORIZED
    if status in _NOT_THIS_WAY:
        return Verdict.LOWER
    if status in (400, 404, 422) and _says_unsupported(answer.outcome):
        return Verdict.LOWER
    if status in _RETRIED or status >= 500:
        return Verdict.RETRY
    return Verdict.PARK


def reason_of(answer: Answer) -> str:
    """Code for an answer that is no success."""
    if 300 <= answer.status < 400:
        return "redirected"
    if answer.status == 401:
        return "unauthorized"
    if answer.status in (408, 425, 504):
        return "timed-out"
    if answer.status == 429:
        return "too-many-requests"
    if answer.status >= 500:
        return "server-error"
    return _PARKED.get(answer.status, "refused")


def expect_ok(answer: Answer, now: datetime, resource_type: str | None = None) -> Answer:
    """The answer itself when it is a success.

    Raises:
        Setback: with the verdict of the table.
    """
    verdict = verdict_of(answer)
    if verdict is Verdict.OK:
        return answer
    wait = retry_after_s(answer.retry_after, now) if verdict is Verdict.RETRY else None
    raise Setback(
        verdict,
        reason_of(answer),
        status=answer.status,
        outcome=answer.outcome,
        retry_after_s=wait,
        resource_type=resource_type,
    )


def _says_unsupported(outcome: Json | None) -> bool:
    listed = outcome.get("issue") if outcome else None
    issues = listed if isinstance(listed, list) else []
    errors = [issue for issue in issues if isinstance(issue, dict) and str(issue.get("severity")) in ("error", "fatal")]
    return bool(errors) and all(str(issue.get("code")) in _UNSUPPORTED for issue in errors)


MAX_RETRY_AFTER_S: Final = 6 * 3600.0
"""A longer wait than this is not believed."""


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110 10.2.3: seconds or a date); None when it is of no use."""
    text = (header or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):  # as email.utils meets odd dates
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
