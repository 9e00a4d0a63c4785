"""A study from upload to documents, over a real connection."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path

import grpc
import pytest
from fake_screens import CANARY
from live_service import LiveServer, StartServer, make_study

from trabecula import errors
from trabecula.outcome import Stage
from trabecula.patient import PatientContext, Sex
from trabecula.report import ReportStatus
from trabecula.service.client import Client
from trabecula.service.logs import configure_logs
from trabecula.service.messages import stage_from_proto
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.records import DocumentKind


def ended(client: Client, screening_id: str) -> pb.ScreeningSummary:
    return list(client.watch(screening_id))[-1]


def test_a_study_becomes_a_report_with_documents(client: Client, tmp_path: Path) -> None:
    files = make_study(tmp_path / "study", b"report", files=3, size=700_000)
    sent: list[int] = []

    screening_id = client.submit(files, sent=sent.append)
    summary = ended(client, screening_id)
    _, report = client.get(screening_id)

    assert summary.state == pb.SCREENING_STATE_REPORTED
    assert summary.instances == 3
    assert summary.total_bytes == sum(sent) == 3 * 700_000
    assert report is not None
    assert report.status is ReportStatus.REPORTED
    for kind in (DocumentKind.REPORT_JSON, DocumentKind.REPORT_HTML, DocumentKind.BUNDLE_JSON):
        client.save_document(screening_id, kind, tmp_path / kind.value)
        assert (tmp_path / kind.value).stat().st_size > 1000
    assert json.loads((tmp_path / "bundle.json").read_text())["resourceType"] == "Bundle"


def test_the_files_arrive_as_they_were(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server()
    files = make_study(tmp_path / "study", b"slow", files=2, size=600_001)
    with Client(service.address) as client:
        screening_id = client.submit(files)
        arrived = service.kept()
        assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in arrived} == {
            hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        }
        assert all(path.name == hashlib.sha256(path.read_bytes()).hexdigest() for path in arrived)
        assert all(path.stat().st_mode & 0o077 == 0 for path in arrived)
        assert service.staged() == []
        client.cancel(screening_id)


def test_watch_tells_states_and_stages_in_order(client: Client, tmp_path: Path) -> None:
    screening_id = client.submit(make_study(tmp_path / "study", b"slow"))
    seen = []
    for summary in client.watch(screening_id):
        seen.append((summary.state, stage_from_proto(summary.progress.stage), summary.progress.fraction))
        if len(seen) == 12:
            client.cancel(screening_id)
    running = [(stage, fraction) for state, stage, fraction in seen if state == pb.SCREENING_STATE_RUNNING and stage]
    assert len(running) > 3
    assert running == sorted(running, key=lambda each: (list(Stage).index(each[0]), each[1]))
    assert seen[-1][0] == pb.SCREENING_STATE_CANCELLED


def test_patient_context_reaches_the_report(client: Client, tmp_path: Path) -> None:
    patient = PatientContext(age_years=71.0, sex=Sex.FEMALE, postmenopausal=True, glucocorticoids=False)
    screening_id = client.submit(make_study(tmp_path / "study"), patient)
    ended(client, screening_id)
    _, report = client.get(screening_id)
    assert report is not None
    assert report.patient == patient


def test_impossible_patient_context_is_refused_with_the_field(client: Client, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidPatientContext) as caught:
        client.submit(make_study(tmp_path / "study"), PatientContext(height_m=162.0))
    assert caught.value.fields["field"] == "height_m"
    assert "162" not in caught.value.client_message


def test_a_refusal_is_a_result(client: Client, tmp_path: Path) -> None:
    screening_id = client.submit(make_study(tmp_path / "study", b"refuse"))
    summary = ended(client, screening_id)
    _, report = client.get(screening_id)
    assert summary.state == pb.SCREENING_STATE_REFUSED
    assert not summary.HasField("failure")
    assert report is not None
    assert report.refusals


def test_a_text_file_is_the_input_s_fault(client: Client, tmp_path: Path) -> None:
    summary = ended(client, client.submit(make_study(tmp_path / "study", b"text")))
    assert summary.state == pb.SCREENING_STATE_FAILED
    assert summary.failure.code == "no-dicom-found"
    assert summary.failure.input_error


def test_a_fault_of_the_program_leaks_nothing_and_the_next_study_is_served(
    client: Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs("debug")
    summary = ended(client, client.submit(make_study(tmp_path / "one", b"bug")))
    following = ended(client, client.submit(make_study(tmp_path / "two", b"report")))
    assert summary.failure.code == "unforeseen"
    assert not summary.failure.input_error
    assert CANARY not in str(summary)
    output = "".join(capfd.readouterr())
    assert "ValueError" in output
    assert CANARY not in output
    assert following.state == pb.SCREENING_STATE_REPORTED


def test_masks_come_when_asked_for_and_only_then(client: Client, tmp_path: Path) -> None:
    without = client.submit(make_study(tmp_path / "study"))
    with_masks = client.submit(make_study(tmp_path / "study"), want_masks=True)
    assert pb.DOCUMENT_KIND_ANATOMY_NIFTI not in ended(client, without).documents
    assert pb.DOCUMENT_KIND_ANATOMY_NIFTI in ended(client, with_masks).documents
    client.save_document(with_masks, DocumentKind.ANATOMY_LABELS, tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text())
    with pytest.raises(errors.NotFound):
        client.save_document(without, DocumentKind.ANATOMY_NIFTI, tmp_path / "none.nii.gz")
    assert not (tmp_path / "none.nii.gz").exists()


def test_the_same_key_with_the_same_study_is_worked_on_once(client: Client, tmp_path: Path) -> None:
    files = make_study(tmp_path / "study", files=3)
    first = client.submit(files, idempotency_key="visit-7")
    again = client.submit(files[::-1], idempotency_key="visit-7")
    assert first == again
    assert len(client.list().summaries) == 1


def test_the_same_key_sent_at_once_is_worked_on_once(client: Client, tmp_path: Path) -> None:
    files = make_study(tmp_path / "study", files=3, size=400_000)
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.append(client.submit(files, idempotency_key="visit-8"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 3
    assert len(set(ids)) == 1


@pytest.mark.parametrize("change", ["content", "patient", "masks"])
def test_the_same_key_with_another_study_is_refused(client: Client, tmp_path: Path, change: str) -> None:
    client.submit(make_study(tmp_path / "one"), idempotency_key="visit-9")
    other = make_study(tmp_path / "two", size=2000 if change == "content" else 1000)
    patient = PatientContext(age_years=50.0) if change == "patient" else PatientContext()
    with pytest.raises(errors.AlreadyExists):
        client.submit(other, patient, want_masks=change == "masks", idempotency_key="visit-9")


def test_without_a_key_every_submission_is_its_own(client: Client, tmp_path: Path) -> None:
    files = make_study(tmp_path / "study")
    assert client.submit(files) != client.submit(files)


def test_cancelling_a_queued_study_ends_it_at_once(client: Client, tmp_path: Path) -> None:
    running = client.submit(make_study(tmp_path / "one", b"slow"))
    queued = client.submit(make_study(tmp_path / "two"))
    assert client.cancel(queued) == pb.SCREENING_STATE_CANCELLED
    assert client.cancel(queued) == pb.SCREENING_STATE_CANCELLED
    assert client.get(queued)[0].state == pb.SCREENING_STATE_CANCELLED
    client.cancel(running)
    assert ended(client, running).state == pb.SCREENING_STATE_CANCELLED


def test_a_study_that_has_ended_cannot_be_cancelled(client: Client, tmp_path: Path) -> None:
    screening_id = client.submit(make_study(tmp_path / "study"))
    ended(client, screening_id)
    with pytest.raises(errors.AlreadyEnded):
        client.cancel(screening_id)


def test_documents_of_a_running_study_are_not_ready(client: Client, tmp_path: Path) -> None:
    screening_id = client.submit(make_study(tmp_path / "study", b"slow"))
    with pytest.raises(errors.NotReady):
        client.save_document(screening_id, DocumentKind.REPORT_JSON, tmp_path / "report.json")
    assert client.get(screening_id)[1] is None
    client.cancel(screening_id)


def test_an_unknown_id_is_not_found(client: Client, tmp_path: Path) -> None:
    unknown = "../../etc/passwd"
    with pytest.raises(errors.NotFound):
        client.get(unknown)
    with pytest.raises(errors.NotFound):
        client.cancel(unknown)
    with pytest.raises(errors.NotFound):
        list(client.watch(unknown))
    with pytest.raises(errors.NotFound):
        client.save_document(unknown, DocumentKind.REPORT_JSON, tmp_path / "x")


def test_the_list_is_paged_newest_first(client: Client, tmp_path: Path) -> None:
    ids = [client.submit(make_study(tmp_path / "study")) for _ in range(5)]
    for screening_id in ids:
        ended(client, screening_id)
    listed: list[str] = []
    token = ""
    sizes = []
    while True:
        page = client.list(page_size=2, page_token=token)
        sizes.append(len(page.summaries))
        listed += [summary.screening_id for summary in page.summaries]
        token = page.next_page_token
        if not token:
            break
    assert sizes == [2, 2, 1]
    assert listed == ids[::-1]
    with pytest.raises(errors.InvalidRequest):
        client.list(page_size=201)
    with pytest.raises(errors.InvalidRequest):
        client.list(page_token="no such")  # noqa: S106 - no password


def test_the_list_can_be_narrowed_to_states(client: Client, service: LiveServer, tmp_path: Path) -> None:
    refused = client.submit(make_study(tmp_path / "one", b"refuse"))
    reported = client.submit(make_study(tmp_path / "two"))
    for screening_id in (refused, reported):
        ended(client, screening_id)
    with grpc.insecure_channel(service.address) as channel:
        from trabecula.v1 import screening_pb2_grpc

        stub = screening_pb2_grpc.ScreeningServiceStub(channel)
        page = stub.ListScreenings(pb.ListScreeningsRequest(states=[pb.SCREENING_STATE_REFUSED]))
    assert [summary.screening_id for summary in page.summaries] == [refused]


def test_time_in_upload_and_queue_stands_in_the_summary(client: Client, tmp_path: Path) -> None:
    before = time.time()
    summary = ended(client, client.submit(make_study(tmp_path / "study")))
    stamps = [summary.submitted_at, summary.started_at, summary.ended_at]
    seconds = [stamp.ToNanoseconds() / 1e9 for stamp in stamps]
    assert before - 0.1 <= seconds[0] <= seconds[1] <= seconds[2] <= time.time() + 0.1
