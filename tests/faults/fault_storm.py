"""The storm: hundreds of studies from several clients while a seeded schedule kills, stops, restarts and cleans."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from fault_clients import Client
from fault_clock import Clock
from fault_invariants import (
    Verdict,
    check_answers,
    check_content,
    check_jobs,
    check_ledger,
    check_leftovers,
    check_processes,
    check_transitions,
    content_files,
    open_work,
)
from fault_ledger import Ledger
from fault_postgres import Cluster
from fault_service import Member, Service
from fault_studies import Kind, Study, mixture

MIXTURE = {Kind.REPORT: 0.17, Kind.REFUSE: 0.50, Kind.BROKEN: 0.25, Kind.KILL: 0.05, Kind.HANG: 0.01, Kind.BLOAT: 0.02}
HEARTBEAT_S = 1.0
STALLED_S = 4.0
"""Both kept short, so that the rescue of lost work is seen many times in one run."""
START_S = 8.0
"""What the service takes to start on an idle machine of two cores. Where it takes longer, faults come more slowly too:
nothing would get done between two of them."""
SETTINGS = {
    "screening_timeout_s": 40,
    "worker_memory_bytes": 2 << 30,
    "queue_capacity": 100,
    "max_concurrent_uploads": 8,
    "heartbeat_s": HEARTBEAT_S,
    "stalled_after_s": STALLED_S,
    "drain_timeout_s": 5,
    "content_grace_s": 60,
}


@dataclass(frozen=True)
class StormPlan:
    """Everything that a run is made from; the same plan gives the same studies, clients and schedule of faults.

    When exactly a fault strikes between two instructions of a process is the machine's choice; with several hundred
    faults it strikes almost everywhere.
    """

    seed: int
    studies: int
    clients: int = 4
    workers: int = 2
    mean_gap_s: float = 1.0
    """Mean time between two faults, exponentially distributed."""
    cancel_share: float = 0.08
    triple_share: float = 0.10
    """Studies sent three times at once with the same key."""
    vanish: float = 0.10
    least_faults: int = 0
    """The storm goes on until so many have struck, also when all studies have been sent."""
    stall_limit_s: float = 150.0
    """How long nothing may end once the storm is over: more than the longest wait between two attempts and the time
    limit of a study together."""
    faults: tuple[str, ...] = ()
    """Only these kinds; empty for all."""
    mixture: dict[Kind, float] = field(default_factory=lambda: dict(MIXTURE))


class Storm:
    """One run."""

    def __init__(
        self, plan: StormPlan, folder: Path, originals: Path, *, code: Path | None = None, clock: bool | None = None
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.verdict = Verdict()
        self.injected: Counter[str] = Counter()
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        use_clock = Clock.possible() if clock is None else clock
        self._postgres_clock = _clock(folder / "clock-postgres") if use_clock else None
        self._service_clock = _clock(folder / "clock-service") if use_clock else None
        self.cluster = Cluster(folder / "postgres", self._postgres_clock.environment if self._postgres_clock else {})
        self.cluster.create()
        extra = self._service_clock.environment if self._service_clock else {}
        self.service = Service(
            folder / "service", self.cluster.url, SETTINGS, workers=plan.workers, code=code, extra=extra
        )
        self.ledger = Ledger(folder / "ledger.jsonl")
        self._rng = random.Random(plan.seed)
        self._slowness = 1.0
        studies = mixture(originals, random.Random(plan.seed), plan.mixture)
        self._studies = [next(studies) for _ in range(plan.studies)]
        self._next = iter(self._studies)
        self._take = threading.Lock()
        self._calm = threading.Event()
        self._done_sending = threading.Event()
        self._storm_over = threading.Event()
        self._service_lock = threading.Lock()
        self._followers: list[threading.Thread] = []

    def run(self) -> Verdict:
        """All of it: storm, calm, garbage collection, stop; the verdict."""
        started = time.monotonic()
        try:
            self.service.start()
            self._slowness = max(1.0, (time.monotonic() - started) / START_S)
            self._storm()
            storm_s = time.monotonic() - started
            self._settle()
            self._judge()
            self.verdict.counts["storm_s"] = round(storm_s)
        except Exception as error:
            self.verdict.breach(f"the run itself failed: {type(error).__name__}: {error}")
        finally:
            self._calm.set()
            self.service.kill()
            self.cluster.stop()
        self.verdict.counts["wall_s"] = round(time.monotonic() - started)
        self.verdict.counts["faults"] = sum(self.injected.values())
        return self.verdict

    # Clients

    def _storm(self) -> None:
        clients = [threading.Thread(target=self._client, args=(number,)) for number in range(self.plan.clients)]
        injector = threading.Thread(target=self._inject)
        keeper = threading.Thread(target=self._keep_alive)
        for thread in (*clients, injector, keeper):
            thread.start()
        for thread in clients:
            thread.join()
        self._done_sending.set()
        injector.join()
        self._storm_over.set()
        keeper.join()

    def _client(self, number: int) -> None:
        rng = random.Random(f"{self.plan.seed} client {number}")
        while (study := self._take_next()) is not None:
            key = f"{self.plan.seed}-{study.name}"
            if rng.random() < self.plan.triple_share:
                ids = self._send_three_times(study, key, rng)
            else:
                ids = {self._new_client(rng).submit(study, key, 120.0, vanish=self.plan.vanish)}
            for screening_id in ids - {None}:
                assert screening_id is not None
                if rng.random() < self.plan.cancel_share:
                    time.sleep(rng.uniform(0.0, 3.0))
                    self._new_client(rng).cancel(key, screening_id)
                follower = threading.Thread(
                    target=self._new_client(rng).follow, args=(key, screening_id, 600.0, self._calm.is_set)
                )
                follower.start()
                self._followers.append(follower)
            time.sleep(rng.uniform(0.0, 0.5))

    def _send_three_times(self, study: Study, key: str, rng: random.Random) -> set[str | None]:
        ids: set[str | None] = set()

        def send(client: Client) -> None:
            ids.add(client.submit(study, key, 120.0))

        senders = [threading.Thread(target=send, args=(self._new_client(rng),)) for _ in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        return ids

    def _new_client(self, rng: random.Random) -> Client:
        return Client(self.service.addresses, self.ledger, random.Random(rng.randrange(1 << 30)))

    def _take_next(self) -> Study | None:
        with self._take:
            return next(self._next, None)

    # Faults

    def _faults(self) -> dict[str, Callable[[], None]]:
        faults = {
            "kill -9 of the API": lambda: self._kill(self.service.apis),
            "kill -9 of a worker": lambda: self._kill(self.service.workers),
            "kill -9 of a screening child": self._kill_child,
            "kill -9 of a PostgreSQL backend": self._kill_backend,
            "kill -9 of the postmaster": self._kill_postmaster,
            "PostgreSQL restarted (fast)": lambda: self.cluster.restart(signal.SIGINT),
            "PostgreSQL restarted (immediate)": lambda: self.cluster.restart(signal.SIGQUIT),
            "connection ended by PostgreSQL": self._terminate_backend,
            "SIGTERM to a worker": lambda: self._terminate(self.service.workers),
            "SIGTERM to the API": lambda: self._terminate(self.service.apis),
            "worker stands still, then goes on": self._freeze_worker,
            "gc while working": self._collect,
        }
        if self._postgres_clock is not None and self._service_clock is not None:
            faults["clock of PostgreSQL jumps"] = lambda: self._jump(self._postgres_clock)
            faults["clock of the service jumps"] = lambda: self._jump(self._service_clock)
        return {name: act for name, act in faults.items() if not self.plan.faults or name in self.plan.faults}

    def _inject(self) -> None:
        faults = self._faults()
        # Each kind comes round before one comes again, so that a short run sees all of them too.
        bag: list[str] = []
        while True:
            gap_s = self._rng.expovariate(1 / self.plan.mean_gap_s) * self._slowness
            if self._done_sending.wait(gap_s):
                if sum(self.injected.values()) >= self.plan.least_faults:
                    return
                time.sleep(gap_s)
            if not bag:
                bag = list(faults)
                self._rng.shuffle(bag)
            name = bag.pop()
            self.ledger.fault(name)
            try:
                faults[name]()
                self.injected[name] += 1
            except (psutil.Error, psycopg.Error):
                continue  # what it wanted to strike is away itself
            except Exception as error:
                self.verdict.breach(f"the harness could not do {name}: {type(error).__name__}: {error}")
                return

    def _keep_alive(self) -> None:
        """The service manager: what died comes back after a moment."""
        while not self._storm_over.wait(0.5):
            with self._service_lock:
                self.service.revive()

    def _kill(self, members: list[Member]) -> None:
        with self._service_lock:
            member = self._rng.choice(members)
            if member.alive:
                member.signal(signal.SIGKILL)

    def _terminate(self, members: list[Member]) -> None:
        with self._service_lock:
            self._rng.choice(members).signal(signal.SIGTERM)

    def _kill_child(self) -> None:
        children = [child for member in self.service.workers for child in member.children()]
        if children:
            self._rng.choice(children).kill()

    def _kill_backend(self) -> None:
        backends = self.cluster.client_backends()
        if backends:
            psutil.Process(self._rng.choice(backends)).kill()

    def _terminate_backend(self) -> None:
        backends = self.cluster.client_backends()
        if backends:
            self.cluster.rows("SELECT pg_terminate_backend(%s)", (self._rng.choice(backends),))

    def _kill_postmaster(self) -> None:
        self.cluster.kill()
        time.sleep(self._rng.uniform(0.0, 3.0))
        self.cluster.start()

    def _freeze_worker(self) -> None:
        """It wakes up after the others have taken it for dead, and must not write over what they did."""
        member = self._rng.choice(self.service.workers)
        if (pid := member.pid) is None:
            return
        os.kill(pid, signal.SIGSTOP)

        def go_on() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        threading.Timer(STALLED_S * 2, go_on).start()

    def _collect(self) -> None:
        threading.Thread(target=self.service.run, args=("gc",), kwargs={"check": False, "limit_s": 900.0}).start()

    def _jump(self, clock: Clock | None) -> None:
        assert clock is not None
        clock.set_shift(self._rng.choice((-7200.0, -60.0, 0.0, 60.0, 7200.0)))

    # Afterwards

    def _settle(self) -> None:
        """All processes back, clocks right; then wait until nothing is open."""
        for clock in (self._postgres_clock, self._service_clock):
            if clock is not None:
                clock.set_shift(0.0)
        self.service.revive()
        self.service.wait_serving(self.service.address)
        if not wait_quiet(self.cluster, self.service, self.plan.stall_limit_s):
            self.verdict.breach(f"nothing ended for {self.plan.stall_limit_s:g} s, and not quiet")
        time.sleep(1.0)  # the last watchers hear of the last ends
        self._calm.set()
        for follower in self._followers:
            follower.join(15)

    def _judge(self) -> None:
        entries = self.ledger.entries()
        check_ledger(self.cluster, entries, self.verdict)
        check_transitions(self.cluster, self.verdict)
        check_answers(self.ledger.answers, self.verdict)
        check_jobs(self.cluster, self.verdict)
        content = self.service.state_dir / "content"
        check_content(self.cluster, content, self.verdict, after_gc=False)
        age(content)
        self.service.run("gc")
        check_content(self.cluster, content, self.verdict, after_gc=True)
        try:
            self.service.stop()
        except RuntimeError as error:
            self.verdict.breach(str(error))
        check_leftovers(self.service.state_dir, content, self.verdict)
        check_processes(self.folder, self.verdict)
        self.verdict.counts["process_starts"] = sum(member.starts for member in self.service.members)


def wait_quiet(cluster: Cluster, service: Service, stall_limit_s: float) -> bool:
    """Keep all processes alive until nothing is open; False when nothing ends for too long."""
    fewest = 1 << 30
    deadline = 0.0
    while True:
        service.revive()
        with contextlib.suppress(psycopg.Error):
            screenings, jobs = open_work(cluster)
            if screenings + jobs == 0:
                return True
            if screenings < fewest:
                fewest, deadline = screenings, time.monotonic() + stall_limit_s
            if time.monotonic() > deadline:
                return False
        time.sleep(0.5)


def _clock(folder: Path) -> Clock:
    folder.mkdir()
    return Clock(folder)


def age(content: Path) -> None:
    """Make every content ten days older, so that no time of grace protects what no row names."""
    ten_days_s = 10 * 86400
    for path in content_files(content):
        with contextlib.suppress(FileNotFoundError):
            times = path.stat()
            os.utime(path, (times.st_atime - ten_days_s, times.st_mtime - ten_days_s))


def storm(
    plan: StormPlan, folder: Path, originals: Path, *, code: Path | None = None, keep: bool = False
) -> tuple[Verdict, dict[str, int]]:
    """Run a plan in a fresh folder; the verdict and how often each fault struck. The folder stays when it failed."""
    run = Storm(plan, folder, originals, code=code)
    verdict = run.run()
    if verdict.holds and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return verdict, dict(sorted(run.injected.items()))
