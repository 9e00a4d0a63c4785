"""Completing a label map for rendering: bodies split from arches, discs grown, canal found. Needs no torch."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
seeds = pytest.importorskip("models.training.seeds", reason="the training code is not beside the tests")


def column(tilt: float = 0.0) -> tuple[dict[int, np.ndarray], np.ndarray, dict[int, np.ndarray]]:
    """Three simple vertebrae (19..21, cranial first), their canal, and the true bodies; ``tilt`` is dj per dk."""
    shape = (72, 70, 60)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    j = j - tilt * (k - shape[0] / 2)
    canal = (j - 42) ** 2 + (i - 30) ** 2 <= 25
    vertebrae, bodies = {}, {}
    for n, low in ((19, 50), (20, 28), (21, 6)):
        high = (k >= low) & (k < low + 16)
        body = high & (((j - 25) / 12) ** 2 + ((i - 30) / 14) ** 2 <= 1) & (j < 37)
        arch = high & ~canal & ((j - 42) ** 2 + (i - 30) ** 2 <= 81) & (j >= 37)
        arch |= (k >= low) & (k < low + 6) & (j >= 50) & (j < 64) & (abs(i - 30) < 3)
        vertebrae[n], bodies[n] = body | arch, body
    return vertebrae, canal, bodies


@pytest.mark.parametrize("tilt", [0.0, 0.25, -0.25])
def test_body_is_what_lies_in_front_of_the_canal(tilt: float) -> None:
    vertebrae, canal, bodies = column(tilt)
    for n, mask in vertebrae.items():
        found = seeds.split_vertebra(mask, canal)
        overlap = 2 * (found & bodies[n]).sum() / (found.sum() + bodies[n].sum())
        assert overlap > 0.95
        assert not (found & ~mask).any()


def test_vertebra_without_canal_beside_it_has_no_body() -> None:
    vertebrae, canal, _ = column()
    assert not seeds.split_vertebra(vertebrae[20], np.zeros_like(canal)).any()


def test_discs_fill_the_gaps_between_bodies_and_nothing_else() -> None:
    vertebrae, canal, bodies = column()
    labels = np.zeros(canal.shape, np.uint8)
    labels[canal] = seeds.CANAL
    for n, mask in vertebrae.items():
        labels[mask] = seeds.POSTERIOR_BASE + n
        labels[bodies[n]] = seeds.BODY_BASE + n
    before = labels.copy()
    seeds.grow_discs(labels, [19, 20, 21])
    disc = labels == seeds.DISC
    assert (labels[before != 0] == before[before != 0]).all()
    for low in (22, 44):
        assert disc[low + 1 : low + 5, 25, 30].all()
    assert not disc[:20].any()
    assert not disc[54:].any()


def test_completed_map_has_level_coordinate_that_falls_towards_the_head() -> None:
    vertebrae, canal, bodies = column()
    labels = np.zeros(canal.shape, np.uint8)
    labels[canal] = seeds.CANAL
    seed = seeds.complete("made", labels, vertebrae, np.zeros_like(labels))
    for n, body in bodies.items():
        centre = np.argwhere(body).mean(0).astype(int)
        assert float(seed["level"][tuple(centre)]) == pytest.approx(n, abs=0.1)
    assert (np.diff(seed["centreline"][:, 1]) < 0).all()
    inside = seed["bone_depth"][bodies[20]]
    assert inside.max() > 60
    assert (seed["bone_depth"][seed["labels"] == 0] == 0).all()
