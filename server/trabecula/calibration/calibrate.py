"""The calibration stage: measure the scan once, then take the first method of the profile that it allows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from trabecula.anatomy import Anatomy
from trabecula.calibration.beam import spectrum_refusal
from trabecula.calibration.calibration import Calibration, MethodVerdict, ReferenceTissue
from trabecula.calibration.findings import ScanFindings, find_in_scan
from trabecula.calibration.ground import lay_ground, map_for
from trabecula.calibration.method import NotOffered, Scan
from trabecula.calibration.model import CalibrationModel, load_calibration
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.profile import DEFAULT_PROFILE, CalibrationProfile
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, CtVolume
from trabecula.outcome import Refusal, RefusalCode, Stage

__all__ = ["CalibrationModel", "calibrate", "calibrate_findings", "calibrate_samples", "load_calibration"]


def calibrate(
    volume: CtVolume,
    anatomy: Anatomy,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
    profile: CalibrationProfile = DEFAULT_PROFILE,
) -> Calibration | Refusal:
    """Find gain, offset, mineral slope and corrections of this scan, each with its uncertainty.

    Refuses when the spectrum is outside the model's range or cannot be known, and when no method of the profile
    can calibrate the scan.
    """
    findings = find_in_scan(volume, anatomy, constants, profile.site.without, profile.phantoms)
    return calibrate_findings(findings, acquisition, model, constants, profile)


def calibrate_findings(
    findings: ScanFindings,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
    profile: CalibrationProfile = DEFAULT_PROFILE,
) -> Calibration | Refusal:
    """Calibrate from what was measured in the image; refuses as :func:`calibrate` does."""
    if acquisition.virtual_unenhanced and map_for(acquisition, profile.site) is None:
        return _no_map()
    refusal = None if acquisition.virtual_unenhanced else spectrum_refusal(acquisition, model, constants)
    if refusal is not None:
        return refusal
    if findings.size is None:
        return _nothing_left(MethodVerdict(m.method, "no body in the picture") for m in profile.methods)
    ground = lay_ground(findings, findings.size, acquisition, model, constants, profile.site)
    scan = Scan(findings, ground, acquisition, model, constants, profile.site)
    passed: list[MethodVerdict] = []
    for method in profile.methods:
        verdict = method.calibrate(scan)
        if isinstance(verdict, Refusal):
            return verdict
        if isinstance(verdict, NotOffered):
            passed.append(MethodVerdict(method.method, verdict.because))
            continue
        because = f"{'first' if not passed else 'next'} method of the profile {profile.name} that this scan allows"
        return replace(verdict, chosen_because=because, alternatives=tuple(passed))
    return _nothing_left(passed)


def calibrate_samples(
    samples: Mapping[ReferenceTissue, Sample],
    size: PatientSize,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
    profile: CalibrationProfile = DEFAULT_PROFILE,
) -> Calibration | Refusal:
    """:func:`calibrate_findings` from reference tissues and size alone."""
    return calibrate_findings(ScanFindings(samples, size), acquisition, model, constants, profile)


def _no_map() -> Refusal:
    return Refusal(
        RefusalCode.DERIVED_ONLY,
        Stage.CALIBRATION,
        "The images are virtual unenhanced ones of a dual-energy scan, whose bone attenuation is far too low, and the "
        "site has fitted no map for this scanner.",
        "Send the series as scanned, or fit a map and name it in the calibration file.",
    )


def _nothing_left(passed: Iterable[MethodVerdict]) -> Refusal:
    reasons = "; ".join(f"{verdict.method.value}: {verdict.because}" for verdict in passed)
    return Refusal(
        RefusalCode.CALIBRATION_REFERENCES_REJECTED,
        Stage.CALIBRATION,
        f"No calibration method of the profile can be used ({reasons}).",
        "Send a series with the whole body wall in view, in Hounsfield units as the scanner reconstructed them.",
    )
