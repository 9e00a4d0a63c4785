"""The pages put together from the settings."""

from __future__ import annotations

import time
from collections.abc import Sequence

from trabecula.clinical import ClinicalConstants
from trabecula.config import Settings
from trabecula.record.audit import AccessListener
from trabecula.service.auth.local_users import read_users
from trabecula.service.auth.sessions import Sessions, session_key
from trabecula.service.follow_up import FollowUp
from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.throttle import Throttle
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.work.content import ContentStore
from trabecula.work.database import Database


def make_pages(
    settings: Settings,
    database: Database,
    content: ContentStore,
    constants: ClinicalConstants,
    site: FollowUp,
    listeners: Sequence[AccessListener],
    *,
    public_base_url: str,
    tell: Listener = nobody,
) -> Pages:
    """The pages' surroundings; without a users file nobody can sign in.

    Raises:
        ConfigurationError: for a users file or session key that cannot be used.
    """
    return Pages(
        database=database,
        content=content,
        constants=constants,
        users={} if settings.users_file is None else read_users(settings.users_file),
        sessions=Sessions(session_key(settings.session_key_file), settings.session_lasts_s, time.time),
        throttle=Throttle(time.monotonic),
        site=site,
        secure_cookies=public_base_url.startswith("https://"),
        listeners=tuple(listeners),
        tell=tell,
    )
