"""Certificates that follow their files: who renews them (cert-manager, certbot, a person) restarts nothing.

Each new connection looks whether a file has changed; open ones go on as they are. Files that do not fit each other, as
in the moment between two writes, change nothing: the pair that was last good stays in use.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import grpc
import structlog

from trabecula.errors import ConfigurationError

Made = TypeVar("Made")
Stamp = tuple[int, int, int]


class Following(Generic[Made]):
    """What is made of files, made anew when one of them has changed."""

    def __init__(self, make: Callable[[], Made], files: Sequence[Path]) -> None:
        """Raises what ``make`` raises the first time; later faults are logged, and what was made last stays."""
        self._make = make
        self._files = tuple(files)
        self._stamps = self._look()
        self.current = make()
        """The newest that could be made."""

    def changed(self) -> bool:
        """Whether something new was made now."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self.current = self._make()
        except (OSError, ValueError, ConfigurationError) as error:  # ssl.SSLError is an OSError
            names = [path.name for path in self._files]
            structlog.get_logger().warning("certificate files not usable", files=names, fault=type(error).__name__)
            return False
        structlog.get_logger().info("certificate files read anew", files=[path.name for path in self._files])
        return True

    def _look(self) -> tuple[Stamp | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def check_pair(certificate: Path, key: Path) -> None:
    """Raises ssl.SSLError or OSError for files that are no certificate and its key."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def grpc_credentials(certificate: Path, key: Path, authority: Path | None) -> grpc.ServerCredentials:
    """Of the gRPC service; with an authority only its clients are let in.

    Raises:
        OSError: if the files cannot be read.
        ssl.SSLError: if they are no certificate and its key.
    """

    def make() -> grpc.ServerCertificateConfiguration:
        check_pair(certificate, key)
        roots = authority.read_bytes() if authority is not None else None
        if authority is not None:
            ssl.create_default_context(cafile=authority)
        return grpc.ssl_server_certificate_configuration([(key.read_bytes(), certificate.read_bytes())], roots)

    files = (certificate, key) if authority is None else (certificate, key, authority)
    following = Following(make, files)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return following.current if following.changed() else None

    return grpc.dynamic_ssl_server_credentials(
        following.current,
        fetch,  # type: ignore[arg-type] # None keeps what is in use
        require_client_authentication=authority is not None,
    )


def following_context(make: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> ssl.SSLContext:
    """A server's context whose connections use the certificate that the files hold when they come.

    Raises:
        What ``make`` raises.
    """
    following = Following(make, files)
    context = following.current

    def follow(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        following.changed()
        connection.context = following.current

    context.sni_callback = follow
    return context
