"""Open-loop load on the gRPC service, and samples of its processes; used by load.py and soak.py.

Needs ``tests/faults`` on the path, whose service and clients it takes.

Open loop: calls start at moments drawn beforehand (Poisson), whether earlier ones have been answered or not, and a
call's latency counts from the moment it was due. A service that stands still is therefore charged for every call that
was due meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
from fault_clients import ENDED, retry_delay_s, upload
from fault_service import Service
from fault_studies import Kind, Study, copy_of

from trabecula.v1 import screening_pb2 as pb
from trabecula.v1.screening_pb2_grpc import ScreeningServiceStub

MIB = 1 << 20
RECENT = 200
"""Screenings that reads are drawn from."""


@dataclass(frozen=True)
class Call:
    """One call as it came out; times on the clock of :func:`time.monotonic`."""

    rpc: str
    due_s: float
    took_s: float
    """From the moment it was due."""
    code: str
    priority: str = ""
    retry_after_s: float | None = None


@dataclass
class Traffic:
    """What is sent, and all that came of it."""

    address: str
    made: dict[Kind, tuple[bytes, ...]]
    rng: random.Random
    mixture: dict[Kind, float]
    calls: list[Call] = field(default_factory=list)
    recent: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    http: str = ""
    """Base address of the HTTP service; nothing is asked of it when empty."""
    turnaround: list[tuple[float, float, str, str]] = field(default_factory=list)
    """Moment due, seconds from then to the end, state, priority, of each screening that was watched."""

    def study(self) -> Study:
        (kind,) = self.rng.choices(list(self.mixture), list(self.mixture.values()))
        return copy_of(self.made[kind], kind, f"load-{self.rng.randrange(1 << 60):015x}")


def arrivals(rng: random.Random, rate_per_s: float, length_s: float) -> Iterator[float]:
    """Moments of a Poisson process, from 0."""
    moment = rng.expovariate(rate_per_s)
    while moment < length_s:
        yield moment
        moment += rng.expovariate(rate_per_s)


Act = Callable[[ScreeningServiceStub, Traffic, float], Awaitable[None]]


async def drive(
    traffic: Traffic,
    length_s: float,
    submits_per_s: float,
    reads_per_s: float,
    priorities: Sequence[tuple[str, float]] = (("", 1.0),),
    cancels: float = 0.05,
) -> None:
    """Submissions and reads for so long; returns when every call has its answer.

    Args:
        traffic: receives the calls.
        length_s: calls are due within it.
        submits_per_s: of studies.
        reads_per_s: of the other RPCs together.
        priorities: names and shares.
        cancels: weight of cancellations among the reads, whose weights are 0.95 together.
    """
    reads: list[tuple[Act, float]] = [
        (_get, 0.35),
        (_list, 0.25),
        (_watch_first, 0.2),
        (_document, 0.15),
        (_cancel, cancels),
    ]
    if traffic.http:
        reads.append((_http, 0.3))
    plan: list[tuple[float, Act]] = [
        (moment, _submitter(traffic, priorities)) for moment in arrivals(traffic.rng, submits_per_s, length_s)
    ]
    acts, weights = zip(*reads, strict=True)
    plan += [(moment, traffic.rng.choices(acts, weights)[0]) for moment in arrivals(traffic.rng, reads_per_s, length_s)]
    plan.sort(key=lambda each: each[0])
    async with grpc.aio.insecure_channel(traffic.address) as channel:
        stub = ScreeningServiceStub(channel)
        await asyncio.wait_for(channel.channel_ready(), 30)
        started = time.monotonic()
        tasks = []
        for moment, act in plan:
            await asyncio.sleep(max(0.0, started + moment - time.monotonic()))
            tasks.append(asyncio.create_task(act(stub, traffic, started + moment)))  # type: ignore[arg-type]
        await asyncio.gather(*tasks)


def _submitter(traffic: Traffic, priorities: Sequence[tuple[str, float]]) -> Act:
    names, shares = zip(*priorities, strict=True)
    (priority,) = traffic.rng.choices(names, shares)
    study = traffic.study()

    async def submit(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
        messages = upload(study, "", 256 * 1024)
        if priority:
            messages[0].header.priority = pb.Priority.Value(f"PRIORITY_{priority.upper()}")

        async def pieces() -> Any:
            for message in messages:
                yield message

        screening_id = await _timed(traffic, "SubmitStudy", due_s, stub.SubmitStudy(pieces(), timeout=60), priority)
        if screening_id is None:
            return
        traffic.recent.append(screening_id.screening_id)
        del traffic.recent[:-RECENT]
        await _watch_to_end(stub, traffic, due_s, screening_id.screening_id, priority)

    return submit


async def _watch_to_end(stub: ScreeningServiceStub, traffic: Traffic, due_s: float, id_: str, priority: str) -> None:
    try:
        async for answer in stub.WatchScreening(pb.WatchScreeningRequest(screening_id=id_), timeout=300):
            if (state := ENDED.get(answer.summary.state)) is not None:
                traffic.turnaround.append((due_s, time.monotonic() - due_s, state, priority))
                if state in ("reported", "refused"):
                    traffic.ended.append(id_)
                    del traffic.ended[:-RECENT]
    except grpc.RpcError as error:
        traffic.calls.append(Call("WatchScreening", due_s, time.monotonic() - due_s, error.code().name))


async def _timed(traffic: Traffic, rpc: str, due_s: float, call: Awaitable[Any], priority: str = "") -> Any:
    answer, code, delay = None, "OK", None
    try:
        answer = await call
    except grpc.RpcError as error:
        code, delay = error.code().name, retry_delay_s(error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        code = "CANCELLED"  # grpc.aio gives up a call whose request stream was closed while it wrote
    traffic.calls.append(Call(rpc, due_s, time.monotonic() - due_s, code, priority, delay))
    return answer


async def _get(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
    if traffic.recent:
        request = pb.GetScreeningRequest(screening_id=traffic.rng.choice(traffic.recent))
        await _timed(traffic, "GetScreening", due_s, stub.GetScreening(request, timeout=60))


async def _list(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
    await _timed(traffic, "ListScreenings", due_s, stub.ListScreenings(pb.ListScreeningsRequest(), timeout=60))


async def _watch_first(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
    if not traffic.recent:
        return
    call = stub.WatchScreening(pb.WatchScreeningRequest(screening_id=traffic.rng.choice(traffic.recent)), timeout=60)
    await _timed(traffic, "WatchScreening, first answer", due_s, call.read())
    call.cancel()


async def _document(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
    if not traffic.ended:
        return
    kind = traffic.rng.choice(
        [pb.DOCUMENT_KIND_REPORT_JSON, pb.DOCUMENT_KIND_REPORT_HTML, pb.DOCUMENT_KIND_BUNDLE_JSON]
    )
    request = pb.GetDocumentRequest(screening_id=traffic.rng.choice(traffic.ended), kind=kind)

    async def whole() -> int:
        return sum([len(piece.data) async for piece in stub.GetDocument(request, timeout=60)])

    await _timed(traffic, "GetDocument", due_s, whole())


async def _cancel(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:
    """Of one that came lately; that it has ended already is an answer like another."""
    if traffic.recent:
        request = pb.CancelScreeningRequest(screening_id=traffic.recent[-1])
        await _timed(traffic, "CancelScreening", due_s, stub.CancelScreening(request, timeout=60))


HTTP_PATHS = ("/fhir/metadata", "/fhir/DiagnosticReport?_count=10&_sort=-_lastUpdated", "/cds-services")


async def _http(stub: ScreeningServiceStub, traffic: Traffic, due_s: float) -> None:  # noqa: ARG001 - as the others
    """One read of the HTTP service, on a connection of its own."""
    path = traffic.rng.choice(HTTP_PATHS)
    async with httpx.AsyncClient(base_url=traffic.http, timeout=60) as client:
        try:
            answer = await client.get(path)
            code = "OK" if answer.is_success else str(answer.status_code)
        except httpx.HTTPError as error:
            code = type(error).__name__
    traffic.calls.append(Call(f"GET {path.partition('?')[0]}", due_s, time.monotonic() - due_s, code))


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


EXPECTED_CODES = frozenset({"OK", "FAILED_PRECONDITION"})
"""The second: cancelling what has ended."""


def latencies(calls: Sequence[Call]) -> dict[str, dict[str, float]]:
    """Count, p50, p99 and maximum (ms) of the answered calls of each RPC, and how many failed."""
    by_rpc: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_rpc[call.rpc].append(call)
    table = {}
    for rpc, some in sorted(by_rpc.items()):
        good = [call.took_s * 1000 for call in some if call.code in EXPECTED_CODES]
        table[rpc] = {
            "calls": len(some),
            "failed": sum(call.code not in EXPECTED_CODES and call.code != "RESOURCE_EXHAUSTED" for call in some),
            "shed": sum(call.code == "RESOURCE_EXHAUSTED" for call in some),
            "p50_ms": round(percentile(good, 0.50), 1),
            "p99_ms": round(percentile(good, 0.99), 1),
            "max_ms": round(max(good, default=math.nan), 1),
        }
    return table


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    at_s: float
    name: str
    rss_mib: float
    """Resident. Of PostgreSQL the private memory of all its processes (what one wrote and the others share counted
    once), without its shared memory."""
    handles: int
    """Of PostgreSQL those of the process that has most, of those that serve a connection: the checkpointer opens every
    file that was written to, and closes them all at the end of each checkpoint."""
    threads: int
    """Of PostgreSQL its processes."""
    cpu_s: float
    pid: int = 0
    shared_mib: float = 0.0
    """Of PostgreSQL: touched part of its shared memory."""


class Sampler:
    """Looks at the service's processes every so often, until stopped."""

    def __init__(self, service: Service, every_s: float, more: Callable[[], list[psutil.Process]] = list) -> None:
        """Args:
        more: PostgreSQL's processes.
        """
        self.samples: list[Sample] = []
        self._service = service
        self._every_s = every_s
        self._more = more
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.samples += self.look()

    def look(self) -> list[Sample]:
        now = time.monotonic()
        found = []
        for member in self._service.members:
            if member.pid is not None:
                found += _sample(now, member.name, [psutil.Process(member.pid)])
                children = member.children()
                if children:
                    found += _sample(now, f"{member.name} child", children)
        found += _postgresql(now, self._more())
        return found


def _sample(now: float, name: str, processes: Sequence[psutil.Process]) -> list[Sample]:
    rss, handles, threads, cpu = 0.0, 0, 0, 0.0
    for process in processes:
        try:
            with process.oneshot():
                rss += process.memory_info().rss / MIB
                handles += process.num_fds()
                threads += process.num_threads()
                times = process.cpu_times()
                cpu += times.user + times.system
        except psutil.Error:
            continue
    return [Sample(now, name, rss, handles, threads, cpu, processes[0].pid)] if processes else []


def _postgresql(now: float, processes: Sequence[psutil.Process]) -> list[Sample]:
    private, shared, handles, cpu, seen = 0.0, 0.0, 0, 0.0, 0
    for process in processes:
        try:
            proportional = _proportional_mib(process.pid)
            if _serves_connection(process):
                handles = max(handles, process.num_fds())
            times = process.cpu_times()
        except (psutil.Error, OSError):
            continue
        private += proportional["Pss_Anon"]
        shared += proportional["Pss_Shmem"]
        cpu += times.user + times.system
        seen += 1
    return [Sample(now, "postgresql", private, handles, seen, cpu, processes[0].pid, shared)] if seen else []


def _serves_connection(process: psutil.Process) -> bool:
    """By its title, ``postgres: user database 127.0.0.1(port) state``."""
    return re.search(r"\(\d+\)", " ".join(process.cmdline())) is not None


def _proportional_mib(pid: int) -> dict[str, float]:
    """The parts of a process's memory, each page divided by the number of processes that have it (proc(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]
    return {name: int(value.split()[0]) / 1024 for name, _, value in (line.partition(":") for line in lines)}
