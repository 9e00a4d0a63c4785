"""What the HTTP service needs of the settings, read and checked once."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from trabecula.config import PREFIX, Settings, is_loopback, listed, split_address
from trabecula.errors import ConfigurationError
from trabecula.outbound import OutboundPolicy, parse_policy
from trabecula.service.tls_files import following_context

FHIR_PATH: Final = "/fhir"


@dataclass(frozen=True)
class HttpOptions:
    """Times in seconds, sizes in bytes."""

    public_base_url: str | None = None
    """Without a slash at the end; None: the address that a request came to."""
    canonical_base: str = "https://trabecula.example/fhir"
    max_body_bytes: int = 1024 * 1024
    timeout_s: float = 30.0
    screening_wait_s: float = 120.0
    cors_origins: tuple[str, ...] = ()
    tls: bool = False
    audience: str | None = None
    authorize_url: str | None = None
    token_url: str | None = None
    issuers: tuple[str, ...] = ()
    keys_dir: Path | None = None
    """Folder of the service's own signing keys."""
    auth_off: bool = False
    proxies: tuple[str, ...] = ()
    """Networks whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    outbound: OutboundPolicy = field(default_factory=OutboundPolicy)

    def base_url(self, request: Request) -> str:
        """Where this service is reached. Never taken from the Host header, which a client chooses."""
        if self.public_base_url is not None:
            return self.public_base_url
        host, port = request.scope.get("server") or ("127.0.0.1", 80)
        shown = f"[{host}]" if ":" in str(host) else host
        return f"{request.scope.get('scheme', 'http')}://{shown}:{port}"

    def fhir_base(self, request: Request) -> str:
        """Base of the FHIR facade."""
        return self.base_url(request) + FHIR_PATH

    def audiences(self, request: Request) -> tuple[str, ...]:
        """Names of this service that a token may be for."""
        base = self.base_url(request)
        return (self.audience,) if self.audience is not None else (base, base + FHIR_PATH)


def http_options(settings: Settings) -> HttpOptions:
    """The options of these settings.

    Raises:
        ConfigurationError: if they cannot be used together; nobody gets in without a token by mistake.
    """
    public = settings.public_base_url
    if public is not None:
        _check_url("PUBLIC_BASE_URL", public)
        public = public.rstrip("/")
    origins = listed(settings.cors_origins)
    if "*" in origins:
        raise ConfigurationError(setting=PREFIX + "CORS_ORIGINS", must_be="origins by name")
    for origin in origins:
        _check_url("CORS_ORIGINS", origin)
    _check_auth(settings)
    return HttpOptions(
        public_base_url=public,
        canonical_base=settings.fhir_base_url.rstrip("/"),
        max_body_bytes=settings.http_max_body_bytes,
        timeout_s=settings.http_timeout_s,
        screening_wait_s=settings.http_screening_wait_s,
        cors_origins=origins,
        tls=settings.http_tls_certificate_file is not None,
        audience=settings.auth_audience,
        authorize_url=settings.auth_authorize_url,
        token_url=settings.auth_token_url,
        issuers=listed(settings.auth_issuers),
        keys_dir=settings.client_keys_dir,
        auth_off=settings.auth != "on",
        proxies=_networks(settings.trusted_proxies),
        outbound=parse_policy(settings.outbound_hosts, settings.outbound_networks),
    )


def server_tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS of the HTTP service, with the certificate that the files hold at each connection; None without one.

    Raises:
        ConfigurationError: if the files cannot be used.
    """
    certificate, key = settings.http_tls_certificate_file, settings.http_tls_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError(setting=PREFIX + "HTTP_TLS_KEY_FILE", must_be="given together with the certificate")
    chain, private = certificate, key

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(chain, private)
        return context

    try:
        return following_context(make, (certificate, key))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(setting=PREFIX + "HTTP_TLS_CERTIFICATE_FILE") from error


def _networks(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(each)) for each in listed(text))
    except ValueError as error:
        raise ConfigurationError(setting=PREFIX + "TRUSTED_PROXIES", must_be="addresses or networks (CIDR)") from error


def _check_auth(settings: Settings) -> None:
    at = settings.http_listen
    if settings.auth == "off" and at is not None and not is_loopback(split_address(at)[0]):
        raise ConfigurationError(
            setting=PREFIX + "AUTH", must_be="on beyond the loopback interface, or off-beyond-loopback on your word"
        )
    if (settings.http_tls_certificate_file is None) != (settings.http_tls_key_file is None):
        raise ConfigurationError(setting=PREFIX + "HTTP_TLS_KEY_FILE", must_be="given together with the certificate")


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise ConfigurationError(setting=PREFIX + name, must_be="an http(s) address")
