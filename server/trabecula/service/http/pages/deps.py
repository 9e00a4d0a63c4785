"""What the pages need, given once at the edge."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.clinical import ClinicalConstants
from trabecula.record.audit import AccessListener
from trabecula.service.auth.local_users import Users
from trabecula.service.auth.oidc import OpenIdProvider
from trabecula.service.auth.sessions import Sessions
from trabecula.service.follow_up import FollowUp
from trabecula.service.http.pages.throttle import Throttle
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.work.content import ContentStore
from trabecula.work.database import Database


@dataclass(frozen=True)
class Pages:
    """The pages' surroundings."""

    database: Database
    content: ContentStore
    constants: ClinicalConstants
    users: Users
    sessions: Sessions
    throttle: Throttle
    site: FollowUp
    """What follows a decision or a step, in its transaction; its clock is the pages' too."""
    secure_cookies: bool = True
    """False only where the pages are served without TLS on loopback."""
    base_url: str = ""
    """Address of the HTTP service as browsers know it, without a slash at the end."""
    provider: OpenIdProvider | None = None
    """Where people sign in, beside those of ``users``."""
    listeners: tuple[AccessListener, ...] = ()
    tell: Listener = nobody
    """Told of every look at, and change of, what is known of patients."""
