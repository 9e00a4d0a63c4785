"""A study from the first byte to the committed result, stage by stage, with the store in the loop.

    python tests/benchmarks/durable.py --out docs/benchmarks

Writes ``durable.json`` and ``durable.md``. What is measured, on ``trabecula serve`` as an operator starts it
(PostgreSQL of the program, flushed to disk; the worker's process with its limits), over gRPC from another process:

* one study at a time: upload, durable answer, wait, every stage of the report, documents, content store, commit; peak
  resident memory of the service, of its worker's child and of PostgreSQL.
* studies per hour with one worker of two threads against two workers of one, on phantoms of two sizes and on a real CT
  where there is one.

Every figure is a median; the load of the machine by others during the run is told with them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from trabecula.cli.submit import study_files
from trabecula.outcome import Stage
from trabecula.service.client import Client
from trabecula.v1 import screening_pb2 as pb

TARGET_S = 10.0
TARGET_PEAK_GIB = 2.0
TRABECULA = [str(Path(sys.executable).with_name("trabecula"))]
AT_ONCE = 4
GIB = 1024**3


@dataclass
class Service:
    """``trabecula serve`` in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def client(self) -> Client:
        return Client(f"127.0.0.1:{self.port}")

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == name]

    def peaks_gib(self) -> dict[str, float]:
        """High-water marks by part: the service itself, its worker's children, PostgreSQL (private memory summed)."""
        service = psutil.Process(self.process.pid)
        workers = [each for each in service.children() if "spawn_main" in " ".join(each.cmdline())]
        return {
            "service": _peak_bytes(service) / GIB,
            "worker's child": max((_peak_bytes(each) for each in workers), default=0) / GIB,
        }


def _peak_bytes(process: psutil.Process) -> int:
    """VmHWM of /proc."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@contextmanager
def served(folder: Path, workers: int, threads: int) -> Iterator[Service]:
    """The service with its models loaded."""
    folder.mkdir(parents=True)
    ready, log = folder / "port", folder / "serve.log"
    command = [*TRABECULA, "serve", "--listen", "127.0.0.1:0", "--ready-file", str(ready)]
    command += ["--state-dir", str(folder / "state")]
    chosen = {"TRABECULA_WORKERS": str(workers), "TRABECULA_INFERENCE_THREADS": str(threads)}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **chosen})
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit(f"the service did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Service(process, int(ready.read_text()), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def make_study(folder: Path, slice_mm: float, matrix: int, seed: int) -> list[Path]:
    command = [*TRABECULA, "phantom", str(folder), "--seed", str(seed), "--slice-mm", str(slice_mm), "--quiet"]
    subprocess.run([*command, "--matrix", str(matrix)], check=True, stdout=subprocess.DEVNULL)
    return study_files([folder / "dicom"])


def run_one(service: Service, files: list[Path]) -> dict[str, float]:
    """One study through the service; seconds by stage, in their order."""
    last_piece_s = 0.0

    def sent(_: int) -> None:
        nonlocal last_piece_s
        last_piece_s = time.perf_counter()

    with service.client() as client:
        first_s = time.perf_counter()
        screening_id = client.submit(files, sent=sent)
        answered_s = time.perf_counter()
        summary = list(client.watch(screening_id))[-1]
        ended_s = time.perf_counter()
        check_reported(summary)
        _, report = client.get(screening_id)
    timed = next(each for each in service.events("attempt timed") if each["screening_id"] == screening_id)
    kept = next(each for each in service.events("result kept") if each["screening_id"] == screening_id)
    assert report is not None
    stages = {f"work: {stage.value}": report.timings_s.get(stage.value, 0.0) for stage in Stage}
    waited_s = (summary.started_at.ToNanoseconds() - summary.submitted_at.ToNanoseconds()) / 1e9
    return {
        "upload: first byte to last": last_piece_s - first_s,
        "upload: last byte to durable answer": answered_s - last_piece_s,
        "queue: accepted to started": waited_s,
        "work: files made readable": timed["fetch_s"],
        **stages,
        "work: documents": kept["documents_s"],
        "keep: documents into the content store": kept["keep_s"],
        "keep: commit": kept["commit_s"],
        "first byte to committed result, as the client sees it": ended_s - first_s,
    }


def check_reported(summary: Any) -> None:
    """A refusal takes a fraction of the time: counted in, it would make the service look fast."""
    if summary.state != pb.SCREENING_STATE_REPORTED:
        raise SystemExit(f"ended as {pb.ScreeningState.Name(summary.state)}, not with a report")


def profile(folder: Path, files: list[Path], repeats: int, threads: int) -> dict[str, Any]:
    with served(folder, workers=1, threads=threads) as service:
        runs = [run_one(service, files) for _ in range(repeats)]
        peaks = service.peaks_gib()
    names = list(dict.fromkeys(name for run in runs for name in run))
    return {
        "first_s": runs[0],
        "median_s": {name: statistics.median(run.get(name, 0.0) for run in runs) for name in names},
        "peak_gib": peaks,
    }


def throughput(folder: Path, files: list[Path], workers: int, threads: int) -> float:
    """Studies per hour, from the first one's start to the last one's end, all of them accepted before."""
    with served(folder, workers, threads) as service, service.client() as client:
        for _ in range(workers):  # every child has worked once
            list(client.watch(client.submit(files)))
        ids = [client.submit(files) for _ in range(AT_ONCE)]
        ends = [list(client.watch(each))[-1] for each in ids]
    for each in ends:
        check_reported(each)
    started = min(each.started_at.ToNanoseconds() for each in ends)
    return AT_ONCE * 3600e9 / (max(each.ended_at.ToNanoseconds() for each in ends) - started)


def real_ct() -> Path | None:
    root = Path(os.environ.get("TRABECULA_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    study = root / "ct" / "lidc-idri-0001"
    return study if study.is_dir() else None


def measure(folder: Path, slice_mm: float, repeats: int, *, rates: str) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    files = make_study(folder / "whole", slice_mm, 512, seed=1)
    load_before = os.getloadavg()[0]
    result: dict[str, Any] = {
        "study": f"512 x 512 x {len(files)} phantom, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB",
        "cores": cores,
        "machine": platform.machine(),
        "repeats": repeats,
        "profile": profile(folder / "profile", files, repeats, threads=cores),
        "targets": {"seconds": TARGET_S, "peak_gib": TARGET_PEAK_GIB},
    }
    if rates != "none":
        small = make_study(folder / "small", 5.0, 256, seed=2)
        studies = {f"256 x 256 x {len(small)} phantom": small}
        if rates == "all" and (study := real_ct()) is not None:
            studies["LIDC-IDRI-0001"] = study_files([study])
        result["studies_per_hour"] = {
            name: {
                f"1 worker, {cores} threads": throughput(folder / f"{index}-one", paths, 1, cores),
                f"{cores} workers, 1 thread": throughput(folder / f"{index}-many", paths, cores, 1),
            }
            for index, (name, paths) in enumerate(studies.items())
        }
    result["load_average"] = {"before": load_before, "after": os.getloadavg()[0]}
    return result


def as_markdown(result: dict[str, Any]) -> str:
    profile_, load = result["profile"], result["load_average"]
    total_name = list(profile_["median_s"])[-1]
    total_s = profile_["median_s"][total_name]
    peaks = profile_["peak_gib"]
    lines = [
        "# A study through the durable service",
        "",
        f"Made by `make durable`: {result['study']}, {result['cores']} cores, median of"
        f" {result['repeats']} studies one after the other on one service. The machine's load average was"
        f" {load['before']:.1f} before and {load['after']:.1f} at the end, of which this run itself is about"
        f" {result['cores']}.",
        "",
        "| | measured | target |",
        "|---|---|---|",
        f"| {total_name} | {total_s:.1f} s | < {TARGET_S:.0f} s |",
        f"| peak memory, service and worker's child | {sum(peaks.values()):.2f} GiB | < {TARGET_PEAK_GIB:.0f} GiB |",
        "",
        "| stage | s | first study |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {seconds:.2f} | {profile_['first_s'].get(name, 0.0):.2f} |"
        for name, seconds in profile_["median_s"].items()
    ]
    lines += ["", f"Peak resident memory: {', '.join(f'{part} {value:.2f} GiB' for part, value in peaks.items())}."]
    if "studies_per_hour" in result:
        rows = result["studies_per_hour"]
        ways = list(next(iter(rows.values())))
        lines += ["", f"Studies per hour, {AT_ONCE} accepted at once:", "", f"| study | {' | '.join(ways)} |"]
        lines += ["|---|" + "---|" * len(ways)]
        lines += [f"| {name} | {' | '.join(f'{rates[way]:.0f}' for way in ways)} |" for name, rates in rows.items()]
    if load["before"] > result["cores"] / 2:
        lines += [
            "",
            "Other work had the cores too: these seconds are no measure of the program. Run it again when idle.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--slice-mm", type=float, default=1.405, help="1.405 gives 300 slices")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rates", choices=("all", "small", "none"), default="all", help="studies per hour of which")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trabecula-durable-") as folder:
        result = measure(Path(folder), options.slice_mm, options.repeats, rates=options.rates)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "durable.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "durable.md").write_text(as_markdown(result), encoding="utf-8")
    sys.stdout.write(as_markdown(result))


if __name__ == "__main__":
    main()
