"""What is known of the beam, and what follows from it for tissues, mineral and marrow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.model import Beam, CalibrationModel, Spectrum
from trabecula.calibration.references import Nominal
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode, Stage


@dataclass(frozen=True)
class KnownBeam:
    """The beam taken, and the two it may lie between where the header does not name the tube voltage."""

    kvp: float
    taken: Spectrum
    ends: tuple[Spectrum, Spectrum] | None
    at_120kvp: Spectrum
    """Same patient, 120 kVp, no tin."""
    anchor: Spectrum
    """The beam of the nominal reference HU, whose reading defines density."""

    def uncertain(self, quantity: Callable[[Spectrum], float]) -> float:
        """Half the difference of a quantity between the two ends; 0 where the beam is known."""
        return abs(quantity(self.ends[0]) - quantity(self.ends[1])) / 2.0 if self.ends else 0.0


def spectrum_refusal(acquisition: Acquisition, model: CalibrationModel, constants: ClinicalConstants) -> Refusal | None:
    """Refuse a beam that the model's table does not hold or that the header leaves open by too much."""
    kvp, low_high = acquisition.kvp, model.kvp_range
    tin = acquisition.spectral_filter is SpectralFilter.TIN
    unknown_filter = acquisition.spectral_filter is SpectralFilter.UNKNOWN
    if kvp is None:
        problem = "a tin filter was used but the tube voltage is not given" if tin else None
    elif not low_high[0] <= kvp <= low_high[1]:
        problem = f"a tube voltage of {kvp:.0f} kV is outside {low_high[0]:.0f} to {low_high[1]:.0f} kV"
    elif unknown_filter and kvp > constants.number("calibration.spectrum.needs_known_filter_above_kvp"):
        problem = f"at {kvp:.0f} kV the filter must be known, and the header does not name it"
    else:
        problem = None
    if problem is None:
        return None
    return Refusal(
        RefusalCode.SPECTRUM_UNKNOWN,
        Stage.CALIBRATION,
        f"The X-ray spectrum cannot be told: {problem}.",
        "Send the original series with its acquisition tags, or one taken at 70 to 150 kV.",
    )


def known_beam(
    acquisition: Acquisition, diameter_cm: float, model: CalibrationModel, constants: ClinicalConstants
) -> KnownBeam:
    """Look the beam up; a missing tube voltage is assumed, with the range it may have."""
    relative = constants.number("calibration.slope.relative_standard_uncertainty")
    tin = acquisition.spectral_filter is SpectralFilter.TIN

    def look_up(kvp: float, filtered: bool) -> Spectrum:
        return model.spectrum(Beam(kvp, filtered, diameter_cm), relative)

    ends = None
    kvp = acquisition.kvp
    if kvp is None:
        rule = constants.row("calibration.spectrum.unknown_kvp")
        kvp = rule.number("assumed_kvp")
        ends = look_up(rule.number("low_kvp"), tin), look_up(rule.number("high_kvp"), tin)
    return KnownBeam(kvp, look_up(kvp, tin), ends, look_up(120.0, False), model.anchor)


def nominal_tissue(tissue: ReferenceTissue, beam: KnownBeam, enhanced: bool, constants: ClinicalConstants) -> Nominal:
    """Nominal HU moved from the anchor's beam to this one, with the spread between people."""
    row = constants.row(f"calibration.reference.{tissue.value.replace('-', '_')}")
    hu, spread = row.number("nominal_hu"), row.number("standard_deviation_hu")
    if tissue is ReferenceTissue.OUTSIDE_AIR:
        return Nominal(hu, spread)
    hu += beam.taken.tissue_hu[tissue] - beam.anchor.tissue_hu[tissue]
    spread = math.hypot(spread, beam.uncertain(lambda s: s.tissue_hu[tissue]))
    if enhanced and tissue is ReferenceTissue.PARASPINAL_MUSCLE:
        rise = constants.row("contrast.muscle")
        iodine = beam.taken.iodine_hu_per_mg_ml / beam.anchor.iodine_hu_per_mg_ml
        hu += iodine * rise.number("shift_hu")
        spread = math.hypot(spread, iodine * rise.number("standard_deviation_hu"))
    return Nominal(hu, spread)


def marrow_correction_hu(beam: KnownBeam, constants: ClinicalConstants) -> tuple[float, float]:
    """What marrow adds to trabecular HU in this beam beyond what the mineral slope's change predicts, and its SD.

    Density is what QCT reads in the anchor's beam, where HU = m0 + s0 * mineral = s0 * density (m0: marrow without
    mineral). In another beam HU = m + s * mineral, so HU - (m - m0 * s / s0) = s * density. 0 in the anchor's beam.
    """
    row = constants.row("density.marrow_fat_fraction")
    fat = row.number("mean")

    def correction(spectrum: Spectrum, fat_fraction: float) -> float:
        ratio = spectrum.slope_hu_per_mg_cm3 / beam.anchor.slope_hu_per_mg_cm3
        return spectrum.marrow_hu(fat_fraction) - beam.anchor.marrow_hu(fat_fraction) * ratio

    amount = correction(beam.taken, fat)
    by_fat = correction(beam.taken, fat + row.number("standard_deviation")) - amount
    by_model = constants.number("density.marrow_model_relative_uncertainty") * amount
    return amount, math.hypot(by_fat, by_model, beam.uncertain(lambda s: correction(s, fat)))


def to_120kvp(beam: KnownBeam, constants: ClinicalConstants) -> tuple[float, float]:
    """Gain and offset that bring trabecular HU to 120 kVp in the same patient: only the mineral part scales."""
    fat = constants.row("density.marrow_fat_fraction").number("mean")
    gain = beam.at_120kvp.slope_hu_per_mg_cm3 / beam.taken.slope_hu_per_mg_cm3
    return gain, beam.at_120kvp.marrow_hu(fat) - gain * beam.taken.marrow_hu(fat)
