"""The real service with every door open, studies full of canaries, an EHR that quotes them back, and eyes on whatever
leaves the service by a way that is not for patient data."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from canary import CANARIES, Leak, leaks
from cds_ehr import ISS, Signer
from live_http import ISSUER, Issuer
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from pydicom import Dataset, FileDataset, dcmread

from trabecula.anatomy import Level
from trabecula.config import Settings
from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.service.auth.local_users import Role, users_entry

HOOKS = Path(__file__).with_name("canary_hooks")
CODE = Path(__file__).resolve().parents[2] / "server"
PASSWORD = "correct horse battery"  # noqa: S105
SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
PREAMBLE_BYTES = 128
GRPC_AUDIENCE = "trabecula-grpc"


# --- studies ---------------------------------------------------------------------------------------------------------


def make_phantom(folder: Path) -> list[Path]:
    """A chest phantom, T11 to L1, that runs through the networks in about a second."""
    write_phantom(PhantomSpec(top=Level.T11, bottom=Level.L1, matrix=128, slice_mm=5.0, seed=3), folder)
    return sorted((folder / "dicom").iterdir())


def marked(dataset: FileDataset, number: int, study: int) -> FileDataset:
    """The instance with a canary in every attribute that says something of a patient or a place."""
    for keyword, value in CANARIES.items():
        setattr(dataset, keyword, value)
    dataset.PatientIdentityRemoved = "NO"
    dataset.StudyInstanceUID = f"{CANARIES['StudyInstanceUID']}.{study}"
    dataset.SeriesInstanceUID = f"{CANARIES['SeriesInstanceUID']}.{study}"
    dataset.SOPInstanceUID = f"{CANARIES['SOPInstanceUID']}.{study}.{number}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    block = dataset.private_block(0x0011, "QZPRIVATECREATOR", create=True)
    block.add_new(0x01, "LO", "QZPRIVATE")
    request = Dataset()
    request.ScheduledProcedureStepDescription = "QZSCHEDULED"
    request.RequestedProcedureID = "QZREQPROC"
    dataset.RequestAttributesSequence = [request]
    return dataset


def write_study(
    source: Sequence[Path], folder: Path, study: int, order: str = "", few: int | None = None
) -> list[Path]:
    """A marked copy; ``order`` is for ``canary_hooks``, and the names of files hold canaries too."""
    folder.mkdir(parents=True)
    paths = []
    for number, path in enumerate(source[:few], start=1):
        dataset = marked(dcmread(path), number, study)
        dataset.preamble = (f"CANARY {order}" if order else "").encode().ljust(PREAMBLE_BYTES, b"\0")
        paths.append(folder / f"QZFILENAME-{CANARIES['PatientID']}-{number:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def damage(paths: Sequence[Path]) -> None:
    """Values that do not fit their VR, so that decoders complain of them in their own words."""
    for number, path in enumerate(paths):
        data = bytearray(path.read_bytes())
        for keyword in (b"19470811", b"QZACCESSION ", f"{CANARIES['SOPInstanceUID']}".encode()):
            at = data.find(keyword)
            if at > 0:
                data[at + len(keyword) - 1] = 0xFF - number % 3
        path.write_bytes(bytes(data[: len(data) - 64 * (number % 2)]))


# --- an EHR that quotes ----------------------------------------------------------------------------------------------


@dataclass
class QuotingEhr:
    """Refuses everything, and quotes a patient in status line, header and body as real servers do."""

    status: int = 422
    seen: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    @contextlib.contextmanager
    def serving(self) -> Iterator[QuotingEhr]:
        ehr = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                ehr.seen.append((self.command, self.path))
                issue = {
                    "severity": "error",
                    "code": "invalid",
                    "diagnostics": f"Patient {CANARIES['PatientName']} {CANARIES['PatientBirthDate']}: duplicate key "
                    f"(identifier)=({CANARIES['PatientID']}) at {self.path}",
                }
                body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()
                self.send_response(ehr.status, f"QZFAMILY is refused {CANARIES['PatientID']}")
                self.send_header("content-type", "application/fhir+json")
                self.send_header("www-authenticate", 'Bearer realm="QZFAMILY"')
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                """Silence."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


# --- a collector of traces -------------------------------------------------------------------------------------------


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span as it came over the wire."""

    def __init__(self) -> None:
        self.exports: list[bytes] = []
        self.spans: list[str] = []

    def Export(  # noqa: N802 - named by OTLP
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        del context
        self.exports.append(request.SerializeToString() + str(request).encode())
        self.spans += [
            span.name for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
        ]
        return trace_service_pb2.ExportTraceServiceResponse()

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """Address to export to."""
        server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop(0.5)


# --- the service -----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class CanarySite:
    """A running service."""

    folder: Path
    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    metrics_port: int
    issuer: Issuer
    signer: Signer
    ehr: QuotingEhr
    collector: Collector
    environment: dict[str, str]
    watched: set[str] = field(default_factory=set)
    """Names of files, and command lines, that were seen at any time."""

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports['port']}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['http_port']}"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def grpc_bearer(self, scope: str = "screening.submit screening.read") -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.token(GRPC_AUDIENCE, scope)}"}

    def bearer(self, scope: str = "system/*.cruds", **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.token(f'{self.http}/fhir', scope, **claims)}"}

    def metrics(self) -> str:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        plain = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics").text
        return plain + httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", headers=accept).text

    def run(self, *arguments: str) -> str:
        """Output of one command of the program on the same state."""
        command = [sys.executable, "-m", "trabecula.cli", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout + done.stderr

    def watch(self) -> None:
        """Remember the names of files and the command lines of processes as they are now."""
        for base in (self.folder / "state", self.folder / "tmp"):
            for _, folders, files in os.walk(base):
                self.watched.update(folders)
                self.watched.update(files)
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self.process.pid)
            for each in [parent, *parent.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    self.watched.add(" ".join(each.cmdline()))

    def leaks(self) -> list[Leak]:
        """Whatever left the service by log, metrics, names of files, command lines or the database's own log."""
        self.watch()
        found = leaks("log of the service", self.log.read_bytes()) + leaks("metrics", self.metrics())
        found += leaks("traces", b"".join(self.collector.exports))
        found += leaks("file names and command lines", "\n".join(sorted(self.watched)))
        for path in sorted((self.folder / "state").glob("database/**/log/*")):
            found += leaks(f"PostgreSQL's log {path.name}", path.read_bytes())
        return found

    def until(self, condition: Callable[[], bool], limit_s: float = 90.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            self.watch()
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline, f"it did not happen in time\n{self.log.read_text()[-2000:]}"
            time.sleep(0.1)


def _settings(folder: Path, ehr: QuotingEhr, issuer: Issuer, signer: Signer) -> dict[str, str]:
    (folder / "issuer.json").write_text(json.dumps(issuer.jwks))
    (folder / "ehr.json").write_text(json.dumps(signer.jwks()))
    (folder / "users.toml").write_text(users_entry("ada", "Dr. Ada Example", list(Role), PASSWORD))
    (folder / "users.toml").chmod(0o600)
    (folder / "clients.toml").write_text(
        f'[[client]]\nname = "ehr"\niss = "{ISS}"\njku = []\njwks_file = "ehr.json"\n'
        f'fhir_servers = ["{ehr.url}/fhir"]\n'
    )
    network = '[destination.network]\nprivate_networks = ["127.0.0.0/8"]\nplain_http = true\n'
    limits = "[destination.limits]\nfirst_delay_s = 0.2\nmax_delay_s = 1\n"
    (folder / "destinations.toml").write_text(
        f'[[destination]]\nkind = "fhir"\nname = "ehr"\nbase_url = "{ehr.url}/fhir"\n'
        f'[[destination.patient]]\nsystem = "{SYSTEM}"\n{network}{limits}'
        f'[[destination]]\nkind = "stow"\nname = "archive"\nbase_url = "{ehr.url}/dicom-web"\n{network}{limits}'
        f'[[destination]]\nkind = "dimse"\nname = "pacs"\nhost = "127.0.0.1"\nport = {free_port()}\n'
        f'ae_title = "PACS"\n{limits}'
    )
    return {
        "log_level": "debug",
        "state_dir": str(folder / "state"),
        "listen": "127.0.0.1:0",
        "http_listen": "127.0.0.1:0",
        "metrics_listen": f"127.0.0.1:{free_port()}",
        "dimse_listen": "127.0.0.1:0",
        "dimse_peers": "SCANNER@127.0.0.0/8",
        "dimse_quiet_s": "0.5",
        "stow_in": "true",
        "inference_threads": "1",
        "max_attempts": "1",
        "reflection": "true",
        "auth_issuers": ISSUER,
        "grpc_audience": GRPC_AUDIENCE,
        "auth_jwks": str(folder / "issuer.json"),
        "users_file": str(folder / "users.toml"),
        "cds_clients_file": str(folder / "clients.toml"),
        "cds_read_budget_s": "2",
        "destinations_file": str(folder / "destinations.toml"),
        "dicomweb_archive": "archive",
        "fhir_patient_identifier_system": SYSTEM,
        "outbound_hosts": ehr.url.removeprefix("http://"),
        "outbound_networks": "127.0.0.0/8",
    }


@contextlib.contextmanager
def canary_site(folder: Path, changes: Mapping[str, str] = {}, extra: Mapping[str, str] = {}) -> Iterator[CanarySite]:
    """Run ``trabecula serve --role all`` with its own PostgreSQL until the end of the block."""
    issuer, signer, ehr, collector = Issuer.make(), Signer(), QuotingEhr(), Collector()
    (folder / "tmp").mkdir(parents=True)
    with ehr.serving(), collector.serving() as traces:
        chosen = {**_settings(folder, ehr, issuer, signer), "traces_endpoint": traces, **changes}
        known = Settings.__dataclass_fields__
        assert not chosen.keys() - known.keys()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(CODE), str(HOOKS))),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "tmp"),
            **{f"TRABECULA_{name.upper()}": value for name, value in chosen.items()},
            **extra,
        }
        ready = folder / "ready"
        command = [sys.executable, "-m", "trabecula.cli", "serve", "--ready-file", str(ready)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        metrics_port = int(chosen["metrics_listen"].rpartition(":")[2])
        site = CanarySite(folder, process, {}, metrics_port, issuer, signer, ehr, collector, environment)
        try:
            site.until(ready.exists)
            site.ports = _ports(site.log)
            yield site
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _ports(log: Path) -> dict[str, int]:
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("event") == "serving":
                return {name: value for name, value in said.items() if name.endswith("port")}
    raise AssertionError(f"the log does not say where it serves\n{log.read_text()}")
