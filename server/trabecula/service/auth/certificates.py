"""Clients that show who they are by their certificate: a file says which certificate may call what.

The transport has checked the certificate against ``tls_client_ca_file`` by then; the file names who of that authority's
holders is meant, by something the certificate says of itself.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from trabecula.errors import ConfigurationError
from trabecula.service.auth.calls import CallScope
from trabecula.texts import parse_toml

KINDS: Final = ("dns", "uri", "email", "subject", "sha256")
"""What a certificate is known by: a name of its subjectAltName, its whole subject (RFC 4514), or its fingerprint."""


@dataclass(frozen=True)
class CertificateClient:
    """One entry of the file."""

    name: str
    scopes: frozenset[CallScope]


Clients = Mapping[str, CertificateClient]
"""By ``kind:value``."""


def read_grpc_clients(path: Path) -> Clients:
    """Entries ``[client.<name>]`` with ``certificates`` (``kind:value`` each) and ``scopes``.

    Raises:
        ConfigurationError: naming the entry that cannot be used.
    """
    setting = "TRABECULA_GRPC_CLIENTS_FILE"
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(setting=setting, must_be="a readable TOML file") from error
    entries = document.pop("client", {})
    if document or not isinstance(entries, dict):
        raise ConfigurationError(setting=setting, must_be="tables [client.<name>] alone")
    found: dict[str, CertificateClient] = {}
    for name, entry in entries.items():
        client, marks = _client(name, entry)
        for mark in marks:
            if mark in found:
                raise ConfigurationError(grpc_client=name, must_be="the only one with each of its certificates")
            found[mark] = client
    return found


def _client(name: str, entry: Any) -> tuple[CertificateClient, list[str]]:
    try:
        known = dict(entry)
        marks = [_mark(each) for each in known.pop("certificates")]
        scopes = frozenset(CallScope(each) for each in known.pop("scopes"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(grpc_client=name, must_be="certificates (kind:value) and known scopes") from error
    if known or not marks or not scopes:
        raise ConfigurationError(grpc_client=name, must_be="certificates and scopes alone, one of each at least")
    if CallScope.ADMIN in scopes:
        scopes |= {CallScope.ADMIN_READ}
    return CertificateClient(name, scopes), marks


def _mark(text: str) -> str:
    kind, separator, value = text.partition(":")
    if not separator or kind not in KINDS or not value.strip():
        raise ValueError(text)
    value = value.strip()
    if kind == "sha256":
        value = value.replace(":", "").lower()
        if len(bytes.fromhex(value)) != 32:
            raise ValueError(text)
    return f"{kind}:{value.lower() if kind in ('dns', 'email') else value}"


def client_of(clients: Clients, certificate_pem: bytes) -> CertificateClient | None:
    """The entry of a certificate; None when it has none. The first of the kinds in :data:`KINDS` wins."""
    return next((clients[mark] for mark in marks_of(certificate_pem) if mark in clients), None)


@lru_cache(maxsize=256)
def marks_of(certificate_pem: bytes) -> tuple[str, ...]:
    """All that a certificate can be known by; nothing for one that cannot be read."""
    try:
        return tuple(_marks(x509.load_pem_x509_certificate(certificate_pem)))
    except ValueError:
        return ()


def _marks(certificate: x509.Certificate) -> Iterator[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    yield from (f"dns:{each.lower()}" for each in names.get_values_for_type(x509.DNSName))
    yield from (f"uri:{each}" for each in names.get_values_for_type(x509.UniformResourceIdentifier))
    yield from (f"email:{each.lower()}" for each in names.get_values_for_type(x509.RFC822Name))
    yield f"subject:{certificate.subject.rfc4514_string()}"
    yield f"sha256:{certificate.fingerprint(SHA256()).hex()}"
