"""Attenuation alone: what is left when nothing can calibrate. It serves the HU pre-screen and gives no density."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.calibration.build import build_calibration
from trabecula.calibration.calibration import Calibration, CalibrationMethod
from trabecula.calibration.method import Scan
from trabecula.calibration.references import specification
from trabecula.outcome import Notice, Severity, Stage


@dataclass(frozen=True)
class HuOnly:
    """HU as the scanner shows them, its specification taken as their error."""

    @property
    def method(self) -> CalibrationMethod:
        return CalibrationMethod.HU_ONLY

    def calibrate(self, scan: Scan) -> Calibration:
        beam = scan.ground.beam
        message = "Attenuation could not be calibrated: it serves as a pre-screen only, and no density is given."
        return build_calibration(
            scan,
            self.method,
            scan.model.fit(specification(scan.constants)),
            slope_hu_per_mg_cm3=beam.path_ratio * beam.taken.slope_hu_per_mg_cm3,
            slope_standard_uncertainty=beam.taken.slope_standard_uncertainty,
            slope_size_standard_uncertainty=beam.by_size(lambda s: s.slope_hu_per_mg_cm3),
            steps=beam.steps,
            notices=(Notice("attenuation-only", Stage.CALIBRATION, Severity.WARNING, message),),
        )
