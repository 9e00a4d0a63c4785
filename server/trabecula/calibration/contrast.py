"""Whether contrast medium is in the picture and in which phase, by vessels, organs and the header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trabecula.calibration.beam import KnownBeam
from trabecula.calibration.calibration import CorrectionName, CorrectionStep
from trabecula.calibration.organs import Organ, OrganSample
from trabecula.calibration.site import ContrastRegression, SiteCorrections, Vessel
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


_PHASES: Final = (Phase.UNENHANCED, Phase.ARTERIAL, Phase.PORTAL_VENOUS)
_FIELDS: Final = {Phase.UNENHANCED: "unenhanced", Phase.ARTERIAL: "arterial", Phase.PORTAL_VENOUS: "portal_venous"}
_HEADER: Final = {
    ContrastTag.GIVEN: "header says contrast medium was given",
    ContrastTag.NOT_GIVEN: "header says none was given",
    ContrastTag.UNKNOWN: "header does not say",
}
_BY_HEADER: Final = {
    ContrastTag.GIVEN: Phase.ENHANCED,
    ContrastTag.NOT_GIVEN: Phase.UNENHANCED,
    ContrastTag.UNKNOWN: Phase.UNKNOWN,
}


def find_contrast(
    aorta_hu: float | None,
    organs: Mapping[Organ, OrganSample],
    tag: ContrastTag,
    iodine_ratio: float,
    constants: ClinicalConstants,
) -> ContrastFinding:
    """Judge the contrast phase; pixels outweigh the header (which also speaks of contrast that was drunk).

    Args:
        aorta_hu: attenuation of the aorta as on the scan; None where it could not be measured.
        iodine_ratio: HU of iodine in this beam over that at 120 kVp.
    """
    seen = {"aorta": aorta_hu, **{organ.value: sample.hu for organ, sample in organs.items()}}
    measured = {name: hu for name, hu in seen.items() if hu is not None and f"contrast.phase.{name}" in constants}
    if measured:
        phase = _most_likely(_log_likelihoods(measured, tag, iodine_ratio, constants), constants)
    else:
        phase = _BY_HEADER[tag]
    pixels = ", ".join(f"{name} {hu:.0f} HU" for name, hu in measured.items())
    evidence = f"{phase.value}: {pixels or 'no vessel or organ could be measured'}, {_HEADER[tag]}"
    blood = phase is Phase.UNENHANCED and tag is not ContrastTag.GIVEN
    return ContrastFinding(phase, evidence, blood, _notices(phase, tag, evidence))


def _log_likelihoods(
    measured: Mapping[str, float], tag: ContrastTag, iodine_ratio: float, constants: ClinicalConstants
) -> dict[Phase, float]:
    """Log posterior of each phase, up to a constant: normal in each organ, an organ far off counting only so much."""
    rule = constants.row("contrast.phase_rule")
    log_prior = {
        ContrastTag.GIVEN: -math.log(rule.number("header_odds")),
        ContrastTag.NOT_GIVEN: math.log(rule.number("header_odds")),
        ContrastTag.UNKNOWN: 0.0,
    }
    scores = dict.fromkeys(_PHASES, 0.0)
    scores[Phase.UNENHANCED] = log_prior[tag]
    for name, seen_hu in measured.items():
        row = constants.row(f"contrast.phase.{name}")
        native = row.number("unenhanced_hu")
        expected_hu = {
            phase: native + iodine_ratio * (row.number(f"{field}_hu") - native) for phase, field in _FIELDS.items()
        }
        # beyond the darkest and the brightest phase, further is no evidence against either
        hu = min(max(seen_hu, min(expected_hu.values())), max(expected_hu.values()))
        for phase, field in _FIELDS.items():
            spread = row.number(f"{field}_sd_hu") * (1.0 if phase is Phase.UNENHANCED else iodine_ratio)
            far = 0.5 * ((hu - expected_hu[phase]) / spread) ** 2
            scores[phase] -= min(far, rule.number("most_against")) + math.log(spread)
    return scores


def _most_likely(scores: Mapping[Phase, float], constants: ClinicalConstants) -> Phase:
    top = max(scores.values())
    weights = {phase: math.exp(score - top) for phase, score in scores.items()}
    total = sum(weights.values())
    sure = constants.row("contrast.phase_rule").number("sure_probability")
    unenhanced = weights[Phase.UNENHANCED] / total
    if unenhanced >= sure:
        return Phase.UNENHANCED
    if unenhanced > 1.0 - sure:
        return Phase.UNKNOWN
    arterial = weights[Phase.ARTERIAL] / (weights[Phase.ARTERIAL] + weights[Phase.PORTAL_VENOUS])
    if 1.0 - sure < arterial < sure:
        return Phase.ENHANCED
    return Phase.ARTERIAL if arterial >= sure else Phase.PORTAL_VENOUS


def _notices(phase: Phase, tag: ContrastTag, evidence: str) -> tuple[Notice, ...]:
    def notice(code: str, severity: Severity, message: str) -> tuple[Notice, ...]:
        return (Notice(code, Stage.CALIBRATION, severity, f"{message} ({evidence})."),)

    if phase is Phase.UNKNOWN:
        return notice("contrast-unknown", Severity.WARNING, "It is not known whether contrast medium was given")
    if phase is Phase.UNENHANCED:
        if tag is ContrastTag.GIVEN:
            message = "The header speaks of contrast medium that does not show in the vessels; nothing was subtracted"
            return notice("contrast-not-seen", Severity.INFORMATION, message)
        return ()
    message = "Contrast medium raises bone attenuation; a correction was subtracted and the uncertainty widened"
    return notice("contrast-corrected", Severity.WARNING, message)


def bone_correction(
    finding: ContrastFinding,
    aorta_hu: float | None,
    organs: Mapping[Organ, OrganSample],
    beam: KnownBeam,
    constants: ClinicalConstants,
    site: SiteCorrections,
) -> CorrectionStep:
    """What iodine adds to trabecular HU in this beam: by the site's own regression where it has one, else by phase."""
    slope = beam.taken.slope_hu_per_mg_cm3
    if finding.phase is Phase.UNENHANCED:
        return CorrectionStep(CorrectionName.CONTRAST, 0.0, "HU", finding.evidence, 0.0)
    if finding.phase is Phase.UNKNOWN:
        spread = slope * constants.number("contrast.unknown_standard_uncertainty")
        return CorrectionStep(CorrectionName.CONTRAST, 0.0, "HU", finding.evidence, spread)
    blood_hu = constants.row("calibration.reference.aortic_blood").number("nominal_hu")
    fitted = _by_vessel(site.contrast, aorta_hu, organs, beam, blood_hu) if site.contrast is not None else None
    if fitted is not None:
        return fitted
    amount, half_range = correction_hu(finding.phase, constants)
    iodine = beam.iodine_ratio()
    kind = "arterial" if finding.phase is Phase.ARTERIAL else "portal_venous"
    left_over = constants.row("contrast.standard_uncertainty").number(kind)
    spread = math.hypot(slope * left_over, iodine * half_range)
    source = constants[f"contrast.correction.{kind}"].source
    return CorrectionStep(CorrectionName.CONTRAST, iodine * amount, "HU", source, spread)


def _by_vessel(
    fit: ContrastRegression,
    aorta_hu: float | None,
    organs: Mapping[Organ, OrganSample],
    beam: KnownBeam,
    native_hu: float,
) -> CorrectionStep | None:
    """The site's regression; None where its vessel is not measured or lies outside what was fitted."""
    portal = organs.get(Organ.PORTAL_VEIN)
    vessel_hu = aorta_hu if fit.vessel is Vessel.AORTA else None if portal is None else portal.hu
    if vessel_hu is None:
        return None
    iodine = beam.taken.iodine_hu_per_mg_ml / beam.at_kvp(fit.kvp).iodine_hu_per_mg_ml
    at_fit_hu = native_hu + (vessel_hu - native_hu) / iodine
    low, high = fit.vessel_range_hu
    if not low <= at_fit_hu <= high:
        return None
    amount = iodine * (fit.intercept_hu + fit.slope * at_fit_hu)
    return CorrectionStep(CorrectionName.CONTRAST, amount, "HU", fit.source, iodine * fit.residual_sd_hu)


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


def muscle_rise_hu(phase: Phase, constants: ClinicalConstants) -> float:
    """What contrast medium adds to skeletal muscle at 120 kVp; 0 where none is known of."""
    row = constants.row("contrast.muscle")
    arterial, venous = row.number("arterial_hu"), row.number("portal_venous_hu")
    return {Phase.ARTERIAL: arterial, Phase.PORTAL_VENOUS: venous, Phase.ENHANCED: (arterial + venous) / 2.0}.get(
        phase, 0.0
    )
