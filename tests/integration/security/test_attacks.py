"""Requests of a security review against the running service; SECURITY.md names the threat that each stands for."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import hmac
import io
import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import canary_site
import grpc
import httpx
import pytest
from canary_site import SYSTEM, CanarySite
from joserfc import jwt
from joserfc.jws import JWSRegistry
from live_http import ISSUER, Issuer
from pydicom import dcmread
from pydicom.uid import generate_uid

from trabecula.patient import PatientContext
from trabecula.service import client as grpc_client
from trabecula.service.http.pages.worklist import _harmless
from trabecula.service.upload import UploadHeader
from trabecula.v1 import screening_pb2 as pb
from trabecula.v1 import screening_pb2_grpc
from trabecula.work.records import Priority

MARKUP = "<script>alert(1)</script>"
HOSTILE = {
    "PatientName": f"{MARKUP}^x",
    "SeriesDescription": MARKUP,
    "StudyDescription": '"><img src=x onerror=alert(1)>',
    "AccessionNumber": "=1+1",
    "Manufacturer": MARKUP,
    "ManufacturerModelName": "{{7*7}}<b>x",
    "ConvolutionKernel": 'Br36"><s>',
    "StationName": "<svg/onload=1>",
    "InstitutionName": MARKUP,
}
ANN, BOB = "=cmd|calc!A0", "PAT-B"
TYPES = ("DiagnosticReport", "Observation", "RiskAssessment", "ServiceRequest", "ImagingStudy", "Provenance", "Task")


@dataclass(frozen=True)
class Patients:
    """Two results; the first patient's headers are hostile."""

    ann: str
    bob: str


@pytest.fixture(scope="module")
def patients(site: CanarySite, phantom: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Patients:
    with grpc.insecure_channel(site.grpc) as channel:
        stub = screening_pb2_grpc.ScreeningServiceStub(channel)
        found = []
        for patient_id, values in ((ANN, HOSTILE), (BOB, {})):
            files = _study(phantom, tmp_path_factory.mktemp("attack"), {"PatientID": patient_id, **values})
            size = sum(path.stat().st_size for path in files)
            header = UploadHeader(patient_id, len(files), size, PatientContext(), False, Priority.ROUTINE)
            upload = grpc_client._upload(header, files, lambda _: None)
            found.append(stub.SubmitStudy(upload, metadata=_metadata(site)).screening_id)

        def ended() -> bool:
            requests = (pb.GetScreeningRequest(screening_id=each) for each in found)
            summaries = [stub.GetScreening(each, metadata=_metadata(site)).summary for each in requests]
            return all(each.state == pb.SCREENING_STATE_REPORTED for each in summaries)

        site.until(ended, 120)
    return Patients(*found)


def _metadata(site: CanarySite) -> tuple[tuple[str, str], ...]:
    return tuple(site.grpc_bearer().items())


def _study(source: list[Path], folder: Path, values: dict[str, str]) -> list[Path]:
    study, series = generate_uid(), "1.2.826.0.1.3680043.8.498.7"
    paths = []
    for number, path in enumerate(source):
        dataset = dcmread(path)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{series}.{values['PatientID'] == BOB:d}"
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{number}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        paths.append(folder / f"{number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


@pytest.fixture
def http(site: CanarySite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.http, timeout=30) as client:
        yield client


@pytest.fixture
def signed_in(site: CanarySite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.http, timeout=30) as client:
        assert _sign_in(client).status_code == 303
        yield client


def _sign_in(client: httpx.Client, **form: str) -> httpx.Response:
    return client.post("/login", data={"user": "ada", "password": canary_site.PASSWORD, **form})


def raw(site: CanarySite, request: bytes) -> tuple[list[int], bytes]:
    """Statuses of all that comes back on one connection, and the bytes."""
    with socket.create_connection(("127.0.0.1", site.ports["http_port"]), 5) as connection:
        connection.settimeout(0.7)
        connection.sendall(request)
        answer = b""
        with contextlib.suppress(TimeoutError):
            while piece := connection.recv(65536):
                answer += piece
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", answer)], answer


# --- the protocol ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: -1",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ],
)
def test_a_request_that_two_readers_cut_differently_is_refused(site: CanarySite, headers: bytes) -> None:
    """Request smuggling: what a proxy takes for the body must not be a second request here."""
    head = b"POST /fhir/Observation/_search HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    token = site.bearer()["authorization"].encode()
    inner = b"0\r\n\r\nGET /fhir/metadata HTTP/1.1\r\nHost: x\r\n\r\n"
    statuses, _ = raw(site, head + b"Authorization: " + token + b"\r\n" + headers + b"\r\n\r\n" + inner)
    assert statuses == [400]


@pytest.mark.parametrize("method", ["TRACE", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_verbs_that_nobody_offers_do_nothing(http: httpx.Client, site: CanarySite, method: str) -> None:
    for path in ("/fhir/metadata", "/fhir/DiagnosticReport", "/results", "/login", "/api/v1/worklist", "/cds-services"):
        override = {"x-http-method-override": "GET", **site.bearer()}
        assert http.request(method, path, headers=override).status_code in (401, 404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/static/..%2f..%2froutes.py", "/static/%2e%2e/routes.py", "/static/../routes.py", "/static//etc/passwd",
        "/static/..\\routes.py", "/static/....//routes.py", "/results/..%2f..%2f", "/.git/config",
        "/fhir/DiagnosticReport/..%2f..%2fx", "/dicom-web/studies/..%2f", "/fhir/_screening/..%2f..",
        "/%2e%2e/%2e%2e/etc/passwd", "http://other/../etc/passwd",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(site: CanarySite, path: str) -> None:
    token = site.bearer()["authorization"]
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    statuses, answer = raw(site, request.encode())
    assert statuses in ([404], [405])
    assert b"import" not in answer
    assert b"root:" not in answer


def test_no_answer_is_cached_framed_or_guessed(
    http: httpx.Client, signed_in: httpx.Client, site: CanarySite, patients: Patients
) -> None:
    report = http.get("/fhir/DiagnosticReport", headers=site.bearer()).json()["entry"][0]["resource"]["id"]
    resources = ("/fhir/DiagnosticReport", f"/fhir/DiagnosticReport/{report}", "/api/v1/worklist")
    answers = [
        *(http.get(path, headers=site.bearer()) for path in resources),
        *(signed_in.get(path) for path in ("/results", f"/results/{patients.ann}", "/worklist", "/worklist.csv")),
        http.get("/nothing"),
    ]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store", answer.url
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers


# --- tokens ----------------------------------------------------------------------------------------------------------


def _b64(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_tokens_cannot_choose_their_key(site: CanarySite, http: httpx.Client) -> None:
    """No algorithm, the public key as a secret, keys inside or behind the header, ids that are paths."""
    now, evil = int(time.time()), Issuer.make()
    claims = {"iss": ISSUER, "aud": f"{site.http}/fhir", "exp": now + 300, "client_id": "x", "scope": "system/*.cruds"}

    def unsigned(**head: object) -> str:
        return f"{_b64({'alg': 'ES384', 'kid': 'one', **head})}.{_b64(claims)}.{_b64(bytes(96))}"

    def hmac_with(key: bytes) -> str:
        body = f"{_b64({'alg': 'HS256', 'kid': 'one'})}.{_b64(claims)}"
        return f"{body}.{_b64(hmac.new(key, body.encode(), hashlib.sha256).digest())}"

    def signed(**head: object) -> str:
        registry = JWSRegistry(algorithms=["ES384"], strict_check_header=False)
        return str(jwt.encode({"alg": "ES384", "kid": "one", **head}, claims, evil.key, registry=registry))

    tokens = [
        unsigned(),
        unsigned(alg="none"),
        unsigned(alg="None"),
        unsigned(b64=False, crit=["b64"]),
        unsigned(kid={"a": 1}),
        hmac_with(site.issuer.key.as_pem(private=False)),
        hmac_with(json.dumps(site.issuer.jwks).encode()),
        signed(),
        signed(jwk=evil.key.as_dict(private=False)),
        signed(jku=f"{site.ehr.url}/keys"),
        signed(x5u=f"{site.ehr.url}/keys"),
        signed(kid="' OR 1=1--"),
        signed(kid="../../../../dev/null"),
        "a.b.c.d.e",
        "a" * 20_000 + ".b.c",
    ]
    for token in tokens:
        assert http.get("/fhir/Observation", headers={"authorization": f"Bearer {token}"}).status_code == 401, token[
            :80
        ]
    assert not any("keys" in path for _, path in site.ehr.seen)
    assert http.get(f"/fhir/Observation?access_token={site.bearer()['authorization'][7:]}").status_code == 401


@pytest.mark.parametrize("exp", [10**400, 1e300, 2**60, "9999999999", None, -1, [1]])
def test_a_time_that_is_none_ends_no_token(site: CanarySite, http: httpx.Client, exp: object) -> None:
    token = site.issuer.token(f"{site.http}/fhir", "system/*.rs", exp=exp)
    assert http.get("/fhir/Observation", headers={"authorization": f"Bearer {token}"}).status_code == 401


def _ids(http: httpx.Client, kind: str, token: dict[str, str]) -> set[str]:
    """What a token is shown of a type."""
    answer = http.get(f"/fhir/{kind}?_count=200", headers=token).json()
    return {each["resource"]["id"] for each in answer.get("entry", ())}


# --- whose data ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_patients_token_reaches_nothing_else(site: CanarySite, http: httpx.Client, patients: Patients) -> None:
    """Search, read, versions, conditions, includes, page links of others, and the doors that are for programs."""
    own, other = (
        site.bearer("patient/*.cruds", patient="x", patient_identifier=f"{SYSTEM}|{name}") for name in (ANN, BOB)
    )
    for kind in TYPES:
        mine, theirs = (_ids(http, kind, token) for token in (own, other))
        assert theirs, kind
        assert not mine & theirs
        assert mine | theirs <= _ids(http, kind, site.bearer())
        for identity in sorted(theirs)[:3]:
            address = f"/fhir/{kind}/{identity}"
            for path in (address, f"{address}/_history", f"{address}/_history/1"):
                assert http.get(path, headers={**own, "if-none-match": "*"}).status_code == 404, path
    absent = http.get("/fhir/DiagnosticReport/00000000-0000-5000-8000-000000000000", headers=own)
    assert absent.status_code == 404  # as for another patient's
    page = http.get("/fhir/Observation?_count=1", headers=site.bearer()).json()
    following = next(each["url"] for each in page["link"] if each["relation"] == "next")
    for query in (following, "/fhir/DiagnosticReport?_include=DiagnosticReport:imaging-study&_revinclude=Task:focus"):
        assert BOB not in http.get(query, headers=own).text
    for method, path in (
        ("GET", "/api/v1/worklist"), ("GET", f"/api/v1/results/{patients.ann}/reviews"), ("GET", "/api/v1/agreement"),
        ("POST", f"/api/v1/results/{patients.ann}/reviews"), ("POST", "/fhir/ImagingStudy/$screen-bone"),
        ("POST", "/dicom-web/studies"), ("POST", "/fhir/DiagnosticReport"), ("GET", "/fhir/AuditEvent"),
    ):  # fmt: skip
        body = {"content": b"{}", "headers": {**own, "content-type": "application/json"}} if method == "POST" else {}
        assert http.request(method, path, **{"headers": own, **body}).status_code == 403, path


def test_nothing_is_read_from_whoever_is_not_known(site: CanarySite, http: httpx.Client) -> None:
    """A body that cannot be read gets the same answer as any other without a token; a scope is for its own type."""
    places = ("/fhir/DiagnosticReport", "/fhir/Observation", "/fhir", "/fhir/ImagingStudy/$screen-bone")
    for path in (*places, "/dicom-web/studies", "/api/v1/worklist/0/steps", "/cds-services/trabecula-patient-view"):
        for body in (b"{not json", b"{}", b"\xff" * 1000):
            assert http.post(path, content=body, headers={"content-type": "application/json"}).status_code == 401, path
    report = {"resourceType": "DiagnosticReport", "status": "final"}
    confused = http.post("/fhir/Observation", json=report, headers=site.bearer("system/Observation.c"))
    assert confused.status_code == 400


def test_a_cookie_ends_with_its_session(site: CanarySite) -> None:
    with httpx.Client(base_url=site.http) as client:
        assert _sign_in(client).status_code == 303
        copied = dict(client.cookies)
        token = re.search(r'name="form_token" value="([^"]+)"', client.get("/results").text)
        assert token is not None
        client.post("/logout", data={"form_token": token[1]})
    answer = httpx.get(f"{site.http}/results", cookies=copied)
    assert answer.status_code == 303
    assert "/login" in answer.headers["location"]


def test_who_asked_is_not_told_by_who_asks(site: CanarySite, http: httpx.Client) -> None:
    """The audit trail has the connection's address, not a header's; `*` does not reach it."""
    http.get("/fhir/Task", headers={**site.bearer(), "x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"})
    trail = http.get("/fhir/AuditEvent?_count=200", headers=site.bearer("system/AuditEvent.rs"))
    assert trail.status_code == 200
    assert "203.0.113.9" not in trail.text
    assert http.get("/fhir/AuditEvent", headers=site.bearer("system/*.cruds")).status_code == 403


SEARCHES = [
    "'; DROP TABLE screening;--", "a' OR '1'='1", "\0", "\\", "%", "_", "$(id)", "{{7*7}}", "1" * 5000, "a,b|c$d", "|",
    "||", "\\,\\|", "\u202e", "(.*a){30}$",
]  # fmt: skip


@pytest.mark.parametrize("text", SEARCHES)
def test_search_is_not_a_way_to_the_database(site: CanarySite, http: httpx.Client, text: str) -> None:
    names = ("identifier", "_id", "patient", "code", "date", "_lastUpdated", "status", "_sort", "_include", "_count")
    for name in names:
        started = time.monotonic()
        answer = http.get("/fhir/DiagnosticReport", params={name: text}, headers=site.bearer())
        assert answer.status_code in (200, 400), name
        assert time.monotonic() - started < 5
        if answer.status_code == 200:
            assert not answer.json().get("entry"), name


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Observation","resourceType":"Bundle"}',
        b'{"v":NaN}',
        b'{"v":1e999}',
        b'{"v":' + b"9" * 10**5 + b"}",
        b'{"v":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
        b'{"a":' * 90_000 + b"1" + b"}" * 90_000,
        b'{"s":"\\ud800"}',
        b'\xef\xbb\xbf{"resourceType":"Observation"}',
        '{"resourceType":"Observation"}'.encode("utf-16"),
        b"[]",
        b"null",
    ],
)
def test_json_that_can_be_read_in_two_ways_is_refused(site: CanarySite, http: httpx.Client, body: bytes) -> None:
    headers = {**site.bearer(), "content-type": "application/fhir+json"}
    for path in ("/fhir/Observation", "/fhir/ImagingStudy/$screen-bone"):
        assert http.post(path, content=body, headers=headers).status_code == 400


# --- pages -----------------------------------------------------------------------------------------------------------


def _form_token(client: httpx.Client, screening_id: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', client.get(f"/results/{screening_id}").text)
    assert found is not None
    return found[1]


@pytest.mark.slow
def test_markup_in_dicom_stays_text(signed_in: httpx.Client, site: CanarySite, patients: Patients) -> None:
    """Headers, and what people write about them."""
    form = {"form_token": _form_token(signed_in, patients.ann), "seen_version": "0", "decision": "correct"}
    written = signed_in.post(
        f"/results/{patients.ann}/review", data={**form, "conclusion": MARKUP, "comment": MARKUP, "level_shift": "0"}
    )
    assert written.status_code == 303
    tasks = re.findall(r"/worklist/([0-9a-f-]{36})", signed_in.get("/worklist?state=all").text)
    assert tasks
    signed_in.post(f"/worklist/{tasks[0]}/step", data={**form, "event": "contact", "note": MARKUP})
    pages = [
        "/results",
        f"/results/{patients.ann}",
        f"/results/{patients.ann}/report",
        "/worklist?state=all",
        "/quality",
    ]
    shown = [signed_in.get(path).text for path in (*pages, *(f"/worklist/{each}" for each in tasks))]
    assert any("&lt;script&gt;" in text for text in shown)
    for text in shown:
        for piece in (MARKUP, "<img src=x", "<svg/onload", "49<b>", '"><s>'):
            assert piece not in text
    for kind in TYPES:
        told = httpx.get(f"{site.http}/fhir/{kind}?_count=100", headers=site.bearer()).text
        assert not re.search(r'"div": ?"[^"]*<script', told), kind


def test_no_cell_of_the_list_is_a_formula(signed_in: httpx.Client, patients: Patients) -> None:
    assert patients
    rows = list(csv.reader(io.StringIO(signed_in.get("/worklist.csv?state=all").text)))
    cells = [cell for row in rows for cell in row]
    assert f"'{ANN}" in cells
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    for start in ("＝", "＋", "－", "＠", "\n="):
        assert _harmless(f"{start}1+1") == f"'{start}1+1"


def test_a_form_token_of_another_person_is_no_good(
    signed_in: httpx.Client, site: CanarySite, patients: Patients
) -> None:
    path = f"/results/{patients.bob}/review"
    decision = {"seen_version": "0", "decision": "accept"}
    with httpx.Client(base_url=site.http) as other:
        assert _sign_in(other).status_code == 303
        foreign = _form_token(other, patients.bob)
    own = _form_token(signed_in, patients.bob)
    assert foreign != own
    assert signed_in.post(path, data={**decision, "form_token": foreign}).status_code == 403
    assert signed_in.post(path, data=decision).status_code == 403
    assert signed_in.post(path, json={**decision, "form_token": own}).status_code == 403
    assert signed_in.get(f"{path}?form_token={own}&decision=accept&seen_version=0").status_code == 405
    assert signed_in.get(f"/results/{patients.bob}").status_code == 200


@pytest.mark.parametrize("target", ["//evil.test", "/\\evil.test", "https://evil.test", "/\tevil", "/\r\nA: b", "///e"])
def test_signing_in_leads_to_no_other_host(site: CanarySite, target: str) -> None:
    with httpx.Client(base_url=site.http) as client:
        answer = _sign_in(client, next=target)
    assert answer.headers["location"] == "/results"
    assert "a" not in {name.lower() for name in answer.headers}


# --- what lies about -------------------------------------------------------------------------------------------------


def test_nothing_in_the_state_folder_is_open_to_others(site: CanarySite, patients: Patients) -> None:
    assert patients
    open_to_others = []
    for base in ("state", "tmp"):
        for folder, names, files in os.walk(site.folder / base):
            for name in (*names, *files):
                path = Path(folder) / name
                if path.exists() and not path.is_symlink() and path.lstat().st_mode & stat.S_IRWXO:
                    open_to_others.append(path.name)
    assert not open_to_others
    assert not (site.folder / "state").stat().st_mode & stat.S_IRWXO


def test_metrics_take_no_orders(site: CanarySite) -> None:
    address = f"http://127.0.0.1:{site.metrics_port}"
    for method in ("POST", "PUT", "DELETE"):
        assert httpx.request(method, f"{address}/metrics").status_code in (404, 405, 501)
    assert "passwd" not in httpx.get(f"{address}/../../etc/passwd").text
