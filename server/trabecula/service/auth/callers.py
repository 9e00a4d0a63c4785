"""Who calls by gRPC: by token, by certificate, or anybody where nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from trabecula.config import PREFIX, Settings, is_loopback, split_address
from trabecula.errors import ConfigurationError, Unauthenticated
from trabecula.service.auth.calls import EVERYTHING, CallScope, granted
from trabecula.service.auth.certificates import Clients, client_of, read_grpc_clients
from trabecula.service.auth.tokens import TokenVerifier

ANONYMOUS: Final = "anonymous"


@dataclass(frozen=True)
class Caller:
    """Who calls, and what they may."""

    client_id: str
    scopes: frozenset[CallScope]
    subject: str | None = None
    """The user, where there is one."""
    address: str | None = None
    expires_at_s: float | None = None
    """Unix time at which the token ends; None for a certificate."""

    @property
    def counted_as(self) -> str:
        """Under which name its calls are limited; whoever is not known is known by the address."""
        return f"address {self.address}" if self.client_id == ANONYMOUS else f"client {self.client_id}"


class CallerCheck:
    """Tells who calls."""

    def __init__(
        self,
        *,
        verifier: TokenVerifier | None = None,
        audiences: Sequence[str] = (),
        clients: Clients | None = None,
        any_certificate: bool = False,
        anybody: bool = False,
    ) -> None:
        """Args:
        verifier: checks tokens; None takes none.
        clients: certificates by what they are known by; None knows none.
        any_certificate: every certificate that the transport accepted may call everything.
        anybody: nobody is asked.
        """
        self._verifier = verifier
        self._audiences = tuple(audiences)
        self._clients = clients
        self._any_certificate = any_certificate
        self._anybody = anybody

    async def caller(
        self, metadata: Sequence[tuple[str, str | bytes]], peer: str, transport: Mapping[str, Iterable[bytes]]
    ) -> Caller:
        """Who calls. A token counts before the certificate of the connection it comes over.

        Args:
            peer: as gRPC names it, ``ipv4:10.0.0.1:4711``.
            transport: gRPC's ``auth_context``.

        Raises:
            Unauthenticated: if the call shows nothing that can be accepted.
        """
        address = address_of(peer)
        if self._anybody:
            return Caller(ANONYMOUS, EVERYTHING, address=address)
        token = _bearer(metadata)
        if token is not None and self._verifier is not None:
            principal = await self._verifier.verify(token, self._audiences)
            return Caller(
                principal.client_id, granted(principal.words), principal.subject, address, principal.expires_at_s
            )
        pem = next(iter(transport.get("x509_pem_cert", ())), None)
        if pem is not None and self._clients is not None:
            known = client_of(self._clients, pem)
            if known is not None:
                return Caller(known.name, known.scopes, address=address)
            raise Unauthenticated(why="certificate not listed")
        if pem is not None and self._any_certificate:
            return Caller(_common_name(transport), EVERYTHING, address=address)
        if token is not None:
            raise Unauthenticated(why="no tokens are taken here")
        raise Unauthenticated


def caller_check(settings: Settings, verifier: TokenVerifier | None, address: str) -> CallerCheck:
    """The check that the settings ask for at an address.

    Args:
        verifier: None when no issuer is named.
        address: host:port that will be listened on.

    Raises:
        ConfigurationError: if the settings would let in everybody, or in the clear, beyond the loopback interface; or
            ask for what they do not give.
    """
    local = is_loopback(split_address(address)[0])
    mode, authority = settings.grpc_auth, settings.tls_client_ca_file is not None
    if settings.grpc_clients_file is not None and not authority:
        raise ConfigurationError(setting=PREFIX + "TLS_CLIENT_CA_FILE", must_be="given with GRPC_CLIENTS_FILE")
    if authority and settings.tls_certificate_file is None:
        raise ConfigurationError(setting=PREFIX + "TLS_CERTIFICATE_FILE", must_be="given with TLS_CLIENT_CA_FILE")
    if mode == "off-beyond-loopback" or (mode == "off" and local):
        return CallerCheck(anybody=True)
    if mode == "off":
        raise ConfigurationError(
            setting=PREFIX + "GRPC_AUTH",
            listen=address,
            must_be="on beyond the loopback interface, or off-beyond-loopback on your word",
        )
    if not local and settings.tls_certificate_file is None and not settings.tls_elsewhere:
        raise ConfigurationError(
            setting=PREFIX + "TLS_CERTIFICATE_FILE",
            listen=address,
            must_be="given beyond the loopback interface, or TLS_ELSEWHERE be true",
        )
    clients = None if settings.grpc_clients_file is None else read_grpc_clients(settings.grpc_clients_file)
    audience = settings.grpc_audience or settings.auth_audience or settings.public_base_url
    if verifier is not None and not audience:
        if not local or mode == "on":
            raise ConfigurationError(setting=PREFIX + "GRPC_AUDIENCE", must_be="given with AUTH_ISSUERS")
        verifier = None  # the issuers are those of the HTTP service beside it
    if verifier is not None or clients is not None:
        audiences = (audience,) if verifier is not None and audience else ()
        return CallerCheck(verifier=verifier, audiences=audiences, clients=clients)
    if authority and mode == "auto":
        return CallerCheck(any_certificate=True)
    if mode == "on" or not local:
        raise ConfigurationError(
            setting=PREFIX + "GRPC_AUTH",
            listen=address,
            must_be="backed by AUTH_ISSUERS, GRPC_CLIENTS_FILE or TLS_CLIENT_CA_FILE; or off-beyond-loopback on your"
            " word",
        )
    return CallerCheck(anybody=True)


def address_of(peer: str) -> str | None:
    """The IP address in gRPC's name of a peer; None for another kind."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return unquote(rest).rpartition(":")[0].strip("[]") or None


def _bearer(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    """The one bearer token of a call.

    Raises:
        Unauthenticated: for several, or something else.
    """
    sent = [value for name, value in metadata if name == "authorization"]
    if not sent:
        return None
    scheme, _, token = str(sent[0]).partition(" ")
    if len(sent) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(why="authorization")
    return token.strip()


def _common_name(transport: Mapping[str, Iterable[Any]]) -> str:
    name = next(iter(transport.get("x509_common_name", ())), b"")
    return name.decode("utf-8", "replace")[:256] or "certificate"
