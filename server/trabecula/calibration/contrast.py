"""Whether contrast medium is in the picture, by the aorta's own attenuation and by the header."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import ContrastTag
from trabecula.outcome import Notice, Severity, Stage


class Phase(StrEnum):
    UNENHANCED = "unenhanced"
    ARTERIAL = "arterial"
    PORTAL_VENOUS = "portal-venous"
    ENHANCED = "enhanced, phase not known"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class ContrastFinding:
    """What was concluded, and from what."""

    phase: Phase
    evidence: str
    blood_may_calibrate: bool
    """Only unenhanced blood, and only when the header does not say otherwise."""
    notices: tuple[Notice, ...]

    @property
    def enhanced(self) -> bool:
        return self.phase in (Phase.ARTERIAL, Phase.PORTAL_VENOUS, Phase.ENHANCED)


def find_contrast(aorta: Sample, tag: ContrastTag, constants: ClinicalConstants) -> ContrastFinding:
    """Judge the contrast phase; pixels outweigh the header (which also speaks of contrast that was drunk)."""
    phase = _phase(aorta.hu, tag, constants)
    header = {
        ContrastTag.GIVEN: "header says contrast medium was given",
        ContrastTag.NOT_GIVEN: "header says none was given",
        ContrastTag.UNKNOWN: "header does not say",
    }[tag]
    seen = "aorta could not be measured" if aorta.hu is None else f"aorta {aorta.hu:.0f} HU"
    evidence = f"{phase.value}: {seen}, {header}"
    blood = phase is Phase.UNENHANCED and tag is not ContrastTag.GIVEN
    return ContrastFinding(phase, evidence, blood, _notices(phase, tag, evidence))


def _phase(aorta_hu: float | None, tag: ContrastTag, constants: ClinicalConstants) -> Phase:
    if aorta_hu is None:
        return {
            ContrastTag.GIVEN: Phase.ENHANCED,
            ContrastTag.NOT_GIVEN: Phase.UNENHANCED,
            ContrastTag.UNKNOWN: Phase.UNKNOWN,
        }[tag]
    given = tag is ContrastTag.GIVEN
    limit = constants.number("contrast.enhanced_above_when_given" if given else "contrast.enhanced_above")
    if aorta_hu <= limit:
        return Phase.UNENHANCED
    return Phase.ARTERIAL if aorta_hu > constants.number("contrast.arterial_above") else Phase.PORTAL_VENOUS


def _notices(phase: Phase, tag: ContrastTag, evidence: str) -> tuple[Notice, ...]:
    def notice(code: str, severity: Severity, message: str) -> tuple[Notice, ...]:
        return (Notice(code, Stage.CALIBRATION, severity, f"{message} ({evidence})."),)

    if phase is Phase.UNKNOWN:
        return notice("contrast-unknown", Severity.WARNING, "It is not known whether contrast medium was given")
    if phase is Phase.UNENHANCED:
        if tag is ContrastTag.GIVEN:
            message = "The header speaks of contrast medium that does not show in the aorta; nothing was subtracted"
            return notice("contrast-not-seen", Severity.INFORMATION, message)
        return ()
    message = "Contrast medium raises bone attenuation; a mean correction was subtracted and the uncertainty widened"
    return notice("contrast-corrected", Severity.WARNING, message)


def correction_hu(phase: Phase, constants: ClinicalConstants) -> tuple[float, float]:
    """Mean rise of trabecular bone at 120 kVp, and the half-range where the phase is not known. HU."""
    arterial = constants.number("contrast.correction.arterial")
    venous = constants.number("contrast.correction.portal_venous")
    if phase is Phase.ARTERIAL:
        return arterial, 0.0
    if phase is Phase.PORTAL_VENOUS:
        return venous, 0.0
    if phase is Phase.ENHANCED:
        return (arterial + venous) / 2.0, abs(venous - arterial) / 2.0
    return 0.0, 0.0
