"""Campaigns over studies that say themselves what is to come of them, without models.

A study is one file whose first line is an order (see ``fake_screens``). A file ``reads`` beside the studies gets a line
each time that one is read, also across killed drivers. Importable by worker processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trabecula.archive.campaign import Plan, run_shard
from trabecula.archive.driver import Progress, Rules
from trabecula.archive.executors.inline import InlineExecutor
from trabecula.archive.executors.port import Executor, WorkerLimits
from trabecula.archive.executors.process import ProcessExecutor
from trabecula.archive.fetch import Fetch, FetchLimits
from trabecula.archive.pseudonyms import Pseudonyms
from trabecula.archive.results import Versions
from trabecula.archive.shards import Shard
from trabecula.archive.study import ReadStudy
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener
from trabecula.report import Screening
from trabecula.work.scratch import Scratch

VERSIONS = Versions("1.0.0", "2026-01", "fine-v1@1.0.0:00", "settings")
LIMITS = WorkerLimits(timeout_s=120.0, memory_bytes=None, recycle_after=200)


def counted_screen(
    paths: Sequence[Path], patient: PatientContext, progress: ProgressListener, *, keep_anatomy: bool
) -> Screening:
    """:func:`fake_screens.fake_screen`, noted in a file beside the study."""
    from fake_screens import fake_screen

    with (paths[0].parent / "reads").open("a") as stream:
        stream.write(f"{paths[0].name}\n")
    return fake_screen(paths, patient, progress, keep_anatomy=keep_anatomy)


@dataclass(frozen=True)
class LoadFake:
    """What a worker loads in place of models."""

    root: Path
    scratch: Path
    versions: Versions = VERSIONS

    def __call__(self) -> ReadStudy:
        import fake_screens  # noqa: F401 - not within the first study's time
        import report_samples  # noqa: F401

        fetch = Fetch(self.root, Scratch(self.scratch), FetchLimits(1000, 1 << 20))
        return ReadStudy(counted_screen, fetch, self.versions, Pseudonyms(b"0" * 32))


@dataclass(frozen=True)
class Archive:
    """A folder of such studies, with a manifest of them."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def campaign(self) -> Path:
        return self.folder / "campaign"

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    def reads(self) -> list[str]:
        """Names of studies, one for each time that one was read."""
        file = self.root / "reads"
        return file.read_text().split() if file.exists() else []

    def plan(self, shard: str = "0/1", *, rules: Rules | None = None, retry_dead: bool = False) -> Plan:
        self.campaign.mkdir(exist_ok=True)
        return Plan(self.manifest, self.campaign, Shard.parse(shard), rules or Rules(), retry_dead=retry_dead)

    def load(self, versions: Versions = VERSIONS) -> LoadFake:
        return LoadFake(self.root, self.folder / "scratch", versions)

    def run(
        self,
        shard: str = "0/1",
        *,
        executor: Executor | None = None,
        rules: Rules | None = None,
        retry_dead: bool = False,
        versions: Versions = VERSIONS,
    ) -> Progress:
        """Run a shard to its end; in this process unless told otherwise."""
        runs = executor or InlineExecutor(self.load(versions), LIMITS)
        plan = self.plan(shard, rules=rules, retry_dead=retry_dead)
        return run_shard(plan, runs, versions=lambda _: versions)


def make_archive(folder: Path, orders: dict[str, str]) -> Archive:
    """Studies by name with their orders."""
    archive = Archive(folder)
    for name, order in orders.items():
        (archive.root / name).mkdir(parents=True)
        (archive.root / name / "1.dcm").write_bytes(f"{order}\n{name}".encode())
    archive.manifest.write_text("".join(json.dumps({"path": name}) + "\n" for name in orders))
    return archive


def results(folder: Path) -> list[dict[str, object]]:
    """Lines of all part files below a folder."""
    parts = sorted(folder.glob("**/part-*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def start_driver(archive: Archive, workers: int = 1, executor: str = "process") -> subprocess.Popen[bytes]:
    """A driver as a process of its own."""
    archive.campaign.mkdir(exist_ok=True)
    program = "from archive_studies import main; main()"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", program, str(archive.folder), str(workers), executor],
        env={**os.environ, "PYTHONPATH": paths},
    )


def wait_for(condition: Callable[[], object], driver: subprocess.Popen[bytes], limit_s: float = 120.0) -> None:
    """Wait while the driver runs."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until
        assert driver.poll() is None, "the driver ended too early"
        time.sleep(0.05)


def named_executor(name: str, archive: Archive, workers: int) -> Executor:
    """``process`` or ``ray``."""
    if name == "ray":
        from trabecula.archive.executors.ray import RayExecutor

        return RayExecutor(archive.load(), workers, LIMITS)
    return ProcessExecutor(archive.load(), workers, LIMITS)


def main() -> None:
    """A driver: folder, workers, executor."""
    it = Archive(Path(sys.argv[1]))
    executor = named_executor(sys.argv[3], it, int(sys.argv[2]))
    run_shard(it.plan(rules=Rules(drain_s=0.2)), executor, versions=lambda _: VERSIONS)
