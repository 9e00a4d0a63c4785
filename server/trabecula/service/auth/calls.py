"""The one table of RPCs: what a caller needs for each, and how the record of accesses tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class CallScope(StrEnum):
    """What a token's ``scope`` (or ``roles``) or the entry of a certificate grants."""

    SUBMIT = "screening.submit"
    """Send studies, and cancel them."""
    READ = "screening.read"
    """See screenings, reports and documents."""
    ADMIN_READ = "admin.read"
    """See jobs, and check the database."""
    ADMIN = "admin"
    """Everything that operators do; holds ``admin.read``."""


EVERYTHING: Final = frozenset(CallScope)

ScreeningIds = Callable[[Any, Any], Iterable[str]]
"""From request and (first) response to the screenings that were seen."""


@dataclass(frozen=True)
class CallRule:
    """One RPC."""

    scope: CallScope
    interaction: str | None
    """R4 restful-interaction of its AuditEvent; None where nothing of a patient is seen or changed."""
    action: str = "E"
    """R4 audit-event-action: C, R, U, D or E."""
    resource_type: str | None = "DiagnosticReport"
    """What its AuditEvent names; None for what is done to the whole installation, which is named by the method."""
    screenings: ScreeningIds = lambda _request, _response: ()


def _asked(request: Any, _response: Any) -> Iterable[str]:
    return (request.screening_id,)


def _made(_request: Any, response: Any) -> Iterable[str]:
    return (response.screening_id,)


def _listed(_request: Any, response: Any) -> Iterable[str]:
    return (each.screening_id for each in response.summaries)


def _jobs(_request: Any, response: Any) -> Iterable[str]:
    return (each.screening_id for each in response.jobs)


_SCREENING: Final = "/trabecula.v1.ScreeningService/"
_ADMIN: Final = "/trabecula.v1.AdminService/"

CALLS: Final[Mapping[str, CallRule]] = {
    _SCREENING + "SubmitStudy": CallRule(CallScope.SUBMIT, "create", "C", "ImagingStudy", _made),
    _SCREENING + "GetScreening": CallRule(CallScope.READ, "read", "R", screenings=_asked),
    _SCREENING + "WatchScreening": CallRule(CallScope.READ, "read", "R", screenings=_asked),
    _SCREENING + "ListScreenings": CallRule(CallScope.READ, "search-type", "E", screenings=_listed),
    _SCREENING + "CancelScreening": CallRule(CallScope.SUBMIT, "update", "U", screenings=_asked),
    _SCREENING + "GetDocument": CallRule(CallScope.READ, "read", "R", screenings=_asked),
    _ADMIN + "ListJobs": CallRule(CallScope.ADMIN_READ, "search-type", "E", screenings=_jobs),
    _ADMIN + "GetJob": CallRule(CallScope.ADMIN_READ, "read", "R", screenings=_asked),
    _ADMIN + "RetryJob": CallRule(CallScope.ADMIN, "update", "U", screenings=_asked),
    _ADMIN + "CancelJob": CallRule(CallScope.ADMIN, "update", "U", screenings=_asked),
    _ADMIN + "SetLegalHold": CallRule(CallScope.ADMIN, "update", "U", screenings=_asked),
    _ADMIN + "CollectGarbage": CallRule(CallScope.ADMIN, "operation", "E", None),
    _ADMIN + "CheckDatabase": CallRule(CallScope.ADMIN_READ, None),  # counts and hashes alone
    _ADMIN + "UpgradeDatabase": CallRule(CallScope.ADMIN, "operation", "E", None),
    _ADMIN + "BackupDatabase": CallRule(CallScope.ADMIN, "operation", "E", None),
    _ADMIN + "RestoreDatabase": CallRule(CallScope.ADMIN, "operation", "E", None),
}
"""A method that is not here is served to nobody. A test holds the table to the proto."""


def granted(words: Iterable[str]) -> frozenset[CallScope]:
    """The scopes among the words of a token or a clients file; others grant nothing here."""
    known = {scope.value for scope in CallScope}
    found = {CallScope(word) for word in words if word in known}
    return frozenset(found | ({CallScope.ADMIN_READ} if CallScope.ADMIN in found else set()))
