"""A campaign on a real Ray cluster of this machine. `make ray` installs Ray and runs this."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest
from archive_studies import LIMITS, VERSIONS, make_archive, results, start_driver, wait_for

from trabecula.archive.campaign import run_shard
from trabecula.archive.driver import Rules
from trabecula.archive.status import campaign_status

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3600)]
WAIT_S = 900.0
"""Ray takes its time to start on a busy machine."""

if importlib.util.find_spec("ray") is None:
    pytest.skip("NO RAY: it comes with the extra `archive`; `make ray` installs it", allow_module_level=True)


def of_ray() -> list[psutil.Process]:
    """Processes of clusters that this test's drivers have started."""
    return [each for each in psutil.process_iter(["name"]) if each.info["name"] in ("raylet", "gcs_server")]


def test_killed_drivers_and_a_poison_cost_nobody_else_anything(tmp_path: Path) -> None:
    orders = {f"{number:03d}": "report" for number in range(60)}
    archive = make_archive(tmp_path, {"000-poison": "crash"} | orders)
    driver = start_driver(archive, 2, "ray")
    wait_for(lambda: len(archive.reads()) >= 20, driver, WAIT_S)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(of_ray(), timeout=120)
    assert alive == [], "the cluster that the driver had started ends with it"
    done = campaign_status([archive.campaign]).states["done"]
    assert 0 < done < 60

    driver = start_driver(archive, 2, "ray")
    wait_for(lambda: len(archive.reads()) >= 40, driver, WAIT_S)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=WAIT_S) != 0
    assert start_driver(archive, 2, "ray").wait(timeout=WAIT_S) == 0

    status = campaign_status([archive.campaign])
    assert status.states == {"waiting": 0, "claimed": 0, "done": 60, "refused": 0, "dead": 1}
    assert status.dead == {"worker-crashed": 1}
    read = Counter(archive.reads())
    assert read.pop("000-poison") == 3
    assert sum(read.values()) <= 60 + 2, "only what was in flight at the kill is read again"
    found = [row["reference"] for row in results(archive.campaign)]
    assert len(found) == len(set(found)) == 60


def test_an_actor_that_is_lost_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trabecula.archive.executors.ray import RayExecutor

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # what Ray's workers find modules by
    archive = make_archive(tmp_path, {"slow": "slow"} | {str(number): "report" for number in range(4)})
    killed: list[int] = []

    def kill_once(_: object) -> None:
        """As when a node is gone: actor and child at once."""
        if killed or "slow" not in archive.reads():
            return
        for each in psutil.process_iter(["cmdline"]):
            if "ray::RayWorker.run" in " ".join(each.info["cmdline"] or ()):
                each.kill()
                killed.append(each.pid)

    executor = RayExecutor(archive.load(), 1, LIMITS)
    run_shard(archive.plan(rules=Rules(attempts=2)), executor, versions=lambda _: VERSIONS, tell=kill_once)
    assert killed
    assert campaign_status([archive.campaign]).states["done"] == 5
    assert Counter(archive.reads())["slow"] == 2
