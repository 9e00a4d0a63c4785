"""Resampling, tiling and orientation of imported networks, with networks that are plain functions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from trabecula.segmentation.nnunet.predict import (
    label_certainty,
    non_zero_box,
    predict_labels,
    sliding_window,
    tile_starts,
    tile_weight,
)
from trabecula.segmentation.nnunet.resample import coarse_axis, new_shape, resample_image, top_labels
from trabecula.segmentation.nnunet.spec import NetworkInput, Normalisation, Resampling

CUBIC = Resampling(order=3, order_z=0, separate_z=None)
LINEAR = Resampling(order=1, order_z=0, separate_z=None)


def network_input(**changes):
    values = {
        "name": "image",
        "axes": ("S", "P", "L"),
        "spacing_mm": (2.0, 2.0, 2.0),
        "patch": (8, 8, 8),
        "normalisation": Normalisation(scheme="none"),
        "resampling": CUBIC,
        "resampling_logits": LINEAR,
    }
    return NetworkInput(**{**values, **changes})


def steps(tile):
    """Label 0 below 50, 1 below 150, 2 above."""
    return np.stack([n * tile - 50.0 * n * n for n in range(3)]).astype(np.float32)


def smooth_image(shape, seed=0):
    noise = np.random.default_rng(seed).normal(100, 400, shape)
    return ndimage.gaussian_filter(noise, 1.2).astype(np.float32)


def resized(image, target, order):
    factors = [t / n for t, n in zip(target, image.shape, strict=True)]
    out = ndimage.zoom(image.astype(np.float64), factors, order=order, mode="nearest", grid_mode=True)
    return np.clip(out, image.min(), image.max())


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(3, 14)] * 3), st.tuples(*[st.integers(2, 20)] * 3), st.sampled_from([0, 1, 3]))
def test_axis_by_axis_is_the_same_as_at_once(shape, target, order):
    image = smooth_image(shape)
    how = Resampling(order=order, order_z=0, separate_z=False)
    found = resample_image(lambda n: image[n], shape, target, how, None)
    if order:
        assert np.allclose(found, resized(image, target, order), atol=1e-3 * np.ptp(image))
    else:
        assert np.array_equal(found, resized(image, target, 0).astype(np.float32))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_across_a_coarse_axis_planes_are_picked_not_mixed(axis):
    shape = [9, 11, 10]
    shape[axis] = 4
    target = [13, 8, 12]
    target[axis] = 7
    image = smooth_image(shape)
    found = resample_image(lambda n: image.take(n, axis=axis), tuple(shape), tuple(target), CUBIC, axis)
    for n in range(7):
        source = image.take(min(3, int(np.floor((n + 0.5) * 4 / 7))), axis=axis)
        plane = [t for a, t in enumerate(target) if a != axis]
        assert np.allclose(found.take(n, axis=axis), resized(source, plane, 3), atol=1e-3 * np.ptp(image))


def test_the_coarse_axis_is_that_of_the_scan_else_that_of_the_network():
    assert coarse_axis(CUBIC, (5.0, 1.0, 1.0), (1.5, 1.5, 1.5)) == 0
    assert coarse_axis(CUBIC, (1.0, 1.0, 1.0), (1.0, 1.0, 4.0)) == 2
    assert coarse_axis(CUBIC, (3.0, 1.0, 1.0), (1.5, 1.5, 1.5)) is None
    assert coarse_axis(CUBIC, (4.0, 4.0, 1.0), (1.5, 1.5, 1.5)) is None
    assert coarse_axis(Resampling(order=3, order_z=0, separate_z=False), (9.0, 1.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert coarse_axis(Resampling(order=3, order_z=0, separate_z=True), (2.0, 1.0, 1.0), (1.0, 1.0, 1.0)) == 0


def test_sizes_after_resampling_round_halves_to_even():
    assert new_shape((5, 5, 7), (1.5, 1.0, 1.0), (1.0, 2.0, 2.0)) == (8, 2, 4)


@pytest.mark.parametrize("channels", [2, 3, 9])
@pytest.mark.parametrize("apart", [None, 1])
def test_the_highest_channel_is_that_of_all_channels_interpolated(channels, apart):
    shape, target = (6, 5, 7), (11, 9, 5)
    logits = np.stack([smooth_image(shape, seed) for seed in range(channels)]).astype(np.float16)
    logits[:, 2:4, 1:3, 2:5] += 300 * (np.arange(channels) == channels - 1)[:, None, None, None].astype(np.float16)
    whole = np.stack(
        [
            resample_image(
                lambda n, c=channel: c.take(n, axis=apart or 0).astype(np.float32), shape, target, LINEAR, apart
            )
            for channel in logits
        ]
    )
    found = np.zeros(target, dtype=int)
    for axis, n, plane in top_labels(logits, target, LINEAR, apart):
        found[(slice(None),) * axis + (n,)] = plane
    assert (found == whole.argmax(axis=0)).mean() > 0.995


def test_a_label_that_wins_at_one_voxel_reaches_half_way_to_the_next():
    logits = np.zeros((5, 5, 5, 5), dtype=np.float16)
    logits[:] = np.array([3, 2, 1, 0, -5], dtype=np.float16)[:, None, None, None]
    logits[4, 2, 2, 2] = 11  # 11 against 3: level with the first label half way to a neighbour at -5
    found = np.zeros((20, 20, 20), dtype=int)
    for _, n, plane in top_labels(logits, (20, 20, 20), LINEAR, None):
        found[n] = plane
    along = np.flatnonzero(found[:, 9, 9] == 4)
    assert along.tolist() == [9, 10]
    whole = [
        resample_image(lambda n, c=c: c[n].astype(np.float32), (5, 5, 5), (20, 20, 20), LINEAR, None) for c in logits
    ]
    assert np.array_equal(found, np.argmax(whole, axis=0))


def test_tiles_start_as_nnunet_has_them():
    # compute_steps_for_sliding_window((110,), (64,), 0.5) -> [0, 23, 46]
    assert tile_starts(110, 64, 0.5) == (0, 23, 46)
    assert tile_starts(64, 64, 0.5) == (0,)
    assert tile_starts(65, 64, 0.5) == (0, 1)
    assert tile_starts(29, 9, 0.5) == (0, 4, 8, 12, 16, 20)


def test_tile_weights_are_highest_in_the_middle_and_nowhere_zero():
    weight = tile_weight((32, 16, 8))
    assert weight.dtype == np.float16
    assert weight[16, 8, 4] == weight.max() == 10
    assert weight.min() > 0


def test_tiles_and_mirrorings_of_a_pointwise_network_change_nothing():
    image = np.random.default_rng(0).choice([0.0, 100.0, 200.0], (19, 6, 13)).astype(np.float32)
    spec = network_input(mirror_axes=(0, 2))
    told = []
    logits = sliding_window(image, spec, steps, told.append)
    assert logits.shape == (3, 19, 6, 13)
    assert np.array_equal(logits.argmax(axis=0), image / 100)
    assert len(told) == 1 + 4 * 1 * 3 * 4
    assert told[-1] == 1.0


def test_mirroring_means_over_every_combination_of_axes():
    seen = []

    def network(tile):
        seen.append(tile.copy())
        return np.stack([np.zeros_like(tile), tile * np.arange(8)[:, None, None]]).astype(np.float32)

    image = np.ones((8, 8, 8), dtype=np.float32)
    logits = sliding_window(image, network_input(mirror_axes=(0, 1)), network, lambda _: None)
    assert len(seen) == 4
    assert np.allclose(logits[1, 3:6, 3:6, 3:6], 3.5, atol=0.01)  # weights in the corners are too small to be exact


def test_a_listener_that_raises_stops_between_passes():
    calls = []

    def stop(fraction):
        if fraction > 0:
            raise InterruptedError

    def network(tile):
        calls.append(1)
        return steps(tile)

    with pytest.raises(InterruptedError):
        sliding_window(np.zeros((30, 30, 30), dtype=np.float32), network_input(), network, stop)
    assert len(calls) == 1


@pytest.mark.parametrize("axes", [("S", "P", "L"), ("S", "A", "R"), ("L", "S", "P"), ("A", "I", "R")])
def test_whatever_the_networks_axes_the_labels_lie_on_the_scan(axes):
    hu = np.zeros((14, 10, 12), dtype=np.int16)
    hu[2:9, 1:6, 3:11] = 100
    hu[10:13, 7:9, 2:4] = 200
    found = predict_labels(hu, (2.0, 2.0, 2.0), network_input(axes=axes), steps, lambda _: None)
    assert np.array_equal(found.labels, hu / 100)
    assert found.certainty[1] > 0.9


def test_the_network_sees_its_own_axes():
    hu = np.zeros((14, 10, 12), dtype=np.int16)
    hu[13, 0, 0] = 500  # head, front, right
    hu[0, 9, 11] = -500  # so that nothing is cropped
    tiles = []

    def network(tile):
        tiles.append(tile.copy())
        return steps(tile)

    predict_labels(
        hu, (2.0, 2.0, 2.0), network_input(axes=("R", "A", "I"), patch=(12, 10, 14)), network, lambda _: None
    )
    assert np.unravel_index(tiles[0].argmax(), tiles[0].shape) == (11, 9, 0)


def test_zero_rims_are_cut_away_and_come_back_as_background():
    hu = np.zeros((12, 12, 12), dtype=np.int16)
    hu[4:9, 3:11, 2:10] = 100
    assert non_zero_box(hu) == (slice(4, 9), slice(3, 11), slice(2, 10))
    assert non_zero_box(np.zeros((3, 4, 5), dtype=np.int16)) == (slice(0, 3), slice(0, 4), slice(0, 5))
    sizes = []

    def network(tile):
        sizes.append(int((tile != 0).sum()))
        return steps(tile)

    found = predict_labels(hu, (2.0, 2.0, 2.0), network_input(), network, lambda _: None)
    assert sizes == [5 * 8 * 8]
    assert np.array_equal(found.labels, hu / 100)


def test_ct_numbers_are_clipped_and_normalised_before_resampling():
    hu = np.full((8, 8, 8), 100, dtype=np.int16)
    hu[0, 0, 0], hu[7, 7, 7] = 3000, -1000
    seen = []

    def network(tile):
        seen.append(tile.copy())
        return steps(tile)

    how = Normalisation(scheme="ct", mean=50.0, std=25.0, low=-150.0, high=300.0)
    predict_labels(hu, (2.0, 2.0, 2.0), network_input(normalisation=how), network, lambda _: None)
    assert (seen[0].max(), seen[0].min(), seen[0][4, 4, 4]) == (10.0, -8.0, 2.0)


@pytest.mark.parametrize("masked", [False, True])
def test_z_scores_are_of_the_whole_or_of_the_non_zero_region(masked):
    hu = np.zeros((8, 8, 8), dtype=np.int16)
    hu[:, :, :6] = np.random.default_rng(2).integers(1, 50, (8, 8, 6))
    hu[0, 0, 7] = 10
    seen = []

    def network(tile):
        seen.append(tile.copy())
        return steps(tile)

    how = Normalisation(scheme="z-score", non_zero_only=masked)
    predict_labels(hu, (2.0, 2.0, 2.0), network_input(normalisation=how), network, lambda _: None)
    values = hu[hu != 0] if masked else hu
    expected = (hu - values.mean()) / values.std()
    if masked:
        expected[hu == 0] = 0
    assert np.allclose(seen[0], expected, atol=1e-4)


def test_certainty_is_the_mean_probability_of_the_chosen_label():
    logits = np.zeros((3, 1, 1, 2), dtype=np.float16)
    logits[:, 0, 0, 0] = (0, 2, 0)
    logits[:, 0, 0, 1] = (0, 4, 0)
    expected = np.mean([np.exp(2) / (np.exp(2) + 2), np.exp(4) / (np.exp(4) + 2)])
    assert np.allclose(label_certainty(logits), [0, expected, 0], atol=1e-3)
