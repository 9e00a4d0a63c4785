"""The planes that people look at show the places that were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import report_samples as samples

from trabecula.anatomy import Anatomy, Level, Structure, VertebraPart, vertebra_label
from trabecula.evidence import SAGITTAL_PIXEL_MM, build_views
from trabecula.imaging.study import CtVolume
from trabecula.report import View


@pytest.fixture(scope="module")
def scan() -> tuple[CtVolume, Anatomy]:
    return samples.volume_and_anatomy()


def views_of(volume: CtVolume, anatomy: Anatomy) -> tuple[View, ...]:
    return build_views(
        volume, anatomy, samples.vertebrae(), {k: samples.tissue(anatomy, k) for k in samples.BODY_TOP_K.values()}
    )


def test_one_sagittal_and_the_axial_levels_in_view(scan: tuple[CtVolume, Anatomy]) -> None:
    views = views_of(*scan)
    assert [(view.kind, view.level) for view in views] == [
        ("sagittal", None),
        ("axial", Level.T11),
        ("axial", Level.T12),
        ("axial", Level.L1),
    ]
    for view in views:
        assert view.hu.dtype == np.int16
        assert view.hu.shape == view.labels.shape
        assert view.roi_mask is not None
        assert view.roi_mask.shape == view.hu.shape


def test_sagittal_marks_lie_in_their_vertebrae_head_first(scan: tuple[CtVolume, Anatomy]) -> None:
    sagittal = views_of(*scan)[0]
    assert [text for text, _, _ in sagittal.marks] == ["T11", "T12", "L1", "L2"]
    rows = [row for _, row, _ in sagittal.marks]
    assert rows == sorted(rows)
    for text, row, column in sagittal.marks:
        expected = vertebra_label(Level(text), VertebraPart.BODY)
        assert sagittal.labels[round(row), round(column)] == expected


def test_sagittal_pixels_are_square_and_true_to_scale(scan: tuple[CtVolume, Anatomy]) -> None:
    sagittal = views_of(*scan)[0]
    assert sagittal.pixel_mm == (SAGITTAL_PIXEL_MM, SAGITTAL_PIXEL_MM)
    rows = {text: row for text, row, _ in sagittal.marks}
    between_mm = (samples.BODY_TOP_K[Level.T11] - samples.BODY_TOP_K[Level.L2]) * samples.SPACING_MM[0]
    assert (rows["L2"] - rows["T11"]) * SAGITTAL_PIXEL_MM == pytest.approx(between_mm)
    # canal behind the bodies: higher column
    canal = np.nonzero(sagittal.labels == Structure.SPINAL_CANAL)[1]
    assert canal.min() > sagittal.marks[0][2]


def test_sagittal_follows_a_column_that_bends_sideways(scan: tuple[CtVolume, Anatomy]) -> None:
    volume, anatomy = scan
    k = np.arange(volume.hu.shape[0])
    shift = np.round(30 * np.sin((k - 50) / 25)).astype(int)
    bent_labels = np.stack([np.roll(plane, s, axis=1) for plane, s in zip(anatomy.labels, shift, strict=True)])
    bent_hu = np.stack([np.roll(plane, s, axis=1) for plane, s in zip(volume.hu, shift, strict=True)])
    vertebrae = tuple(
        replace(
            vertebra,
            centroid_lps_mm=(
                vertebra.centroid_lps_mm[0] + 2.0 * float(shift[samples.BODY_TOP_K[vertebra.level]]),
                *vertebra.centroid_lps_mm[1:],
            ),
        )
        for vertebra in anatomy.vertebrae
    )
    bent = replace(anatomy, labels=bent_labels, vertebrae=vertebrae)
    sagittal = views_of(replace(volume, hu=bent_hu), bent)[0]
    straight = views_of(volume, anatomy)[0]
    bodies = [vertebra_label(level, VertebraPart.BODY) for level in samples.LEVELS]
    kept = np.isin(sagittal.labels, bodies).sum() / np.isin(straight.labels, bodies).sum()
    assert kept > 0.9


def test_roi_of_each_view_is_the_cylinder_cut_by_the_plane(scan: tuple[CtVolume, Anatomy]) -> None:
    views = views_of(*scan)
    row_mm, column_mm = views[1].pixel_mm
    area_mm2 = float(views[1].roi_mask.sum()) * row_mm * column_mm
    assert area_mm2 == pytest.approx(np.pi * 13.0 * 9.0, rel=0.06)
    lengthwise_mm2 = float(views[0].roi_mask.sum()) * SAGITTAL_PIXEL_MM**2
    assert lengthwise_mm2 == pytest.approx(4 * 18.0 * 10.0, rel=0.06)
    inside = views[0].labels[views[0].roi_mask]
    assert set(np.unique(inside)) <= {vertebra_label(level, VertebraPart.BODY) for level in samples.LEVELS}


def test_axial_view_is_the_scan_itself_cropped_to_the_body(scan: tuple[CtVolume, Anatomy]) -> None:
    volume, anatomy = scan
    view = views_of(volume, anatomy)[2]
    plane = volume.hu[samples.BODY_TOP_K[Level.T12]]
    assert view.hu.shape[0] < plane.shape[0]
    assert view.hu.shape[1] < plane.shape[1]
    body = anatomy.labels[samples.BODY_TOP_K[Level.T12]] != Structure.OUTSIDE
    np.testing.assert_array_equal(view.hu[view.labels != Structure.OUTSIDE], plane[body])
    assert view.tissue is not None
    assert set(np.unique(view.tissue)) == {0, 1, 2, 3, 4}


def test_a_cut_vertebra_gives_no_axial_view(scan: tuple[CtVolume, Anatomy]) -> None:
    volume, anatomy = scan
    cut = tuple(replace(v, complete=v.level is not Level.L1) for v in anatomy.vertebrae)
    views = views_of(volume, replace(anatomy, vertebrae=cut))
    assert [view.level for view in views] == [None, Level.T11, Level.T12]


def test_without_vertebrae_there_is_nothing_to_show(scan: tuple[CtVolume, Anatomy]) -> None:
    volume, anatomy = scan
    assert views_of(volume, replace(anatomy, vertebrae=())) == ()
