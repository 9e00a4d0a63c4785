"""The label volume on disk lies where the CT lies, and tells left from right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import report_samples as samples
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.anatomy import Anatomy, Level, Structure, VertebraPart, vertebra_label
from trabecula.geometry import Geometry
from trabecula.outputs.masks import LABELS_FILE, VOLUME_FILE, write_masks
from trabecula.outputs.masks.sides import LEFT_BASE, RIGHT_BASE, with_sides


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return samples.volume_and_anatomy()[1]


def small(geometry: Geometry) -> Anatomy:
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    labels[1, 2, 3] = vertebra_label(Level.T12, VertebraPart.BODY)
    return Anatomy(labels, geometry, (), (), ())


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.floats(-12, 12)] * 3),
    st.tuples(*[st.floats(0.4, 5.0)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_every_voxel_keeps_its_place(
    tmp_path_factory: pytest.TempPathFactory,
    degrees: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
) -> None:
    rotation = SimpleITK.Euler3DTransform((0, 0, 0), *np.radians(degrees)).GetMatrix()
    axes = np.array(rotation).reshape(3, 3)[:, ::-1]  # columns k, j, i
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array(spacing)
    affine[:3, 3] = origin
    geometry = Geometry((4, 5, 6), affine)
    out = tmp_path_factory.mktemp("masks")
    write_masks(small(geometry), out)
    image = SimpleITK.ReadImage(str(out / VOLUME_FILE))
    for k, j, i in [(0, 0, 0), (1, 2, 3), (3, 4, 5)]:
        place = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(place, geometry.index_to_lps((k, j, i)), atol=2e-3)
    assert image[3, 2, 1] == vertebra_label(Level.T12, VertebraPart.BODY)


def test_labels_file_names_every_number_in_the_volume(anatomy: Anatomy, tmp_path: Path) -> None:
    write_masks(anatomy, tmp_path)
    volume = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / VOLUME_FILE)))
    rows = {row["id"]: row for row in json.loads((tmp_path / LABELS_FILE).read_text(encoding="utf-8"))}
    assert set(rows) == set(np.unique(volume).tolist())
    assert rows[vertebra_label(Level.T12, VertebraPart.BODY)] == {
        "id": 51,
        "structure": "vertebra",
        "level": "T12",
        "part": "body",
        "side": None,
    }
    assert rows[vertebra_label(Level.L1, VertebraPart.POSTERIOR)]["part"] == "posterior"
    assert rows[LEFT_BASE + Structure.LUNG] == {
        "id": 131,
        "structure": "lung",
        "level": None,
        "part": None,
        "side": "left",
    }
    assert rows[RIGHT_BASE + Structure.LUNG]["side"] == "right"


def test_paired_structures_are_told_apart_at_the_canal(anatomy: Anatomy) -> None:
    labels = with_sides(anatomy)
    assert not np.isin(labels, [Structure.LUNG, Structure.PARASPINAL_MUSCLE]).any()
    left = np.nonzero(labels == LEFT_BASE + Structure.LUNG)
    right = np.nonzero(labels == RIGHT_BASE + Structure.LUNG)
    # higher i is further left in LPS
    assert left[2].min() > samples.CENTRE_I > right[2].max()
    assert len(left[0]) == len(right[0]) > 0
    np.testing.assert_array_equal(labels == Structure.CAVITY, anatomy.labels == Structure.CAVITY)


def test_the_midline_follows_a_column_that_is_off_centre(anatomy: Anatomy) -> None:
    moved = replace(anatomy, labels=np.roll(anatomy.labels, 20, axis=2))
    np.testing.assert_array_equal(with_sides(moved), np.roll(with_sides(anatomy), 20, axis=2))


def test_without_canal_the_vertebrae_give_the_midline(anatomy: Anatomy) -> None:
    labels = anatomy.labels.copy()
    labels[labels == Structure.SPINAL_CANAL] = Structure.BODY
    without = with_sides(replace(anatomy, labels=labels))
    np.testing.assert_array_equal(
        without == LEFT_BASE + Structure.LUNG, with_sides(anatomy) == LEFT_BASE + Structure.LUNG
    )


def test_the_anatomy_itself_is_left_alone(anatomy: Anatomy) -> None:
    before = anatomy.labels.copy()
    with_sides(anatomy)
    np.testing.assert_array_equal(before, anatomy.labels)
