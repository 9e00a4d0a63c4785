"""Phantomless calibration: from the patient's own air, fat, muscle and blood to density.

Multi-reference weighted fit with pseudo-observations (the scanner is in specification), then the mineral slope
for tube voltage, filter and water-equivalent diameter. See Engelke, Chaudry, Bartenschlager 2023 (Curr Osteoporos
Rep 21:65-76) for the family of methods; spectra and marrow follow from first principles in the calibration model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trabecula.anatomy import Anatomy
from trabecula.calibration.beam import KnownBeam, known_beam, marrow_correction_hu, nominal_tissue, spectrum_refusal
from trabecula.calibration.beam import to_120kvp as beam_to_120kvp
from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    DensityScale,
    ReferenceMeasurement,
    ReferenceTissue,
)
from trabecula.calibration.contrast import ContrastFinding, Phase, correction_hu, find_contrast
from trabecula.calibration.model import CalibrationModel, load_calibration
from trabecula.calibration.patient_size import PatientSize, water_equivalent_size
from trabecula.calibration.references import fit_references
from trabecula.calibration.samples import Sample, take_samples
from trabecula.calibration.sections import take_sections
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, CtVolume, SpectralFilter
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage

__all__ = ["CalibrationModel", "calibrate", "calibrate_samples", "load_calibration"]


def calibrate(
    volume: CtVolume,
    anatomy: Anatomy,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
) -> Calibration | Refusal:
    """Find gain, offset, mineral slope and corrections of this scan, each with its uncertainty.

    Refuses when the spectrum is outside the model's range or cannot be known, and when every real reference is
    rejected.
    """
    sections = take_sections(volume, anatomy, constants)
    size = water_equivalent_size(sections)
    if size is None:
        return _no_reference()
    return calibrate_samples(take_samples(sections, constants), size, acquisition, model, constants)


def calibrate_samples(
    samples: Mapping[ReferenceTissue, Sample],
    size: PatientSize,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
) -> Calibration | Refusal:
    """Calibrate from what was measured in the image; refuses as :func:`calibrate` does."""
    refusal = spectrum_refusal(acquisition, model, constants)
    if refusal is not None:
        return refusal
    beam = known_beam(acquisition, size.water_equivalent_diameter_cm, model, constants)
    contrast = find_contrast(samples[ReferenceTissue.AORTIC_BLOOD], acquisition.contrast, constants)
    nominal = {tissue: nominal_tissue(tissue, beam, contrast.enhanced, constants) for tissue in ReferenceTissue}
    references, line = fit_references(samples, nominal, _barred(contrast), model, constants)
    if not any(reference.used for reference in references):
        return _no_reference()
    contrast_hu, contrast_uncertainty = _contrast_terms(contrast, beam, constants)
    marrow_hu, marrow_uncertainty = marrow_correction_hu(beam, constants)
    to_gain, to_offset = beam_to_120kvp(beam, constants)
    return Calibration(
        method=CalibrationMethod.PHANTOMLESS,
        scale=DensityScale(constants.text("calibration.scale")),
        gain=line.gain,
        offset_hu=line.offset_hu,
        gain_variance=line.gain_variance,
        offset_variance_hu2=line.offset_variance_hu2,
        gain_offset_covariance_hu=line.covariance_hu,
        slope_hu_per_mg_cm3=beam.taken.slope_hu_per_mg_cm3,
        slope_standard_uncertainty=math.hypot(
            beam.taken.slope_standard_uncertainty, beam.uncertain(lambda s: s.slope_hu_per_mg_cm3)
        ),
        effective_kvp=beam.kvp,
        water_equivalent_diameter_cm=size.water_equivalent_diameter_cm,
        contrast_enhanced=contrast.enhanced,
        contrast_evidence=contrast.evidence,
        contrast_correction_hu=contrast_hu,
        contrast_standard_uncertainty_hu=contrast_uncertainty,
        references=references,
        model_name=model.use.name,
        model_version=model.use.version,
        notices=(
            *contrast.notices,
            *_beam_notices(acquisition, beam, size, model),
            *_reference_notices(references, samples),
        ),
        marrow_correction_hu=marrow_hu,
        marrow_standard_uncertainty_hu=marrow_uncertainty,
        to_120kvp_gain=to_gain,
        to_120kvp_offset_hu=to_offset,
    )


def _no_reference() -> Refusal:
    return Refusal(
        RefusalCode.CALIBRATION_REFERENCES_REJECTED,
        Stage.CALIBRATION,
        "None of outside air, subcutaneous fat, paraspinal muscle and aortic blood could be used to calibrate.",
        "Send a series with the whole body wall in view, in Hounsfield units as the scanner reconstructed them.",
    )


def _barred(contrast: ContrastFinding) -> Mapping[ReferenceTissue, str]:
    if contrast.blood_may_calibrate:
        return {}
    return {ReferenceTissue.AORTIC_BLOOD: f"contrast medium ({contrast.phase.value})"}


def _contrast_terms(contrast: ContrastFinding, beam: KnownBeam, constants: ClinicalConstants) -> tuple[float, float]:
    """HU to subtract in this beam and its standard uncertainty."""
    slope = beam.taken.slope_hu_per_mg_cm3
    if contrast.phase is Phase.UNENHANCED:
        return 0.0, 0.0
    if contrast.phase is Phase.UNKNOWN:
        return 0.0, slope * constants.number("contrast.unknown_standard_uncertainty")
    amount, half_range = correction_hu(contrast.phase, constants)
    iodine = beam.taken.iodine_hu_per_mg_ml / beam.anchor.iodine_hu_per_mg_ml
    spread = slope * constants.number("contrast.standard_uncertainty")
    return iodine * amount, math.hypot(spread, iodine * half_range)


def _notice(code: str, severity: Severity, message: str) -> Notice:
    return Notice(code, Stage.CALIBRATION, severity, message)


def _beam_notices(
    acquisition: Acquisition, beam: KnownBeam, size: PatientSize, model: CalibrationModel
) -> tuple[Notice, ...]:
    notices = []
    if acquisition.kvp is None:
        message = f"The header names no tube voltage; {beam.kvp:.0f} kV was assumed and the uncertainty widened."
        notices.append(_notice("tube-voltage-unknown", Severity.WARNING, message))
    if acquisition.spectral_filter is SpectralFilter.UNKNOWN:
        message = "The header does not name the X-ray filter; none beyond the usual aluminium was assumed."
        notices.append(_notice("filter-unknown", Severity.INFORMATION, message))
    if size.truncated:
        message = "The field of view cuts the body: its size, and with it the mineral slope, is less certain."
        notices.append(_notice("body-truncated", Severity.WARNING, message))
    low, high = model.diameter_range_cm
    if not low <= size.water_equivalent_diameter_cm <= high:
        message = f"The body's size is outside {low:.0f} to {high:.0f} cm; the nearest size was used."
        notices.append(_notice("size-outside-table", Severity.WARNING, message))
    return tuple(notices)


def _reference_notices(
    references: Sequence[ReferenceMeasurement], samples: Mapping[ReferenceTissue, Sample]
) -> tuple[Notice, ...]:
    notices = [
        _notice(
            "reference-not-measured",
            Severity.INFORMATION,
            f"Calibration reference {sample.tissue.value} could not be measured: {sample.unusable_because}.",
        )
        for sample in samples.values()
        if sample.hu is None
    ]
    if not any(r.used for r in references if r.tissue is not ReferenceTissue.OUTSIDE_AIR):
        message = "No soft tissue could be used to calibrate: the density rests on the scanner being in specification."
        notices.append(_notice("calibration-on-air-alone", Severity.WARNING, message))
    return tuple(notices)
