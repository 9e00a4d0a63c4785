"""Reading label maps, and what the built-in ones say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trabecula.anatomy import Level, Structure, VertebraPart, label_meaning, vertebra_label
from trabecula.errors import InvalidCase
from trabecula.evaluation.label_map import load_label_map

T12_BODY = vertebra_label(Level.T12, VertebraPart.BODY)


@pytest.mark.parametrize(
    ("name", "label", "level"),
    [
        ("totalseg", 32, Level.T12),
        ("totalseg", 50, Level.C1),
        ("totalseg", 27, Level.L5),
        ("verse", 8, Level.T1),
        ("verse", 20, Level.L1),
    ],
)
def test_whole_vertebrae_of_known_maps(name: str, label: int, level: Level, tmp_path: Path) -> None:
    label_map = load_label_map(name, tmp_path)
    assert label_meaning(label_map.canonical[label]).level is level
    assert level in label_map.whole_levels


@pytest.mark.parametrize(
    ("label", "structure"),
    [(1, "spleen"), (2, "kidney"), (5, "liver"), (12, "lung"), (16, "trachea"), (51, "heart"), (52, "aorta"),
     (79, "spinal_canal"), (87, "paraspinal_muscle"), (92, "rib"), (115, "rib"), (116, "other_bone")],
)  # fmt: skip
def test_organs_of_totalsegmentator(label: int, structure: str, tmp_path: Path) -> None:
    assert label_meaning(load_label_map("totalseg", tmp_path).canonical[label]).structure == structure


def test_a_map_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'partial = ["rib"]\n[labels]\n1 = "T12.body"\n2 = "T12.posterior"\n"4-6" = "rib"\n'
    )
    label_map = load_label_map("own.toml", tmp_path)
    labels, unknown = label_map.apply(np.array([[[0, 1, 2, 5, 9]]]))
    assert labels.ravel().tolist() == [0, T12_BODY, T12_BODY + 32, Structure.RIB, 0]
    assert unknown == (9,)
    assert label_map.partial == {"rib"}
    assert not label_map.whole_levels


@pytest.mark.parametrize(
    "text",
    ["", "[labels]\n", "[labels]\n1 = 'T14'\n", "[labels]\nx = 'rib'\n", "[labels]\n1 = 'T12.wing'\n", "labels = ["],
)
def test_a_broken_map_is_a_coded_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(InvalidCase) as caught:
        load_label_map("own.toml", tmp_path)
    assert caught.value.code == "invalid-case"


def test_an_unknown_name_is_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match="nonesuch"):
        load_label_map("nonesuch", tmp_path)


def test_ids_that_are_no_labels_are_a_coded_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase):
        load_label_map("canonical", tmp_path).apply(np.array([[[-3, 1]]]))
