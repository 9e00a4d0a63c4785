"""Whatever is killed whenever: what was accepted ends exactly once, and nothing is left behind.

The usual run has a short storm, and uploads cut where hypothesis says. ``make faults`` (marker ``heavy``) runs every
scenario at full length; run_faults.py does the same with figures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_clients import Client
from fault_invariants import Verdict
from fault_scenarios import Bench, bench, cut_upload, may_mount, wire_bytes
from fault_storm import StormPlan, storm
from fault_studies import Kind
from hypothesis import example, given, settings
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


@pytest.fixture(scope="module")
def run_folder() -> Iterator[Path]:
    """Not pytest's own folder: PostgreSQL may run as another user, who has to be able to walk there."""
    with tempfile.TemporaryDirectory(prefix="trabecula-faults-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        yield folder


def test_a_short_storm_loses_nothing(run_folder: Path, originals_folder: Path) -> None:
    mixture = {Kind.REPORT: 0.25, Kind.REFUSE: 0.50, Kind.BROKEN: 0.20, Kind.KILL: 0.05}
    plan = StormPlan(SEED, studies=14, mean_gap_s=1.0, least_faults=14, mixture=mixture)
    verdict, struck = storm(plan, run_folder / "storm", originals_folder)
    assert verdict.breaches == [], f"seed {SEED}: {struck} {verdict.counts}"
    assert sum(struck.values()) >= plan.least_faults
    assert verdict.counts["accepted"] == plan.studies


@pytest.fixture(scope="module")
def made(run_folder: Path, originals_folder: Path) -> Iterator[Bench]:
    """One service for many cuts."""
    with bench(run_folder / "cut", originals_folder) as made:
        yield made


@pytest.fixture(scope="module")
def whole(made: Bench) -> int:
    """Bytes of one upload on the wire."""
    return wire_bytes(made)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.0, 1.0), beyond=st.integers(-40, 40))
@example(share=0.0, beyond=0)
@example(share=0.0, beyond=24)
@example(share=1.0, beyond=0)
@example(share=1.0, beyond=-1)
def test_an_upload_cut_at_any_byte_is_taken_once_when_it_comes_again(
    made: Bench, whole: int, share: float, beyond: int
) -> None:
    verdict = Verdict()
    cut_upload(made, max(0, round(share * whole) + beyond), verdict)
    assert verdict.breaches == []


def test_after_all_cuts_everything_is_in_order(made: Bench) -> None:
    verdict = Verdict()
    made.wait_quiet(verdict)
    made.judge(verdict)
    assert verdict.breaches == []


@pytest.mark.heavy
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", HEAVY)
def test_at_full_length(name: str, run_folder: Path, originals_folder: Path) -> None:
    if name.endswith("-disk") and not may_mount(run_folder / "mount"):
        pytest.skip("a file system of its own may not be mounted here")
    _, scenario = scenarios(SEED, originals_folder, None, 1.0)[name]
    verdict = scenario(run_folder / name)
    assert verdict.breaches == [], f"seed {SEED}: {verdict.counts}; run_faults.py keeps the run's folder"


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
