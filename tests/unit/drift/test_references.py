"""Reference histograms: those of the model's manifest, those of a site, and files that are none."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from trabecula import assets
from trabecula.drift.features import FEATURES
from trabecula.drift.reference import Bins, Words, freeze, read_references
from trabecula.errors import DriftReferenceError, ModelChecksumMismatch

TISSUES = {f"{tissue}_deviation_hu" for tissue in ("air", "fat", "muscle", "blood")}
GOOD: dict[str, Any] = {
    "format": 1,
    "population": "series of a test",
    "source": "made by a test",
    "verified": True,
    "features": {"kvp": {"edges": [100, 120], "counts": [10, 80, 10]}},
}


def rows(count: int, seed: int = 3) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made: list[dict[str, Any]] = []
    for _ in range(count):
        row: dict[str, Any] = dict.fromkeys(each.name for each in FEATURES)
        row |= {"kvp": draw.choice([100.0, 120.0, 120.0, 140.0]), "fat_hu": draw.gauss(-107, 5), "sex": "female"}
        row |= {"contrast_enhanced": draw.random() < 0.4, "blood_hu": draw.gauss(45, 5), "status": "reported"}
        made.append(row)
    return made


def test_the_model_brings_references_of_tissues_alone_and_says_that_they_are_simulated() -> None:
    found = read_references(assets.models_dir(), None)
    assert set(found) == TISSUES
    for each in found.values():
        assert not each.verified
        assert "simulated" in each.population
        assert each.reference.startswith("calibration-phantomless 1.")
        assert sum(each.counts.counts) > 300


def test_histograms_belong_to_the_weights_they_came_with(tmp_path: Path) -> None:
    folder = tmp_path / "calibration-phantomless-v1"
    shutil.copytree(assets.models_dir() / folder.name, folder)
    with (folder / "calibration.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelChecksumMismatch):
        read_references(tmp_path, None)


def test_a_site_s_own_wins_and_the_rest_stays(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps(GOOD | {"features": {"fat_deviation_hu": {"edges": [0], "counts": [1, 2]}}}))
    found = read_references(assets.models_dir(), own)
    assert set(found) == TISSUES
    assert found["fat_deviation_hu"].reference.startswith("site (sha256 ")
    assert found["air_deviation_hu"].reference.startswith("calibration-phantomless")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"features": {"kvp": {"edges": [100, 90], "counts": [1, 1, 1]}}}, "rise"),
        ({"features": {"kvp": {"edges": [100], "counts": [1, 1, 1]}}}, "one more"),
        ({"features": {"kvp": {"edges": [100], "counts": [0, 0]}}}, "nothing"),
        ({"features": {"kvp": {"words": ["a"], "counts": [1, 1]}}}, "wrong kind"),
        ({"features": {"patient": {"edges": [1], "counts": [1, 1]}}}, "patient"),
        ({"format": 2}, "format"),
        ({"more": 1}, "more"),
    ],
)
def test_a_file_that_is_none_is_refused_and_the_entry_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(DriftReferenceError, match=named):
        read_references(tmp_path, path)


def test_a_missing_or_broken_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DriftReferenceError):
        read_references(tmp_path, tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DriftReferenceError):
        read_references(tmp_path, tmp_path / "broken.json")


def test_freezing_counts_every_value_and_leaves_out_what_has_too_few() -> None:
    given = rows(400)
    made = freeze(given, "series of a test", "made by a test", least=300, bins=10)
    assert set(made.features) == {"kvp", "fat_hu", "sex", "contrast_enhanced", "status", "refusal"}
    assert all(sum(each.counts) == 400 for each in made.features.values())
    fat = made.features["fat_hu"]
    assert isinstance(fat, Bins)
    assert all(30 <= count <= 50 for count in fat.counts)
    sex = made.features["sex"]
    assert isinstance(sex, Words)
    assert (sex.words, sex.counts) == (("female",), (400, 0))


def test_muscle_and_blood_are_compared_without_contrast_medium() -> None:
    blood = next(each for each in FEATURES if each.name == "blood_hu")
    given = rows(100)
    assert len(blood.values(given)) == sum(row["contrast_enhanced"] is False for row in given)


def test_a_value_on_an_edge_belongs_above_it_and_an_unknown_word_to_the_others() -> None:
    assert Bins(edges=(1.0, 2.0), counts=(1, 1, 1)).count([0.5, 1.0, 2.0, 9.0]) == (1, 1, 2)
    assert Words(words=("a", "b"), counts=(1, 1, 1)).count(["b", "c", "b"]) == (0, 2, 1)
