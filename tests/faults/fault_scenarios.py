"""Faults one by one, each at a place that chance alone would seldom hit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psycopg
from fault_clients import Client, upload
from fault_invariants import (
    Verdict,
    check_answers,
    check_content,
    check_jobs,
    check_ledger,
    check_leftovers,
    check_processes,
    check_transitions,
)
from fault_ledger import Ledger
from fault_postgres import Cluster
from fault_proxy import CuttingProxy
from fault_service import Member, Service
from fault_storm import SETTINGS, age, wait_quiet
from fault_studies import Kind, Study, copy_of, originals

from trabecula.v1.screening_pb2_grpc import ScreeningServiceStub

QUIET_S = 150.0
ENOUGH = 3
"""So many breaches end a scenario: it takes long to wait for what does not come."""
COLLECTOR = Path(__file__).with_name("collect_without_pause.py")


@dataclass
class Bench:
    """A database, a service, a client and a ledger."""

    folder: Path
    cluster: Cluster
    service: Service
    ledger: Ledger
    made: dict[Kind, tuple[bytes, ...]]
    rng: random.Random

    @property
    def content(self) -> Path:
        return Path(self.service.environment.get("TRABECULA_CONTENT_DIR", self.service.state_dir / "content"))

    def study(self, kind: Kind = Kind.REFUSE) -> Study:
        return copy_of(self.made[kind], kind, f"{kind.value}-{self.rng.randrange(1 << 40):010x}")

    def client(self) -> Client:
        return Client(self.service.addresses, self.ledger, random.Random(self.rng.randrange(1 << 30)))

    def send(self, kind: Kind = Kind.REFUSE, limit_s: float = 60.0) -> str | None:
        study = self.study(kind)
        return self.client().submit(study, study.name, limit_s)

    def wait_quiet(self, verdict: Verdict, stall_limit_s: float = QUIET_S) -> None:
        """Keep all processes alive until nothing is open."""
        if not wait_quiet(self.cluster, self.service, stall_limit_s):
            verdict.breach(f"nothing ended for {stall_limit_s:g} s, and not quiet")

    def judge(self, verdict: Verdict) -> None:
        """All invariants; stops the service."""
        check_ledger(self.cluster, self.ledger.entries(), verdict)
        check_transitions(self.cluster, verdict)
        check_answers(self.ledger.answers, verdict)
        check_jobs(self.cluster, verdict)
        check_content(self.cluster, self.content, verdict, after_gc=False)
        age(self.content)
        self.service.run("gc")
        check_content(self.cluster, self.content, verdict, after_gc=True)
        try:
            self.service.stop()
        except RuntimeError as error:
            verdict.breach(str(error))
        check_leftovers(self.service.state_dir, self.content, verdict)
        check_processes(self.folder, verdict)


@contextlib.contextmanager
def bench(
    folder: Path,
    originals_folder: Path,
    *,
    code: Path | None = None,
    workers: int = 1,
    seed: int = 1,
    settings: dict[str, object] | None = None,
    extra: dict[str, str] | None = None,
    cluster_folder: Path | None = None,
) -> Iterator[Bench]:
    """A started bench; whatever is left of it is killed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    cluster = Cluster(cluster_folder or folder / "postgres")
    cluster.create()
    service = Service(
        folder / "service",
        cluster.url,
        {**SETTINGS, **(settings or {})},
        workers=workers,
        code=code,
        extra=extra or {},
    )
    try:
        service.start()
        ledger = Ledger(folder / "ledger.jsonl")
        yield Bench(folder, cluster, service, ledger, originals(originals_folder), random.Random(seed))
    finally:
        service.kill()
        cluster.stop()


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


# kill -9 at every step


AFTER_THE_END_S = 2.0


def crash_at_every_step(
    role: str, folder: Path, originals_folder: Path, *, stride: int = 1, first: int = 1, code: Path | None = None
) -> Verdict:
    """Kill the API or the worker at its n-th step of one study, for n = first, first + stride ... until it survives.

    A step is each round trip to PostgreSQL, fsync, rename, link and removal, before it and after it.
    """
    verdict = Verdict()
    steps = folder / "steps"
    steps.mkdir(parents=True)
    died: Counter[str] = Counter()
    with bench(folder, originals_folder, code=code, extra={"FAULT_STEPS": str(steps)}) as made:
        (victim,) = made.service.apis if role == "api" else made.service.workers
        other = made.service.workers[0] if role == "api" else made.service.apis[0]
        other.environment.pop("FAULT_STEPS")
        _restart(other)
        made.service.wait_serving(made.service.address)
        point = first
        while len(verdict.breaches) < ENOUGH:
            last = _die_at(point, made, victim, steps, verdict)
            if last is None:
                break
            died[last] += 1
            point += stride
        made.wait_quiet(verdict)
        made.judge(verdict)
    verdict.counts["crash_points"] = sum(died.values())
    verdict.counts |= {f"died {what}": number for what, number in sorted(died.items())}
    return verdict


def _die_at(point: int, made: Bench, victim: Member, steps: Path, verdict: Verdict) -> str | None:
    """The step that it died at, or None if it came through the study alive."""
    armed = steps / "die-at"
    study = made.study()
    if not wait_until(lambda: _idle(made, victim), 60):
        verdict.breach(f"step {point}: the {victim.role} does not get ready")
        return None
    pid = victim.pid
    armed.write_text(str(point))
    sent: list[str | None] = []
    sender = threading.Thread(target=lambda: sent.append(made.client().submit(study, study.name, 60.0)))
    sender.start()
    # Heartbeats are steps too, so every step is reached sooner or later; the study has to be the one that is hit.
    ended = wait_until(lambda: not victim.alive or (bool(sent) and _ended(made, sent[0])), 40)
    armed.unlink()
    # Some steps come after the end of the study: whoever dies at one of them may be seen alive a moment before.
    died = wait_until(lambda: not victim.alive, AFTER_THE_END_S)
    if not ended:
        verdict.breach(f"step {point}: neither dead nor ended")
    made.service.revive()
    sender.join()
    if not wait_until(lambda: bool(sent) and _ended(made, sent[0]), 90):
        verdict.breach(f"step {point}: accepted {sent} and not ended in 90 s")
    if not died:
        return None
    return (steps / f"steps-{pid}").read_text().splitlines()[-1]


def _idle(made: Bench, victim: Member) -> bool:
    """Ready for the next study: serving, or (a worker) known to the queue."""
    if victim.role == "api":
        with grpc.insecure_channel(made.service.address) as channel:
            try:
                grpc.channel_ready_future(channel).result(1)
            except grpc.FutureTimeoutError:
                return False
        return True
    return bool(victim.children())


def _ended(made: Bench, screening_id: str | None) -> bool:
    if screening_id is None:
        return True
    with contextlib.suppress(psycopg.Error):
        rows = made.cluster.rows("SELECT ended_at FROM screening WHERE id = %s::uuid", (screening_id,))
        return bool(rows and rows[0][0] is not None)
    return False


def _state(made: Bench, screening_id: str) -> str:
    with contextlib.suppress(psycopg.Error):
        return str(made.cluster.rows("SELECT state FROM screening WHERE id = %s::uuid", (screening_id,))[0][0])
    return "unknown"


def _restart(member: Member) -> None:
    member.kill()
    member.start()


# Uploads that are cut


def cut_upload(made: Bench, cut_after: int, verdict: Verdict) -> bool:
    """One upload whose line is cut after so many bytes, then the same again, whole; whether the first got an answer.

    The same key must give one row, whichever of the two was taken.
    """
    study = made.study(Kind.BROKEN)
    messages = upload(study, study.name)
    answered = None
    made.ledger.sending(study.name, study.kind)
    with (
        CuttingProxy(made.service.address, cut_after) as proxy,
        grpc.insecure_channel(proxy.address) as channel,
        contextlib.suppress(grpc.RpcError),
    ):
        answered = ScreeningServiceStub(channel).SubmitStudy(iter(messages), timeout=10).screening_id
        made.ledger.accepted(study.name, answered)
    if made.client().submit(study, study.name, 30.0) is None:
        verdict.breach(f"cut after {cut_after} bytes: the whole upload was not taken afterwards")
    return answered is not None


def wire_bytes(made: Bench) -> int:
    """How many bytes one such upload is on the wire."""
    study = made.study(Kind.BROKEN)
    made.ledger.sending(study.name, study.kind)
    with CuttingProxy(made.service.address, 1 << 40) as proxy, grpc.insecure_channel(proxy.address) as channel:
        answer = ScreeningServiceStub(channel).SubmitStudy(iter(upload(study, study.name)), timeout=10)
        made.ledger.accepted(study.name, answer.screening_id)
        return proxy.forwarded


# Races


HAND_OUT_AGAIN = """
CREATE SEQUENCE handed_out_again;
CREATE FUNCTION hand_out_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.75 THEN
        PERFORM nextval('handed_out_again');
        INSERT INTO procrastinate_jobs (queue_name, task_name, args, priority, queueing_lock)
        VALUES (NEW.queue_name, NEW.task_name, NEW.args, NEW.priority, NEW.queueing_lock) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hand_out_again AFTER UPDATE ON procrastinate_jobs FOR EACH ROW
WHEN (OLD.status = 'todo' AND NEW.status = 'doing' AND NEW.args ? 'screening_id') EXECUTE FUNCTION hand_out_again();
"""
"""Makes the queue break its promise: a job that a worker takes is there for another one at the same moment."""


def race_for_jobs(folder: Path, originals_folder: Path, *, studies: int, code: Path | None = None) -> Verdict:
    """The queue hands each job out several times, so that workers race for it; the study must still end once."""
    verdict = Verdict()
    with bench(folder, originals_folder, workers=3, code=code) as made:
        with psycopg.connect(made.cluster.url, autocommit=True) as connection:
            connection.execute(HAND_OUT_AGAIN)
        for number in range(studies):
            made.send(Kind.REPORT if number % 5 == 0 else Kind.REFUSE)
        made.wait_quiet(verdict)
        made.judge(verdict)
        (copies,) = made.cluster.rows("SELECT last_value FROM handed_out_again")[0]
        verdict.counts["jobs_handed_out_again"] = int(copies)
    return verdict


def cancel_at_the_end(folder: Path, originals_folder: Path, *, studies: int, code: Path | None = None) -> Verdict:
    """Cancellation asked at random moments around the end of the work."""
    verdict = Verdict()
    with bench(folder, originals_folder, workers=2, code=code) as made:
        waits: list[threading.Thread] = []
        for number in range(studies):
            study = made.study(Kind.REPORT if number % 2 == 0 else Kind.REFUSE)
            client = made.client()
            screening_id = client.submit(study, study.name, 60.0)
            assert screening_id is not None
            follow = threading.Thread(target=client.follow, args=(study.name, screening_id, 60.0))
            follow.start()
            waits.append(follow)
            if number % 4:  # the others are cancelled while they wait
                wait_until(lambda id_=screening_id: _state(made, id_) != "queued", 60)
                time.sleep(made.rng.uniform(0.0, 2.0 if study.kind is Kind.REPORT else 0.05))
            client.cancel(study.name, screening_id)
        made.wait_quiet(verdict)
        for wait in waits:
            wait.join()
        made.judge(verdict)
    return verdict


# Going down in good order


def drain(folder: Path, originals_folder: Path, *, rounds: int, code: Path | None = None) -> Verdict:
    """SIGTERM to everything while studies wait and run: all stop by themselves, soon, and nothing is held against a
    study that was given back."""
    verdict = Verdict()
    exits: Counter[int] = Counter()
    with bench(folder, originals_folder, workers=2, code=code) as made:
        for _ in range(rounds):
            for number in range(6):
                made.send(Kind.REPORT if number % 2 == 0 else Kind.REFUSE)
            time.sleep(made.rng.uniform(0.0, 2.0))
            started = time.monotonic()
            for member in made.service.members:
                member.signal(signal.SIGTERM)
            for member in made.service.members:
                try:
                    exits[member.wait(float(str(SETTINGS["drain_timeout_s"])) + 20.0)] += 1
                except subprocess.TimeoutExpired:
                    verdict.breach(f"{member.name} did not stop after SIGTERM")
                    member.kill()
            verdict.counts["slowest_stop_ms"] = max(
                verdict.counts.get("slowest_stop_ms", 0), round(1000 * (time.monotonic() - started))
            )
            check_processes(made.folder, verdict)
            made.service.revive()
            made.service.wait_serving(made.service.address)
        made.wait_quiet(verdict)
        for (screening_id,) in made.cluster.rows("SELECT id::text FROM screening WHERE state = 'failed'"):
            verdict.breach(f"{screening_id}: a shutdown was held against it")
        made.judge(verdict)
    if set(exits) != {0}:
        verdict.breach(f"exit codes after SIGTERM: {dict(exits)}")
    return verdict


# Disks that are full


@contextlib.contextmanager
def small_disk(folder: Path, size_mib: int, owner: str | None = None) -> Iterator[Path]:
    """A tmpfs of its own at the folder; needs to be allowed to mount."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_mib}m,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "trabecula-test", folder], check=True, capture_output=True)
    try:
        if owner is not None:
            import shutil

            shutil.chown(folder, owner)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def may_mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    try:
        with small_disk(folder, 1):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def fill(folder: Path, leave_bytes: int = 0) -> Path:
    """A file that takes the room that is left but so much."""
    ballast = folder / "ballast"
    with ballast.open("ab") as stream, contextlib.suppress(OSError):
        while True:
            free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - leave_bytes
            if free <= 0:
                break
            stream.write(bytes(min(free, 1 << 20)))
            stream.flush()
    return ballast


def full_content_disk(folder: Path, originals_folder: Path, *, rounds: int, code: Path | None = None) -> Verdict:
    """The content store's disk is full, amid uploads and amid work; then there is room again."""
    verdict = Verdict()
    answers: Counter[str] = Counter()
    state = folder / "service" / "state"
    with small_disk(state, 24), bench(folder, originals_folder, code=code) as made:
        for round_ in range(rounds):
            made.send(Kind.REPORT)
            made.send(Kind.REPORT)
            # from "not a byte" to "room for the upload but not for the documents"
            ballast = fill(state, leave_bytes=made.rng.choice((0, 4096, 100_000, 400_000, 800_000)))
            for kind in (Kind.REPORT, Kind.REFUSE, Kind.REPORT):
                answers[_try_once(made, kind)] += 1
            time.sleep(made.rng.uniform(0.0, 3.0))
            ballast.unlink()
            made.wait_quiet(verdict)
            if made.send(Kind.REFUSE) is None:
                verdict.breach(f"round {round_}: does not take work after there is room again")
        made.wait_quiet(verdict)
        made.judge(verdict)
    verdict.counts |= {f"answer {code}": number for code, number in sorted(answers.items())}
    if set(answers) - {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}:
        verdict.breach(f"answers on a full disk: {dict(answers)}")
    return verdict


def _try_once(made: Bench, kind: Kind) -> str:
    study = made.study(kind)
    made.ledger.sending(study.name, kind)
    with grpc.insecure_channel(made.service.address) as channel:
        try:
            answer = ScreeningServiceStub(channel).SubmitStudy(iter(upload(study, study.name)), timeout=20)
        except grpc.RpcError as error:
            made.ledger.given_up(study.name, error.code().name)
            return str(error.code().name)
    made.ledger.accepted(study.name, answer.screening_id)
    return "OK"


def full_database_disk(folder: Path, originals_folder: Path, *, rounds: int, code: Path | None = None) -> Verdict:
    """PostgreSQL's disk is full; it may even go down for it. Then there is room again."""
    verdict = Verdict()
    answers: Counter[str] = Counter()
    disk = folder / "disk"
    folder.mkdir(parents=True, exist_ok=True)
    with (
        small_disk(disk, 256),
        bench(folder, originals_folder, code=code, cluster_folder=disk / "postgres") as made,
    ):
        for round_ in range(rounds):
            made.send(Kind.REPORT)
            ballast = fill(disk)
            # Whatever is written now makes the log grow until it cannot.
            with contextlib.suppress(psycopg.Error), psycopg.connect(made.cluster.url, autocommit=True) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS ballast (data text)")
                rows = "INSERT INTO ballast SELECT repeat(md5(random()::text), 250) FROM generate_series(1, 100)"
                for _ in range(200):
                    connection.execute(rows)
            for kind in (Kind.REPORT, Kind.REFUSE, Kind.REFUSE):
                answers[_try_once(made, kind)] += 1
            time.sleep(made.rng.uniform(0.0, 3.0))
            ballast.unlink()
            made.cluster.start()
            with psycopg.connect(made.cluster.url, autocommit=True) as connection:
                connection.execute("DROP TABLE IF EXISTS ballast")
            made.wait_quiet(verdict)
            if made.send(Kind.REFUSE) is None:
                verdict.breach(f"round {round_}: does not take work after there is room again")
        made.wait_quiet(verdict)
        made.judge(verdict)
    verdict.counts |= {f"answer {code}": number for code, number in sorted(answers.items())}
    return verdict


# Garbage collection beside everything


def gc_beside_uploads(folder: Path, originals_folder: Path, *, rounds: int, code: Path | None = None) -> Verdict:
    """The same bytes come again just when the collector is about to take them: no row may lose its bytes."""
    verdict = Verdict()
    with bench(folder, originals_folder, code=code) as made:
        counter = folder / "collected"
        environment = {**made.service.environment, "TRABECULA_CONTENT_GRACE_S": "0.001"}
        collector = subprocess.Popen([sys.executable, COLLECTOR, counter], env=environment)
        try:
            if not wait_until(counter.exists, 60):
                verdict.breach("the collector does not run")
            senders = [threading.Thread(target=_send_again, args=(made, rounds // 3)) for _ in range(3)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            made.wait_quiet(verdict)
        finally:
            collector.kill()
            collector.wait()
        runs, taken = counter.read_text().split()
        made.judge(verdict)
        verdict.counts |= {"gc_runs": int(runs), "objects_collected_in_passing": int(taken)}
    return verdict


def _send_again(made: Bench, rounds: int) -> None:
    """First as an upload that breaks off, so that its bytes may lie there without a row; then whole."""
    for _ in range(rounds):
        study = made.study(Kind.REFUSE)
        _broken_off(made, study)
        made.client().submit(study, study.name, 60.0)


def _broken_off(made: Bench, study: Study) -> None:
    made.ledger.sending(study.name, study.kind)
    with grpc.insecure_channel(made.service.address) as channel, contextlib.suppress(grpc.RpcError):
        # The last message is missing: the files before it may have been kept already.
        ScreeningServiceStub(channel).SubmitStudy(iter(upload(study, study.name)[:-1]), timeout=10)
