"""Contrast medium: found from the aorta, then from the header, and corrected for with a wider error."""

from __future__ import annotations

import pytest

from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.contrast import Phase, correction_hu, find_contrast
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import ContrastTag

GIVEN, NOT_GIVEN, UNKNOWN = ContrastTag.GIVEN, ContrastTag.NOT_GIVEN, ContrastTag.UNKNOWN


def aorta(hu: float | None) -> Sample:
    return Sample(ReferenceTissue.AORTIC_BLOOD, hu, 1.0, 2000)


@pytest.mark.parametrize(
    ("hu", "tag", "phase", "blood"),
    [
        (40.0, NOT_GIVEN, Phase.UNENHANCED, True),
        (40.0, UNKNOWN, Phase.UNENHANCED, True),
        (40.0, GIVEN, Phase.UNENHANCED, False),
        (90.0, GIVEN, Phase.PORTAL_VENOUS, False),
        (90.0, UNKNOWN, Phase.UNENHANCED, True),
        (150.0, NOT_GIVEN, Phase.PORTAL_VENOUS, False),
        (350.0, UNKNOWN, Phase.ARTERIAL, False),
        (None, GIVEN, Phase.ENHANCED, False),
        (None, NOT_GIVEN, Phase.UNENHANCED, True),
        (None, UNKNOWN, Phase.UNKNOWN, False),
    ],
)
def test_phase_from_aorta_and_header(
    constants: ClinicalConstants, hu: float | None, tag: ContrastTag, phase: Phase, blood: bool
) -> None:
    finding = find_contrast(aorta(hu), tag, constants)
    assert (finding.phase, finding.blood_may_calibrate) == (phase, blood)
    assert finding.enhanced == (phase in (Phase.ARTERIAL, Phase.PORTAL_VENOUS, Phase.ENHANCED))


def test_evidence_names_both_witnesses(constants: ClinicalConstants) -> None:
    evidence = find_contrast(aorta(151.4), GIVEN, constants).evidence
    assert "aorta 151 HU" in evidence
    assert "header says contrast medium was given" in evidence


def test_the_reader_is_told_of_every_doubt(constants: ClinicalConstants) -> None:
    def codes(hu: float | None, tag: ContrastTag) -> list[str]:
        return [n.code for n in find_contrast(aorta(hu), tag, constants).notices]

    assert codes(40.0, NOT_GIVEN) == []
    assert codes(150.0, GIVEN) == ["contrast-corrected"]
    assert codes(40.0, GIVEN) == ["contrast-not-seen"]
    assert codes(None, UNKNOWN) == ["contrast-unknown"]


def test_correction_follows_the_phase(constants: ClinicalConstants) -> None:
    assert correction_hu(Phase.UNENHANCED, constants) == (0.0, 0.0)
    assert correction_hu(Phase.ARTERIAL, constants) == (14.0, 0.0)
    assert correction_hu(Phase.PORTAL_VENOUS, constants) == (18.0, 0.0)
    assert correction_hu(Phase.ENHANCED, constants) == (16.0, 2.0)
