"""The pages put together from the settings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from trabecula.clinical import ClinicalConstants
from trabecula.config import PREFIX, Settings, listed
from trabecula.errors import ConfigurationError
from trabecula.record.audit import AccessListener
from trabecula.service.auth.local_users import Role, read_users
from trabecula.service.auth.oidc import OidcOptions, OpenIdProvider
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
    outbound: httpx.AsyncClient,
    tell: Listener = nobody,
) -> Pages:
    """The pages' surroundings; without a users file or a provider nobody can sign in.

    Args:
        outbound: a guarded client; asks the OpenID provider.

    Raises:
        ConfigurationError: for a users file, session key or provider that cannot be used.
    """
    options = oidc_options(settings)
    return Pages(
        database=database,
        content=content,
        constants=constants,
        users={} if settings.users_file is None else read_users(settings.users_file),
        sessions=Sessions(session_key(settings.session_key_file), settings.session_lasts_s, time.time),
        throttle=Throttle(time.monotonic),
        site=site,
        secure_cookies=public_base_url.startswith("https://"),
        base_url=public_base_url.rstrip("/"),
        provider=None if options is None else OpenIdProvider(options, outbound),
        listeners=tuple(listeners),
        tell=tell,
    )


def has_pages(settings: Settings) -> bool:
    """Whether anybody can sign in, so that pages are of use."""
    return settings.users_file is not None or settings.oidc_issuer is not None


def oidc_options(settings: Settings) -> OidcOptions | None:
    """The provider of the settings; None when there is none.

    Raises:
        ConfigurationError: if something is missing, or cannot be read.
    """
    if settings.oidc_issuer is None:
        return None
    if not settings.oidc_issuer.startswith("https://"):
        raise ConfigurationError(setting=PREFIX + "OIDC_ISSUER", must_be="an https address")
    if not settings.oidc_client_id:
        raise ConfigurationError(setting=PREFIX + "OIDC_CLIENT_ID", must_be="given with OIDC_ISSUER")
    if "openid" not in settings.oidc_scopes.split():
        raise ConfigurationError(setting=PREFIX + "OIDC_SCOPES", must_be="openid, and more if wanted")
    secret = None
    if settings.oidc_client_secret_file is not None:
        try:
            secret = settings.oidc_client_secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(setting=PREFIX + "OIDC_CLIENT_SECRET_FILE", must_be="readable") from error
    if not secret and settings.client_keys_dir is None:
        raise ConfigurationError(setting=PREFIX + "OIDC_CLIENT_SECRET_FILE", must_be="given, or CLIENT_KEYS_DIR")
    return OidcOptions(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=secret or None,
        keys_dir=settings.client_keys_dir,
        scopes=settings.oidc_scopes,
        roles_claim=settings.oidc_roles_claim,
        roles=parse_roles(settings.oidc_roles),
        clock_skew_s=settings.auth_clock_skew_s,
    )


def parse_roles(text: str) -> dict[str, Role]:
    """``<value>=<role>``, commas between.

    Raises:
        ConfigurationError: for a role that there is not, or when nobody has one.
    """
    try:
        found = {value.strip(): Role(role.strip()) for value, _, role in (e.rpartition("=") for e in listed(text))}
    except ValueError as error:
        known = ", ".join(each.value for each in Role)
        raise ConfigurationError(setting=PREFIX + "OIDC_ROLES", must_be=f"<value>=<role>; roles are {known}") from error
    if not found or "" in found:
        raise ConfigurationError(setting=PREFIX + "OIDC_ROLES", must_be="given with OIDC_ISSUER, as <value>=<role>")
    return found
