"""Uploads that break a limit or the protocol: each gets a code, leaves nothing behind, and the next one is served."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from live_service import LiveServer, StartServer, make_study, wait_until

from trabecula import errors
from trabecula.service.client import Client, error_from_call
from trabecula.v1 import screening_pb2 as pb
from trabecula.v1.screening_pb2_grpc import ScreeningServiceStub
from trabecula.work.records import Priority

DATA = b"report\n" + bytes(1000)


def header(instances: int = 1, total_bytes: int = len(DATA), key: str = "") -> pb.SubmitStudyRequest:
    part = pb.StudyHeader(idempotency_key=key, expected_instances=instances, total_bytes=total_bytes)
    return pb.SubmitStudyRequest(header=part)


def chunk(
    data: bytes = DATA, index: int = 0, offset: int = 0, *, last: bool = True, sha256: bytes | None = None
) -> pb.SubmitStudyRequest:
    digest = hashlib.sha256(data).digest() if sha256 is None else sha256
    part = pb.InstanceChunk(instance_index=index, offset=offset, data=data, last=last, sha256=digest if last else b"")
    return pb.SubmitStudyRequest(chunk=part)


Send = Callable[[list[pb.SubmitStudyRequest]], pb.SubmitStudyResponse]


@pytest.fixture
def stub(service: LiveServer) -> Iterator[ScreeningServiceStub]:
    with grpc.insecure_channel(service.address) as channel:
        yield ScreeningServiceStub(channel)


CASES: dict[str, tuple[list[pb.SubmitStudyRequest], type[errors.TrabeculaError]]] = {
    "nothing at all": ([], errors.UploadIncomplete),
    "header alone": ([header()], errors.UploadIncomplete),
    "chunk before header": ([chunk()], errors.UploadOutOfOrder),
    "two headers": ([header(), header()], errors.UploadOutOfOrder),
    "empty message": ([header(), pb.SubmitStudyRequest()], errors.UploadOutOfOrder),
    "no instances announced": ([header(instances=0)], errors.InvalidRequest),
    "no bytes announced": ([header(total_bytes=0)], errors.InvalidRequest),
    "key too long": ([header(key="k" * 129)], errors.InvalidRequest),
    "too many instances announced": ([header(instances=20_001)], errors.LimitExceeded),
    "too many bytes announced": ([header(total_bytes=1 << 40)], errors.LimitExceeded),
    "wrong sha256": ([header(), chunk(sha256=bytes(32))], errors.UploadChecksumMismatch),
    "no sha256": ([header(), chunk(sha256=b"")], errors.UploadChecksumMismatch),
    "file not ended": ([header(), chunk(last=False)], errors.UploadIncomplete),
    "a file is missing": ([header(instances=2, total_bytes=5000), chunk()], errors.UploadIncomplete),
    "bytes are missing": ([header(total_bytes=5000), chunk()], errors.UploadIncomplete),
    "more bytes than announced": ([header(total_bytes=10), chunk()], errors.LimitExceeded),
    "more files than announced": ([header(total_bytes=5000), chunk(), chunk(index=1)], errors.LimitExceeded),
    "hole in a file": ([header(), chunk(offset=100)], errors.UploadOutOfOrder),
    "hole in the files": ([header(instances=2, total_bytes=5000), chunk(index=1)], errors.UploadOutOfOrder),
    "piece sent twice": (
        [header(total_bytes=5000), chunk(last=False), chunk(last=False)],
        errors.UploadOutOfOrder,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_broken_upload_is_refused_with_its_code_and_leaves_nothing(
    stub: ScreeningServiceStub, service: LiveServer, case: str
) -> None:
    messages, expected = CASES[case]
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitStudy(iter(messages))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert type(error_from_call(caught.value)) is expected
    wait_until(lambda: service.staged() == [])
    assert not stub.ListScreenings(pb.ListScreeningsRequest()).summaries
    assert stub.SubmitStudy(iter([header(), chunk()])).screening_id


def test_a_field_at_fault_is_named_in_the_details(stub: ScreeningServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitStudy(iter([header(instances=0)]))
    details = rpc_status.from_call(caught.value).details
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert details[0].Unpack(info)
    assert details[1].Unpack(bad_request)
    assert (info.domain, info.reason) == ("trabecula", "INVALID_REQUEST")
    assert bad_request.field_violations[0].field == "header.expected_instances"


def test_a_message_over_the_size_limit_is_refused_by_the_transport(
    stub: ScreeningServiceStub, service: LiveServer
) -> None:
    data = bytes(5 * 1024 * 1024)
    with pytest.raises(grpc.RpcError) as caught:
        stub.SubmitStudy(iter([header(total_bytes=len(data)), chunk(data)]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_until(lambda: service.staged() == [])


def test_a_client_that_goes_away_leaves_nothing(stub: ScreeningServiceStub, service: LiveServer) -> None:
    begun = threading.Event()
    go_on = threading.Event()

    def half() -> Iterator[pb.SubmitStudyRequest]:
        yield header(total_bytes=5000)
        yield chunk(last=False)
        begun.set()
        go_on.wait(10)

    call = stub.SubmitStudy.future(half())
    assert begun.wait(10)
    wait_until(lambda: any(path.is_file() for path in service.staged()))
    call.cancel()
    go_on.set()
    wait_until(lambda: service.staged() == [])
    assert stub.SubmitStudy(iter([header(), chunk()])).screening_id


def test_a_client_that_falls_silent_is_let_go(start_server: StartServer) -> None:
    service = start_server(upload_idle_timeout_s=0.2)
    go_on = threading.Event()

    def silent() -> Iterator[pb.SubmitStudyRequest]:
        yield header(total_bytes=5000)
        yield chunk(last=False)
        go_on.wait(10)

    with grpc.insecure_channel(service.address) as channel:
        stub = ScreeningServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.SubmitStudy(silent(), timeout=10)
        go_on.set()
    assert isinstance(error_from_call(caught.value), errors.UploadTimedOut)
    wait_until(lambda: service.staged() == [])


def test_a_full_queue_says_when_to_try_again(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(queue_capacity=1)
    with grpc.insecure_channel(service.address) as channel, Client(service.address) as client:
        running = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(running)[0].state == pb.SCREENING_STATE_RUNNING)
        queued = client.submit(make_study(tmp_path / "two"))
        stub = ScreeningServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.SubmitStudy(iter([header(), chunk()]))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in rpc_status.from_call(caught.value).details)
        assert retry.retry_delay.seconds > 0
        client.cancel(queued)
        assert client.submit(make_study(tmp_path / "three"))
        client.cancel(running)


def test_archive_work_is_turned_away_first_and_urgent_work_last(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(queue_capacity=2)
    with Client(service.address) as client:
        running = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(running)[0].state == pb.SCREENING_STATE_RUNNING)
        study = make_study(tmp_path / "study")
        # Archive work is full with one waiting, routine work with two, urgent work with three.
        for came, expected in (
            (Priority.ROUTINE, {Priority.ARCHIVE}),
            (Priority.ROUTINE, {Priority.ARCHIVE, Priority.ROUTINE}),
            (Priority.STAT, {Priority.ARCHIVE, Priority.ROUTINE, Priority.STAT}),
        ):
            client.submit(study, priority=came)
            assert {priority for priority in Priority if refused(client, study, priority)} == expected
        client.cancel(running)


def refused(client: Client, study: list[Path], priority: Priority) -> bool:
    """Whether one more would be turned away, and with a delay; what was let in is taken back."""
    try:
        client.cancel(client.submit(study, priority=priority))
    except errors.Overloaded as error:
        return float(str(error.fields["retry_after_s"])) >= 1.0
    return False


def test_urgent_work_overtakes_what_waits(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server()
    with Client(service.address) as client:
        running = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(running)[0].state == pb.SCREENING_STATE_RUNNING)
        order = (Priority.ARCHIVE, Priority.ROUTINE, Priority.STAT)
        ids = [client.submit(make_study(tmp_path / "study"), priority=each) for each in order]
        client.cancel(running)
        ends = [list(client.watch(each))[-1].started_at.ToNanoseconds() for each in ids]
    assert ends == sorted(ends, reverse=True)


def test_uploads_at_the_same_time_are_limited(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(max_concurrent_uploads=1)
    begun = threading.Event()
    go_on = threading.Event()

    def slow() -> Iterator[pb.SubmitStudyRequest]:
        yield header()
        begun.set()
        go_on.wait(10)
        yield chunk()

    with grpc.insecure_channel(service.address) as channel, Client(service.address) as client:
        first = ScreeningServiceStub(channel).SubmitStudy.future(slow())
        assert begun.wait(10)
        time.sleep(0.2)
        with pytest.raises(errors.Overloaded):
            client.submit(make_study(tmp_path / "study"))
        go_on.set()
        assert first.result(10).screening_id
        assert client.submit(make_study(tmp_path / "study"))


def test_the_study_limits_are_settings(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server(max_study_bytes=1500, max_instances=2)
    with Client(service.address) as client:
        with pytest.raises(errors.LimitExceeded):
            client.submit(make_study(tmp_path / "large", size=1501))
        with pytest.raises(errors.LimitExceeded):
            client.submit(make_study(tmp_path / "many", files=3, size=10))
        assert client.submit(make_study(tmp_path / "fine", files=2, size=700))
