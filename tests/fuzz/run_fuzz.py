"""Fuzzing by the hour, with figures at the end.

    python tests/fuzz/run_fuzz.py --out docs/benchmarks [--seed N] [--instances N] [--seconds N] [--only dicom,...]

Parts: ``dicom`` (mutated studies through the product's worker process), ``whole`` (mutated studies through the whole
service with its models), ``readers`` (everything that reads files and messages), ``grpc``, ``http``, ``sockets`` and
``dimse`` (the live service), ``answers`` (our clients, answered by hostile servers) and ``restore`` (broken backups).
The same seed gives the same inputs. ``dicom`` and ``whole`` can be stopped and go on where they were when the seed is
the same; ``--workers`` runs ``dicom`` in parts side by side. Findings are kept below ``out/fuzz/findings``; exit code 1
when there are any.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path[:0] = [path for path in (str(FOLDER), str(FOLDER.parent / "support")) if path not in sys.path]

from fuzz_campaign import HANG_S, Tally  # noqa: E402
from fuzz_page import page  # noqa: E402

PARTS = ("dicom", "whole", "readers", "grpc", "http", "sockets", "dimse", "answers", "restore")
KEPT = ROOT / "out" / "fuzz"
READER_TRIES = 4000
CALLS, REQUESTS, EXAMPLES = 4000, 2000, 25
WHOLE = 150
CONVERSATIONS, SOCKETS, ANSWERS, BACKUPS = 2000, 1500, 150, 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--instances", type=int, default=100_000, help="mutated DICOM instances")
    parser.add_argument("--seconds", type=float, default=7200.0, help="at most so long for the DICOM part")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the parts beside dicom: 0.1 for a tenth")
    parser.add_argument("--only", default=",".join(PARTS))
    chosen = parser.parse_args()
    wanted = chosen.only.split(",")
    unknown = set(wanted) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    place = chosen.out / "fuzz.json"
    figures: dict[str, Any] = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    for name in [each for each in PARTS if each in wanted]:
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        figures[name] = _PARTS[name](chosen)
        figures[name] |= {"commit": _commit(), "machine": f"{platform.machine()}, Python {platform.python_version()}"}
        figures[name].setdefault("seconds", round(time.monotonic() - started, 1))
        chosen.out.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        (chosen.out / "fuzz.md").write_text(page(figures), encoding="utf-8")
    sys.exit(1 if any(part.get("findings") for part in figures.values()) else 0)


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _dicom(chosen: argparse.Namespace) -> dict[str, Any]:
    """Workers have seeds that follow each other, and each its share."""
    share = -(-chosen.instances // chosen.workers)
    jobs = [(chosen.seed + number, share, chosen.seconds) for number in range(chosen.workers)]
    with ThreadPoolExecutor(chosen.workers) as pool:
        return merged([Tally(**found) for found in pool.map(lambda job: _campaign_apart(*job), jobs)])


def _campaign_apart(seed: int, instances: int, seconds: float) -> dict[str, Any]:
    """A campaign in a program of its own, since it starts processes itself."""
    command = [sys.executable, str(FOLDER / "run_campaign.py"), str(seed), str(instances), str(seconds)]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads((KEPT / f"state-{seed}.json").read_text())
    return found


def merged(tallies: list[Tally]) -> dict[str, Any]:
    """Several campaigns as one."""
    slowest = max(tallies, key=lambda each: each.slowest_s)
    counted = {
        name: dict(sorted(sum((Counter(getattr(each, name)) for each in tallies), Counter()).items()))
        for name in ("outcomes", "doors", "mutations", "bases")
    }
    return {
        "seeds": [each.campaign for each in tallies],
        "studies": sum(each.studies for each in tallies),
        "instances": sum(each.instances for each in tallies),
        **counted,
        "findings": {text: names for each in tallies for text, names in each.findings.items()},
        "slowest_cpu_s": round(slowest.slowest_s, 2),
        "limit_cpu_s": HANG_S,
        "peak_mib": max(each.peak_bytes for each in tallies) >> 20,
        "seconds": round(max(each.seconds for each in tallies), 1),
    }


def _whole(chosen: argparse.Namespace) -> dict[str, Any]:
    from fuzz_whole import WholeTally, run_whole

    tally = WholeTally.load(KEPT / f"state-{chosen.seed}-whole.json", chosen.seed)
    run_whole(KEPT, tally, max(1, round(WHOLE * chosen.scale)), chosen.seconds)
    return _counted(tally)


def _readers(chosen: argparse.Namespace) -> dict[str, Any]:
    import warnings

    from fuzz_targets import targets

    warnings.simplefilter("ignore")
    found: dict[str, Any] = {"seed": chosen.seed, "tries": 0, "readers": {}, "findings": {}, "slowest_s": 0.0}
    tries = max(1, round(READER_TRIES * chosen.scale))
    for target in targets().values():
        answers: Counter[str] = Counter()
        for number in range(-(-tries // target.cost)):
            random = Random(f"{target.name} {chosen.seed} {number}")
            data = target.mutate(random.choice(target.seeds), random)
            started = time.process_time()
            try:
                answers[target.try_one(data)] += 1
            except Exception as error:
                name = f"{target.name}-{number}"
                found["findings"].setdefault(f"{target.name}: {type(error).__name__}", []).append(name)
                (KEPT / "findings").mkdir(parents=True, exist_ok=True)
                (KEPT / "findings" / name).write_bytes(data)
            found["slowest_s"] = round(max(found["slowest_s"], time.process_time() - started), 3)
        found["readers"][target.name] = dict(sorted(answers.items()))
        found["tries"] += answers.total()
    return found


def _live(use: Any, **changes: Any) -> Any:
    """Something done to a live service on a database of its own, and how that stands afterwards."""
    from database import running_server
    from fuzz_service import running_service, standing

    from trabecula.config import Settings
    from trabecula.service.auth.local_users import Role, users_entry
    from trabecula.service.logs import configure_logs

    configure_logs("critical")
    made = running_server()
    server = next(made)
    try:
        with tempfile.TemporaryDirectory() as folder:
            users = Path(folder, "users.toml")
            users.write_text(users_entry("anna", "Anna", [Role.RADIOLOGIST], "secret-secret"))
            settings = Settings(database_url=server.url(server.create()))
            with running_service(
                settings, Path(folder), http_listen="127.0.0.1:0", auth="off", stow_in=True, dimse_quiet_s=1.0,
                users_file=users, fhir_patient_identifier_system="urn:oid:1.2.3", public_base_url="http://127.0.0.1",
                backup_dir=Path(folder, "backups"), **changes,
            ) as live:  # fmt: skip
                found = use(live)
                found["findings"] |= {f"afterwards: {text}": [] for text in standing(live, 120.0)}
                return found
    finally:
        with suppress(StopIteration):
            next(made)


def _counted(tally: Any) -> dict[str, Any]:
    """A tally as JSON holds it."""
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(tally).items()}


def _grpc(chosen: argparse.Namespace) -> dict[str, Any]:
    import asyncio

    from fuzz_grpc import fuzz_rpcs

    def use(live: Any) -> dict[str, Any]:
        tally = asyncio.run(fuzz_rpcs(live.address, live.admin_address, chosen.seed, round(CALLS * chosen.scale)))
        return {"seed": chosen.seed, **_counted(tally)}

    return dict(_live(use))


def _http(chosen: argparse.Namespace) -> dict[str, Any]:
    from fuzz_http import HttpTally, fuzz_bodies, fuzz_by_schema, fuzz_sockets

    def use(live: Any) -> dict[str, Any]:
        base, tally = f"http://127.0.0.1:{live.server.http_port}", HttpTally()
        fuzz_by_schema(base, max(1, round(EXAMPLES * chosen.scale)), chosen.seed, tally)
        fuzz_bodies(base, chosen.seed, round(REQUESTS * chosen.scale), tally)
        fuzz_sockets(base, chosen.seed, round(REQUESTS * chosen.scale), tally)
        return {"seed": chosen.seed, **_counted(tally)}

    return dict(_live(use))


def _sockets(chosen: argparse.Namespace) -> dict[str, Any]:
    from fuzz_sockets import SocketTally, fuzz_sockets, waiting_clients

    def use(live: Any) -> dict[str, Any]:
        tally = SocketTally()
        http, rpc = ("127.0.0.1", live.server.http_port), ("127.0.0.1", live.server.port)
        fuzz_sockets(http, rpc, chosen.seed, round(SOCKETS * chosen.scale), tally)
        waiting_clients(http, rpc, tally)
        return {"seed": chosen.seed, **_counted(tally)}

    return dict(_live(use))


def _dimse(chosen: argparse.Namespace) -> dict[str, Any]:
    from fuzz_dimse import DimseTally, flood, fuzz_dimse, until_released

    def use(live: Any) -> dict[str, Any]:
        tally, port = DimseTally(), live.server.dimse_port
        fuzz_dimse(port, chosen.seed, round(CONVERSATIONS * chosen.scale), tally)
        flood(port, tally)
        until_released(tally, 60.0)
        return {"seed": chosen.seed, **_counted(tally)}

    return dict(_live(use, dimse_listen="127.0.0.1:0", dimse_peers="FUZZ@127.0.0.0/8", dimse_idle_timeout_s=10.0))


def _answers(chosen: argparse.Namespace) -> dict[str, Any]:
    import asyncio
    import logging

    from fuzz_answers import AnswersTally, fuzz_answers

    from trabecula.service.logs import configure_logs

    configure_logs("critical")
    logging.disable(logging.WARNING)
    tally = AnswersTally()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fuzz_answers(chosen.seed, max(1, round(ANSWERS * chosen.scale)), Path(folder), tally))
    return {"seed": chosen.seed, **_counted(tally)}


def _restore(chosen: argparse.Namespace) -> dict[str, Any]:
    from database import running_server
    from fuzz_restore import RestoreTally, fuzz_restore, screened

    from trabecula.service.logs import configure_logs

    configure_logs("critical")
    tally = RestoreTally()
    for server in running_server():
        with tempfile.TemporaryDirectory() as folder:
            source, target, room = (Path(folder, name) for name in ("source", "target", "room"))
            room.mkdir()
            places = screened(server, source, 3), screened(server, target, 1)
            fuzz_restore(*places, room, chosen.seed, max(1, round(BACKUPS * chosen.scale)), tally)
    return {"seed": chosen.seed, **_counted(tally)}


_PARTS = {
    "dicom": _dicom,
    "whole": _whole,
    "readers": _readers,
    "grpc": _grpc,
    "http": _http,
    "sockets": _sockets,
    "dimse": _dimse,
    "answers": _answers,
    "restore": _restore,
}

if __name__ == "__main__":
    main()
