"""One shard of a campaign from manifest to part files."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from trabecula.archive.driver import Driver, Progress, Rules, Tell
from trabecula.archive.executors.port import Executor
from trabecula.archive.ledger import open_ledger
from trabecula.archive.manifest import read_manifest
from trabecula.archive.parts import write_parts
from trabecula.archive.rate import TokenBucket
from trabecula.archive.results import Versions
from trabecula.archive.shards import Shard
from trabecula.telemetry.events import ModelLoaded


@dataclass(frozen=True)
class Plan:
    """What one driver is to do."""

    manifest: Path
    folder: Path
    """Of the campaign; each shard has a folder of its own in it."""
    shard: Shard
    rules: Rules
    pulls_per_hour: float | None = None
    """Studies asked of the PACS by this driver; None sets no limit."""
    retry_dead: bool = False

    @property
    def shard_folder(self) -> Path:
        return self.folder / self.shard.folder


def run_shard(
    plan: Plan,
    executor: Executor,
    *,
    versions: Callable[[Sequence[ModelLoaded]], Versions],
    tell: Tell = lambda _: None,
    tell_manifest: Callable[[int], None] = lambda _: None,
) -> Progress:
    """Work on a shard until every study of it has ended. SIGTERM and SIGINT stop it in good order.

    Args:
        plan: of the shard.
        executor: not started yet.
        versions: what results rest on, from the models that the workers have loaded.
        tell: told how far it is.
        tell_manifest: told how many lines of the manifest's shard were looked at.

    Raises:
        ManifestUnusable: if the manifest cannot be read.
        CampaignBusy: if another driver works on the shard.
        CampaignChanged: if it was begun with other versions.
        CampaignStopped: if it stopped before the end.
        TrabeculaError: if no worker can be started.
    """
    with open_ledger(plan.shard_folder, plan.shard) as ledger:
        mine = (each for each in read_manifest(plan.manifest) if plan.shard.holds(each))
        ledger.add(mine, tell_manifest)
        ledger.take_back(plan.rules.attempts)
        if plan.retry_dead:
            ledger.revive()
        if ledger.next() is None:  # all has ended before; only its last part file may be missing
            write_parts(plan.shard_folder, ledger, rest=True)
            counts = ledger.counts()
            return Progress(counts.total, Counter(counts.states))
        try:
            made_by = versions(executor.start())
            ledger.bind(versions=made_by.digest, models=made_by.models, software=made_by.software_version)
            pulls = None
            if plan.pulls_per_hour is not None:
                pulls = TokenBucket(plan.pulls_per_hour / 3600, max(1, executor.idle))
            driver = Driver(ledger, executor, plan.shard_folder, plan.rules, pulls=pulls, tell=tell)
            with _signals_to(driver.stop):
                return driver.run()
        finally:
            executor.close()


@contextmanager
def _signals_to(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal.signal wants it
        stop()

    before: dict[int, Any] = {each: signal.signal(each, handle) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
