"""Load figures of the service: uploads, studies per hour per core, latency of each RPC, overload and recovery.

    make load        (PYTHONPATH=tests/faults python tests/benchmarks/load.py --out docs/benchmarks; about six minutes)

One API process, one worker with its screening child, PostgreSQL and the generator share the machine. Writes
``load.json``, ``load.md`` and ``load.svg``. open_loop.py says how latency is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
from fault_clients import upload
from fault_invariants import is_quiet
from fault_postgres import Cluster
from fault_service import Service
from fault_studies import Kind, Study, copy_of, originals
from open_loop import MIB, Call, Sample, Sampler, Traffic, drive, latencies, percentile

from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.v1.screening_pb2_grpc import ScreeningServiceStub

SEED = 7
MIXTURE = {Kind.REPORT: 0.25, Kind.REFUSE: 0.75}
UPLOAD_STUDIES = 300
UPLOAD_BYTES = 512 * 1024
"""One instance of 512 x 512 pixels with 16 bits."""
SENDERS = 4
STEADY_SHARE = 0.6
OVERLOAD = 2.0
READS_PER_S = 15.0
OTHERWISE = (
    'One that is turned away while it still writes may read INTERNAL here (`Failed "execute_batch"`, never from the '
    "service): the generator's grpc.aio loses the status that has come. Tried apart, with uploads of 22 messages to a "
    "full queue, that was 11 of 700, and the service had shed them all; with 6 messages 0 of 600; Python's other "
    "client, which `trabecula submit` uses, 0 of 201."
)
"""Measured once, apart from this benchmark."""
QUEUE_CAPACITY = 16
"""During open-loop load: the default."""
PRIORITIES = (("stat", 0.1), ("routine", 0.5), ("archive", 0.4))


class Bench:
    """The service under test and what was measured of it."""

    def __init__(self, folder: Path, settings: dict[str, object], spans: dict[str, float]) -> None:
        self.folder = folder
        self.spans = spans
        self.cluster = Cluster(folder / "postgres")
        self.cluster.create()
        self.service = Service(folder / "service", self.cluster.url, settings, workers=1, hooks=False)
        self.sampler = Sampler(self.service, 1.0, self.cluster.processes)
        self.made = originals(folder / "originals")
        self.rng = random.Random(SEED)
        self.phases: list[tuple[str, float, float]] = []
        self.traffic = Traffic(self.service.address, self.made, self.rng, dict(MIXTURE))

    # Phases

    def uploads(self, studies: int, instances: int) -> dict[str, float]:
        """As fast as a few senders can, with nobody working on what comes."""
        (worker,) = self.service.workers
        worker.kill()
        pending = [
            Study(f"upload-{number}", Kind.BROKEN, tuple(self.rng.randbytes(UPLOAD_BYTES) for _ in range(instances)))
            for number in range(studies)
        ]
        messages = [upload(study, "", 256 * 1024) for study in pending]
        with ThreadPoolExecutor(SENDERS) as pool, grpc.insecure_channel(self.service.address) as channel:
            stub = ScreeningServiceStub(channel)
            before = self._cpu_s("api-0")
            started = time.monotonic()
            ids = list(pool.map(lambda each: stub.SubmitStudy(iter(each), timeout=120).screening_id, messages))
            took_s = time.monotonic() - started
        total = sum(study.total_bytes for study in pending)
        self.phases.append((f"{studies} x {instances}", started, started + took_s))
        worker.start()
        self.wait_quiet()
        return {
            "studies": len(set(ids)),
            "instances_each": instances,
            "total_mib": round(total / MIB, 1),
            "took_s": round(took_s, 2),
            "uploads_per_s": round(len(ids) / took_s, 1),
            "mib_per_s": round(total / MIB / took_s, 1),
            "api_cpu_ms_per_mib": round(1000 * (self._cpu_s("api-0") - before) / (total / MIB), 2),
        }

    def throughput(self, studies: Sequence[Study]) -> dict[str, float]:
        """How fast a backlog is worked off."""
        before = {name: self._cpu_s(name) for name in ("api-0", "worker-0", "worker-0 child", "postgresql")}
        started = time.monotonic()
        with grpc.insecure_channel(self.service.address) as channel:
            for study in studies:
                ScreeningServiceStub(channel).SubmitStudy(iter(upload(study, "", 256 * 1024)), timeout=120)
        self.wait_quiet()
        took_s = time.monotonic() - started
        cpu_s = {name: self._cpu_s(name) - value for name, value in before.items()}
        total_cpu_s = sum(cpu_s.values())
        return {
            "studies": len(studies),
            "mib_each": round(sum(study.total_bytes for study in studies) / len(studies) / MIB, 1),
            "took_s": round(took_s, 1),
            "studies_per_s": round(len(studies) / took_s, 3),
            "studies_per_hour": round(3600 * len(studies) / took_s),
            "cpu_s_per_study": round(total_cpu_s / len(studies), 2),
            "studies_per_hour_per_core": round(3600 * len(studies) / total_cpu_s),
            **{f"cpu_s_per_study {name}": round(value / len(studies), 3) for name, value in cpu_s.items()},
        }

    def open_loop(self, name: str, length_s: float, submits_per_s: float, priorities: Any = (("", 1.0),)) -> None:
        started = time.monotonic()
        asyncio.run(drive(self.traffic, length_s, submits_per_s, READS_PER_S, priorities))
        self.phases.append((name, started, started + length_s))

    def restart_api(self, queue_capacity: int) -> None:
        (api,) = self.service.apis
        api.environment["TRABECULA_QUEUE_CAPACITY"] = str(queue_capacity)
        api.kill()
        api.start()
        self.service.wait_serving(self.service.address)

    def calls_in(self, name: str) -> list[Call]:
        return [
            call for call in self.traffic.calls for phase in self._phases(name) if phase[0] <= call.due_s < phase[1]
        ]

    def turnaround_in(self, name: str) -> list[tuple[float, float, str, str]]:
        return [
            each for each in self.traffic.turnaround for phase in self._phases(name) if phase[0] <= each[0] < phase[1]
        ]

    def _phases(self, name: str) -> list[tuple[float, float]]:
        return [(start, end) for phase, start, end in self.phases if phase == name]

    def wait_quiet(self) -> None:
        deadline = time.monotonic() + 300
        while not is_quiet(self.cluster):
            if time.monotonic() > deadline:
                raise SystemExit("the service does not come to an end of its work")
            time.sleep(0.1)

    def _cpu_s(self, name: str) -> float:
        return sum(sample.cpu_s for sample in self.sampler.look() if sample.name == name)


def full_size_study(folder: Path, number: int) -> Study:
    """512 x 512 pixels, lung apex to L3, 2 mm."""
    if not folder.exists():
        write_phantom(PhantomSpec(slice_mm=2.0, seed=11), folder)
    files = tuple(path.read_bytes() for path in sorted((folder / "dicom").iterdir()))
    return copy_of(files, Kind.REPORT, f"full-{number}")


def exact_mixture(bench: Bench, number: int) -> list[Study]:
    """Studies with exactly the shares of the mixture, so that the capacity is not one of luck."""
    kinds = [kind for kind, share in MIXTURE.items() for _ in range(round(number * share))]
    bench.rng.shuffle(kinds)
    return [copy_of(bench.made[kind], kind, f"mixed-{index}") for index, kind in enumerate(kinds)]


def by_priority(
    calls: Sequence[Call], turnaround: Sequence[tuple[float, float, str, str]]
) -> dict[str, dict[str, Any]]:
    """How each priority fared."""
    table = {}
    for name, _ in PRIORITIES:
        submits = [call for call in calls if call.rpc == "SubmitStudy" and call.priority == name]
        shed = [call for call in submits if call.code == "RESOURCE_EXHAUSTED"]
        waits = [took_s for _, took_s, _, priority in turnaround if priority == name]
        table[name] = {
            "sent": len(submits),
            "accepted": sum(call.code == "OK" for call in submits),
            "shed": len(shed),
            "shed_with_delay": sum(call.retry_after_s is not None for call in shed),
            "other": sum(call.code not in ("OK", "RESOURCE_EXHAUSTED") for call in submits),
            "other_codes": sorted({call.code for call in submits} - {"OK", "RESOURCE_EXHAUSTED"}),
            "end_p50_s": round(percentile(waits, 0.5), 1) if waits else None,
            "end_p99_s": round(percentile(waits, 0.99), 1) if waits else None,
        }
    return table


def memory(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.name].append(sample)
    return {
        name: {
            "median_mib": round(percentile([each.rss_mib for each in some], 0.5)),
            "peak_mib": round(max(each.rss_mib for each in some)),
        }
        for name, some in sorted(by_name.items())
    }


def measure(bench: Bench) -> dict[str, Any]:
    spans = bench.spans
    result: dict[str, Any] = {}
    result["uploads_small"] = bench.uploads(round(UPLOAD_STUDIES * spans["scale"]), 1)
    print("uploads", result["uploads_small"], flush=True)
    result["uploads_large"] = bench.uploads(4, round(300 * spans["scale"]))
    print("uploads", result["uploads_large"], flush=True)
    full = [full_size_study(bench.folder / "full", number) for number in range(round(spans["full"]))]
    result["throughput_full_size"] = bench.throughput(full)
    print("full size", result["throughput_full_size"], flush=True)
    mixed = exact_mixture(bench, round(40 * spans["scale"]))
    result["throughput_mixture"] = bench.throughput(mixed)
    print("mixture", result["throughput_mixture"], flush=True)
    capacity_per_s = result["throughput_mixture"]["studies_per_s"]
    bench.restart_api(QUEUE_CAPACITY)
    bench.open_loop("steady", spans["steady"], STEADY_SHARE * capacity_per_s)
    bench.wait_quiet()
    bench.open_loop("overload", spans["overload"], OVERLOAD * capacity_per_s, PRIORITIES)
    drained = time.monotonic()
    bench.wait_quiet()
    result["drained_after_s"] = round(time.monotonic() - drained, 1)
    bench.open_loop("recovery", spans["recovery"], STEADY_SHARE * capacity_per_s)
    bench.wait_quiet()
    result["offered_per_s"] = {"capacity": capacity_per_s, "steady": STEADY_SHARE * capacity_per_s}
    result["offered_per_s"]["overload"] = OVERLOAD * capacity_per_s
    for name in ("steady", "overload", "recovery"):
        result[name] = latencies(bench.calls_in(name))
        waits = [took_s for _, took_s, state, _ in bench.turnaround_in(name) if state in ("reported", "refused")]
        result[f"{name}_turnaround"] = {
            "ended": len(waits),
            "p50_s": round(percentile(waits, 0.5), 2),
            "p99_s": round(percentile(waits, 0.99), 2),
        }
    result["overload_by_priority"] = by_priority(bench.calls_in("overload"), bench.turnaround_in("overload"))
    result["memory"] = memory(bench.sampler.samples)
    return result


def hooks_and_record(folder: Path | None) -> list[str]:
    """Latencies of CDS Hooks and of the FHIR record, which have benchmarks of their own, as they stand in a folder."""
    lines: list[str] = []
    if folder is None:
        return lines
    if (hooks := folder / "hooks.json").exists():
        measured = json.loads(hooks.read_text("utf-8"))
        lines += [
            "",
            f"CDS Hooks, from `make bench-hooks` ([hooks.md](hooks.md)): {measured['rate_per_s']:g} calls/s in an open "
            f"loop, {measured['results_in_store']} results in the store.",
            "",
            "| hook | calls | p50, ms | p99, ms |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {row['calls']} | {row['p50_ms']} | {row['p99_ms']} |"
            for name, row in measured["by_call"].items()
        ]
    if (record := folder / "record.json").exists():
        measured = json.loads(record.read_text("utf-8"))
        lines += [
            "",
            f"FHIR record, from `make bench-record` ([record.md](record.md)): {measured['results']} results, one "
            "question after the other.",
            "",
            "| asked | p50, ms | p99, ms |",
            "|---|---|---|",
        ]
        lines += [f"| {name} | {row['median_ms']} | {row['p99_ms']} |" for name, row in measured["asked"].items()]
    return lines


def page(result: dict[str, Any], apart: Sequence[str] = ()) -> str:
    """The figures as Markdown; ``apart`` are lines of what is measured elsewhere."""
    lines = [
        "# Load",
        "",
        f"Made by `make load` (`tests/benchmarks/load.py`) on {result['machine']}. One API process, one worker with "
        "its screening child, PostgreSQL with fsync, and the generator share these cores. Open loop: Poisson arrivals, "
        "latency counted from the moment a call was due.",
        "",
        "## Uploads at wire speed",
        "",
        f"{SENDERS} senders, nobody screening meanwhile; an upload ends when the study is durable.",
        "",
        "| studies | instances each | MiB | s | uploads/s | MiB/s | CPU of the API, ms per MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| " + " | ".join(str(value) for value in result[name].values()) + " |"
        for name in ("uploads_small", "uploads_large")
    ]
    lines += [
        "",
        "## Studies per hour",
        "",
        "A backlog worked off by one worker. CPU is that of all processes of the service together.",
        "",
        "| studies | MiB each | s | per hour, this machine | CPU s each | per hour and core |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in (("throughput_full_size", "512 x 512, apex to L3, 2 mm"), ("throughput_mixture", "mixture")):
        row = result[name]
        lines.append(
            f"| {row['studies']} ({what}) | {row['mib_each']} | {row['took_s']} | {row['studies_per_hour']} "
            f"| {row['cpu_s_per_study']} | {row['studies_per_hour_per_core']} |"
        )
    offered = result["offered_per_s"]
    lines += [
        "",
        f"The mixture, which the load below is made of: {MIXTURE[Kind.REPORT]:.0%} small phantoms (T11 to L1, "
        f"128 x 128) that run through the networks, {MIXTURE[Kind.REFUSE]:.0%} refusals.",
        "",
        "## Latency",
        "",
        f"Steady: {offered['steady']:.2f} studies/s, {STEADY_SHARE:.0%} of what the worker can do; overload: "
        f"{offered['overload']:.2f}/s, {OVERLOAD:g} times that; recovery: as steady, after the backlog was worked off "
        f"({result['drained_after_s']} s). Reads at {READS_PER_S:g}/s beside, in all three. Milliseconds, "
        "p50 / p99 (calls).",
        "",
        "| RPC | steady | overload | recovery |",
        "|---|---|---|---|",
    ]
    for rpc in result["steady"]:
        cells = []
        for phase in ("steady", "overload", "recovery"):
            row = result[phase].get(rpc)
            cells.append(f"{row['p50_ms']} / {row['p99_ms']} ({row['calls']})" if row else "-")
        lines.append(f"| {rpc} | {' | '.join(cells)} |")
    cells = []
    for phase in ("steady", "overload", "recovery"):
        row = result[f"{phase}_turnaround"]
        cells.append(f"{row['p50_s']} / {row['p99_s']} s ({row['ended']})")
    lines.append(f"| submitted to result | {' | '.join(cells)} |")
    failed = {
        phase: sum(row["failed"] for row in result[phase].values()) for phase in ("steady", "overload", "recovery")
    }
    otherwise = ", ".join(f"{name} {number}" for name, number in failed.items())
    lines += [
        "",
        f"Calls that failed otherwise than by being shed: {otherwise}. {OTHERWISE}",
        *apart,
        "",
        f"## At {OVERLOAD:g} times the capacity",
        "",
        f"The queue takes {QUEUE_CAPACITY} waiting studies.",
        "",
        "| priority | sent | accepted | shed | with RetryInfo | other failures | to the end, p50 / p99, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["overload_by_priority"].items():
        lines.append(
            f"| {name} | {row['sent']} | {row['accepted']} | {row['shed']} | {row['shed_with_delay']} | {row['other']} "
            f"| {row['end_p50_s']} / {row['end_p99_s']} |"
        )
    lines += ["", "## Memory", "", "| process | median MiB | peak MiB |", "|---|---|---|"]
    lines += [f"| {name} | {row['median_mib']} | {row['peak_mib']} |" for name, row in result["memory"].items()]
    return "\n".join([*lines, "", "![Latency, backlog and memory over the run](load.svg)"]) + "\n"


def picture(bench: Bench, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "trabecula"
    import matplotlib.pyplot as plt

    figure, (upper, lower) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, constrained_layout=True)
    zero = bench.sampler.samples[0].at_s
    for rpc in sorted({call.rpc for call in bench.traffic.calls}):
        calls = [call for call in bench.traffic.calls if call.rpc == rpc and call.code != "RESOURCE_EXHAUSTED"]
        upper.plot([c.due_s - zero for c in calls], [max(c.took_s * 1000, 0.1) for c in calls], ".", ms=3, label=rpc)
    shed = [call for call in bench.traffic.calls if call.code == "RESOURCE_EXHAUSTED"]
    upper.plot([c.due_s - zero for c in shed], [max(c.took_s * 1000, 0.1) for c in shed], "rx", ms=4, label="shed")
    upper.set_yscale("log")
    upper.set_ylabel("latency from due moment, ms")
    upper.legend(fontsize=7, ncol=3)
    for name in sorted({sample.name for sample in bench.sampler.samples}):
        some = [sample for sample in bench.sampler.samples if sample.name == name]
        lower.plot([s.at_s - zero for s in some], [s.rss_mib for s in some], label=name)
    lower.set_ylabel("memory, MiB")
    lower.set_xlabel("s")
    lower.set_ylim(bottom=0)
    lower.legend(fontsize=7)
    for number, (name, start, end) in enumerate(bench.phases):
        for axes in (upper, lower):
            axes.axvspan(start - zero, end - zero, color="0.5", alpha=0.08 + 0.06 * (number % 2))
        upper.text(start - zero, 1.01, name, transform=upper.get_xaxis_transform(), fontsize=7)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for load.json, load.md and load.svg")
    parser.add_argument("--quick", action="store_true", help="a minute instead of six: to see that it runs")
    given = parser.parse_args()
    # What was started is stopped, also when the run is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    spans = {"scale": 1.0, "full": 4, "steady": 75.0, "overload": 45.0, "recovery": 45.0}
    if given.quick:
        spans = {"scale": 0.1, "full": 1, "steady": 10.0, "overload": 10.0, "recovery": 8.0}
    settings = {"queue_capacity": 1000, "max_concurrent_uploads": 16, "inference_threads": 2}
    with tempfile.TemporaryDirectory(prefix="trabecula-load-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        bench = Bench(folder, settings, spans)
        try:
            bench.service.start()
            bench.sampler.start()
            result = {"machine": machine(), **measure(bench)}
            bench.sampler.stop()
            if given.out is not None:
                given.out.mkdir(parents=True, exist_ok=True)
                (given.out / "load.json").write_text(json.dumps(result, indent=1) + "\n")
                (given.out / "load.md").write_text(page(result, hooks_and_record(given.out)))
                picture(bench, given.out / "load.svg")
            print(page(result))
        finally:
            bench.service.kill()
            bench.cluster.stop()


def machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
