"""Mutated DICOM studies through the product's own worker process: the kept ones, and some hundred fresh ones."""

from __future__ import annotations

import asyncio
from pathlib import Path

import fuzz_judge
import pytest
from fuzz_campaign import Campaign, Tally
from fuzz_cases import Case, load_case, make_case, sound_files
from fuzz_elements import written
from fuzz_mutations import MUTATIONS
from fuzz_seeds import NAMES, seed

from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy

CORPUS = Path(__file__).parent / "corpus" / "dicom"
FRESH = 30
"""Studies; some three hundred mutated instances."""


def _read(cases: list[Case], out: Path) -> tuple[Tally, list[str]]:
    async def run() -> tuple[Tally, list[str]]:
        campaign = Campaign(out, Tally(7))
        await campaign.start()
        try:
            outcomes = [await campaign.try_case(case, documents=index == 0) for index, case in enumerate(cases)]
        finally:
            await campaign.close()
        return campaign.tally, outcomes

    return asyncio.run(run())


def test_kept_and_fresh_studies_end_as_they_may(tmp_path: Path) -> None:
    kept = [load_case(path) for path in sorted(CORPUS.glob("*.zip"))]
    assert len(kept) >= 10
    tally, _ = _read([*kept, *(make_case(7, number) for number in range(FRESH))], tmp_path)
    assert tally.findings == {}
    assert tally.studies == len(kept) + FRESH
    assert tally.instances > 250
    assert len(tally.outcomes) > 8


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sound_is_read_bit_for_bit(name: str, tmp_path: Path) -> None:
    """The ground that mutations stand on, and that the judge finds nothing wrong with it."""
    paths = Case("sound", name, sound_files(name), frozenset()).write(tmp_path)
    found = read_study(paths, fuzz_judge.LIMITS)
    assert isinstance(found, CtStudy)
    assert fuzz_judge.breaches(found, name, set(), len(paths)) == []
    truth = seed(name).hu
    assert truth is None or (found.volume.hu == truth).all()


def test_a_case_is_the_same_every_time() -> None:
    assert make_case(3, 14).files == make_case(3, 14).files
    assert make_case(3, 14).files != make_case(3, 15).files


def test_every_mutation_changes_what_it_is_given() -> None:
    from random import Random

    for name in MUTATIONS:
        sound = [seed(base).instances[0] for base in ("explicit", "rle", "enhanced")]
        changed = 0
        for part in sound:
            for number in range(6):
                made = part.copy()
                MUTATIONS[name][1](made, Random(number))
                changed += made.to_bytes() != part.to_bytes()
        assert changed, name


def test_the_judge_tells_pixels_that_are_nobodys_and_slices_that_vanish(tmp_path: Path) -> None:
    files = list(sound_files("explicit"))
    part = seed("explicit").instances[4].copy()
    pixels = part.find(0x7FE00010)
    assert pixels is not None
    pixels.value = b"\x01\x04" * (len(pixels.value) // 2)
    files[4] = part.to_bytes()
    found = read_study(Case("x", "explicit", tuple(files), frozenset()).write(tmp_path), fuzz_judge.LIMITS)
    assert fuzz_judge.breaches(found, "explicit", {4}, len(files)) == []
    assert fuzz_judge.breaches(found, "explicit", set(), len(files)) != []
    assert fuzz_judge.breaches(found, "explicit", {4}, len(files) + 1) != []


def test_taking_apart_and_putting_together_gives_the_same_bytes() -> None:
    for name in NAMES:
        for part in seed(name).instances[:2]:
            assert len(written(part.body, part.syntax)) > 500
            assert part.copy().to_bytes() == part.to_bytes()


def test_a_worker_that_dies_hangs_or_errs_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign notices: otherwise its clean sheet would say nothing."""
    import fuzz_campaign
    import fuzz_faulty

    monkeypatch.setattr(fuzz_campaign.fuzz_judge, "make_perform", fuzz_faulty.make_perform)
    monkeypatch.setattr(fuzz_campaign, "CLOCK_S", 3.0)
    cases = [Case(name, "explicit", (name.encode(),), frozenset({0})) for name in ("crash", "hang", "bug", "fine")]
    tally, outcomes = _read(cases, tmp_path)
    assert outcomes == ["FAULT: crash", "FAULT: hang", "FAULT: unforeseen", "volume"]
    assert sorted(names[0] for names in tally.findings.values()) == ["bug", "crash", "hang"]
