"""A client of the service, for the command line, scripts and tests."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from trabecula import errors
from trabecula.config import is_loopback
from trabecula.patient import PatientContext
from trabecula.report import ScreeningReport
from trabecula.service import messages
from trabecula.service.convert import report_from_proto
from trabecula.service.status import ERROR_DOMAIN
from trabecula.service.upload import UploadChunk, UploadHeader
from trabecula.v1 import admin_pb2_grpc, screening_pb2_grpc
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.records import DocumentKind, Priority

CHUNK_BYTES: Final = 256 * 1024
"""The fastest piece for gRPC uploads as measured; larger ones gain nothing."""


TRY_AGAIN_S: Final = 0.5


class ServiceUnreachable(errors.TrabeculaError):
    """The service cannot be reached."""

    code = "service-unreachable"
    remedy = "Check the address, and that `trabecula serve` runs there."


class RemoteFault(errors.TrabeculaError):
    """The service answered with an error that this client does not know."""

    code = "remote-fault"
    remedy = (
        "Check that client and service have the same version, and that the address is the right one: "
        "`trabecula jobs`, `gc` and `db` speak with that of TRABECULA_ADMIN_LISTEN."
    )


class TokenInTheClear(errors.InputError):
    """An access token is not sent over a connection that is not encrypted."""

    code = "token-in-the-clear"
    remedy = "Encrypt the connection: `--tls`, or `--tls-ca` with the certificates to trust."


@dataclass(frozen=True)
class ClientTls:
    """Files for an encrypted connection."""

    authority: Path | None = None
    """Certificates to trust; the system's when None."""
    certificate: Path | None = None
    key: Path | None = None


class Client:
    """Calls one service; a context manager. Every method raises the error that the service met."""

    def __init__(self, address: str, tls: ClientTls | None = None, token_file: Path | None = None) -> None:
        """Args:
        address: host:port.
        tls: None for a plain connection.
        token_file: access token to show; read anew for each call, so that something else may renew it.
        """
        self._token_file = token_file
        self._channel = _channel(address, tls, token_file)
        self._stub = screening_pb2_grpc.ScreeningServiceStub(self._channel)

    def submit(
        self,
        files: Sequence[Path],
        patient: PatientContext = PatientContext(),  # noqa: B008 - frozen
        *,
        want_masks: bool = False,
        idempotency_key: str | None = None,
        priority: Priority = Priority.ROUTINE,
        sent: Callable[[int], None] = lambda _: None,
    ) -> str:
        """Send one study; its screening id.

        Args:
            idempotency_key: a fresh one when not given.
            sent: told the bytes of each piece as it goes out.
        """
        sizes = [path.stat().st_size for path in files]
        key = idempotency_key or str(uuid.uuid4())
        header = UploadHeader(key, len(files), sum(sizes), patient, want_masks, priority)
        with _translated():
            response = self._stub.SubmitStudy(_upload(header, files, sent))
        return str(response.screening_id)

    def watch(self, screening_id: str, patience_s: float = 0.0) -> Iterator[pb.ScreeningSummary]:
        """Every change until the screening has ended.

        Args:
            patience_s: how long a service that cannot be reached is tried again; what it accepted goes on.
        """
        give_up_s = time.monotonic() + patience_s
        while True:
            shown = self._token()
            try:
                with _translated():
                    for response in self._stub.WatchScreening(pb.WatchScreeningRequest(screening_id=screening_id)):
                        yield response.summary
                        give_up_s = time.monotonic() + patience_s
                return
            except (ServiceUnreachable, errors.DatabaseUnavailable):
                if time.monotonic() >= give_up_s:
                    raise
            except errors.Unauthenticated:
                if self._token() == shown:  # else it ended on the way, and has been renewed
                    raise
                continue
            time.sleep(TRY_AGAIN_S)

    def _token(self) -> str | None:
        return None if self._token_file is None else self._token_file.read_text(encoding="ascii")

    def get(self, screening_id: str) -> tuple[pb.ScreeningSummary, ScreeningReport | None]:
        """Where it stands, and its report once there is one."""
        with _translated():
            response = self._stub.GetScreening(pb.GetScreeningRequest(screening_id=screening_id))
        report = report_from_proto(response.report) if response.HasField("report") else None
        return response.summary, report

    def list(  # a page token is no secret  # nosec B107
        self, page_size: int = 0, page_token: str = ""
    ) -> pb.ListScreeningsResponse:
        """One page, newest first."""
        with _translated():
            response: pb.ListScreeningsResponse = self._stub.ListScreenings(
                pb.ListScreeningsRequest(page_size=page_size, page_token=page_token)
            )
        return response

    def cancel(self, screening_id: str) -> pb.ScreeningState:
        """The state after asking it to stop."""
        with _translated():
            response = self._stub.CancelScreening(pb.CancelScreeningRequest(screening_id=screening_id))
        state: pb.ScreeningState = response.state
        return state

    def save_document(self, screening_id: str, kind: DocumentKind, path: Path) -> None:
        """Write one document to a file; whole or not at all."""
        request = pb.GetDocumentRequest(screening_id=screening_id, kind=messages.kind_to_proto(kind))
        partial = path.with_name(path.name + ".part")
        with _translated(), partial.open("wb") as stream:
            for response in self._stub.GetDocument(request):
                stream.write(response.data)
        os.replace(partial, path)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AdminClient:
    """Calls one operators' service; a context manager. Raises the error that the service met."""

    def __init__(self, address: str, tls: ClientTls | None = None, token_file: Path | None = None) -> None:
        """Args:
        address: host:port of ``admin_listen``.
        tls: None for a plain connection.
        token_file: access token to show.
        """
        self._channel = _channel(address, tls, token_file)
        self._stub = admin_pb2_grpc.AdminServiceStub(self._channel)

    def call(self, method: str, request: Any) -> Any:
        """One method by its name."""
        with _translated():
            return getattr(self._stub, method)(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()


def _channel(address: str, tls: ClientTls | None, token_file: Path | None) -> grpc.Channel:
    if token_file is not None and tls is None and not is_loopback(address.rpartition(":")[0]):
        raise TokenInTheClear
    channel = grpc.insecure_channel(address) if tls is None else grpc.secure_channel(address, _credentials(tls))
    return channel if token_file is None else grpc.intercept_channel(channel, _ShowsToken(token_file))


class _Details(NamedTuple):
    """Of a call, with other metadata."""

    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _ShowsToken(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # not generic at run time
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
):
    """Puts the token of a file into each call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._shown(client_call_details), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._shown(client_call_details), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._shown(client_call_details), request_iterator)

    def _shown(self, details: Any) -> _Details:
        token = self._path.read_text(encoding="ascii").strip()
        shown = [*(details.metadata or ()), ("authorization", f"Bearer {token}")]
        return _Details(
            details.method, details.timeout, shown, details.credentials, details.wait_for_ready, details.compression
        )


def _upload(
    header: UploadHeader, files: Sequence[Path], sent: Callable[[int], None]
) -> Iterator[pb.SubmitStudyRequest]:
    yield messages.header_to_proto(header)
    for index, path in enumerate(files):
        for chunk in _pieces(index, path):
            yield messages.chunk_to_proto(chunk)
            sent(len(chunk.data))


def _pieces(index: int, path: Path) -> Iterator[UploadChunk]:
    digest = hashlib.sha256()
    offset = 0
    with path.open("rb") as stream:
        data = stream.read(CHUNK_BYTES)
        while True:
            digest.update(data)
            following = stream.read(CHUNK_BYTES)
            last = not following
            yield UploadChunk(index, offset, data, last, digest.digest() if last else b"")
            if last:
                return
            offset += len(data)
            data = following


class _translated:  # noqa: N801 - reads as a statement
    """Turns a gRPC error into the error of the tree that the service met."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, grpc.RpcError):
            raise error_from_call(error) from error


def error_from_call(call: Any) -> errors.TrabeculaError:
    """The error behind a failed call, found by the reason in its ErrorInfo."""
    status = rpc_status.from_call(call)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            kind = _kinds().get(info.reason.lower().replace("_", "-"))
            if kind is not None:
                return kind(**dict(info.metadata))
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return ServiceUnreachable()
    return RemoteFault(call.details() or "", status=call.code().name)


def _kinds() -> dict[str, type[errors.TrabeculaError]]:
    kinds: dict[str, type[errors.TrabeculaError]] = {}
    waiting = [errors.TrabeculaError]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        kinds.setdefault(kind.code, kind)
    return kinds


def _credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    authority, key, certificate = (
        path.read_bytes() if path is not None else None for path in (tls.authority, tls.key, tls.certificate)
    )
    return grpc.ssl_channel_credentials(authority, key, certificate)
