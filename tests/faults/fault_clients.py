"""Clients as a PACS would have them: they send with a key, try again, watch, cancel, and sometimes vanish."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import grpc
from fault_ledger import Ledger
from fault_studies import Study
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from trabecula.v1 import screening_pb2 as pb
from trabecula.v1.screening_pb2_grpc import ScreeningServiceStub

CHUNK_BYTES = 64 * 1024
ENDED = {
    pb.SCREENING_STATE_REPORTED: "reported",
    pb.SCREENING_STATE_REFUSED: "refused",
    pb.SCREENING_STATE_FAILED: "failed",
    pb.SCREENING_STATE_CANCELLED: "cancelled",
}
CALL_S = 30.0


def upload(study: Study, key: str, chunk_bytes: int = CHUNK_BYTES) -> list[pb.SubmitStudyRequest]:
    """The messages of one upload."""
    header = pb.StudyHeader(idempotency_key=key, expected_instances=len(study.files), total_bytes=study.total_bytes)
    messages = [pb.SubmitStudyRequest(header=header)]
    for index, data in enumerate(study.files):
        digest = hashlib.sha256(data).digest()
        for offset in range(0, max(1, len(data)), chunk_bytes):
            piece = data[offset : offset + chunk_bytes]
            last = offset + chunk_bytes >= len(data)
            chunk = pb.InstanceChunk(
                instance_index=index, offset=offset, data=piece, last=last, sha256=digest if last else b""
            )
            messages.append(pb.SubmitStudyRequest(chunk=chunk))
    return messages


def retry_delay_s(error: grpc.RpcError) -> float | None:
    """What the service asked for in RetryInfo."""
    with contextlib.suppress(Exception):
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(retry):
                return float(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
    return None


def reason_of(error: grpc.RpcError) -> str:
    """The service's own word for what went wrong; empty when the transport speaks."""
    with contextlib.suppress(Exception):
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                return str(info.reason)
    return ""


class Client:
    """One client of one or more addresses; tries again until it has its answer or the time is over."""

    TRY_AGAIN = frozenset(
        {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.INTERNAL,
        }
    )

    def __init__(self, addresses: Sequence[str], ledger: Ledger, rng: random.Random) -> None:
        self._addresses = list(addresses)
        self._ledger = ledger
        self._rng = rng

    def submit(self, study: Study, key: str, limit_s: float, *, vanish: float = 0.0) -> str | None:
        """Send until accepted; the id, or None when it was given up.

        Args:
            vanish: chance, for each try, that the client goes away in the middle of the upload.
        """
        deadline = time.monotonic() + limit_s
        while True:
            self._ledger.sending(key, study.kind)
            messages = upload(study, key)
            try:
                with self._stub() as stub:
                    if self._rng.random() < vanish:
                        self._vanish(stub, messages)
                        continue
                    answer = stub.SubmitStudy(iter(messages), timeout=CALL_S)
                self._ledger.accepted(key, answer.screening_id)
                return str(answer.screening_id)
            except grpc.RpcError as error:
                self._ledger.answer(error.code().name, reason_of(error))
                if error.code() not in self.TRY_AGAIN or time.monotonic() > deadline:
                    self._ledger.given_up(key, f"{error.code().name} {error.details()}")
                    return None
                time.sleep(min(3.0, retry_delay_s(error) or self._rng.uniform(0.2, 1.0)))

    def follow(
        self, key: str, screening_id: str, limit_s: float, stop: Callable[[], bool] = lambda: False
    ) -> str | None:
        """Watch until it has ended, through lost connections; the state, or None when the time is over."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and not stop():
            try:
                with self._stub() as stub:
                    request = pb.WatchScreeningRequest(screening_id=screening_id)
                    for response in stub.WatchScreening(request, timeout=10):
                        if (state := ENDED.get(response.summary.state)) is not None:
                            self._ledger.seen_end(key, state)
                            return state
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    self._ledger.seen_end(key, "LOST")
                    return None
                time.sleep(self._rng.uniform(0.1, 0.5))
        return None

    def cancel(self, key: str, screening_id: str) -> None:
        """Ask once; whether the question arrived or not, a cancelled end is no surprise from now on."""
        self._ledger.cancel_asked(key)
        with contextlib.suppress(grpc.RpcError), self._stub() as stub:
            stub.CancelScreening(pb.CancelScreeningRequest(screening_id=screening_id), timeout=5)

    def _vanish(self, stub: ScreeningServiceStub, messages: list[pb.SubmitStudyRequest]) -> None:
        cut = self._rng.randrange(len(messages))
        gone = threading.Event()

        def some() -> Iterator[pb.SubmitStudyRequest]:
            yield from messages[:cut]
            gone.wait(5)

        call = stub.SubmitStudy.future(some(), timeout=CALL_S)
        time.sleep(self._rng.uniform(0.0, 0.1))
        call.cancel()
        gone.set()

    @contextlib.contextmanager
    def _stub(self) -> Iterator[ScreeningServiceStub]:
        with grpc.insecure_channel(self._rng.choice(self._addresses)) as channel:
            yield ScreeningServiceStub(channel)
