"""Grids, resampling there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.resample import (
    Grid,
    interpolate_slabs,
    linear_weights,
    nearest_labels,
    resample_hu,
    top_channel,
)

spacings = st.floats(0.5, 5.0)
triples = st.tuples(spacings, spacings, spacings)
shapes = st.tuples(st.integers(2, 14), st.integers(2, 14), st.integers(2, 14))


def volume_of(hu, spacing):
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    return CtVolume(hu.astype(np.int16), Geometry(hu.shape, affine))


@given(shapes, triples, triples)
@settings(deadline=None)
def test_a_covering_grid_has_the_same_middle_and_about_the_same_size(shape, spacing, wanted):
    grid = Grid(shape, (3.0, -2.0, 7.0), spacing)
    cover = grid.covering(wanted)
    middle = [g.to_mm((np.array(g.shape) - 1) / 2) for g in (grid, cover)]
    assert np.allclose(*middle)
    size = [np.array(g.shape) * g.spacing_mm for g in (grid, cover)]
    assert (np.abs(size[0] - size[1]) <= np.maximum(wanted, size[1] / cover.shape) / 2 + np.array(wanted)).all()


@given(shapes, triples, triples)
@settings(max_examples=40, deadline=None)
def test_a_ramp_stays_a_ramp_inside(shape, spacing, wanted):
    """Linear resampling keeps a plane of HU in place: no shift of half a voxel anywhere."""
    k, j, i = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    volume = volume_of(np.rint(10 * k - 7 * j + 4 * i), spacing)
    target = Grid.of_scan(volume.geometry).covering(wanted)
    found = resample_hu(volume, target)
    place = target.to_mm(np.moveaxis(np.indices(target.shape), 0, -1))
    expected = place @ (10, -7, 4)
    reach = np.maximum(spacing, wanted)
    inside = ((place >= reach) & (place <= (np.array(shape) - 1) * spacing - reach)).all(axis=-1)
    # Triangle weights sampled at uneven offsets are not exactly centred; a fraction of a voxel at most.
    assert (np.abs(found - expected)[inside] <= 0.13 * (reach @ (10, 7, 4)) + 1).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_structures_stay_where_they_are(axis):
    """Twice the spacing: each new voxel lies in the middle of two, so a ramp is met exactly."""
    shape = [4, 4, 4]
    shape[axis] = 20
    ramp = np.moveaxis(np.broadcast_to(np.arange(20) * 10, (4, 4, 20)), 2, axis)
    volume = volume_of(ramp, (1.0, 1.0, 1.0))
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 2.0
    found = resample_hu(volume, Grid.of_scan(volume.geometry).covering(tuple(spacing)))
    along = np.moveaxis(found, axis, 0)[1:-1, 0, 0]
    assert np.allclose(along, 10 * (2 * np.arange(1, 9) + 0.5), atol=0.05)


def test_halving_is_exact_and_does_not_alias():
    pattern = np.tile(np.array([0, 100]), 12)
    hu = np.broadcast_to(pattern, (4, 4, 24))
    volume = volume_of(hu, (1.0, 1.0, 1.0))
    found = resample_hu(volume, Grid.of_scan(volume.geometry).covering((1.0, 1.0, 4.0)))
    assert np.allclose(found[:, :, 1:-1], 50.0, atol=1.0)


def test_weights_sum_to_one():
    grid = Grid((20, 5, 5), (0, 0, 0), (1.0, 1.0, 1.0))
    for wanted in (0.4, 1.0, 3.7):
        weights = linear_weights(grid, grid.covering((wanted,) * 3), 0)
        assert np.allclose(weights.sum(axis=1), 1.0)


def test_padding_far_below_air_is_taken_for_air():
    volume = volume_of(np.full((4, 4, 4), -3024), (1.0, 1.0, 1.0))
    assert (resample_hu(volume, Grid.of_scan(volume.geometry)) == -1024).all()


@given(shapes, triples, st.sampled_from([0.05, 0.3, 3.0]), st.sampled_from([(), (2,), (1, 5)]))
@settings(max_examples=40, deadline=None)
def test_the_likeliest_channel_is_that_of_linear_interpolation(shape, wanted, evenness, left_out):
    """Channels that cannot win are skipped slab by slab; no label may change by it."""
    rng = np.random.default_rng(0)
    names = rng.dirichlet([evenness] * 8, shape).transpose(3, 0, 1, 2).astype(np.float32)
    source = Grid(shape, (0, 0, 0), (2.0, 2.0, 2.0))
    target = source.covering(wanted)
    rows = np.array([n for n in range(8) if n not in left_out])
    places = source.to_index(target.to_mm(np.moveaxis(np.indices(target.shape), 0, -1)))
    index = np.moveaxis(np.clip(places, 0, np.array(shape) - 1), -1, 0)
    full = np.stack([ndimage.map_coordinates(names[n].astype(float), index, order=1) for n in rows])
    seen = 0
    for planes, used, values in interpolate_slabs(names, source, target, rows, slab=3):
        told = np.searchsorted(rows, used[top_channel(values)])
        best = full[:, planes].max(axis=0)
        assert np.allclose(np.take_along_axis(full[:, planes], told[None], axis=0)[0], best, atol=1e-5)
        assert np.allclose(values, full[np.searchsorted(rows, used), planes], atol=1e-5)
        seen += planes.stop - planes.start
    assert seen == target.shape[0]


def test_channels_that_are_elsewhere_are_not_interpolated():
    values = np.zeros((2, 12, 3, 3), dtype=np.float32)
    values[0, :6], values[1, 6:] = 1.0, 1.0
    source = Grid((12, 3, 3), (0, 0, 0), (1.0, 1.0, 1.0))
    used = [list(used) for _, used, _ in interpolate_slabs(values, source, source, slab=3)]
    assert used == [[0], [0, 1], [1], [1]]


def test_interpolation_is_linear_in_every_axis():
    k, j, i = np.indices((4, 5, 6))
    ramp = (k + 10.0 * j + 100.0 * i) / 1000
    source = Grid((4, 5, 6), (0, 0, 0), (1.0, 1.0, 1.0))
    target = Grid((7, 9, 11), (0, 0, 0), (0.5, 0.5, 0.5))
    values = np.stack((ramp, 1 - ramp)).astype(np.float32)
    found = np.concatenate([v[list(used).index(1)] for _, used, v in interpolate_slabs(values, source, target)])
    k, j, i = np.indices(target.shape)
    assert np.allclose(found, 1 - (k + 10 * j + 100 * i) / 2000, atol=1e-6)


@given(st.integers(1, 9), st.integers(0, 1000))
def test_top_channel_is_argmax(channels, seed):
    values = np.random.default_rng(seed).random((channels, 3, 4, 5)).astype(np.float32)
    assert (top_channel(values) == values.argmax(axis=0)).all()


def test_nearest_labels_come_from_the_nearest_voxel_and_go_on_beyond_the_rim():
    source = Grid((2, 1, 3), (1.0, 0.0, 1.0), (2.0, 1.0, 2.0))
    labels = np.array([[[1, 2, 3]], [[4, 5, 6]]], dtype=np.uint8)
    target = Grid((5, 2, 7), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found = nearest_labels(labels, source, target)
    assert found[0, 1].tolist()[0] == 1
    assert found[4, 0].tolist()[-1] == 6
    assert found[1, 0].tolist() == [1, 1, 1, 2, 2, 3, 3] or found[1, 0, 1] == 1


@pytest.mark.parametrize("box", [(slice(1, 3), slice(0, 4), slice(2, 5))])
def test_a_cropped_grid_is_where_the_crop_is(box):
    grid = Grid((6, 6, 6), (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    part = grid.crop(box)
    assert part.shape == (2, 4, 3)
    assert np.allclose(part.to_mm((0, 0, 0)), grid.to_mm((1, 0, 2)))
    low, high = part.to_mm((0, 0, 0)), part.to_mm((1, 3, 2))
    assert grid.box_around(low, high) == box
