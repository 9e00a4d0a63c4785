"""Phantomless calibration: from the patient's own air, fat, muscle, blood and organs to density.

Multi-reference weighted fit with pseudo-observations (the scanner is in specification), then the mineral slope
for tube voltage, filter and water-equivalent diameter; or one of its published masks. See Engelke, Chaudry,
Bartenschlager 2023 (Curr Osteoporos Rep 21:65-76) for the family of methods; spectra and marrow follow from first
principles in the calibration model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trabecula.calibration.beam import nominal_tissue
from trabecula.calibration.build import build_calibration
from trabecula.calibration.calibration import CalibrationMethod, ReferenceMeasurement, ReferenceTissue
from trabecula.calibration.contrast import muscle_rise_hu
from trabecula.calibration.ground import Ground
from trabecula.calibration.method import NotOffered, Scan, Verdict
from trabecula.calibration.reference_sets import ALL_REFERENCES, ReferenceSet
from trabecula.calibration.references import fit_references
from trabecula.calibration.samples import Sample
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage

_IODINE: frozenset[ReferenceTissue] = frozenset(
    {ReferenceTissue.AORTIC_BLOOD, ReferenceTissue.LIVER, ReferenceTissue.SPLEEN}
)
"""Tissues that contrast medium makes useless as references."""


@dataclass(frozen=True)
class Phantomless:
    """A phantomless form."""

    references: ReferenceSet = ALL_REFERENCES

    @property
    def method(self) -> CalibrationMethod:
        return self.references.method

    def calibrate(self, scan: Scan) -> Verdict:
        """Fit the line; not offered without references, refused when those that show contradict Hounsfield units."""
        ground, constants = scan.ground, scan.constants
        samples = {t: s for t, s in scan.findings.samples.items() if t in self.references.tissues}
        rise = muscle_rise_hu(ground.contrast.phase, constants)
        nominal = {t: nominal_tissue(t, ground.beam, rise, constants) for t in samples}
        references, line = fit_references(samples, nominal, _barred(ground), scan.model, constants, self.references)
        if line is None:
            return _without_references(references, self.references)
        beam = ground.beam
        return build_calibration(
            scan,
            self.method,
            line,
            slope_hu_per_mg_cm3=beam.path_ratio * beam.taken.slope_hu_per_mg_cm3,
            slope_standard_uncertainty=math.hypot(
                beam.taken.slope_standard_uncertainty, beam.uncertain(lambda s: s.slope_hu_per_mg_cm3)
            ),
            slope_size_standard_uncertainty=beam.by_size(lambda s: s.slope_hu_per_mg_cm3),
            references=references,
            steps=beam.steps,
            notices=_reference_notices(references, samples),
        )


def _barred(ground: Ground) -> Mapping[ReferenceTissue, str]:
    if ground.bone_map is not None:
        soft = frozenset(ReferenceTissue) - {ReferenceTissue.OUTSIDE_AIR}
        return dict.fromkeys(soft, "virtual unenhanced image")
    if ground.contrast.blood_may_calibrate:
        return {}
    return dict.fromkeys(_IODINE, f"contrast medium ({ground.contrast.phase.value})")


def _without_references(references: Sequence[ReferenceMeasurement], wanted: ReferenceSet) -> NotOffered | Refusal:
    implausible = [r for r in references if r.gate_hu is not None and abs(r.hu_measured - r.hu_nominal) > r.gate_hu]
    if implausible and not wanted.all_needed:
        return Refusal(
            RefusalCode.CALIBRATION_REFERENCES_REJECTED,
            Stage.CALIBRATION,
            "None of outside air, subcutaneous fat, muscle, blood and organs could be used to calibrate: those that "
            "show are not where Hounsfield units would put them.",
            "Send a series with the whole body wall in view, in Hounsfield units as the scanner reconstructed them.",
        )
    usable = {r.tissue for r in references if r.used}
    missing = sorted(t.value for t in wanted.tissues - usable)
    return NotOffered(f"no usable reference: {', '.join(missing)}")


def _reference_notices(
    references: Sequence[ReferenceMeasurement], samples: Mapping[ReferenceTissue, Sample]
) -> tuple[Notice, ...]:
    notices = [
        Notice(
            "reference-not-measured",
            Stage.CALIBRATION,
            Severity.INFORMATION,
            f"Calibration reference {sample.tissue.value} could not be measured: {sample.unusable_because}.",
        )
        for sample in samples.values()
        if sample.hu is None
    ]
    if not any(r.used for r in references if r.tissue is not ReferenceTissue.OUTSIDE_AIR):
        message = "No soft tissue could be used to calibrate: the density rests on the scanner being in specification."
        notices.append(Notice("calibration-on-air-alone", Stage.CALIBRATION, Severity.WARNING, message))
    return tuple(notices)
