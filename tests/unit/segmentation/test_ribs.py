"""Ribs are traced to the vertebra they come from."""

from __future__ import annotations

import numpy as np
import pytest

from trabecula.segmentation.ribs import _roots_mm

GRID_MM = 4.0


def rib(root_mm: float, *, first_mm: float = 28.0, last_mm: float = 80.0, slope: float, flat_to_mm: float = 24.0):
    """(lateral, arc) of the voxels of a rib some 8 mm thick: flat where it leaves the spine, then sloping down."""
    lateral, arc = np.meshgrid(np.arange(first_mm, last_mm, GRID_MM), np.arange(0.0, 500.0, GRID_MM))
    middle = root_mm + slope * np.maximum(0.0, lateral - flat_to_mm)
    inside = np.abs(arc - middle) <= 4.0 + 4.0 * slope
    return lateral[inside], arc[inside]


@pytest.mark.parametrize("slope", [0.0, 0.3, 0.5])
def test_a_rib_leads_to_where_it_leaves_the_spine(slope: float) -> None:
    ((place, share),) = _roots_mm(*rib(200.0, slope=slope))
    assert place == pytest.approx(200.0, abs=7.0)
    assert share == 1.0


def test_a_steep_last_rib_is_not_traced_past_its_flat_neck() -> None:
    """A straight line through its shaft would lead to the vertebra above."""
    ((place, _),) = _roots_mm(*rib(300.0, first_mm=32.0, slope=1.2, flat_to_mm=32.0))
    assert place == pytest.approx(300.0, abs=7.0)


def test_two_ribs_that_touch_are_two_ribs() -> None:
    upper, lower = rib(200.0, slope=0.4), rib(228.0, slope=0.4)
    roots = _roots_mm(np.concatenate((upper[0], lower[0])), np.concatenate((upper[1], lower[1])))
    assert [place for place, _ in roots] == pytest.approx([200.0, 228.0], abs=7.0)
    assert sum(share for _, share in roots) == pytest.approx(1.0)


def test_a_piece_without_its_root_leads_nowhere() -> None:
    assert _roots_mm(*rib(200.0, first_mm=70.0, last_mm=85.0, slope=0.3)) == []
