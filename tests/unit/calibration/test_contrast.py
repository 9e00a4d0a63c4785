"""Contrast medium: found from vessels, organs and the header, and corrected for with a wider error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.calibration.contrast import Phase, correction_hu, find_contrast
from trabecula.calibration.organs import Organ, OrganSample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import ContrastTag

GIVEN, NOT_GIVEN, UNKNOWN = ContrastTag.GIVEN, ContrastTag.NOT_GIVEN, ContrastTag.UNKNOWN


@pytest.mark.parametrize(
    ("hu", "tag", "phase", "blood"),
    [
        (40.0, NOT_GIVEN, Phase.UNENHANCED, True),
        (40.0, UNKNOWN, Phase.UNENHANCED, True),
        (40.0, GIVEN, Phase.UNENHANCED, False),
        (62.0, UNKNOWN, Phase.UNENHANCED, True),
        (95.0, GIVEN, Phase.PORTAL_VENOUS, False),
        (150.0, NOT_GIVEN, Phase.PORTAL_VENOUS, False),
        (350.0, UNKNOWN, Phase.ARTERIAL, False),
        (210.0, UNKNOWN, Phase.ENHANCED, False),
        (None, GIVEN, Phase.ENHANCED, False),
        (None, NOT_GIVEN, Phase.UNENHANCED, True),
        (None, UNKNOWN, Phase.UNKNOWN, False),
    ],
)
def test_phase_from_aorta_and_header(
    constants: ClinicalConstants, hu: float | None, tag: ContrastTag, phase: Phase, blood: bool
) -> None:
    finding = find_contrast(hu, {}, tag, 1.0, constants)
    assert (finding.phase, finding.blood_may_calibrate) == (phase, blood)
    assert finding.enhanced == (phase in (Phase.ARTERIAL, Phase.PORTAL_VENOUS, Phase.ENHANCED))


@pytest.mark.parametrize("iodine_ratio", [1.0, 1.6])
@pytest.mark.parametrize(
    ("aorta", "others", "phase"),
    [
        (210.0, {Organ.LIVER: 65.0, Organ.CAVA: 70.0}, Phase.ARTERIAL),
        (210.0, {Organ.LIVER: 115.0, Organ.SPLEEN: 125.0, Organ.CAVA: 160.0}, Phase.PORTAL_VENOUS),
        (None, {Organ.SPLEEN: 50.0, Organ.KIDNEY: 35.0}, Phase.UNENHANCED),
        (None, {Organ.KIDNEY: 180.0, Organ.LIVER: 112.0}, Phase.PORTAL_VENOUS),
        (44.0, {Organ.KIDNEY: 30.0, Organ.SPLEEN: 200.0}, Phase.UNENHANCED),
    ],
)
def test_organs_settle_what_the_aorta_leaves_open(
    constants: ClinicalConstants, aorta: float | None, others: dict[Organ, float], phase: Phase, iodine_ratio: float
) -> None:
    def through_beam(hu: float, native: float) -> float:
        return native + iodine_ratio * (hu - native) if hu > native + 15.0 else hu

    organs = {
        organ: OrganSample(
            organ, through_beam(hu, constants.row(f"contrast.phase.{organ.value}").number("unenhanced_hu")), 900
        )
        for organ, hu in others.items()
    }
    aorta_hu = None if aorta is None else through_beam(aorta, 42.0)
    assert find_contrast(aorta_hu, organs, UNKNOWN, iodine_ratio, constants).phase is phase


@given(st.floats(-20.0, 500.0), st.floats(0.0, 200.0))
def test_a_brighter_aorta_is_never_less_enhanced(constants: ClinicalConstants, hu: float, more: float) -> None:
    order = [Phase.UNENHANCED, Phase.UNKNOWN, Phase.PORTAL_VENOUS, Phase.ENHANCED, Phase.ARTERIAL]
    ranks = [order.index(find_contrast(x, {}, UNKNOWN, 1.0, constants).phase) for x in (hu, hu + more)]
    assert ranks[0] <= ranks[1]


def test_evidence_names_both_witnesses(constants: ClinicalConstants) -> None:
    organs = {Organ.SPLEEN: OrganSample(Organ.SPLEEN, 121.3, 900)}
    evidence = find_contrast(151.4, organs, GIVEN, 1.0, constants).evidence
    assert "aorta 151 HU, spleen 121 HU" in evidence
    assert "header says contrast medium was given" in evidence


def test_the_reader_is_told_of_every_doubt(constants: ClinicalConstants) -> None:
    def codes(hu: float | None, tag: ContrastTag) -> list[str]:
        return [n.code for n in find_contrast(hu, {}, tag, 1.0, constants).notices]

    assert codes(40.0, NOT_GIVEN) == []
    assert codes(150.0, GIVEN) == ["contrast-corrected"]
    assert codes(40.0, GIVEN) == ["contrast-not-seen"]
    assert codes(None, UNKNOWN) == ["contrast-unknown"]


def test_correction_follows_the_phase(constants: ClinicalConstants) -> None:
    assert correction_hu(Phase.UNENHANCED, constants) == (0.0, 0.0)
    assert correction_hu(Phase.ARTERIAL, constants) == (11.0, 0.0)
    assert correction_hu(Phase.PORTAL_VENOUS, constants) == (22.5, 0.0)
    assert correction_hu(Phase.ENHANCED, constants) == (16.75, 5.75)
