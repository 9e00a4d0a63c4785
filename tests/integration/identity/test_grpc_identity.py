"""Who may call by gRPC: tokens, certificates, scopes, limits; and the record of every call."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc import jwt
from joserfc.jwk import OctKey
from live_http import Issuer
from live_service import LiveServer, StartServer, make_study
from site_identity import AUDIENCE, Authority, Tokens
from typer.testing import CliRunner

from trabecula import errors
from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.errors import ConfigurationError
from trabecula.service.auth.callers import caller_check
from trabecula.service.auth.calls import CALLS, CallScope
from trabecula.service.auth.wiring import checks_tokens
from trabecula.service.client import AdminClient, Client, ClientTls, TokenInTheClear
from trabecula.v1 import admin_pb2, admin_pb2_grpc, screening_pb2, screening_pb2_grpc
from trabecula.work.records import DocumentKind

EVERYTHING = "screening.submit screening.read admin"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.at(tmp_path)


@pytest.fixture
def asked(start_server: StartServer, tokens: Tokens, tmp_path: Path) -> LiveServer:
    """A service that asks for tokens."""
    return start_server(admin_listen="127.0.0.1:0", backup_dir=tmp_path / "backups", **tokens.settings)


def events(service: LiveServer) -> list[dict[str, Any]]:
    """The audit trail, oldest first."""
    with psycopg.connect(str(service.settings.database_url)) as connection:
        rows = connection.execute("SELECT content FROM audit_event ORDER BY seq").fetchall()
    return [row[0] for row in rows]


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    """Status of a raw call."""
    try:
        answer = call()
        if not hasattr(answer, "DESCRIPTOR"):
            list(answer)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def raw(address: str) -> screening_pb2_grpc.ScreeningServiceStub:
    return screening_pb2_grpc.ScreeningServiceStub(grpc.insecure_channel(address))


LIST = screening_pb2.ListScreeningsRequest()


def test_every_rpc_of_the_proto_has_its_rule_and_no_other() -> None:
    offered = {
        f"/{service.full_name}/{method.name}"
        for file in (screening_pb2, admin_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert set(CALLS) == offered


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _forged(tokens: Tokens) -> dict[str, str]:
    """Tokens that must not be believed, each wrong in one thing."""
    issuer, now = tokens.issuer, int(time.time())
    claims = {
        "iss": "https://auth.hospital.test",
        "aud": AUDIENCE,
        "exp": now + 300,
        "client_id": "x",
        "scope": EVERYTHING,
    }
    good = issuer.token(AUDIENCE, EVERYTHING)
    head, body, signature = good.split(".")
    secret = json.dumps(issuer.key.as_dict(private=False), sort_keys=True)
    none = jwt.encode({"alg": "none"}, claims, OctKey.generate_key(256), algorithms=["none"])
    return {
        "alg none": none,
        "alg none with a signature": f"{none.split('.')[0]}.{body}.{signature}",
        "public key as a secret": jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(secret), algorithms=["HS256"]),
        "other key": replace(Issuer.make(), kid=issuer.kid).token(AUDIENCE, EVERYTHING),
        "unknown key id": issuer.token(AUDIENCE, EVERYTHING, header={"kid": "another"}),
        "own key in the header": Issuer.make().token(AUDIENCE, EVERYTHING, header={"jwk": {"kty": "EC"}, "kid": "x"}),
        "other issuer": issuer.token(AUDIENCE, EVERYTHING, iss="https://evil.test"),
        "no issuer": issuer.token(AUDIENCE, EVERYTHING, iss=None),
        "other audience": issuer.token("https://other.test", EVERYTHING),
        "no audience": issuer.token(None, EVERYTHING),
        "audience of a longer name": issuer.token(AUDIENCE + ".evil.test", EVERYTHING),
        "expired": issuer.token(AUDIENCE, EVERYTHING, exp=now - 60),
        "without an end": issuer.token(AUDIENCE, EVERYTHING, exp=None),
        "not yet in force": issuer.token(AUDIENCE, EVERYTHING, nbf=now + 120),
        "issued in the future": issuer.token(AUDIENCE, EVERYTHING, iat=now + 120),
        "cut short": f"{head}.{body}.{signature[:-4]}",
        "other claims": f"{head}.{none.split('.')[1]}.{signature}",
        "critical header": f"{_part({'alg': 'ES384', 'kid': issuer.kid, 'crit': ['exp']})}.{body}.{signature}",
        "endless": "a" * 12_000,
        "five parts": ".".join("abcde"),
        "nothing": "",
    }


FORGERIES = (
    "alg none", "alg none with a signature", "public key as a secret", "other key", "unknown key id",
    "own key in the header", "other issuer", "no issuer", "other audience", "no audience",
    "audience of a longer name", "expired", "without an end", "not yet in force", "issued in the future", "cut short",
    "other claims", "critical header", "endless", "five parts", "nothing",
)  # fmt: skip


def test_forged_and_stale_tokens_are_refused(asked: LiveServer, tokens: Tokens) -> None:
    stub, forged = raw(asked.address), _forged(tokens)
    assert tuple(forged) == FORGERIES
    let_in = []
    for name, token in forged.items():
        code = code_of(lambda token=token: stub.ListScreenings(LIST, metadata=[("authorization", f"Bearer {token}")]))
        if code is not grpc.StatusCode.UNAUTHENTICATED:
            let_in.append((name, code))
    good = ("authorization", f"Bearer {tokens.issuer.token(AUDIENCE, EVERYTHING)}")
    assert let_in == []
    assert code_of(lambda: stub.ListScreenings(LIST)) is grpc.StatusCode.UNAUTHENTICATED
    basic = [("authorization", "Basic dXNlcjpwYXNzd29yZA==")]
    assert code_of(lambda: stub.ListScreenings(LIST, metadata=basic)) is grpc.StatusCode.UNAUTHENTICATED
    assert code_of(lambda: stub.ListScreenings(LIST, metadata=[good, good])) is grpc.StatusCode.UNAUTHENTICATED
    stub.ListScreenings(LIST, metadata=[good])


REQUESTS = {
    "SubmitStudy": lambda: iter([screening_pb2.SubmitStudyRequest()]),
    "GetScreening": lambda: screening_pb2.GetScreeningRequest(screening_id=UNKNOWN),
    "WatchScreening": lambda: screening_pb2.WatchScreeningRequest(screening_id=UNKNOWN),
    "ListScreenings": lambda: LIST,
    "CancelScreening": lambda: screening_pb2.CancelScreeningRequest(screening_id=UNKNOWN),
    "GetDocument": lambda: screening_pb2.GetDocumentRequest(screening_id=UNKNOWN, kind=1),
    "ListJobs": admin_pb2.ListJobsRequest,
    "GetJob": lambda: admin_pb2.GetJobRequest(screening_id=UNKNOWN),
    "RetryJob": lambda: admin_pb2.RetryJobRequest(screening_id=UNKNOWN),
    "CancelJob": lambda: admin_pb2.CancelJobRequest(screening_id=UNKNOWN),
    "SetLegalHold": lambda: admin_pb2.SetLegalHoldRequest(screening_id=UNKNOWN),
    "CollectGarbage": admin_pb2.CollectGarbageRequest,
    "CheckDatabase": admin_pb2.CheckDatabaseRequest,
    "UpgradeDatabase": admin_pb2.UpgradeDatabaseRequest,
    "BackupDatabase": lambda: admin_pb2.BackupDatabaseRequest(name="one"),
    "RestoreDatabase": lambda: admin_pb2.RestoreDatabaseRequest(name="none"),
}


def test_every_rpc_asks_for_its_scope_and_for_no_other(asked: LiveServer, tokens: Tokens) -> None:
    channels = grpc.insecure_channel(asked.address), grpc.insecure_channel(asked.admin_address)
    stubs = screening_pb2_grpc.ScreeningServiceStub(channels[0]), admin_pb2_grpc.AdminServiceStub(channels[1])
    headers = {
        scope: [("authorization", f"Bearer {tokens.issuer.token(AUDIENCE, scope.value)}")] for scope in CallScope
    }
    wrong = []
    for method, rule in CALLS.items():
        name = method.rpartition("/")[2]
        stub = stubs["Admin" in method]
        for scope in CallScope:
            may = scope is rule.scope or (scope is CallScope.ADMIN and rule.scope is CallScope.ADMIN_READ)
            call = getattr(stub, name)
            code = code_of(lambda call=call, name=name, scope=scope: call(REQUESTS[name](), metadata=headers[scope]))
            if (code is not grpc.StatusCode.PERMISSION_DENIED) is not may:
                wrong.append((name, scope.value, code.name))
    assert wrong == []
    # Each method without any token, too.
    for method in CALLS:
        name = method.rpartition("/")[2]
        call = getattr(stubs["Admin" in method], name)
        assert code_of(lambda call=call, name=name: call(REQUESTS[name]())) is grpc.StatusCode.UNAUTHENTICATED, name
    refused = [event for event in events(asked) if event["outcome"] == "4"]
    audited = [rule for rule in CALLS.values() if rule.interaction is not None]
    assert len(refused) == sum(4 - (2 if rule.scope is CallScope.ADMIN_READ else 1) for rule in audited)


def test_health_needs_no_token(asked: LiveServer) -> None:
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(asked.address))
    assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_each_access_is_recorded_with_who_and_what(asked: LiveServer, tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.file(EVERYTHING, client_id="router", sub="dr-ada")
    with Client(asked.address, token_file=token) as client, AdminClient(asked.admin_address, token_file=token) as admin:
        screening_id = client.submit(make_study(tmp_path / "study"))
        list(client.watch(screening_id))
        client.get(screening_id)
        client.list()
        client.save_document(screening_id, DocumentKind.REPORT_JSON, tmp_path / "report.json")
        with pytest.raises(errors.AlreadyEnded):
            client.cancel(screening_id)
        admin.call("ListJobs", admin_pb2.ListJobsRequest())
        admin.call("GetJob", admin_pb2.GetJobRequest(screening_id=screening_id))
        admin.call("SetLegalHold", admin_pb2.SetLegalHoldRequest(screening_id=screening_id, hold=True))
        admin.call("CollectGarbage", admin_pb2.CollectGarbageRequest())
        admin.call("UpgradeDatabase", admin_pb2.UpgradeDatabaseRequest())
        admin.call("BackupDatabase", admin_pb2.BackupDatabaseRequest(name="one"))
        admin.call("CheckDatabase", admin_pb2.CheckDatabaseRequest())
    told = [(event["subtype"][0]["code"], event["action"], _entity(event)) for event in events(asked)]
    report = f"DiagnosticReport/{screening_id}"
    assert told == [
        ("create", "C", f"ImagingStudy/{screening_id}"),
        ("read", "R", report),
        ("read", "R", report),
        ("search-type", "E", "DiagnosticReport"),
        ("read", "R", report),
        ("search-type", "E", "DiagnosticReport"),
        ("read", "R", report),
        ("update", "U", report),
        ("operation", "E", "trabecula?CollectGarbage"),
        ("operation", "E", "trabecula?UpgradeDatabase"),
        ("operation", "E", "trabecula?BackupDatabase"),
    ]
    names = {tuple(agent["who"]["display"] for agent in event["agent"]) for event in events(asked)}
    assert names == {("router", "Trabecula", "dr-ada")}
    assert {event["agent"][0]["network"]["address"] for event in events(asked)} == {"127.0.0.1"}


def _entity(event: dict[str, Any]) -> str:
    first = event["entity"][0]
    if "query" in first:
        return base64.b64decode(first["query"]).decode()
    return str(first["what"]["reference"] if "what" in first else first["name"])


def test_commands_straight_on_the_database_are_recorded_too(start_server: StartServer, tmp_path: Path) -> None:
    service = start_server()
    with Client(service.address) as client:
        screening_id = client.submit(make_study(tmp_path / "study"))
        list(client.watch(screening_id))
    before = len(events(service))
    where = ["--database-url", str(service.settings.database_url), "--state-dir", str(service.settings.state_dir)]
    for arguments in (["jobs", "list"], ["jobs", "show", screening_id], ["jobs", "hold", screening_id]):
        done = CliRunner().invoke(app, [*arguments, *where])
        assert done.exit_code == 0, done.output
    made = events(service)[before:]
    assert [(event["action"], _entity(event)) for event in made] == [
        ("E", "DiagnosticReport"),
        ("R", f"DiagnosticReport/{screening_id}"),
        ("U", f"DiagnosticReport/{screening_id}"),
    ]
    assert {event["agent"][0]["who"]["display"] for event in made} == {"command line"}


def test_whole_backups_and_clean_ups_by_command_are_recorded_too(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_server()
    monkeypatch.setenv("TRABECULA_DATABASE_URL", str(service.settings.database_url))
    monkeypatch.setenv("TRABECULA_STATE_DIR", str(service.settings.state_dir))
    for words in (["db", "backup", str(tmp_path / "b.tar")], ["db", "upgrade"], ["gc"], ["gc", "--dry-run"]):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert [_entity(event) for event in events(service)] == [
        "trabecula?BackupDatabase",
        "trabecula?UpgradeDatabase",
        "trabecula?CollectGarbage",
    ]


def test_watching_ends_with_the_token_and_goes_on_with_the_next(
    start_server: StartServer, tokens: Tokens, tmp_path: Path
) -> None:
    # Nobody works on the study, so that watching has no end of its own.
    service = start_server(role="api", auth_clock_skew_s=0.0, **tokens.settings)
    token = tokens.file(EVERYTHING)
    with Client(service.address, token_file=token) as client:
        screening_id = client.submit(make_study(tmp_path / "study"))
        short = tokens.file("screening.read", "short", exp=int(time.time()) + 3)
        with Client(service.address, token_file=short) as watching, pytest.raises(errors.Unauthenticated):
            list(watching.watch(screening_id))
        short = tokens.file("screening.read", "renewed", exp=int(time.time()) + 3)
        with Client(service.address, token_file=short) as watching:
            changes = watching.watch(screening_id)
            next(changes)
            tokens.file("screening.read", "renewed", exp=int(time.time()) + 60)
            time.sleep(3.5)
            client.cancel(screening_id)
            assert [change.state for change in changes][-1] == screening_pb2.SCREENING_STATE_CANCELLED


def test_a_token_goes_over_loopback_or_an_encrypted_connection_only(tokens: Tokens) -> None:
    with pytest.raises(TokenInTheClear):
        Client("trabecula.hospital.test:50051", token_file=tokens.file(EVERYTHING))


def test_a_certificate_may_call_what_its_entry_says(start_server: StartServer, tokens: Tokens, tmp_path: Path) -> None:
    authority = Authority.at(tmp_path)
    chain, key = authority.issue("localhost")
    listed, reader, stranger = (authority.issue(name) for name in ("router.test", "reader.test", "stranger.test"))
    spiffe = authority.issue("pod.test", uri="spiffe://cluster.local/ns/pacs/sa/router")
    clients = tmp_path / "clients.toml"
    clients.write_text(
        '[client.router]\ncertificates = ["dns:router.test"]\nscopes = ["screening.submit", "screening.read"]\n'
        '[client.mesh]\ncertificates = ["uri:spiffe://cluster.local/ns/pacs/sa/router"]\nscopes = ["screening.read"]\n'
        '[client.reader]\ncertificates = ["subject:CN=reader.test"]\nscopes = ["screening.read"]\n',
        encoding="utf-8",
    )
    service = start_server(
        tls_certificate_file=chain,
        tls_key_file=key,
        tls_client_ca_file=authority.path,
        grpc_clients_file=clients,
        **tokens.settings,
    )
    address = f"localhost:{service.server.port}"

    def connected(pair: tuple[Path, Path], token: Path | None = None) -> Client:
        return Client(address, ClientTls(authority.path, *pair), token)

    with connected(listed) as client:
        assert client.submit(make_study(tmp_path / "study"))
    for pair in (reader, spiffe):
        with connected(pair) as client:
            client.list()
            with pytest.raises(errors.Forbidden):
                client.submit(make_study(tmp_path / "study"))
    with connected(stranger) as client, pytest.raises(errors.Unauthenticated):
        client.list()
    # A token over the connection of somebody not listed speaks for itself; a bad one is not mended by a certificate.
    with connected(stranger, tokens.file("screening.read", "good")) as client:
        client.list()
    bad = tokens.file("screening.read", "bad", aud="https://other.test")
    with connected(listed, bad) as client, pytest.raises(errors.Unauthenticated):
        client.list()
    other = Authority.at(tmp_path, "other")
    with Client(address, ClientTls(authority.path, *other.issue("router.test"))) as client:
        with pytest.raises(errors.TrabeculaError) as caught:
            client.list()
        assert caught.value.code == "service-unreachable"
    assert {event["agent"][0]["who"]["display"] for event in events(service)} == {
        "router", "mesh", "reader", "test-client",
    }  # fmt: skip


REFUSED_TO_START = [
    {"listen": "0.0.0.0:0"},
    {"listen": "[::]:0"},
    {"listen": "0.0.0.0:0", "grpc_auth": "off"},
    {"listen": "0.0.0.0:0", "tls_elsewhere": True},
    {"listen": "0.0.0.0:0", "tls": True},
    {"listen": "0.0.0.0:0", "tokens": True},
    {"listen": "127.0.0.1:0", "grpc_auth": "on"},
    {"listen": "127.0.0.1:0", "grpc_clients_file": Path("clients.toml")},
    {"listen": "127.0.0.1:0", "tokens": True, "grpc_audience": None, "grpc_auth": "on"},
    {"listen": "0.0.0.0:0", "tokens": True, "grpc_audience": None, "tls_elsewhere": True},
]


@pytest.mark.parametrize("case", REFUSED_TO_START, ids=str)
def test_nobody_opens_the_door_by_mistake(case: dict[str, Any], tokens: Tokens, tmp_path: Path) -> None:
    case = dict(case)
    asks = case.pop("tokens", False)
    settings = Settings(**({**tokens.settings, **case} if asks else {k: v for k, v in case.items() if k != "tls"}))
    if case.pop("tls", False):
        settings = replace(settings, tls_certificate_file=tmp_path / "c", tls_key_file=tmp_path / "k")
    verifier = checks_tokens(settings, None) if asks else None  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        caller_check(settings, verifier, settings.listen)


OPENED = [
    {"listen": "127.0.0.1:0"},
    {"listen": "[::1]:0", "grpc_auth": "off"},
    {"listen": "0.0.0.0:0", "grpc_auth": "off-beyond-loopback"},
    {"listen": "0.0.0.0:0", "tls_elsewhere": True, "tokens": True},
]


@pytest.mark.parametrize("case", OPENED, ids=str)
def test_on_ones_word_or_with_an_identity_it_opens(case: dict[str, Any], tokens: Tokens) -> None:
    case = dict(case)
    asks = case.pop("tokens", False)
    settings = Settings(**{**(tokens.settings if asks else {}), **case})
    caller_check(settings, checks_tokens(settings, None) if asks else None, settings.listen)  # type: ignore[arg-type]


def test_the_service_itself_refuses_to_start(start_server: StartServer) -> None:
    with pytest.raises(ConfigurationError):
        start_server(listen="0.0.0.0:0")


def test_one_client_cannot_take_the_service_from_the_others(start_server: StartServer, tokens: Tokens) -> None:
    service = start_server(client_requests_per_s=1, **tokens.settings)  # ten at once
    loud, quiet = tokens.file("screening.read", "loud", client_id="loud"), tokens.file("screening.read", "quiet")
    began = time.monotonic()
    with Client(service.address, token_file=loud) as client, Client(service.address, token_file=quiet) as other:
        let_in, wait_s = 0, 0.0
        while let_in < 200 and not wait_s:
            try:
                client.list()
                let_in += 1
            except errors.TooManyRequests as error:
                wait_s = float(str(error.fields["retry_after_s"]))
        assert 10 <= let_in <= 11 + (time.monotonic() - began)
        assert 0 < wait_s <= 1.0
        other.list()
        time.sleep(wait_s)
        client.list()
    assert service.server.registry.get_sample_value("trabecula_limited_total", {"door": "grpc"}) == 1.0


def test_one_client_has_so_many_uploads_open(start_server: StartServer, tokens: Tokens) -> None:
    service = start_server(client_max_uploads=1, **tokens.settings)
    headers = [
        [("authorization", f"Bearer {tokens.issuer.token(AUDIENCE, EVERYTHING, client_id=name)}")] for name in "ab"
    ]

    async def upload() -> Sequence[grpc.StatusCode]:
        async with grpc.aio.insecure_channel(service.address) as channel:
            stub = screening_pb2_grpc.ScreeningServiceStub(channel)
            header = screening_pb2.StudyHeader(expected_instances=1, total_bytes=10)
            codes = []
            first = stub.SubmitStudy(metadata=headers[0])
            await first.write(screening_pb2.SubmitStudyRequest(header=header))
            for each in headers:
                call = stub.SubmitStudy(metadata=each)
                await call.write(screening_pb2.SubmitStudyRequest(header=header))
                if each is headers[1]:
                    await call.done_writing()
                codes.append(await call.code())
            first.cancel()
            return codes

    assert asyncio.run(upload()) == [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT]
