"""Every fault scenario in one run, with the figures as a page.

    python tests/faults/run_faults.py --out docs/benchmarks [--seed N] [--only storm,drain] [--code COPY/server]

Starts the real service as processes of their own on a PostgreSQL of its own, and kills them. The seed is printed; the
same seed gives the same studies, clients and schedule of faults. ``--code`` runs another copy of the program, for
instance one that was broken on purpose. Exit code 1 when an invariant is broken; the run's folder, with the clients'
ledger and the logs of all processes, is kept then.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from fault_invariants import Verdict
from fault_postgres import binaries
from fault_scenarios import (
    bench,
    cancel_at_the_end,
    crash_at_every_step,
    cut_upload,
    drain,
    full_content_disk,
    full_database_disk,
    gc_beside_uploads,
    may_mount,
    race_for_jobs,
    wire_bytes,
)
from fault_storm import StormPlan, storm
from fault_studies import Kind

Scenario = Callable[[Path], Verdict]
INVARIANTS = (
    "An id that a client was given is in the database, and ended as reported, refused, cancelled (if that was asked) "
    "or as a dead letter with code and message.",
    "One idempotency key has one row and one id, also when it was sent three times at once, cut, or tried again.",
    "Every row was sent by a client of the ledger.",
    "A submission that is not taken is answered by a status that a client can act on, never INTERNAL or UNKNOWN.",
    "An ended state that a client was told never changes.",
    "Each step in `transition` is a legal one, the last one is where the row stands, and a life has one ending.",
    "A reported or refused screening has its whole set of documents, any other none.",
    "Every content that a row names is on disk, with its length, and hashes to its name.",
    "After `trabecula gc` there is no content without a row.",
    "An open screening has one live job; when all is quiet there is neither.",
    "Nothing is left outside the content store: no staged upload, no private folder of a job.",
    "After SIGTERM no process of the run is left, a killed worker's screening child included.",
)


def scenarios(seed: int, originals: Path, code: Path | None, scale: float) -> dict[str, tuple[str, Scenario]]:
    """Name to what it does and how it is run; ``scale`` makes all of them shorter or longer."""

    def times(number: int) -> int:
        return max(1, round(number * scale))

    def stormy(folder: Path) -> Verdict:
        plan = StormPlan(seed, studies=times(400), least_faults=times(200))
        verdict, struck = storm(plan, folder / "run", originals, code=code, keep=True)
        verdict.counts |= {f"struck: {name}": number for name, number in struck.items()}
        return verdict

    def frozen(folder: Path) -> Verdict:
        only = ("worker stands still, then goes on",)
        mixture = {Kind.REPORT: 0.8, Kind.REFUSE: 0.2}
        plan = StormPlan(seed, studies=times(30), mean_gap_s=6.0, faults=only, least_faults=times(12), mixture=mixture)
        return storm(plan, folder / "run", originals, code=code, keep=True)[0]

    def poison(folder: Path) -> Verdict:
        mixture = {Kind.KILL: 0.25, Kind.HANG: 0.25, Kind.BLOAT: 0.25, Kind.REFUSE: 0.25}
        plan = StormPlan(seed, studies=times(15), faults=("gc while working",), mixture=mixture, cancel_share=0.0)
        return storm(plan, folder / "run", originals, code=code, keep=True)[0]

    def cut(folder: Path) -> Verdict:
        return cut_at_bytes(folder, originals, cuts=times(150), seed=seed, code=code)

    made: dict[str, tuple[str, Scenario]] = {
        "storm": ("random faults over several hundred studies, four clients, two workers", stormy),
        "frozen": ("workers stand still for longer than their heartbeat may, and wake up overtaken", frozen),
        "poison": ("studies that kill, hang or bloat whatever screens them", poison),
        "api-steps": (
            "kill -9 of the API at each of its steps with a study",
            lambda folder: crash_at_every_step("api", folder, originals, stride=max(1, round(2 / scale)), code=code),
        ),
        "worker-steps": (
            "kill -9 of the worker at each of its steps with a study",
            lambda folder: crash_at_every_step("worker", folder, originals, stride=max(1, round(3 / scale)), code=code),
        ),
        "cut": ("the line is cut at any byte of an upload, then the same study again", cut),
        "race": (
            "the queue hands each job out about four times, three workers race for it",
            lambda folder: race_for_jobs(folder, originals, studies=times(40), code=code),
        ),
        "cancel": (
            "cancellation around the end of the work",
            lambda folder: cancel_at_the_end(folder, originals, studies=times(40), code=code),
        ),
        "drain": (
            "SIGTERM to all processes while studies wait and run",
            lambda folder: drain(folder, originals, rounds=times(4), code=code),
        ),
        "gc": (
            "garbage collection without pause, no time of grace left, while the same bytes come again",
            lambda folder: gc_beside_uploads(folder, originals, rounds=times(60), code=code),
        ),
        "content-disk": (
            "the content store's disk is full",
            lambda folder: full_content_disk(folder, originals, rounds=times(6), code=code),
        ),
        "database-disk": (
            "PostgreSQL's disk is full",
            lambda folder: full_database_disk(folder, originals, rounds=times(4), code=code),
        ),
    }
    return made


def cut_at_bytes(folder: Path, originals: Path, *, cuts: int, seed: int, code: Path | None = None) -> Verdict:
    """Uploads cut at the first and last bytes of the wire and at random ones between."""
    verdict = Verdict()
    rng = random.Random(seed)
    with bench(folder, originals, code=code) as made:
        whole = wire_bytes(made)
        edges = [0, 1, 9, 24, whole // 2, *range(whole - 60, whole + 20, 8)]
        points = (edges + [rng.randrange(whole) for _ in range(cuts)])[: max(cuts, 12)]
        answered = sum(cut_upload(made, point, verdict) for point in points)
        made.wait_quiet(verdict)
        made.judge(verdict)
    verdict.counts |= {"cuts": len(points), "wire_bytes": whole, "answered_all_the_same": answered}
    return verdict


def run_one(scenario: Scenario, folder: Path) -> Verdict:
    """The verdict, also when the run itself breaks."""
    try:
        return scenario(folder)
    except Exception as error:
        verdict = Verdict()
        verdict.breach(f"the run itself failed: {type(error).__name__}: {error}")
        return verdict


def page(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "# Fault injection",
        "",
        f"Made by `make faults` (`tests/faults/run_faults.py`), seed {result['seed']}, on {result['machine']}, "
        f"{result['postgresql']}. Real processes (`trabecula serve --role api`, `--role worker`, PostgreSQL), real "
        "clients, real small studies: phantoms that run through the networks, refusals, broken files, and studies "
        "that kill, hang or bloat the process that screens them. Read from SQL and the disk, not from the service.",
        *(["", result["note"]] if "note" in result else []),
        "",
        "| scenario | what | studies | ended as | lives beyond the first attempt | breaches | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in result["scenarios"].items():
        counts = each["counts"]
        ended = ", ".join(f"{counts[key]} {key[6:]}" for key in sorted(counts) if key.startswith("ended_"))
        lines.append(
            f"| {name} | {each['what']} | {counts.get('submissions', '-')} | {ended} "
            f"| {counts.get('attempts_beyond_the_first', '-')} | {len(each['breaches'])} | {each['wall_s']:.0f} |"
        )
    skipped = result.get("skipped", {})
    lines += [f"\nNot run: {name}, {why}." for name, why in skipped.items()]
    struck = {
        key[len("struck: ") :]: number
        for each in result["scenarios"].values()
        for key, number in each["counts"].items()
        if key.startswith("struck: ")
    }
    if struck:
        lines += ["", "## What struck in the storm", "", "| fault | times |", "|---|---|"]
        lines += [f"| {name} | {number} |" for name, number in struck.items()]
    lines += ["", "## What had to hold", "", *(f"{number}. {text}" for number, text in enumerate(INVARIANTS, 1))]
    breaches = [f"- {name}: {breach}" for name, each in result["scenarios"].items() for breach in each["breaches"]]
    lines += ["", "## Breaches", "", *(breaches or ["None."])]
    if "sabotage" in result:
        lines += ["", *sabotage_table(result["sabotage"])]
    return "\n".join(lines) + "\n"


def sabotage_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Whether the suite would notice",
        "",
        "The program was broken on purpose in a copy (`tests/faults/sabotage.py`), and the suite run on it.",
        "",
        "| broken | noticed by | first breach |",
        "|---|---|---|",
    ]
    return lines + [f"| {row['what']} | {row['noticed_by'] or 'NOT NOTICED'} | {row['first_breach']} |" for row in rows]


def write(result: dict[str, Any], out: Path) -> None:
    """After each scenario, so that a long run that is stopped was not for nothing."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "faults.json"
    if kept.exists() and (sabotage := json.loads(kept.read_text()).get("sabotage")):
        result = {**result, "sabotage": sabotage}
    kept.write_text(json.dumps(result, indent=1) + "\n")
    (out / "faults.md").write_text(page(result))


def machine() -> str:
    memory_gib = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def postgresql_version() -> str:
    done = subprocess.run([binaries() / "postgres", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().replace("postgres (PostgreSQL)", "PostgreSQL").split(" (")[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for faults.json and faults.md")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--only", default="", help="scenarios, separated by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="shorter or longer")
    parser.add_argument("--code", type=Path, help="server/ folder of another copy of the program")
    parser.add_argument("--folder", type=Path, help="where the runs live; a temporary folder when not given")
    given = parser.parse_args()
    # What was started is stopped, also when the run is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"seed {given.seed}", flush=True)
    root = given.folder or Path(tempfile.mkdtemp(prefix="trabecula-faults-"))
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    wanted = [name for name in given.only.split(",") if name]
    result: dict[str, Any] = {"seed": given.seed, "machine": machine(), "postgresql": postgresql_version()}
    result |= {"scenarios": {}, "skipped": {}}
    mounts = may_mount(root / "mount")
    for name, (what, scenario) in scenarios(given.seed, root / "originals", given.code, given.scale).items():
        if wanted and name not in wanted:
            continue
        if name.endswith("-disk") and not mounts:
            result["skipped"][name] = "a file system of its own may not be mounted here"
            continue
        started = time.monotonic()
        verdict = run_one(partial(scenario), root / name)
        wall_s = time.monotonic() - started
        result["scenarios"][name] = {"what": what, "wall_s": round(wall_s, 1), **asdict(verdict)}
        print(f"{name}: {len(verdict.breaches)} breaches in {wall_s:.0f} s {verdict.counts}", flush=True)
        for breach in verdict.breaches[:20]:
            print(f"  {breach}", flush=True)
        if given.out is not None:
            write(result, given.out)
    broken = [name for name, each in result["scenarios"].items() if each["breaches"]]
    if broken:
        print(f"broken: {', '.join(broken)}; seed {given.seed}; kept in {root}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
