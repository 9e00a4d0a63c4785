"""Mutated studies through the product's own worker process, counted; it can be stopped and goes on where it was."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fuzz_judge
from fuzz_cases import Case, make_case, save_case

from trabecula.errors import InputError, OutOfMemory, ScreeningTimedOut, TrabeculaError, Unforeseen, WorkerCrashed
from trabecula.patient import PatientContext
from trabecula.work.process_runner import ProcessRunner
from trabecula.work.records import Job
from trabecula.work.runner import Control

HANG_S = 10.0
"""Processor time of one study. The clock is given more, because other programs may run beside."""
CLOCK_S = 60.0
MEMORY_BYTES = 1536 << 20
"""Well below the product's own limit: small studies have no business with more."""
DOCUMENTS_EVERY = 100
_FAULTS = {WorkerCrashed: "crash", ScreeningTimedOut: "hang", OutOfMemory: "memory", Unforeseen: "unforeseen"}


@dataclass
class Tally:
    """What was counted so far."""

    campaign: int
    studies: int = 0
    instances: int = 0
    """Mutated ones."""
    outcomes: dict[str, int] = field(default_factory=dict)
    doors: dict[str, int] = field(default_factory=dict)
    mutations: dict[str, int] = field(default_factory=dict)
    bases: dict[str, int] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    """Kind and detail to the names of the cases."""
    slowest_s: float = 0.0
    """Processor time."""
    slowest_case: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0

    @classmethod
    def load(cls, path: Path, campaign: int) -> Tally:
        if not path.exists():
            return cls(campaign)
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))

    def add(self, case: Case, outcome: str, verdict: dict[str, Any] | None) -> None:
        self.studies += 1
        self.instances += len(case.mutated)
        _count(self.outcomes, outcome)
        _count(self.bases, case.base)
        for note in case.notes:
            _count(self.mutations, note)
        if verdict is None:
            return
        for code, number in verdict["doors"].items():
            _count(self.doors, code, number)
        if verdict["slowest_s"] > self.slowest_s:
            self.slowest_s, self.slowest_case = verdict["slowest_s"], case.name
        self.peak_bytes = max(self.peak_bytes, verdict["peak_bytes"])


def _count(counts: dict[str, int], name: str, number: int = 1) -> None:
    counts[name] = counts.get(name, 0) + number


class Campaign:
    """Reads one case after the other."""

    def __init__(self, out: Path, tally: Tally) -> None:
        self.out = out
        self.tally = tally
        self._room = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108
        self._runner = ProcessRunner(fuzz_judge.make_perform, 1, MEMORY_BYTES)

    async def start(self) -> None:
        await self._runner.start()

    async def close(self) -> None:
        await self._runner.close()
        shutil.rmtree(self._room, ignore_errors=True)

    async def try_case(self, case: Case, *, documents: bool = False) -> str:
        """Read it, count it, keep it if it is a finding; its outcome."""
        outcome, verdict, found = await self._read(case, documents)
        self.tally.add(case, outcome, verdict)
        for text in found:
            names = self.tally.findings.setdefault(text, [])
            if len(names) < 20:
                names.append(case.name)
                save_case(case, self.out / "findings" / f"{case.base}-{case.name}.zip")
        return outcome

    async def _read(self, case: Case, documents: bool) -> tuple[str, dict[str, Any] | None, list[str]]:
        study, results = self._room / "study", self._room / "results"
        for folder in (study, results):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        question = {"base": case.base, "mutated": sorted(case.mutated), "documents": documents}
        (results / fuzz_judge.QUESTION).write_text(json.dumps(question))
        job = Job(case.name, case.write(study), results, PatientContext(), False)
        outcome: str = ""
        found: list[str] = []
        while self._runner._idle.empty():  # the clock is not for a new worker's start
            await asyncio.sleep(0.02)
        try:
            await self._runner.run(job, Control(CLOCK_S, lambda _stage, _fraction: None))
        except InputError as error:
            outcome = f"error: {error.code}"
        except TrabeculaError as error:
            kind = _FAULTS.get(type(error), error.code)
            outcome, found = f"FAULT: {kind}", [f"{kind}: {error.detail}"]
        path = results / fuzz_judge.VERDICT
        verdict = json.loads(path.read_text()) if path.exists() else None
        if verdict is not None:
            outcome = outcome or verdict["outcome"]
            found += [f"breach: {text}" for text in verdict["breaches"]]
            if verdict["slowest_s"] > HANG_S:
                found.append("hang: more than 10 s of processor time")
        return outcome, verdict, found


async def run(out: Path, tally: Tally, *, instances: int, seconds: float, studies: int = 10**9) -> Tally:
    """Go on with a campaign until so many instances or studies were read or the time is over."""
    campaign, state = Campaign(out, tally), out / f"state-{tally.campaign}.json"
    await campaign.start()
    started, before = time.monotonic(), tally.seconds
    try:
        while tally.instances < instances and tally.studies < studies and time.monotonic() - started < seconds:
            number = tally.studies
            await campaign.try_case(make_case(tally.campaign, number), documents=number % DOCUMENTS_EVERY == 0)
            if tally.studies % 200 == 0:
                tally.seconds = before + time.monotonic() - started
                tally.save(state)
    finally:
        tally.seconds = before + time.monotonic() - started
        tally.save(state)
        await campaign.close()
    return tally


def run_now(out: Path, tally: Tally, **options: Any) -> Tally:
    out.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run(out, tally, **options))
