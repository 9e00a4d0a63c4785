"""Everything that reads what others wrote: the kept inputs, and fresh mutations of sound ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from random import Random

import pytest
from fuzz_targets import Target, targets

CORPUS = Path(__file__).parent / "corpus"
FRESH = 40
TARGETS = targets()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_nothing_but_an_error_of_the_tree_comes_out(target: Target) -> None:
    kept = sorted((CORPUS / target.name).glob("*"))
    for path in kept:
        target.try_one(path.read_bytes())
    random = Random(f"{target.name} usual run")
    fresh = range(FRESH // target.cost)
    answers = {target.try_one(target.mutate(random.choice(target.seeds), random)) for _ in fresh}
    assert answers


@pytest.mark.parametrize("target", [each for each in TARGETS.values() if each.name != "backup"], ids=str)
def test_a_sound_input_is_read(target: Target) -> None:
    """Else mutations would never get past the first check."""
    expected = {"read"} | ({"model-checksum-mismatch"} if "manifest" in target.name else set())
    assert expected & {target.try_one(seed) for seed in target.seeds} or target.name == "token"


def test_every_kept_input_has_its_reader() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= {*TARGETS, "dicom"}


def test_what_must_not_come_out_does() -> None:
    """The check itself: an error that is not of the tree is not swallowed."""
    faulty = Target("faulty", lambda data: data[10_000], (b"x",))
    with pytest.raises(IndexError):
        faulty.try_one(b"x")
