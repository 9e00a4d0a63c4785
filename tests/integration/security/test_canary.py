"""No patient datum in logs, metrics, traces, errors, file names or command lines, whatever comes through which door.

A study with a canary in every attribute goes through the real program; the EHR that its results go to quotes patients
in all it answers; libraries complain on every channel. ``SECURITY.md`` says what the test stands for.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import canary_site
import cds_ehr
import grpc
import httpx
import pytest
from canary import CANARIES, UID_ROOT, leaks, words
from canary_site import SYSTEM, CanarySite, damage, write_study
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE

from trabecula.hooks.services import Hook
from trabecula.patient import PatientContext, Sex
from trabecula.service import client as grpc_client
from trabecula.service import messages
from trabecula.service.upload import UploadHeader
from trabecula.v1 import screening_pb2 as pb
from trabecula.v1 import screening_pb2_grpc
from trabecula.work.records import DocumentKind, Priority

REQUEST = "QZREQUEST"
"""What a client puts wherever it may choose a text."""


class Door:
    """The gRPC door, with canaries wherever a client may put a text."""

    def __init__(self, site: CanarySite) -> None:
        self.channel = grpc.insecure_channel(site.grpc, options=[("grpc.primary_user_agent", REQUEST)])
        self.stub = screening_pb2_grpc.ScreeningServiceStub(self.channel)
        self.metadata = (
            ("authorization", site.grpc_bearer()["authorization"]),
            ("x-request-id", f"{REQUEST}-{CANARIES['PatientID']}"),
            ("x-patient", CANARIES["PatientName"]),
        )

    def submit(self, files: list[Path]) -> str:
        context = PatientContext(age_years=64, sex=Sex.FEMALE)
        size = sum(path.stat().st_size for path in files)
        header = UploadHeader(f"{REQUEST}-{uuid.uuid4()}", len(files), size, context, True, Priority.ROUTINE)
        upload = grpc_client._upload(header, files, lambda _: None)
        return str(self.stub.SubmitStudy(upload, metadata=self.metadata).screening_id)

    def state(self, screening_id: str) -> pb.ScreeningSummary:
        request = pb.GetScreeningRequest(screening_id=screening_id)
        return self.stub.GetScreening(request, metadata=self.metadata).summary

    def ended(self, screening_id: str) -> bool:
        return self.state(screening_id).HasField("ended_at")

    def fault(self, method: str, request: Any) -> str:
        """What a client is told."""

        def call() -> None:
            answer = getattr(self.stub, method)(request, metadata=self.metadata)
            if method in ("WatchScreening", "GetDocument"):
                list(answer)

        with pytest.raises(grpc.RpcError) as caught:
            call()
        error: Any = caught.value
        trailing = b" ".join(
            value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ()
        )
        return f"{error.details()} {error.debug_error_string()} {trailing!r}"


@pytest.fixture(scope="module")
def door(site: CanarySite) -> Iterator[Door]:
    opened = Door(site)
    yield opened
    opened.channel.close()


def assert_clean(site: CanarySite) -> None:
    found = site.leaks()
    assert not found, "\n".join(map(str, found))


def test_the_search_finds_what_leaks_in_any_form() -> None:
    """The net itself: each canary, in each form, inside other text."""
    for word in words():
        text = f"x{word}y"
        forms: list[bytes | str] = [
            text, text.lower(), text[::-1], text.encode("utf-16-le"), text.encode().hex(), quote(text, safe=""),
            json.dumps({"a": text}), repr(text.encode()), "".join(f"%{ord(c):02X}" for c in text),
            *(base64.b64encode(b"q" * n + text.encode()) for n in range(3)),
            "".join(f"\\u{ord(c):04x}" for c in text), "".join(f"&#{ord(c)};" for c in text),
        ]  # fmt: skip
        for form in forms:
            assert leaks("here", form), (word, form)
    assert leaks("here", f"study {UID_ROOT}.1")
    assert leaks("here", "born 1947-08-11")
    assert not leaks("here", "Nothing of the kind: 1.2.826.0.1.3680043.10, 1947, base64 UVpG")


@pytest.mark.slow
def test_studies_of_every_kind_leave_nothing(site: CanarySite, door: Door, phantom: list[Path], tmp_path: Path) -> None:
    """Read, refused, damaged, with libraries that complain, raise or die; and an EHR that refuses and quotes."""
    studies = {
        "reported": write_study(phantom, tmp_path / "QZFOLDER", 1),
        "refused": write_study(phantom, tmp_path / "few", 2, few=2),
        "damaged": write_study(phantom, tmp_path / "damaged", 3, few=6),
        "noise": write_study(phantom, tmp_path / "noise", 4, "noise", few=4),
        "raise": write_study(phantom, tmp_path / "raise", 5, "raise", few=4),
        "kill": write_study(phantom, tmp_path / "kill", 6, "kill", few=4),
    }
    damage(studies["damaged"])
    ids = {name: door.submit(paths) for name, paths in studies.items()}
    site.until(lambda: all(door.ended(each) for each in ids.values()), 150)
    states = {name: pb.ScreeningState.Name(door.state(each).state) for name, each in ids.items()}
    assert states["reported"].endswith("REPORTED"), states
    assert states["raise"].endswith("FAILED"), states
    assert states["kill"].endswith("FAILED"), states
    # Of a failed study the client learns a code and a remedy.
    for name in ("raise", "kill", "damaged"):
        assert not leaks(name, str(door.state(ids[name]).failure)), name
    site.until(lambda: any(path.startswith("/fhir") for _, path in site.ehr.seen), 60)
    site.until(lambda: "parked" in site.run("deliveries", "list", "--json"), 60)
    for command in (
        ("jobs", "list"),
        ("jobs", "list", "--json"),
        ("deliveries", "list"),
        ("deliveries", "list", "--json"),
    ):
        shown = site.run(*command)
        assert not leaks(" ".join(command), shown)
    site.until(lambda: bool(site.collector.spans), 60)
    # The test would prove nothing if the study did not hold the canaries to the end.
    kinds = {DocumentKind.REPORT_JSON, DocumentKind.BUNDLE_JSON}
    for kind in kinds:
        request = pb.GetDocumentRequest(screening_id=ids["reported"], kind=messages.kind_to_proto(kind))
        body = b"".join(piece.data for piece in door.stub.GetDocument(request, metadata=door.metadata))
        assert CANARIES["PatientID"].encode() in body
    assert_clean(site)


@pytest.mark.slow
def test_dicom_doors_leave_nothing(site: CanarySite, phantom: list[Path], tmp_path: Path) -> None:
    """C-STORE with strange titles and damaged data sets; STOW-RS whole, damaged and cut off."""
    whole = write_study(phantom, tmp_path / "whole", 11, few=2)
    broken = write_study(phantom, tmp_path / "broken", 12, few=2)
    damage(broken)
    for title in ("SCANNER", "QZREQUEST-AE"):
        entity = AE(title)
        entity.add_requested_context(CTImageStorage)
        association = entity.associate("127.0.0.1", site.ports["dimse_port"], ae_title="TRABECULA")
        if association.is_established:
            for path in (*whole, *broken):
                dataset = dcmread(path, force=True)
                with contextlib.suppress(ValueError):  # pynetdicom itself does not send what it cannot encode
                    association.send_c_store(dataset)
            association.release()
    parts = [path.read_bytes() for path in (*whole, *broken)]
    body = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
    kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=x'}
    answers = [
        httpx.post(f"{site.http}/dicom-web/studies{path}", content=content, headers={**kind, **bearer}, timeout=60)
        for path, content, bearer in (
            ("", body + b"--x--\r\n", site.bearer()),
            (f"/{UID_ROOT}.99", body + b"--x--\r\n", site.bearer()),
            (f"/{CANARIES['PatientName']}", body + b"--x--\r\n", site.bearer()),
            ("", body[:-5000], site.bearer()),
            ("", body + b"--x--\r\n", {}),
        )
    ]
    assert [answer.status_code for answer in answers][3:] == [400, 401]
    assert_clean(site)


def test_grpc_errors_hold_nothing(site: CanarySite, door: Door) -> None:
    """Clients that put patient data where ids belong are not quoted, to anybody."""
    name = CANARIES["PatientName"]
    faults = [
        door.fault("GetScreening", pb.GetScreeningRequest(screening_id=name)),
        door.fault("WatchScreening", pb.WatchScreeningRequest(screening_id=name)),
        door.fault("CancelScreening", pb.CancelScreeningRequest(screening_id=f"{UID_ROOT}.1\0")),
        door.fault("GetDocument", pb.GetDocumentRequest(screening_id=CANARIES["PatientID"], kind=1)),
        door.fault("ListScreenings", pb.ListScreeningsRequest(page_token=name)),
        door.fault("SubmitStudy", iter([pb.SubmitStudyRequest(chunk=pb.InstanceChunk(data=name.encode()))])),
        door.fault(
            "SubmitStudy",
            iter([pb.SubmitStudyRequest(header=pb.StudyHeader(idempotency_key=name * 50, expected_instances=1))]),
        ),
    ]
    for fault in faults:
        assert not leaks("gRPC error", fault), fault
    assert_clean(site)


HTTP_CALLS = [
    ("GET", f"/fhir/Patient?identifier={SYSTEM}|{CANARIES['PatientID']}"),
    ("GET", f"/fhir/DiagnosticReport?patient.identifier={CANARIES['PatientID']}"),
    ("GET", f"/fhir/DiagnosticReport?identifier={CANARIES['PatientID']}%00"),
    ("GET", f"/fhir/DiagnosticReport?_lastUpdated=gt{CANARIES['PatientName']}"),
    ("GET", "/fhir/Observation?patient=Patient/QZREQUESTID&code=QZREQUESTCODE|QZREQUEST"),
    ("GET", f"/fhir/ImagingStudy?identifier=urn:dicom:uid|urn:oid:{UID_ROOT}.1"),
    ("GET", "/fhir/DiagnosticReport/QZREQUESTID"),
    ("GET", "/fhir/DiagnosticReport/QZREQUESTID/_history/QZREQUEST"),
    ("GET", "/fhir/QZREQUESTTYPE?name=QZREQUESTNAME"),
    ("GET", f"/fhir/DiagnosticReport?_count={CANARIES['PatientID']}"),
    ("GET", "/fhir/DiagnosticReport?_page=QZREQUESTPAGE"),
    ("GET", "/results/QZREQUESTID"),
    ("GET", "/results?status=QZREQUEST&after=QZREQUEST"),
    ("GET", "/worklist?state=QZREQUEST"),
    ("GET", "/worklist.csv?state=QZREQUEST"),
    ("GET", f"/{CANARIES['PatientName']}"),
    ("GET", "/static/../QZREQUESTFILE"),
    ("GET", "/login?next=/QZREQUEST"),
    ("GET", "/api/v1/worklist?state=QZREQUEST&after=QZREQUEST"),
    ("GET", "/api/v1/results/QZREQUESTID/reviews"),
    ("GET", "/fhir/_screening/QZREQUESTID"),
    ("QZREQUEST", "/fhir/metadata"),
]
"""Addresses that hold patient data where a client may put it, rightly or wrongly."""


def test_http_answers_and_logs_hold_nothing(site: CanarySite) -> None:
    """Query strings, paths and headers, with and without a token; refusals do not say what was asked for."""
    given = {
        "x-request-id": f"{REQUEST}-{CANARIES['PatientID']}",
        "user-agent": REQUEST,
        "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01",
        "baggage": f"patient={CANARIES['PatientID']}",
        "x-forwarded-for": "QZREQUESTHOST",
        "cookie": "trabecula_session=QZREQUESTCOOKIE",
    }
    with httpx.Client(base_url=site.http, headers=given, timeout=30) as client:
        for bearer in (site.bearer(), {}, {"authorization": f"Bearer {CANARIES['PatientID']}"}):
            for method, path in HTTP_CALLS:
                answer = client.request(method, path, headers=bearer)
                if answer.status_code >= 400:
                    # An address is the caller's own; what it named must still not come back in headers or words.
                    told = answer.text + "\n" + str(answer.headers)
                    assert not leaks(f"answer to {method} {path}", told), told
    assert_clean(site)


def _parameters(**study: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "study", "valueIdentifier": study}]}


BODIES: list[tuple[str, Any]] = [
    ("/fhir/ImagingStudy/$screen-bone", _parameters(system="urn:dicom:uid", value=f"urn:oid:{UID_ROOT}.77")),
    ("/fhir/ImagingStudy/$screen-bone", _parameters(system="urn:dicom:uid", value="QZREQUESTUID")),
    ("/fhir/PlanDefinition/QZREQUESTID/$apply", {"resourceType": "Parameters", "parameter": [{"name": REQUEST}]}),
    ("/fhir/DiagnosticReport/_search", None),
    (
        "/fhir/DiagnosticReport",
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "identifier": [{"system": "QZREQUESTSYSTEM", "value": "QZREQUESTVALUE\0"}],
            "subject": {"identifier": {"system": SYSTEM, "value": CANARIES["PatientID"]}, "display": "QZREQUESTNAME"},
            "text": {"status": "generated", "div": "<div>QZREQUESTDIV</div>"},
        },
    ),
    ("/fhir", {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "QZREQUESTID"}}]}),
    ("/api/v1/results/QZREQUESTID/reviews", {"decision": "QZREQUEST", "seen_version": "QZREQUEST"}),
    ("/api/v1/worklist/QZREQUESTID/steps", {"event": "QZREQUEST", "note": "QZREQUESTNOTE"}),
    ("/login", {"user": "QZREQUESTUSER", "password": "QZREQUESTPASSWORD"}),
]


def test_bodies_are_not_quoted(site: CanarySite) -> None:
    for path, body in BODIES:
        for content in (json.dumps(body), json.dumps(body)[:-3], '{"QZREQUESTKEY": "QZREQUESTVALUE"'):
            answer = httpx.post(
                f"{site.http}{path}",
                content=content,
                headers={
                    **site.bearer(user="QZREQUESTUSER"),
                    "content-type": "application/fhir+json",
                    "prefer": "respond-async",
                },
                timeout=60,
            )
            assert not leaks(f"answer to {path}", answer.text + str(answer.headers)), answer.text
    form = {"identifier": f"{SYSTEM}|QZREQUESTID", "_count": "QZREQUESTCOUNT"}
    answer = httpx.post(f"{site.http}/fhir/DiagnosticReport/_search", data=form, headers=site.bearer())
    assert not leaks("search by POST", answer.text)
    assert_clean(site)


def test_tokens_are_not_quoted(site: CanarySite) -> None:
    """Claims that hold patient data, tokens of others, tokens that are none."""
    own = site.issuer.token(f"{site.http}/fhir", "patient/*.rs", patient="QZREQUESTPATIENT")
    odd = site.issuer.token(f"{site.http}/fhir", "QZREQUESTSCOPE", header={"kid": "QZREQUESTKID"}, sub="QZREQUESTSUB")
    for token in (own, odd, own + "x", "QZREQUESTTOKEN", f"{odd.split('.')[0]}..QZREQUEST"):
        answer = httpx.get(f"{site.http}/fhir/Observation", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code in (200, 401, 403)
        if answer.status_code != 200:
            assert not leaks("answer to a token", answer.text + str(answer.headers))
    assert_clean(site)


def test_cds_hooks_leave_nothing(site: CanarySite) -> None:
    """Contexts, prefetch and charts with canaries; an EHR that answers with quotes; calls that cannot be read."""
    base = f"{site.http}/cds-services"
    patient = cds_ehr.patient(
        SYSTEM, CANARIES["PatientID"], id="QZREQUESTID", name=[{"family": "QZFAMILY", "given": ["QZGIVEN"]}],
        birthDate="1947-08-11", text={"status": "generated", "div": "<div>QZREQUESTDIV</div>"},
    )  # fmt: skip
    context = {"patientId": "QZREQUESTID", "userId": "Practitioner/QZREQUESTUSER"}
    authorization = {"access_token": "QZREQUESTSECRET", "token_type": "Bearer", "expires_in": 300,
                     "scope": "patient/*.rs", "subject": "QZREQUESTSUB"}  # fmt: skip
    for hook in (Hook.PATIENT_VIEW, Hook.ORDER_SIGN, Hook.ENCOUNTER_DISCHARGE):
        whole = cds_ehr.call(hook, context=context, prefetch=cds_ehr.prefetch(patient=patient))
        reading = {
            **cds_ehr.call(hook, context=context, prefetch={"patient": patient}),
            "fhirServer": f"{site.ehr.url}/fhir",
            "fhirAuthorization": authorization,
        }
        for body in (whole, reading, {**whole, "context": "QZREQUEST"}, {**whole, "hook": "QZREQUESTHOOK"}):
            url = f"{base}/trabecula-{hook.value}"
            token = site.signer.token(url)
            answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {token}"}, timeout=30)
            if answer.status_code != 200:
                assert not leaks(f"answer of {hook.value}", answer.text + str(answer.headers)), answer.text
    for path, body in (
        ("QZREQUESTSERVICE", {}),
        ("trabecula-patient-view/feedback", {"feedback": [{"card": "QZREQUESTCARD", "outcome": "QZREQUEST"}]}),
    ):
        url = f"{base}/{path}"
        answer = httpx.post(url, json=body, headers={"authorization": f"Bearer {site.signer.token(url)}"})
        assert not leaks(path, answer.text)
    assert_clean(site)


@pytest.mark.slow
def test_pages_show_patients_and_log_none(site: CanarySite, door: Door, phantom: list[Path], tmp_path: Path) -> None:
    """Sign in, read, sign off with comments, recall steps with notes, export; wrong passwords and stale forms too."""
    screening_id = door.submit(write_study(phantom, tmp_path / "page", 21))
    site.until(lambda: door.ended(screening_id), 120)
    with httpx.Client(base_url=site.http, timeout=30) as client:
        client.post("/login", data={"user": "QZREQUESTUSER", "password": "QZREQUESTPASSWORD"})
        client.post("/login", data={"user": "ada", "password": "QZREQUESTPASSWORD"})
        assert client.post("/login", data={"user": "ada", "password": canary_site.PASSWORD}).status_code == 303
        shown = client.get(f"/results/{screening_id}").text
        assert CANARIES["PatientID"] in shown + client.get("/results").text
        token = re.search(r'name="form_token" value="([^"]+)"', shown)
        assert token is not None
        review = {"form_token": token[1], "seen_version": "0", "decision": "accept", "comment": "QZREQUESTCOMMENT"}
        for changes in ({"decision": "QZREQUEST"}, {"form_token": "QZREQUESTTOKEN"}, {}):
            client.post(f"/results/{screening_id}/review", data={**review, **changes})
        client.get("/worklist?state=all")
        client.get("/worklist.csv?state=all")
        client.get(f"/results/{screening_id}/report")
        for task in set(re.findall(r"/worklist/([0-9a-f-]{36})", client.get("/worklist?state=all").text)):
            step = {"form_token": token[1], "event": "contact", "note": "QZREQUESTNOTE"}
            client.post(f"/worklist/{task}/step", data=step)
        client.get("/quality")
    site.until(lambda: len(site.ehr.seen) > 2, 60)
    assert_clean(site)
