"""What the pages need, given once at the edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from trabecula.clinical import ClinicalConstants
from trabecula.programme.sign_off import SignOffSink
from trabecula.programme.tasks import DEFAULT_POLICY, DuePolicy
from trabecula.service.auth.local_users import Users
from trabecula.service.auth.sessions import Sessions
from trabecula.service.http.pages.throttle import Throttle
from trabecula.work.content import ContentStore
from trabecula.work.database import Database


@dataclass(frozen=True)
class PageAccess:
    """Somebody looked at, or changed, what is known of a patient. For the audit trail."""

    person_id: str
    person_name: str
    action: str
    """``read``, ``update`` or ``export``."""
    screening_id: str | None
    """None where it was a list."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Pages:
    """The pages' surroundings."""

    database: Database
    content: ContentStore
    constants: ClinicalConstants
    users: Users
    sessions: Sessions
    throttle: Throttle
    sinks: tuple[SignOffSink, ...] = ()
    """What follows a decision, in its transaction."""
    policy: DuePolicy = DEFAULT_POLICY
    patient_system: str | None = None
    """Identifier system of the DICOM Patient ID at this site."""
    secure_cookies: bool = True
    """False only where the pages are served without TLS on loopback."""
    on_access: Callable[[PageAccess], None] = lambda _: None
    now: Callable[[], datetime] = _now
