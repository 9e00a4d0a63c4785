"""Whatever is killed whenever: what was accepted ends exactly once, and nothing is left behind.

The usual run has a short storm, and uploads cut where hypothesis says. ``make faults`` (marker ``heavy``) runs every
scenario at full length; run_faults.py does the same with figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_clients import Client
from fault_invariants import Verdict
from fault_scenarios import Bench, bench, cut_upload, may_mount, wire_bytes
from fault_storm import StormPlan, storm
from fault_studies import Kind
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from run_faults import scenarios

SEED = 20261122
HEAVY = (
    "storm",
    "frozen",
    "poison",
    "api-steps",
    "worker-steps",
    "cut",
    "race",
    "cancel",
    "drain",
    "gc",
    "content-disk",
    "database-disk",
)


@pytest.fixture(scope="session")
def originals_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the studies lie that all others are copies of."""
    return tmp_path_factory.mktemp("originals")


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """PostgreSQL runs as another user, who has to be able to walk there."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


def test_a_short_storm_loses_nothing(open_folder: Path, originals_folder: Path) -> None:
    mixture = {Kind.REPORT: 0.25, Kind.REFUSE: 0.50, Kind.BROKEN: 0.20, Kind.KILL: 0.05}
    plan = StormPlan(SEED, studies=20, mean_gap_s=1.0, least_faults=14, mixture=mixture)
    verdict, struck = storm(plan, open_folder / "run", originals_folder)
    assert verdict.breaches == [], f"seed {SEED}, kept in {open_folder}: {struck} {verdict.counts}"
    assert sum(struck.values()) >= plan.least_faults
    assert verdict.counts["accepted"] == plan.studies


class TestCutUploads:
    """One service for many cuts."""

    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory: pytest.TempPathFactory, originals_folder: Path) -> Iterator[Bench]:
        folder = tmp_path_factory.mktemp("cut")
        for each in (folder, folder.parent, folder.parent.parent):
            each.chmod(each.stat().st_mode | 0o011)
        with bench(folder, originals_folder) as made:
            yield made

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(share=st.floats(0.0, 1.0), beyond=st.integers(-40, 40))
    @example(share=0.0, beyond=0)
    @example(share=0.0, beyond=24)
    @example(share=1.0, beyond=0)
    @example(share=1.0, beyond=-1)
    def test_an_upload_cut_at_any_byte_is_taken_once_when_it_comes_again(
        self, made: Bench, share: float, beyond: int
    ) -> None:
        verdict = Verdict()
        if not hasattr(self, "whole"):
            type(self).whole = wire_bytes(made)  # type: ignore[attr-defined]
        cut_upload(made, max(0, round(share * self.whole) + beyond), verdict)  # type: ignore[attr-defined]
        assert verdict.breaches == []

    def test_and_afterwards_all_is_in_order(self, made: Bench) -> None:
        verdict = Verdict()
        made.wait_quiet(verdict)
        made.judge(verdict)
        assert verdict.breaches == []


@pytest.mark.heavy
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", HEAVY)
def test_at_full_length(name: str, open_folder: Path, originals_folder: Path) -> None:
    if name.endswith("-disk") and not may_mount(open_folder / "mount"):
        pytest.skip("a file system of its own may not be mounted here")
    _, scenario = scenarios(SEED, originals_folder, None, 1.0)[name]
    verdict = scenario(open_folder / name)
    assert verdict.breaches == [], f"seed {SEED}, kept in {open_folder}: {verdict.counts}"


def test_every_scenario_is_in_the_heavy_run(originals_folder: Path) -> None:
    assert set(HEAVY) == set(scenarios(SEED, originals_folder, None, 1.0))


def test_a_client_that_gets_no_answer_gives_up(tmp_path: Path, originals_folder: Path) -> None:
    """The harness itself: an address where nobody is does not count as accepted."""
    import random

    from fault_ledger import Ledger
    from fault_studies import copy_of, originals

    ledger = Ledger(tmp_path / "ledger.jsonl")
    study = copy_of(originals(originals_folder)[Kind.REFUSE], Kind.REFUSE, "nobody")
    assert Client(["127.0.0.1:9"], ledger, random.Random(1)).submit(study, "key", 0.1) is None
    (entry,) = ledger.entries()
    assert entry.given_up
    assert not entry.accepted
