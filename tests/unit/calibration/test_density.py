"""Density: what is shared does not average down, levels convert by rule, and the stated error is honest."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.calibrate import calibrate_samples
from trabecula.calibration.calibration import Calibration, CalibrationMethod, DensityScale, ReferenceTissue
from trabecula.calibration.density import measure_density
from trabecula.calibration.model import Beam, CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import KernelClass

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, CORTEX = ReferenceTissue

EXACT = Calibration(
    method=CalibrationMethod.PHANTOMLESS,
    scale=DensityScale.K2HPO4,
    gain=1.01,
    offset_hu=-2.0,
    gain_variance=1e-5,
    offset_variance_hu2=9.0,
    gain_offset_covariance_hu=2e-3,
    slope_hu_per_mg_cm3=1.35,
    slope_standard_uncertainty=0.09,
    effective_kvp=120.0,
    water_equivalent_diameter_cm=27.0,
    contrast_enhanced=False,
    contrast_evidence="",
    contrast_correction_hu=0.0,
    contrast_standard_uncertainty_hu=0.0,
    references=(),
    model_name="",
    model_version="",
    kernel_standard_uncertainty_mg_cm3=1.0,
    slice_standard_uncertainty_mg_cm3=0.5,
)


def test_density_of_one_vertebra(measured: Any, constants: ClinicalConstants) -> None:
    (one,), summary = measure_density([measured(hu_mean=140.0, level=Level.L1)], EXACT, constants)
    assert one.hu_calibrated == pytest.approx(139.4)
    assert one.vbmd_mg_cm3 == pytest.approx(139.4 / 1.35)
    variance_hu = (1.01 * 1.0) ** 2 + 1e-5 * 140**2 + 2 * 2e-3 * 140 + 9.0 + (139.4 / 1.35 * 0.09) ** 2
    expected = math.sqrt(variance_hu / 1.35**2 + 1.0**2 + 0.5**2 + 1.5**2)
    assert one.vbmd_standard_uncertainty_mg_cm3 == pytest.approx(expected)
    assert summary.lumbar_equivalent_mg_cm3 == pytest.approx(139.4 / 1.35)
    assert (summary.conversion, summary.levels_used) == ("levels.lumbar", (Level.L1,))


def test_contrast_and_marrow_are_taken_off_before_the_slope(measured: Any, constants: ClinicalConstants) -> None:
    calibration = replace(EXACT, contrast_correction_hu=18.0, marrow_correction_hu=-5.0)
    (one,), _ = measure_density([measured(hu_mean=140.0)], calibration, constants)
    assert one.hu_calibrated == pytest.approx(139.4 - 18.0)
    assert one.vbmd_mg_cm3 == pytest.approx((139.4 - 18.0 + 5.0) / 1.35)


def test_noise_averages_down_over_vertebrae_but_calibration_error_does_not(
    measured: Any, constants: ClinicalConstants
) -> None:
    levels = (Level.T11, Level.T12, Level.L1, Level.L2)

    def mean_uncertainty(error: float, chosen: tuple[Level, ...]) -> float:
        vertebrae = [measured(level=level, hu_standard_error=error) for level in chosen]
        _, summary = measure_density(vertebrae, EXACT, constants)
        assert summary.vbmd_mean_standard_uncertainty_mg_cm3 is not None
        return summary.vbmd_mean_standard_uncertainty_mg_cm3

    segmentation = constants.number("density.segmentation_standard_uncertainty")
    shared = [math.sqrt(mean_uncertainty(0.0, ls) ** 2 - segmentation**2 / len(ls)) for ls in (levels, levels[:1])]
    assert shared[0] == pytest.approx(shared[1])
    own_four = math.sqrt(mean_uncertainty(40.0, levels) ** 2 - mean_uncertainty(0.0, levels) ** 2)
    own_one = math.sqrt(mean_uncertainty(40.0, levels[:1]) ** 2 - mean_uncertainty(0.0, levels[:1]) ** 2)
    assert own_four == pytest.approx(own_one / 2.0)


@pytest.mark.parametrize(
    ("levels", "used", "conversion"),
    [
        ((Level.T10, Level.T11, Level.T12), (Level.T11, Level.T12), "levels.lower-thoracic"),
        ((Level.T12, Level.L1, Level.L2, Level.L3), (Level.T12, Level.L1, Level.L2), "levels.lumbar"),
        ((Level.T8, Level.T9), (Level.T8, Level.T9), "levels.mid-thoracic"),
        ((Level.T5, Level.T9), (Level.T5, Level.T9), "levels.mid-thoracic"),
        ((Level.C7,), (Level.C7,), "none"),
        ((), (), "none"),
    ],
)
def test_which_levels_count_and_which_rule_converts(
    measured: Any,
    constants: ClinicalConstants,
    levels: tuple[Level, ...],
    used: tuple[Level, ...],
    conversion: str,
) -> None:
    _, summary = measure_density([measured(level=level) for level in levels], EXACT, constants)
    assert (summary.levels_used, summary.conversion) == (used, conversion)
    assert (summary.lumbar_equivalent_mg_cm3 is None) == (conversion == "none")


def test_lower_thoracic_density_converts_between_the_published_cut_offs(
    measured: Any, constants: ClinicalConstants
) -> None:
    hu = (91.0 * 1.35 + 2.0) / 1.01
    (one,), summary = measure_density([measured(hu_mean=hu, level=Level.T12)], EXACT, constants)
    assert one.vbmd_mg_cm3 == pytest.approx(91.0)
    assert one.lumbar_equivalent_mg_cm3 == pytest.approx(80.0)
    assert one.vbmd_standard_uncertainty_mg_cm3 is not None
    expected = math.hypot(40 / 37 * one.vbmd_standard_uncertainty_mg_cm3, 7.0)
    assert one.lumbar_equivalent_standard_uncertainty_mg_cm3 == pytest.approx(expected)
    assert summary.lumbar_equivalent_mg_cm3 == pytest.approx(80.0)


def test_lumbar_reading_is_not_mixed_with_converted_thoracic_ones(measured: Any, constants: ClinicalConstants) -> None:
    vertebrae = [measured(level=Level.T12, hu_mean=300.0), measured(level=Level.L1, hu_mean=140.0)]
    (_, lumbar), summary = measure_density(vertebrae, EXACT, constants)
    assert summary.lumbar_equivalent_mg_cm3 == lumbar.vbmd_mg_cm3


def test_excluded_vertebrae_are_shown_but_do_not_count(measured: Any, constants: ClinicalConstants) -> None:
    vertebrae = [
        measured(level=Level.T12, hu_mean=300.0, excluded=(ExclusionReason.FRACTURE,)),
        measured(level=Level.L1, hu_mean=140.0),
        measured(level=Level.L2, hu_mean=None, excluded=(ExclusionReason.OUT_OF_VIEW,)),
    ]
    results, summary = measure_density(vertebrae, EXACT, constants)
    assert results[0].vbmd_mg_cm3 is not None
    assert results[2].vbmd_mg_cm3 is None
    assert summary.levels_used == (Level.L1,)


def test_nothing_left_is_said_as_nothing(measured: Any, constants: ClinicalConstants) -> None:
    _, summary = measure_density([measured(excluded=(ExclusionReason.CEMENT,))], EXACT, constants)
    assert summary.levels_used == ()
    assert summary.vbmd_mean_mg_cm3 is None
    assert summary.hu_mean_120kvp is None


@settings(deadline=None, max_examples=40)
@given(low=st.floats(-50.0, 350.0), step=st.floats(0.1, 100.0), kvp=st.sampled_from([80.0, 120.0, 140.0]))
def test_denser_bone_reads_denser(
    model: CalibrationModel,
    constants: ClinicalConstants,
    acquired: Any,
    measured: Any,
    low: float,
    step: float,
    kvp: float,
) -> None:
    calibration = Patient(np.random.default_rng(1), model, constants, kvp).calibrate(model, constants, acquired)
    vertebrae = [measured(hu_mean=low, level=Level.L1), measured(hu_mean=low + step, level=Level.L2)]
    (a, b), _ = measure_density(vertebrae, calibration, constants)
    assert a.vbmd_mg_cm3 is not None
    assert b.vbmd_mg_cm3 is not None
    assert a.vbmd_mg_cm3 < b.vbmd_mg_cm3


@pytest.mark.parametrize("kernel", list(KernelClass))
def test_sharper_kernels_and_thicker_slices_widen_the_error(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, kernel: KernelClass
) -> None:
    samples = Patient(np.random.default_rng(1), model, constants, 120.0).samples

    def uncertainty(**changes: object) -> float:
        outcome = calibrate_samples(samples, PatientSize(28.0, False), acquired(**changes), model, constants)
        assert isinstance(outcome, Calibration)
        return outcome.density_standard_uncertainty_mg_cm3(140.0)

    assert uncertainty(kernel_class=kernel) >= uncertainty(kernel_class=KernelClass.SOFT)
    assert uncertainty(slice_thickness_mm=5.0) > uncertainty(slice_thickness_mm=3.0)
    assert uncertainty(slice_thickness_mm=None) > uncertainty()


class Patient:
    """A patient and a scanner drawn from the spreads that the data file states.

    Nothing else is known of the truth here: this shows that errors are propagated as stated, not that the stated
    spreads are those of real patients.
    """

    def __init__(
        self, rng: np.random.Generator, model: CalibrationModel, constants: ClinicalConstants, kvp: float
    ) -> None:
        self.kvp, self.cm, self.truth = kvp, float(rng.uniform(20.0, 38.0)), float(rng.uniform(40.0, 180.0))
        water_sd, air_sd = (
            constants.row(f"calibration.pseudo_observation.{name}").number("standard_deviation_hu")
            for name in ("water", "air")
        )
        water_error, air_error = rng.normal(0.0, water_sd), rng.normal(0.0, air_sd)
        # the scanner shows water at water_error and air at -1000 + air_error
        self.show = lambda hu: hu + water_error + (water_error - air_error) * hu / 1000.0
        beam = model.spectrum(Beam(kvp, False, self.cm), 0.0)
        self.samples: dict[ReferenceTissue, Sample] = {}
        for tissue in ReferenceTissue:
            row = constants.row(f"calibration.reference.{tissue.value.replace('-', '_')}")
            hu = row.number("nominal_hu") + rng.normal(0.0, row.number("standard_deviation_hu"))
            if tissue is not AIR:
                hu += beam.tissue_hu[tissue] - model.anchor.tissue_hu[tissue]
            self.samples[tissue] = Sample(tissue, self.show(hu) + rng.normal(0.0, 1.5), 1.5, 3000)
        relative = constants.number("calibration.slope.relative_standard_uncertainty")
        path = constants.row("calibration.slope.beam_path_ratio")
        share = (min(max(self.cm, path.number("small_cm")), path.number("large_cm")) - path.number("small_cm")) / (
            path.number("large_cm") - path.number("small_cm")
        )
        path_ratio = path.number("at_small") + share * (path.number("at_large") - path.number("at_small"))
        slope = beam.slope_hu_per_mg_cm3 * path_ratio * (1.0 + rng.normal(0.0, relative))
        marrow = constants.row("density.marrow_fat_fraction")
        fat = rng.normal(marrow.number("mean"), marrow.number("standard_deviation"))
        ratio = beam.slope_hu_per_mg_cm3 / model.anchor.slope_hu_per_mg_cm3
        mixed = beam.marrow_hu(fat) - model.anchor.marrow_hu(fat) * ratio
        composed = beam.composed_bone_hu(fat) - model.anchor.composed_bone_hu(fat) * ratio
        offset = mixed + rng.uniform() * (composed - mixed)
        # kernel, slice and segmentation errors as stated for a soft kernel and thin slices
        read = self.truth + rng.normal(0.0, math.hypot(0.5, 0.5, 1.5))
        self.true_bone_hu = slope * read + offset
        self.rng = rng

    def calibrate(self, model: CalibrationModel, constants: ClinicalConstants, acquired: Any) -> Calibration:
        size, acquisition = PatientSize(self.cm, False), acquired(kvp=self.kvp)
        outcome = calibrate_samples(self.samples, size, acquisition, model, constants)
        assert isinstance(outcome, Calibration)
        return outcome


@pytest.mark.parametrize("kvp", [80.0, 120.0, 140.0])
def test_stated_error_covers_the_true_density_as_often_as_it_says(
    model: CalibrationModel, constants: ClinicalConstants, acquired: Any, measured: Any, kvp: float
) -> None:
    rng = np.random.default_rng(int(kvp))
    errors, stated = [], []
    for _ in range(700):
        someone = Patient(rng, model, constants, kvp)
        shown = someone.show(someone.true_bone_hu) + rng.normal(0.0, 2.0)
        vertebra = measured(level=Level.L1, hu_mean=shown, hu_standard_error=2.0)
        calibration = someone.calibrate(model, constants, acquired)
        _, summary = measure_density([vertebra], calibration, constants)
        assert summary.vbmd_mean_mg_cm3 is not None
        assert summary.vbmd_mean_standard_uncertainty_mg_cm3 is not None
        errors.append(summary.vbmd_mean_mg_cm3 - someone.truth)
        stated.append(summary.vbmd_mean_standard_uncertainty_mg_cm3)
    covered = np.mean(np.abs(errors) < 1.96 * np.array(stated))
    assert 0.93 <= covered <= 0.97
    assert abs(np.mean(errors)) < 1.0


def test_hu_alone_gives_attenuation_and_no_density(measured: Any, constants: ClinicalConstants) -> None:
    calibration = replace(EXACT, method=CalibrationMethod.HU_ONLY)
    (one,), summary = measure_density([measured(hu_mean=140.0, level=Level.L1)], calibration, constants)
    assert one.hu_calibrated == pytest.approx(139.4)
    assert (one.vbmd_mg_cm3, one.lumbar_equivalent_mg_cm3) == (None, None)
    assert (summary.vbmd_mean_mg_cm3, summary.lumbar_equivalent_mg_cm3) == (None, None)
    assert summary.hu_mean_120kvp == pytest.approx(139.4)
    assert summary.levels_used == (Level.L1,)


def test_the_parts_of_the_error_make_the_error(measured: Any, constants: ClinicalConstants) -> None:
    for levels in ((Level.L1, Level.L2), (Level.T11, Level.T12)):
        _, summary = measure_density([measured(level=level) for level in levels], EXACT, constants)
        total = math.hypot(*(term.standard_uncertainty_mg_cm3 for term in summary.uncertainty_budget))
        assert total == pytest.approx(summary.lumbar_equivalent_standard_uncertainty_mg_cm3)
        assert {"noise", "segmentation", "references", "slope", "size", "contrast", "level-conversion"} <= {
            term.name for term in summary.uncertainty_budget
        }


def test_offset_and_slope_of_one_fit_err_together() -> None:
    """Checked against repeated fits of rods with noise."""
    rng = np.random.default_rng(5)
    density = np.array([0.0, 100.0, 200.0])
    fits = np.array([np.polyfit(density, 1.35 * density + 3.0 + rng.normal(0, 4.0, 3), 1) for _ in range(20_000)])
    covariance = np.cov(fits.T)
    calibration = replace(
        EXACT, gain=1.0, offset_hu=-3.0, gain_variance=0.0, gain_offset_covariance_hu=0.0,
        offset_variance_hu2=covariance[1, 1], slope_standard_uncertainty=math.sqrt(covariance[0, 0]),
        offset_slope_covariance=-covariance[0, 1], kernel_standard_uncertainty_mg_cm3=0.0,
        slice_standard_uncertainty_mg_cm3=0.0,
    )  # fmt: skip
    for hu in (40.0, 138.0, 260.0):
        seen = np.std((hu - fits[:, 1]) / fits[:, 0])
        assert calibration.density_standard_uncertainty_mg_cm3(hu) == pytest.approx(seen, rel=0.03)
