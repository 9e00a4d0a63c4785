"""What is known of the beam, and what follows from it for tissues, mineral and marrow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from trabecula.calibration.calibration import CorrectionName, CorrectionStep, ReferenceTissue
from trabecula.calibration.model import Beam, CalibrationModel, Spectrum
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.references import Nominal
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, SpectralFilter
from trabecula.outcome import Refusal, RefusalCode, Stage

_SLOPE_SOURCE = "calibration.slope.relative_standard_uncertainty"


@dataclass(frozen=True)
class KnownBeam:
    """The beam taken, and the two it may lie between where the header does not name the tube voltage."""

    kvp: float
    tin: bool
    diameter_cm: float
    taken: Spectrum
    ends: tuple[Spectrum, Spectrum] | None
    sizes: tuple[Spectrum, Spectrum]
    """One standard uncertainty of the patient's size below and above."""
    at_120kvp: Spectrum
    """Same patient, 120 kVp, no tin."""
    anchor: Spectrum
    """The beam of the nominal reference HU, whose reading defines density."""
    at_kvp: Callable[[float], Spectrum]
    """Same patient, another tube voltage, no tin."""
    path_ratio: float
    """Mineral slope in a body over that behind as much water on the axis."""
    steps: tuple[CorrectionStep, ...] = ()
    """Size, tube voltage and filter as they change the mineral slope."""

    def uncertain(self, quantity: Callable[[Spectrum], float]) -> float:
        """Half the difference of a quantity between the two ends; 0 where the beam is known."""
        return abs(quantity(self.ends[0]) - quantity(self.ends[1])) / 2.0 if self.ends else 0.0

    def by_size(self, quantity: Callable[[Spectrum], float]) -> float:
        """Standard uncertainty of a quantity from that of the patient's size."""
        return abs(quantity(self.sizes[0]) - quantity(self.sizes[1])) / 2.0

    def iodine_ratio(self) -> float:
        """HU of iodine in this beam over that at the anchor."""
        return self.taken.iodine_hu_per_mg_ml / self.anchor.iodine_hu_per_mg_ml


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
    acquisition: Acquisition,
    size: PatientSize,
    model: CalibrationModel,
    constants: ClinicalConstants,
    without: frozenset[CorrectionName] = frozenset(),
) -> KnownBeam:
    """Look the beam up; a missing tube voltage is assumed, with the range it may have.

    A step in ``without`` leaves its quantity at the anchor's: 120 kVp, no tin, 25 cm.
    """
    relative = constants.number(_SLOPE_SOURCE)
    rule = constants.row("calibration.spectrum.unknown_kvp")
    stated_kvp = acquisition.kvp if acquisition.kvp is not None else rule.number("assumed_kvp")
    stated_tin = acquisition.spectral_filter is SpectralFilter.TIN
    stated_cm = size.water_equivalent_diameter_cm
    kvp = model.anchor_beam.kvp if CorrectionName.TUBE_VOLTAGE in without else stated_kvp
    tin = stated_tin and CorrectionName.TIN_FILTER not in without
    diameter_cm = model.anchor_beam.diameter_cm if CorrectionName.PATIENT_SIZE in without else stated_cm

    def look_up(at_kvp: float, filtered: bool, at_cm: float = diameter_cm) -> Spectrum:
        return model.spectrum(Beam(at_kvp, filtered, at_cm), relative)

    ends = None
    if acquisition.kvp is None:
        ends = look_up(rule.number("low_kvp"), tin), look_up(rule.number("high_kvp"), tin)
    spread_cm = size.standard_uncertainty_cm
    sizes = look_up(kvp, tin, diameter_cm - spread_cm), look_up(kvp, tin, diameter_cm + spread_cm)
    slopes = (
        model.anchor.slope_hu_per_mg_cm3,
        look_up(model.anchor_beam.kvp, False, stated_cm).slope_hu_per_mg_cm3,
        look_up(stated_kvp, False, stated_cm).slope_hu_per_mg_cm3,
        look_up(stated_kvp, stated_tin, stated_cm).slope_hu_per_mg_cm3,
    )
    size_ratio, kvp_ratio, tin_ratio = (after / before for before, after in pairwise(slopes))
    path_ratio = _path_ratio(stated_cm, constants)
    known = KnownBeam(
        kvp=stated_kvp,
        tin=tin,
        diameter_cm=diameter_cm,
        taken=look_up(kvp, tin),
        ends=ends,
        sizes=sizes,
        at_120kvp=look_up(120.0, False),
        anchor=model.anchor,
        at_kvp=lambda other: look_up(other, False),
        path_ratio=1.0 if CorrectionName.BEAM_PATH in without else path_ratio,
    )

    def slope(spectrum: Spectrum) -> float:
        return spectrum.slope_hu_per_mg_cm3

    table = f"mineral slope, {model.use.name} {model.use.version}"
    path = constants["calibration.slope.beam_path_ratio"]
    by_size = size_ratio * known.by_size(slope) / slope(known.taken)
    # the slope's own error is stated once, here
    by_kvp = kvp_ratio * math.hypot(relative, known.uncertain(slope) / slope(known.taken))
    steps = [
        CorrectionStep(CorrectionName.PATIENT_SIZE, size_ratio, "1", table, by_size),
        CorrectionStep(CorrectionName.TUBE_VOLTAGE, kvp_ratio, "1", table, by_kvp),
        CorrectionStep(CorrectionName.BEAM_PATH, path_ratio, "1", path.source, 0.0),
    ]
    if stated_tin:
        steps.append(CorrectionStep(CorrectionName.TIN_FILTER, tin_ratio, "1", table, 0.0))
    return replace(known, steps=tuple(switched(step, without) for step in steps))


def _path_ratio(diameter_cm: float, constants: ClinicalConstants) -> float:
    row = constants.row("calibration.slope.beam_path_ratio")
    small, large = row.number("small_cm"), row.number("large_cm")
    share = min(max((diameter_cm - small) / (large - small), 0.0), 1.0)
    return row.number("at_small") + share * (row.number("at_large") - row.number("at_small"))


def switched(step: CorrectionStep, without: frozenset[CorrectionName]) -> CorrectionStep:
    """The step, marked as not applied where the site has switched it off."""
    return replace(step, applied=step.name not in without)


def nominal_tissue(
    tissue: ReferenceTissue, beam: KnownBeam, muscle_rise: float, constants: ClinicalConstants
) -> Nominal:
    """Nominal HU moved from the anchor's beam to this one, with the spread between people.

    ``muscle_rise`` is what contrast medium adds to muscle at 120 kVp, HU; 0 on unenhanced scans.
    """
    row = constants.row(f"calibration.reference.{tissue.value.replace('-', '_')}")
    hu, spread = row.number("nominal_hu"), row.number("standard_deviation_hu")
    if tissue is ReferenceTissue.OUTSIDE_AIR:
        return Nominal(hu, spread)
    if tissue is ReferenceTissue.CORTICAL_BONE:  # what is seen of it is a share of the solid, so it scales
        ratio = beam.taken.tissue_hu[tissue] / beam.anchor.tissue_hu[tissue]
        return Nominal(hu * ratio, spread * ratio)
    hu += beam.taken.tissue_hu[tissue] - beam.anchor.tissue_hu[tissue]
    spread = math.hypot(
        spread, beam.uncertain(lambda s: s.tissue_hu[tissue]), beam.by_size(lambda s: s.tissue_hu[tissue])
    )
    if muscle_rise and tissue is ReferenceTissue.PARASPINAL_MUSCLE:
        hu += beam.iodine_ratio() * muscle_rise
        own = constants.row("contrast.muscle").number("standard_deviation_hu")
        spread = math.hypot(spread, beam.iodine_ratio() * own)
    return Nominal(hu, spread)


def marrow_correction_hu(beam: KnownBeam, constants: ClinicalConstants) -> tuple[float, float]:
    """What marrow adds to trabecular HU in this beam beyond what the mineral slope's change predicts, and its SD.

    Density is what QCT reads in the anchor's beam, where HU = s0 * density, whatever the bone is made of. In another
    beam the same bone reads HU; HU - HU0 * s / s0 is to be taken off. Two models of the bone bracket zero: ICRU-44
    marrow with K2HPO4 in it, and bone put together from apatite, collagen, fat and cells at body temperature. The
    mean of both is taken, and they are as far apart as a rectangular distribution of that width allows.
    """
    row = constants.row("density.marrow_fat_fraction")
    fat, spread = row.number("mean"), row.number("standard_deviation")
    amount, half = _marrow(beam.taken, beam.anchor, fat)
    by_fat = _marrow(beam.taken, beam.anchor, fat + spread)[0] - amount
    unknown = beam.uncertain(lambda s: _marrow(s, beam.anchor, fat)[0])
    return amount, math.hypot(by_fat, half / math.sqrt(3.0), unknown)


def _marrow(spectrum: Spectrum, anchor: Spectrum, fat_fraction: float) -> tuple[float, float]:
    """Mean of the two models' corrections and half their difference, HU."""
    ratio = spectrum.slope_hu_per_mg_cm3 / anchor.slope_hu_per_mg_cm3
    mixed = spectrum.marrow_hu(fat_fraction) - ratio * anchor.marrow_hu(fat_fraction)
    composed = spectrum.composed_bone_hu(fat_fraction) - ratio * anchor.composed_bone_hu(fat_fraction)
    return (mixed + composed) / 2.0, abs(mixed - composed) / 2.0


def to_120kvp(beam: KnownBeam, constants: ClinicalConstants) -> tuple[float, float]:
    """Gain and offset that bring trabecular HU to 120 kVp in the same patient: only the mineral part scales."""
    fat = constants.row("density.marrow_fat_fraction").number("mean")
    gain = beam.at_120kvp.slope_hu_per_mg_cm3 / beam.taken.slope_hu_per_mg_cm3
    here, there = (_marrow(spectrum, beam.anchor, fat)[0] for spectrum in (beam.taken, beam.at_120kvp))
    return gain, there - gain * here
