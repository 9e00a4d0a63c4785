"""Whether the fault tests would notice: the program is broken on purpose in a copy, and the suite run on the copy.

    python tests/faults/sabotage.py --out docs/benchmarks        (adds its table to faults.json and faults.md)

Each sabotage is a replacement of text in one or more files; it is an error when the text is not there any more.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_faults import page

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(__file__).with_name("run_faults.py")


@dataclass(frozen=True)
class Sabotage:
    """One way to break the program, and where it should be noticed."""

    what: str
    edits: tuple[tuple[str, str, str], ...]
    """File below ``server/trabecula``, text, replacement."""
    scenario: str
    scale: float = 0.3
    not_by_kills: str = ""
    """Why it is known that killing processes cannot show it."""


ACCEPT_LATER = """    async def accept(self, submission, instances, patient, *, want_masks=False):
        import asyncio

        record = ScreeningRecord(str(uuid.uuid4()), submission, self._now())
        later = self._accept_later(record, submission, tuple(instances), patient, want_masks=want_masks)
        self._later = asyncio.get_running_loop().create_task(later)
        return record, True

    async def _accept_later(
        self,
        record,
        submission: Submission,"""

SABOTAGES = (
    Sabotage(
        "the client is answered before the commit",
        (
            ("work/store.py", "    async def accept(\n        self,\n        submission: Submission,", ACCEPT_LATER),
            (
                "work/store.py",
                "        refs = tuple(instances)\n"
                "        record = ScreeningRecord(str(uuid.uuid4()), submission, self._now(), trace=current_trace())\n",
                "        refs = tuple(instances)\n",
            ),
        ),
        "api-steps",
    ),
    Sabotage(
        "no fence: an overtaken worker's ending is written all the same",
        (
            (
                "work/changes.py",
                "    return record if record.state is State.RUNNING and record.attempt == attempt else None",
                "    import dataclasses\n\n    return dataclasses.replace(record, state=State.RUNNING)",
            ),
        ),
        "frozen",
        0.5,
    ),
    Sabotage(
        "no rescue: the sweep does nothing",
        (("work/sweep.py", '        """Look once."""\n', '        """Look once."""\n        return\n'),),
        "worker-steps",
        0.2,
    ),
    Sabotage(
        "no cap on attempts",
        (("work/attempts.py", "if lost >= self._max_attempts:", "if lost >= 1_000_000:"),),
        "poison",
        0.4,
    ),
    Sabotage(
        "no limit of memory",
        (("service/workers.py", "settings.worker_memory_bytes or None", "None"),),
        "poison",
        0.4,
    ),
    Sabotage(
        "no limit of time",
        (("work/runner.py", "if time.monotonic() > self._deadline:", "if False:"),),
        "poison",
        0.4,
    ),
    Sabotage(
        "no lock between naming bytes and collecting them",
        (("work/content_guard.py", "pg_advisory_xact_lock_shared(:key)", "CAST(:key AS bigint)"),),
        "gc",
        0.5,
    ),
    Sabotage(
        "idempotency keys are forgotten",
        (("work/submission.py", "key_hash=hashlib.sha256(key).hexdigest() if key else None", "key_hash=None"),),
        "cut",
        0.1,
    ),
    Sabotage(
        "the screening child outlives its worker",
        (
            ("work/child.py", "    _end_with_parent()\n    share", "    share"),
            (
                "work/child.py",
                "BrokenPipeError):\n            return",
                "BrokenPipeError):\n            signal.pause()",
            ),
        ),
        "worker-steps",
        0.2,
    ),
    Sabotage(
        "what killed uploads leave is not cleared",
        (
            (
                "work/staging.py",
                "        freed = 0\n        for lock",
                "        freed = 0\n        return 0\n        for lock",
            ),
        ),
        "api-steps",
    ),
    Sabotage(
        "bytes are not flushed before they are named (no fsync)",
        (
            ("work/content.py", "        os.fsync(handle)\n", "        pass\n"),
            ("work/disk.py", "        os.fsync(handle)\n", "        pass\n"),
        ),
        "api-steps",
        not_by_kills="kill -9 leaves the page cache whole; only a machine that loses power would show it",
    ),
)


def copy_program(target: Path) -> None:
    """A checkout's program, and the files that it looks for beside itself."""
    shutil.copytree(ROOT / "server", target / "server", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "fhir"):
        (target / name).symlink_to(ROOT / name)


def sabotage(each: Sabotage, folder: Path, seed: int) -> dict[str, Any]:
    """Break a copy and run the scenario on it."""
    copy_program(folder)
    for file, text, replacement in each.edits:
        path = folder / "server" / "trabecula" / file
        source = path.read_text()
        if text not in source:
            raise SystemExit(f"{each.what}: {file} does not hold the text to replace")
        path.write_text(source.replace(text, replacement))
    out = folder / "out"
    command = [sys.executable, RUN, "--only", each.scenario, "--scale", str(each.scale), "--seed", str(seed)]
    subprocess.run(
        [*command, "--code", folder / "server", "--out", out, "--folder", folder / "run"],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    result = json.loads((out / "faults.json").read_text())["scenarios"][each.scenario]
    breaches = result["breaches"]
    return {
        "what": each.what,
        "scenario": each.scenario,
        "noticed_by": f"{each.scenario} ({len(breaches)} breaches)" if breaches else "",
        "first_breach": breaches[0] if breaches else each.not_by_kills,
        "expected": not each.not_by_kills,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of faults.json and faults.md")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", default="", help="part of what is broken")
    given = parser.parse_args()
    rows = []
    for number, each in enumerate(SABOTAGES):
        if given.only not in each.what:
            continue
        with tempfile.TemporaryDirectory(prefix="trabecula-sabotage-") as temporary:
            Path(temporary).chmod(0o755)
            rows.append(sabotage(each, Path(temporary) / str(number), given.seed))
        print(json.dumps(rows[-1]), flush=True)
    if given.out is not None and (given.out / "faults.json").exists():
        kept = given.out / "faults.json"
        result = json.loads(kept.read_text())
        known = {row["what"]: row for row in result.get("sabotage", [])} | {row["what"]: row for row in rows}
        result["sabotage"] = list(known.values())
        kept.write_text(json.dumps(result, indent=1) + "\n")
        (given.out / "faults.md").write_text(page(result))
    return 0 if all(bool(row["noticed_by"]) == row["expected"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
