"""An hour of steady load: whether memory, handles and threads stay where they are.

    make soak        (PYTHONPATH=tests/faults python tests/benchmarks/soak.py --out docs/benchmarks [--minutes 60])

The verdict is by slope: Theil and Sen's median of all pairwise slopes after the warm-up, against a stated limit, of the
process of each name that lived longest: memory of a new process says nothing of what the old one had gathered. Writes
``soak.json``, ``soak.md`` and ``soak.svg``.
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
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
from fault_invariants import Verdict, check_jobs, check_transitions, is_quiet
from fault_postgres import Cluster, free_port
from fault_service import Service
from fault_studies import Kind, originals
from open_loop import Call, Sample, Sampler, Traffic, drive, latencies

SEED = 11
MIXTURE = {Kind.REPORT: 0.25, Kind.REFUSE: 0.65, Kind.BROKEN: 0.10}
SUBMITS_PER_S = 0.25
READS_PER_S = 1.0
SAMPLE_EVERY_S = 5.0
CANCELS = 0.001
"""Few: each cancellation of a running study costs the screening child its life, and a young child shows no leak."""
FILL_S = 40.0
FILL_READS_PER_S = 60.0
FILL_SUBMITS_PER_S = 0.5
"""Before the hour, a busy minute: so many calls at once that every connection that a pool may keep is opened and used.
PostgreSQL's process behind each grows to some 3.7 MiB with the tables and statements it has seen; without the busy
minute the hour shows, connection by connection, how rarely used ones get there, which looks like a leak and is none."""
PUBLISH_EVERY_S = 240.0
WARM_UP_SHARE = 0.25
"""Of a process's life."""
MIN_SHARE = 0.5
"""A verdict on less than this part of the run is none."""
LIMITS = {"rss_mib": 8.0, "handles": 2.0, "threads": 1.0}
"""Largest rise per hour that still counts as flat. 8 MiB an hour fills a GiB in five days, less than the time between
two releases of most hospitals' patches; a leak of one small study's bytes per study would be 600 MiB an hour."""
FILES_OF_A_CONNECTION = 1000
"""PostgreSQL's ``max_files_per_process``: a process of it keeps files open to use them again, and closes the least
recently used beyond so many. How full that cache is, is judged by its size and not by its slope."""
UNITS = {"rss_mib": "MiB", "handles": "file descriptors", "threads": "threads"}


class Growth:
    """What grows because it is kept: the database and the content, with the number of studies."""

    def __init__(self, cluster: Cluster, content: Path) -> None:
        self.rows: list[tuple[float, int, int, int]] = []
        """Moment, studies, bytes of the database, bytes of the content."""
        self._cluster = cluster
        self._content = content
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(30.0):
            with psycopg.connect(self._cluster.url) as connection:
                row = connection.execute(
                    "SELECT (SELECT count(*) FROM screening), pg_database_size(current_database())"
                ).fetchone()
            (studies, size) = row or (0, 0)
            content = sum(path.stat().st_size for path in self._content.rglob("*") if len(path.name) == 64)
            self.rows.append((time.monotonic(), studies, size, content))


def slope_per_hour(moments_s: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Theil and Sen's slope, with the ends of its 95 % interval, per hour."""
    from scipy.stats import theilslopes

    slope, _, low, high = theilslopes(values, moments_s)
    return float(slope * 3600), float(low * 3600), float(high * 3600)


def judge(samples: Sequence[Sample], started: float, length_s: float) -> dict[str, dict[str, Any]]:
    """Slope of each quantity of each process after the warm-up, and whether it is flat."""
    table: dict[str, dict[str, Any]] = {}
    for name in sorted({sample.name for sample in samples}):
        life = longest_life([sample for sample in samples if sample.name == name and sample.at_s >= started])
        some = life[round(WARM_UP_SHARE * len(life)) :]
        if len(some) < 10:
            continue
        moments = [sample.at_s for sample in some]
        observed_s = life[-1].at_s - life[0].at_s
        table[name] = {}
        for quantity, limit in LIMITS.items():
            values = [float(getattr(sample, quantity)) for sample in some]
            slope, low, high = slope_per_hour(moments, values)
            cache = name == "postgresql" and quantity == "handles"
            steady = max(values) < FILES_OF_A_CONNECTION if cache else slope <= limit
            table[name][quantity] = {
                "median": round(sorted(values)[len(values) // 2], 1),
                "peak": round(max(values), 1),
                "slope_per_hour": round(slope, 2),
                "interval": [round(low, 2), round(high, 2)],
                "limit_per_hour": None if cache else limit,
                "observed_min": round(observed_s / 60, 1),
                "steady": steady,
                "flat": steady and observed_s >= MIN_SHARE * length_s,
            }
    return table


def longest_life(samples: Sequence[Sample]) -> list[Sample]:
    """Those of the one process that was seen most often."""
    ((pid, _),) = Counter(sample.pid for sample in samples).most_common(1) or [(0, 0)]
    return [sample for sample in samples if sample.pid == pid]


def per_study(rows: Sequence[tuple[float, int, int, int]], column: int) -> float:
    """Bytes that one more study adds."""
    from scipy.stats import theilslopes

    studies = [row[1] for row in rows]
    if len(set(studies)) < 2:
        return 0.0
    return float(theilslopes([row[column] for row in rows], studies)[0])


def in_thirds(calls: Sequence[Call], started: float, length_s: float) -> list[dict[str, dict[str, float]]]:
    """Latencies of the first, second and last third of the time."""
    return [
        latencies([call for call in calls if part <= 3 * (call.due_s - started) / length_s < part + 1])
        for part in range(3)
    ]


def page(result: dict[str, Any]) -> str:
    lines = [
        "# Soak",
        "",
        f"Made by `make soak` (`tests/benchmarks/soak.py`) on {result['machine']}: {result['minutes']:g} minutes, "
        f"{result['submits_per_s']:g} studies/s ({result['studies']} in all: {result['ended']}), "
        f"{READS_PER_S:g} reads/s, a sample every {SAMPLE_EVERY_S:g} s, after {FILL_S:g} s of {FILL_READS_PER_S:g} "
        f"reads/s that opened the connections which the pools keep. {result['note']}",
        "",
        f"Flat: Theil and Sen's slope after the first {WARM_UP_SHARE:.0%} of a process's life is at most "
        + ", ".join(f"{limit:g} {UNITS[name]}" for name, limit in LIMITS.items())
        + f" per hour, over at least {MIN_SHARE:.0%} of the run.",
        "",
        "| process | minutes | quantity | median | peak | slope per hour (95 %) | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, quantities in result["verdict"].items():
        for quantity, row in quantities.items():
            low, high = row["interval"]
            good = "flat" if row["limit_per_hour"] is not None else f"below {FILES_OF_A_CONNECTION}"
            verdict = good if row["flat"] else "too short" if row["steady"] else "RISES"
            lines.append(
                f"| {name} | {row['observed_min']:g} | {unit(name, quantity)} | {row['median']:g} | {row['peak']:g} "
                f"| {row['slope_per_hour']:+.2f} ({low:+.2f} .. {high:+.2f}) | {verdict} |"
            )
    lines += [
        "",
        "Resident memory; of PostgreSQL the private memory of all its processes together (proportional, so that pages "
        "that the system shares between them count once). Its shared memory is laid out at the start, "
        f"{result['shared_limit_mib']} MiB here, and is touched bit by bit until all of it has been: "
        f"{result['shared_mib'][0]:.1f} MiB at the start, {result['shared_mib'][1]:.1f} at the end. File descriptors "
        "of PostgreSQL are those of the connection that has most: its process keeps the files of the tables and "
        "indexes it has used open to use them again, and closes the least recently used beyond `max_files_per_process` "
        f"({FILES_OF_A_CONNECTION}); the verdict is that it stays below.",
        "",
        "A screening child is a new one after each cancellation of a running study; the verdict is on the one that "
        f"lived longest, of {result['children']}. What is kept grows with the studies, as "
        f"it must: {result['database_bytes_per_study'] / 1024:.1f} KiB of database and "
        f"{result['content_bytes_per_study'] / 1024:.0f} KiB of content for each.",
        "",
        "| RPC, p50 / p99 ms (calls) | first third | second | last |",
        "|---|---|---|---|",
    ]
    for rpc in result["latency_thirds"][0]:
        cells = [
            f"{third[rpc]['p50_ms']} / {third[rpc]['p99_ms']} ({third[rpc]['calls']})" if rpc in third else "-"
            for third in result["latency_thirds"]
        ]
        lines.append(f"| {rpc} | {' | '.join(cells)} |")
    failed = sum(row["failed"] for third in result["latency_thirds"] for row in third.values())
    lines += [
        "",
        f"Calls that failed: {failed}. Breaches of the invariants of docs/benchmarks/faults.md: {result['breaches']}.",
        "",
        "![Memory, handles and threads over the run](soak.svg)",
    ]
    return "\n".join(lines) + "\n"


def unit(name: str, quantity: str) -> str:
    if name == "postgresql":
        return {"rss_mib": "private MiB", "handles": "most file descriptors", "threads": "processes"}[quantity]
    return UNITS[quantity]


def picture(samples: Sequence[Sample], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "trabecula"
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(3, 1, figsize=(9, 7), sharex=True, constrained_layout=True)
    zero = samples[0].at_s
    for axes, quantity in zip(rows, LIMITS, strict=True):
        for name in sorted({sample.name for sample in samples}):
            some = [sample for sample in samples if sample.name == name]
            minutes = [(sample.at_s - zero) / 60 for sample in some]
            axes.plot(minutes, [getattr(sample, quantity) for sample in some], label=name, lw=1)
        axes.set_ylabel(UNITS[quantity])
        axes.set_ylim(bottom=0)
    rows[0].legend(fontsize=7, ncol=2)
    rows[-1].set_xlabel("minutes")
    figure.savefig(path, metadata={"Date": None})


def judged_again(folder: Path) -> dict[str, Any]:
    """The result in a folder with the verdict that this program gives on its samples."""
    result: dict[str, Any] = json.loads((folder / "soak.json").read_text("utf-8"))
    samples = [
        Sample(at_s, name, rss_mib, handles, threads, cpu_s, pid)
        for at_s, name, rss_mib, handles, threads, cpu_s, pid in result["samples"]
    ]
    return {**result, "verdict": judge(samples, 0.0, result["minutes"] * 60)}


class Soak:
    """The service, what is asked of it, and what was seen so far."""

    def __init__(self, folder: Path, minutes: float, submits_per_s: float, note: str) -> None:
        self.length_s = minutes * 60
        self.submits_per_s = submits_per_s
        self.note = note
        self.cluster = Cluster(folder / "postgres")
        self.cluster.create()
        http = f"127.0.0.1:{free_port()}"
        settings = {"inference_threads": 1, "http_listen": http, "auth": "off"}
        self.service = Service(folder / "service", self.cluster.url, settings, workers=1, hooks=False)
        made = originals(folder / "originals")
        self.traffic = Traffic(self.service.address, made, random.Random(SEED), dict(MIXTURE), http=f"http://{http}")
        self.sampler = Sampler(self.service, SAMPLE_EVERY_S, self.cluster.processes)
        self.breaches = 0
        self.started = 0.0
        self.growth: Growth | None = None
        ((size,),) = self.cluster.rows("SHOW shared_memory_size")
        self.shared_limit_mib = int(str(size).removesuffix("MB"))

    def run(self, publish: Callable[[], None]) -> None:
        """All of it; ``publish`` is called every few minutes, so that a long run that breaks was not for nothing."""
        try:
            self.service.start()
            asyncio.run(drive(self.traffic, FILL_S, FILL_SUBMITS_PER_S, FILL_READS_PER_S, cancels=0.0))
            while not is_quiet(self.cluster):
                time.sleep(0.5)
            self.started = time.monotonic()
            self.sampler.start()
            self.growth = Growth(self.cluster, self.service.state_dir / "content")
            over = threading.Event()
            publisher = threading.Thread(target=_every, args=(PUBLISH_EVERY_S, publish, over))
            publisher.start()
            try:
                asyncio.run(drive(self.traffic, self.length_s, self.submits_per_s, READS_PER_S, cancels=CANCELS))
            finally:
                over.set()
                publisher.join()
            while not is_quiet(self.cluster):
                time.sleep(0.5)
            self.sampler.stop()
            self.growth.stop()
            verdict = Verdict()
            check_transitions(self.cluster, verdict)
            check_jobs(self.cluster, verdict)
            self.breaches = len(verdict.breaches)
            publish()
            self.service.stop()
        finally:
            self.service.kill()
            self.cluster.stop()

    def result(self) -> dict[str, Any]:
        """As things stand."""
        now = min(time.monotonic(), self.started + self.length_s)
        seen_s = now - self.started
        with psycopg.connect(self.cluster.url) as connection:
            ended = connection.execute("SELECT state, count(*) FROM screening GROUP BY state ORDER BY state").fetchall()
        samples = list(self.sampler.samples)
        shared = [round(sample.shared_mib, 1) for sample in samples if sample.name == "postgresql"] or [0.0]
        rows = list(self.growth.rows) if self.growth is not None else []
        return {
            "machine": machine(),
            "minutes": round(seen_s / 60, 1),
            "submits_per_s": self.submits_per_s,
            "note": self.note,
            "studies": sum(number for _, number in ended),
            "ended": ", ".join(f"{number} {state}" for state, number in ended),
            "verdict": judge(samples, self.started, seen_s),
            "database_bytes_per_study": round(per_study(rows, 2)),
            "content_bytes_per_study": round(per_study(rows, 3)),
            "latency_thirds": in_thirds(list(self.traffic.calls), self.started, seen_s),
            "breaches": self.breaches,
            "shared_limit_mib": self.shared_limit_mib,
            "shared_mib": [shared[0], shared[-1]],
            "children": len({sample.pid for sample in samples if sample.name == "worker-0 child"}),
            "samples": [
                [
                    round(s.at_s - self.started, 1),
                    s.name,
                    round(s.rss_mib, 1),
                    s.handles,
                    s.threads,
                    round(s.cpu_s, 1),
                    s.pid,
                ]
                for s in samples[:: max(1, len(samples) // 2000)]
            ],
        }


def write(result: dict[str, Any], folder: Path) -> None:
    """``soak.json`` and ``soak.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    (folder / "soak.md").write_text(page(result), encoding="utf-8")


def _every(seconds: float, act: Callable[[], None], over: threading.Event) -> None:
    while not over.wait(seconds):
        act()


def machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for soak.json, soak.md and soak.svg")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--submits-per-s", type=float, default=SUBMITS_PER_S)
    parser.add_argument("--note", default="", help="said on the page, for instance that other work ran beside it")
    parser.add_argument("--judge", action="store_true", help="only judge what --out holds anew, and write its page")
    given = parser.parse_args()
    if given.judge:
        again = judged_again(given.out or parser.error("--judge needs --out"))
        write(again, given.out)
        print(page(again))
        return 0
    # What was started is stopped, also when the run is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    last: dict[str, Any] = {}

    def publish() -> None:
        last.update(soak.result())
        if given.out is not None:
            write(last, given.out)
            picture(list(soak.sampler.samples), given.out / "soak.svg")

    with tempfile.TemporaryDirectory(prefix="trabecula-soak-") as temporary:
        Path(temporary).chmod(0o755)
        soak = Soak(Path(temporary), given.minutes, given.submits_per_s, given.note)
        soak.run(publish)
    print(page(last))
    rises = [f"{name}: {q}" for name, some in last["verdict"].items() for q, row in some.items() if not row["flat"]]
    print("; ".join(rises) or "flat", file=sys.stderr)
    return 1 if rises or last["breaches"] else 0


if __name__ == "__main__":
    sys.exit(main())
