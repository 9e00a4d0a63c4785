"""Mutated studies through the whole service with its models: sent by gRPC, STOW-RS and C-STORE, screened by the durable
worker in processes of its own, and database, content store and record looked at afterwards.

Some are sent twice under one key, some are called off, some failed ones are tried again; several belong to one patient
over time. What was accepted has to end exactly once, as report, refusal or dead letter, and nothing may be left half.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psycopg
from fuzz_cases import Case, mutated_parts, save_case
from fuzz_elements import Part10, padded
from fuzz_seeds import NAMES, phantom_seed, seed
from fuzz_service import running_service
from live_service import LiveServer
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from trabecula.config import Settings
from trabecula.errors import AlreadyEnded, TrabeculaError
from trabecula.patient import PatientContext
from trabecula.service.client import Client
from trabecula.service.workers import make_runner
from trabecula.work.database import url_parameters

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))
import fault_invariants

BATCH = 40
"""Studies that one database is for; a campaign that is stopped goes on with the next."""
AT_ONCE = 4
PATIENTS = 25
END_S = 900.0
_KINDS = {"phantom": 0.35, "short": 0.1, "two-series": 0.15, "tiny": 0.4}
_HOW = {"one": 0.5, "some": 0.25, "every": 0.15, "alike": 0.1}
_DOORS = {"grpc": 0.5, "stow": 0.25, "dimse": 0.25}
FAULTS = frozenset({"internal", "unforeseen", "worker-crashed", "worker-lost", "out-of-memory", "screening-timed-out"})
"""What a study may not end with, whatever it holds."""


@dataclass
class WholeTally:
    """What was counted so far."""

    seed: int
    studies: int = 0
    instances: int = 0
    """Mutated ones."""
    screenings: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    doors: Counter[str] = field(default_factory=Counter)
    """Door and answer."""
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    resources: int = 0
    """FHIR resources that were looked for and found."""

    @classmethod
    def load(cls, path: Path, chosen: int) -> WholeTally:
        if not path.exists():
            return cls(chosen)
        kept = json.loads(path.read_text())
        counters = {name: Counter(kept.pop(name)) for name in ("kinds", "doors", "outcomes")}
        return cls(**kept, **counters)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self), indent=1))

    def find(self, text: str, name: str) -> None:
        self.findings.setdefault(text, []).append(name)


@dataclass(frozen=True)
class Sent:
    """A study, how it was sent and what was answered."""

    case: Case
    door: str
    answer: str
    accepted: tuple[str, ...] = ()
    """Screening ids that the sender was told."""


@cache
def _bases() -> dict[str, tuple[Part10, ...]]:
    phantom, short = phantom_seed("report"), phantom_seed("short")
    return {"phantom": phantom, "short": short}


def make_whole_case(campaign: int, number: int) -> Case:
    """The mutated study of that number: unlike the reader's ones they may hold a spine, or two series."""
    chosen = Random(f"whole {campaign} {number}")
    kind = chosen.choices(list(_KINDS), list(_KINDS.values()))[0]
    tiny = chosen.choice(NAMES)
    if kind == "tiny":
        sound: tuple[Part10, ...] = seed(tiny).instances
        base = tiny
    elif kind == "two-series":
        base = f"phantom+{tiny}"
        sound = (*_bases()["phantom"], *(_renamed(each) for each in seed(tiny).instances))
    else:
        sound, base = _bases()[kind], kind
    sound = tuple(_of_study(each, campaign, number) for each in sound)
    how = chosen.choices(list(_HOW), list(_HOW.values()))[0]
    wrong: dict[int, Part10] = dict(mutated_parts(sound, how, chosen))
    files = tuple(wrong.get(index, part).to_bytes() for index, part in enumerate(sound))
    notes = tuple(sorted({note for part in wrong.values() for note in part.notes}))
    return Case(f"whole-{campaign}-{number}", base, files, frozenset(wrong), (kind, how, *notes))


def _renamed(part: Part10) -> Part10:
    """Instances of the small studies with UIDs that the phantom's do not have."""
    return _with_end(part.copy(), b".77")


def _with_end(made: Part10, end: bytes) -> Part10:
    """Another SOP Instance UID, in data set and meta information alike."""
    found = made.find(0x00080018)
    if found is not None:
        uid = padded((found.value.rstrip(b"\0") + end)[-64:].lstrip(b".0"), b"\0")
        made.set(0x00080018, b"UI", uid)
        for element in made.meta:
            if element.tag == 0x00020003:
                element.value = uid
            elif element.tag == 0x00020000:
                element.value = b""  # counted anew
    return made


def _of_study(part: Part10, campaign: int, number: int) -> Part10:
    """The same instance as part of a study of its own, of one of a few patients."""
    made = part.copy()
    made.set(0x0020000D, b"UI", padded(f"1.2.826.0.1.{campaign}.{number}".encode(), b"\0"))
    made.set(0x00100020, b"LO", padded(f"P{number % PATIENTS}".encode()))
    made.set(0x00080020, b"DA", f"2026{1 + number % 12:02d}{1 + number % 28:02d}".encode())
    return _with_end(made, f".{number}".encode())


# Sending


def _send(live: LiveServer, case: Case, room: Path) -> Sent:
    chosen = Random(f"send {case.name}")
    door = chosen.choices(list(_DOORS), list(_DOORS.values()))[0]
    try:
        return _SENDERS[door](live, case, room / case.name, chosen)
    except TrabeculaError as error:
        return Sent(case, door, error.code)


def _by_grpc(live: LiveServer, case: Case, folder: Path, chosen: Random) -> Sent:
    paths = [path for path in case.write(folder) if path.stat().st_size]
    with Client(live.address) as client:
        sex = chosen.choice(("female", "male", None))
        patient = PatientContext(age_years=chosen.choice((None, 45.0, 71.0))) if sex is None else PatientContext()
        key, masks = f"key {case.name}", chosen.random() < 0.2
        found = [client.submit(paths, patient, want_masks=masks, idempotency_key=key)]
        if chosen.random() < 0.1:
            found.append(client.submit(paths, patient, want_masks=masks, idempotency_key=key))
        if chosen.random() < 0.05:
            with suppress(AlreadyEnded):
                client.cancel(found[0])
    return Sent(case, "grpc", "accepted", tuple(found))


def _by_stow(live: LiveServer, case: Case, _folder: Path, _chosen: Random) -> Sent:
    head = b"--fuzz77boundary\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + each + b"\r\n" for each in case.files) + b"--fuzz77boundary--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=fuzz77boundary'
    address = f"http://127.0.0.1:{live.server.http_port}/dicom-web/studies"
    answer = httpx.post(address, content=body, headers={"content-type": kind}, timeout=120)
    return Sent(case, "stow", str(answer.status_code))


def _by_dimse(live: LiveServer, case: Case, folder: Path, _chosen: Random) -> Sent:
    """As they are: pynetdicom reads the meta information only, where it can."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE("FUZZ")
    syntaxes = sorted(_syntaxes())
    for uid in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"):
        entity.requested_contexts = [*entity.requested_contexts, *(build_context(uid, each) for each in syntaxes)]
    answers: Counter[str] = Counter()
    association = entity.associate("127.0.0.1", live.server.dimse_port, ae_title="TRABECULA")
    for path in case.write(folder):
        try:
            status = association.send_c_store(path)
            answers[f"{status.Status:04x}" if "Status" in status else "none"] += 1
        except Exception:  # what pynetdicom as the sender cannot send is not the receiver's
            answers["not sent"] += 1
            continue
        if "Status" not in status:
            association = entity.associate("127.0.0.1", live.server.dimse_port, ae_title="TRABECULA")
    association.release()
    return Sent(case, "dimse", ", ".join(sorted(answers)))


@cache
def _syntaxes() -> set[str]:
    return {part.syntax for name in NAMES for part in seed(name).instances[:1]}


_SENDERS: dict[str, Callable[[LiveServer, Case, Path, Random], Sent]] = {
    "grpc": _by_grpc,
    "stow": _by_stow,
    "dimse": _by_dimse,
}


# The service


@contextmanager
def whole_service(settings: Settings, folder: Path) -> Iterator[LiveServer]:
    """The product as ``trabecula serve`` runs it, every door open."""
    changes: dict[str, Any] = {
        "http_listen": "127.0.0.1:0", "dimse_listen": "127.0.0.1:0", "dimse_peers": "FUZZ@127.0.0.0/8", "auth": "off",
        "stow_in": True, "dimse_quiet_s": 2.0, "dicom_results": "on", "inference_threads": 1, "workers": 1,
        "fhir_patient_identifier_system": "urn:oid:1.2.3", "heartbeat_s": 5.0, "stalled_after_s": 60.0,
        "screening_timeout_s": 300.0, "backup_dir": folder / "backups", "dimse_max_associations": AT_ONCE + 2,
    }  # fmt: skip
    ready = replace(settings, inference_threads=1)
    with running_service(ready, folder, runner=make_runner(ready), **changes) as live:
        yield live


def run_batch(live: LiveServer, room: Path, tally: WholeTally, count: int, keep: Path) -> None:
    """Send so many studies, wait until all has ended, and look."""
    numbers = range(tally.studies, tally.studies + count)
    cases = [make_whole_case(tally.seed, number) for number in numbers]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = list(pool.map(lambda case: _send(live, case, room), cases))
    for each in sent:
        tally.studies += 1
        tally.instances += len(each.case.mutated)
        tally.kinds[each.case.notes[0]] += 1
        tally.doors[f"{each.door}: {each.answer}"] += 1
        if each.answer in FAULTS or each.answer == "500":
            tally.find(f"{each.door} was answered {each.answer}", each.case.name)
    with psycopg.connect(**url_parameters(live.settings), autocommit=True) as connection:
        rows = Rows(connection)
        if not _quiet(rows):
            tally.find("never quiet", sent[0].case.name)
        _retry_some(live, rows, tally)
        _quiet(rows)
        found = list(breaches(live, rows, sent, tally))
    for text, name in found:
        tally.find(text, name)
    wrong = {name for names in tally.findings.values() for name in names}
    for case in cases:
        if case.name in wrong:
            save_case(replace(case, mutated=frozenset(range(len(case.files)))), keep / f"{case.name}.zip")


@dataclass(frozen=True)
class Rows:
    """As :mod:`fault_invariants` asks for them."""

    connection: Any

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(query).fetchall())


_OPEN = """
    SELECT (SELECT count(*) FROM screening WHERE ended_at IS NULL)
         + (SELECT count(*) FROM dimse_received WHERE accepted_at IS NULL)
"""


def _quiet(rows: Rows) -> bool:
    deadline = time.monotonic() + END_S
    while rows.rows(_OPEN)[0][0]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _retry_some(live: LiveServer, rows: Rows, tally: WholeTally) -> None:
    """Operators try dead letters again; they end as before."""
    from trabecula.service.client import AdminClient
    from trabecula.v1 import admin_pb2

    failed = rows.rows("SELECT id::text FROM screening WHERE state = 'failed' ORDER BY id LIMIT 3")
    with AdminClient(live.admin_address) as admin:
        for (screening_id,) in failed:
            try:
                admin.call("RetryJob", admin_pb2.RetryJobRequest(screening_id=screening_id))
                tally.doors["retried"] += 1
            except TrabeculaError as error:
                tally.doors[f"retry: {error.code}"] += 1


# What must hold


def breaches(live: LiveServer, rows: Rows, sent: list[Sent], tally: WholeTally) -> Iterator[tuple[str, str]]:
    """In words, with the name of the study where it is known."""
    cluster: Any = rows
    verdict = fault_invariants.Verdict()
    fault_invariants.check_transitions(cluster, verdict)
    fault_invariants.check_jobs(cluster, verdict)
    content = live.settings.state_dir / "content"
    _collect(live)
    fault_invariants.check_content(cluster, content, verdict, after_gc=True)
    for text in verdict.breaches:
        yield text, ""
    if live.staged():
        yield "staged files were left", ""
    work = [path for path in (live.settings.state_dir / "work").rglob("*") if path.is_file() and path.suffix != ".lock"]
    if work:
        yield f"{len(work)} files of ended jobs were left", ""
    states = {row[0]: row[1:] for row in rows.rows("SELECT id::text, state, failure_code FROM screening")}
    known = {screening_id: each.case.name for each in sent for screening_id in each.accepted}
    for each in sent:
        if len(set(each.accepted)) > 1:
            yield "one key, several ids", each.case.name
        if any(screening_id not in states for screening_id in each.accepted):
            yield "accepted and lost", each.case.name
    lost = rows.rows("SELECT count(*) FROM dimse_received r WHERE NOT EXISTS "
                     "(SELECT FROM instance i WHERE i.sha256 = r.sha256)")[0][0]  # fmt: skip
    if lost:
        yield f"{lost} acknowledged instances belong to no screening", ""
    tally.screenings += len(states)
    for screening_id, (state, failure) in states.items():
        name = known.get(screening_id, "")
        if failure in FAULTS:
            yield f"ended as {failure}", name
        yield from ((text, name) for text in _documents(rows, content, screening_id, state, failure, tally))


def _collect(live: LiveServer) -> None:
    """Garbage collection now, as an operator asks for it, without a grace for what came in just now."""
    import asyncio

    from trabecula.service.wiring import retention_rules
    from trabecula.work.content import FolderContent
    from trabecula.work.database import open_database
    from trabecula.work.gc import collect, policy_of

    async def run() -> None:
        async with open_database(live.settings) as database:
            content = FolderContent(live.settings.state_dir / "content")
            policy = replace(policy_of(live.settings), grace_s=0.0)
            await collect(database, content, policy, retention_rules())

    asyncio.run(run())


def _documents(
    rows: Rows, content: Path, screening_id: str, state: str, failure: str | None, tally: WholeTally
) -> Iterator[str]:
    """An end and its documents say the same, and the record holds what the bundle holds."""
    kept = dict(rows.rows(f"SELECT kind, sha256 FROM document WHERE screening_id = '{screening_id}'"))  # noqa: S608
    published = rows.rows(f"SELECT count(*) FROM resource WHERE screening_id = '{screening_id}'")[0][0]  # noqa: S608
    if state not in ("reported", "refused"):
        tally.outcomes[f"{state}: {failure}" if failure else state] += 1
        if kept or published:
            yield f"{state} with {len(kept)} documents and {published} resources"
        return
    texts = {kind: (content / sha[:2] / sha).read_text("utf-8") for kind, sha in kept.items() if kind.endswith(".json")}
    report = json.loads(texts["report.json"], parse_constant=_no_constant)
    bundle = json.loads(texts["bundle.json"], parse_constant=_no_constant)
    codes = [refusal["code"] for refusal in report.get("refusals", [])]
    tally.outcomes["reported" if state == "reported" else f"refused: {codes[0] if codes else 'without a reason'}"] += 1
    if report["status"] != state or bool(codes) != (state == "refused"):
        yield f"{state}, and the report says {report['status']} for {codes}"
    named = {(each["resource"]["resourceType"], each["resource"].get("id")) for each in bundle["entry"]}
    missing = named - set(rows.rows("SELECT type, id FROM resource WHERE NOT deleted"))
    tally.resources += len(named) - len(missing)
    if missing:
        yield f"{len(missing)} of {len(named)} resources are not in the record"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} in a document")


def run_whole(out: Path, tally: WholeTally, studies: int, seconds: float = 1e9) -> WholeTally:
    """Go on with a campaign, a database for every few studies, until so many were screened or the time is over."""
    from database import running_server

    from trabecula.service.logs import configure_logs

    configure_logs("critical")
    started, before = time.monotonic(), tally.seconds
    for server in running_server():
        while tally.studies < studies and time.monotonic() - started < seconds:
            name = server.create()
            settings = Settings(database_url=server.url(name))
            with tempfile.TemporaryDirectory(dir=_room()) as folder:
                count = min(BATCH, studies - tally.studies)
                with whole_service(settings, Path(folder)) as live:
                    run_batch(live, Path(folder, "sent"), tally, count, out / "findings")
            server.drop(name)
            tally.seconds = before + time.monotonic() - started
            tally.save(out / f"state-{tally.seed}-whole.json")
            print(f"  {tally.studies} studies, {len(tally.findings)} findings, {tally.seconds:.0f} s", flush=True)
    return tally


def _room() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
