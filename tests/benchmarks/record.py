"""How fast the record answers with many results: ``python tests/benchmarks/record.py --results 100000``.

    make bench-record        (writes ``record.json`` and ``record.md`` into docs/benchmarks)

Starts a PostgreSQL of its own in a folder that goes afterwards. One question after the other, each about another
result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from database import fresh_database, running_server
from live_http import LiveHttp, live_http
from seed_record import SYSTEM, patient_of, seed_record, study_uid

from trabecula.record import results_for_patient
from trabecula.service.logs import configure_logs
from trabecula.work.database import Database

Ask = Callable[[int], Awaitable[None]]


async def measured(ask: Ask, rounds: int, results: int) -> dict[str, float]:
    """Milliseconds of so many asks in a row, each about another result."""
    random.seed(7)
    times = []
    for _ in range(rounds):
        number = random.randrange(results)
        started = time.perf_counter()
        await ask(number)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]  # noqa: E731
    return {
        "median_ms": round(statistics.median(times), 2),
        "p99_ms": round(at(0.99), 2),
        "max_ms": round(times[-1], 2),
    }


def questions(site: LiveHttp, database: Database, results: int) -> dict[str, Ask]:
    """What is asked, by name."""

    async def look_up(number: int) -> None:
        async with database.transaction() as connection:
            assert await results_for_patient(connection, [patient_of(number, results)])

    def over_http(path: Callable[[int], str], found: bool = True) -> Ask:
        async def ask(number: int) -> None:
            response = await site.get(path(number))
            assert response.status_code == 200, response.text
            assert bool(response.json().get("entry")) == found, path(number)

        return ask

    def patient(number: int) -> str:
        return "|".join(patient_of(number, results))

    return {
        "results_for_patient": look_up,
        "reports of a patient": over_http(lambda n: f"DiagnosticReport?patient.identifier={patient(n)}"),
        "mean density of a patient, newest": over_http(
            lambda n: f"Observation?patient.identifier={patient(n)}&code=vbmd-trabecular-mean&_sort=-date&_count=1"
        ),
        "unknown patient": over_http(lambda n: f"DiagnosticReport?patient.identifier={SYSTEM}|X-{n}", found=False),
        "study by UID": over_http(lambda n: f"ImagingStudy?identifier=urn:dicom:uid|urn:oid:{study_uid(n)}"),
        "observations of a study": over_http(
            lambda n: f"Observation?part-of.identifier=urn:dicom:uid|urn:oid:{study_uid(n)}"
        ),
        "report with its parts": over_http(
            lambda n: f"DiagnosticReport?patient.identifier={patient(n)}&_include=DiagnosticReport:imaging-study"
        ),
        "every density, newest first": over_http(lambda _: "Observation?code=vbmd-trabecular-mean&_sort=-date"),
        "everything since": over_http(lambda _: "DiagnosticReport?_lastUpdated=gt2024-01-05&_sort=_lastUpdated"),
        "a code that is rare": over_http(lambda _: "Observation?code=second-reader-score", found=False),
    }


async def run(results: int, rounds: int) -> dict[str, Any]:
    server = running_server()
    try:
        async with fresh_database(next(server)) as (database, _):
            started = time.perf_counter()
            seeded = await asyncio.to_thread(seed_record, database, results)
            seconds = time.perf_counter() - started
            figures: dict[str, Any] = {
                "results": seeded.results,
                "resources": seeded.resources,
                "seed_s": round(seconds),
            }
            with TemporaryDirectory() as folder:
                async with live_http(database, Path(folder)) as site:
                    asked = questions(site, database, results)
                    for ask in asked.values():
                        await measured(ask, 5, results)
                    figures["asked"] = {name: await measured(ask, rounds, results) for name, ask in asked.items()}
        return figures
    finally:
        server.close()  # type: ignore[attr-defined]


def page(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        "# The record with many results",
        "",
        f"Made by `make bench-record` (`tests/benchmarks/record.py`) on {figures['cores']} cores, "
        f"{figures['architecture']}: {figures['results']} results ({figures['resources']} FHIR resources, seeded in "
        f"{figures['seed_s']} s), {figures['rounds']} questions of each kind, one after the other, each about another "
        "result. The first is a function of the program, asked of PostgreSQL; the others are requests of the FHIR "
        "service over HTTP. The machine's load average was "
        f"{figures['load_average']['before']:.1f} before and {figures['load_average']['after']:.1f} at the end.",
        "",
        "| asked | median, ms | p99, ms | most, ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {each['median_ms']} | {each['p99_ms']} | {each['max_ms']} |"
        for name, each in figures["asked"].items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="folder for record.json and record.md")
    given = parser.parse_args()
    configure_logs("warning")
    before = os.getloadavg()[0]
    figures = asyncio.run(run(given.results, given.rounds))
    figures["load_average"] = {"before": before, "after": os.getloadavg()[0]}
    figures |= {"rounds": given.rounds, "cores": len(os.sched_getaffinity(0)), "architecture": platform.machine()}
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "record.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        (given.out / "record.md").write_text(page(figures), encoding="utf-8")
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{figures['results']} results, {figures['resources']} resources, seeded in {figures['seed_s']} s")
    for name, each in figures["asked"].items():
        median, p99, most = each["median_ms"], each["p99_ms"], each["max_ms"]
        print(f"{name:36} median {median:8.2f} ms   p99 {p99:8.2f} ms   max {most:8.2f} ms")


if __name__ == "__main__":
    main()
