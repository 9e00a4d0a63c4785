"""Internal calibration by mass attenuation, after Michalski 2020 (Med Eng Phys 78:55-63): a comparator.

Written from the paper's description. Tissues of tabulated composition tell the effective energy at which their HU fit
their mass attenuation best; two lines (HU to mass attenuation, HU to density) then give the K2HPO4 share of a mixture
with triglyceride. Its answers are not on the scale of QCT phantoms (water reads about 33 mg/cm3, the slope is about
half), so it is never chosen unless a site or a benchmark asks for it by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from trabecula.calibration.build import build_calibration
from trabecula.calibration.calibration import Calibration, CalibrationMethod, ReferenceMeasurement, ReferenceTissue
from trabecula.calibration.comparator import MassAttenuationModel, MixtureCurve
from trabecula.calibration.contrast import ContrastFinding
from trabecula.calibration.method import NotOffered, Scan, Verdict
from trabecula.calibration.model import Line
from trabecula.calibration.samples import Sample
from trabecula.outcome import Notice, Severity, Stage


@dataclass(frozen=True)
class MassAttenuation:
    """The comparator as a method."""

    @property
    def method(self) -> CalibrationMethod:
        return CalibrationMethod.MASS_ATTENUATION

    def calibrate(self, scan: Scan) -> Verdict:
        """Calibrate by the tissues in view; contrast, kernel and slice steps are as for every method."""
        model = scan.model.mass_attenuation
        if model is None:
            return NotOffered("the model bundle of this method is not installed")
        usable = _usable(scan.findings.samples, scan.ground.contrast, model)
        if len(usable) < model.fewest_tissues:
            return NotOffered(f"{model.fewest_tissues} tissues are needed, {len(usable)} can be used")
        return _from_curve(scan, model, model.curve({t: float(s.hu or 0.0) for t, s in usable.items()}), usable)


def _usable(
    samples: Mapping[ReferenceTissue, Sample], contrast: ContrastFinding, model: MassAttenuationModel
) -> dict[ReferenceTissue, Sample]:
    barred = set() if contrast.blood_may_calibrate else {ReferenceTissue.AORTIC_BLOOD}
    return {t: s for t, s in samples.items() if t in model.tissues and t not in barred and s.hu is not None}


def _from_curve(
    scan: Scan, model: MassAttenuationModel, curve: MixtureCurve, used: Mapping[ReferenceTissue, Sample]
) -> Calibration:
    """The curve in the report's form: slope and curvature at 0 HU, its constant in the final shift."""
    slope = 1.0 / curve.linear_mg_cm3_per_hu
    spread = scan.constants.number("calibration.mass_attenuation.standard_uncertainty")
    message = (
        "Densities are by the mass-attenuation method (Michalski 2020), a comparator that is not on the scale of QCT "
        f"phantoms (effective energy {curve.energy_kev:.1f} keV, R squared {curve.r_squared:.4f})."
    )
    built = build_calibration(
        scan,
        CalibrationMethod.MASS_ATTENUATION,
        Line(1.0, 0.0, 0.0, (spread * slope) ** 2, 0.0),
        slope_hu_per_mg_cm3=slope,
        slope_standard_uncertainty=0.0,
        references=tuple(
            ReferenceMeasurement(t, float(s.hu or 0.0), float(s.hu or 0.0), s.standard_error_hu, s.voxels, True, None)
            for t, s in used.items()
        ),
        notices=(Notice("comparator-not-on-phantom-scale", Stage.CALIBRATION, Severity.WARNING, message),),
    )
    return replace(
        built,
        marrow_correction_hu=0.0,
        marrow_standard_uncertainty_hu=0.0,
        curvature_mg_cm3_per_hu2=curve.quadratic_mg_cm3_per_hu2,
        density_correction_mg_cm3=built.density_correction_mg_cm3 - curve.constant_mg_cm3,
        corrections=tuple(step for step in built.corrections if step is not scan.ground.marrow_step),
        model_name=model.use.name,
        model_version=model.use.version,
    )
