"""Organs and vessels for the contrast phase: modes inside labels, cava by place, portal vein by brightness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trabecula.anatomy import Anatomy, Structure
from trabecula.calibration.organs import Organ, OrganSample, take_organs
from trabecula.calibration.sections import take_sections
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import CtVolume

# millimetres behind and left of the image's middle: the block patient's body lies at (38, 0), 16 by 20 mm
CAVA, LIVER, SPLEEN = (8.0, -22.0), (-30.0, -75.0), (-20.0, 85.0)


def organs_of(patient: Any, constants: ClinicalConstants, **values: float) -> dict[Organ, OrganSample]:
    volume, anatomy = patient.scan()
    hu, labels = volume.hu.copy(), anatomy.labels.copy()
    j = (np.arange(hu.shape[1]) - (hu.shape[1] - 1) / 2)[:, None] * 2.0
    i = (np.arange(hu.shape[2]) - (hu.shape[2] - 1) / 2)[None, :] * 2.0

    def disc(place: tuple[float, float], radius: float) -> np.ndarray:
        return np.broadcast_to(np.hypot(j - place[0], i - place[1]) < radius, hu.shape)

    hu[(labels == Structure.CAVITY) & (hu > -50)] = -95  # fat around the vessels
    for place, radius, label, name in (
        (LIVER, 34.0, Structure.LIVER, "liver"),
        (SPLEEN, 26.0, Structure.SPLEEN, "spleen"),
        (CAVA, 10.0, Structure.CAVITY, "cava"),
    ):
        if name in values:
            hu[disc(place, radius)] = values[name]
            labels[disc(place, radius)] = label
    if "cava" in values:
        hu[disc((4.0, -38.0), 7.5)] = 22.0  # fluid in the bowel beside it
    if "vein" in values:
        hu[disc(LIVER, 7.0)] = values["vein"]
    noise = np.random.default_rng(1).normal(0.0, 8.0, hu.shape)
    changed = CtVolume(np.round(hu + noise).astype(np.int16), volume.geometry)
    moved = Anatomy(labels, anatomy.geometry, anatomy.vertebrae, (), ())
    return take_organs(take_sections(changed, moved, constants), constants)


def test_organs_show_their_parenchyma_and_not_their_vessels(patient: Any, constants: ClinicalConstants) -> None:
    found = organs_of(patient, constants, liver=108.0, spleen=122.0, vein=180.0)
    assert found[Organ.LIVER].hu == pytest.approx(108.0, abs=2.0)
    assert found[Organ.SPLEEN].hu == pytest.approx(122.0, abs=2.0)
    assert found[Organ.PORTAL_VEIN].hu == pytest.approx(180.0, abs=8.0)


def test_a_liver_without_bright_vessels_has_no_portal_vein(patient: Any, constants: ClinicalConstants) -> None:
    assert Organ.PORTAL_VEIN not in organs_of(patient, constants, liver=55.0)


@pytest.mark.parametrize("hu", [40.0, 145.0, 190.0])
def test_the_cava_is_found_where_it_runs(patient: Any, constants: ClinicalConstants, hu: float) -> None:
    found = organs_of(patient, constants, cava=hu)
    assert found[Organ.CAVA].hu == pytest.approx(hu, abs=5.0)


def test_what_is_not_in_view_is_left_out(patient: Any, constants: ClinicalConstants) -> None:
    assert organs_of(patient, constants) == {}
