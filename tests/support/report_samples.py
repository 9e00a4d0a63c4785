"""Hand-made screenings for tests of converters: plausible numbers, no real patient.

Importable from any test (``pythonpath`` in pyproject.toml). Every function builds a fresh value.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trabecula.anatomy import (
    Anatomy,
    Level,
    ModelUse,
    Structure,
    VertebraInstance,
    VertebraPart,
    vertebra_label,
)
from trabecula.assessment.assessment import (
    Assessment,
    Category,
    Confidence,
    Contribution,
    Driver,
    Finding,
    JointAssessment,
    JointPattern,
    LevelReading,
    ReadingKind,
    Recommendation,
    RuleFact,
    Tier,
    TierResult,
)
from trabecula.bone.vertebra import (
    CortexMeasurement,
    Deformity,
    DeformityKind,
    DeformityStatus,
    Exclusion,
    ExclusionReason,
    RoiGrowth,
    ShapeVariant,
    TrabecularRoi,
)
from trabecula.calibration.calibration import (
    Calibration,
    CalibrationMethod,
    CorrectionName,
    CorrectionStep,
    DensityScale,
    MethodVerdict,
    ReferenceMeasurement,
    ReferenceTissue,
)
from trabecula.calibration.density_result import DensitySummary, UncertaintyTerm, VertebraResult
from trabecula.composition.body import CompositionAtLevel
from trabecula.geometry import Geometry
from trabecula.imaging.study import (
    Acquisition,
    ContrastTag,
    CtVolume,
    KernelClass,
    SeriesCandidate,
    SpectralFilter,
    StudyIdentity,
)
from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage
from trabecula.patient import PatientContext, Sex
from trabecula.report import SCHEMA_VERSION, Evidence, ReportStatus, Screening, ScreeningReport
from trabecula.second_reader.reading import Agreement, LevelScore, ReferenceStandard, SecondReading

STUDY_UID = "1.2.826.0.1.3680043.8.498.11788205173652842197349876612340001"
SERIES_UID = "1.2.826.0.1.3680043.8.498.11788205173652842197349876612340002"
LEVELS = (Level.T11, Level.T12, Level.L1, Level.L2)
SPACING_MM = (2.5, 2.0, 2.0)
BODY_TOP_K = {Level.T11: 92, Level.T12: 78, Level.L1: 64, Level.L2: 50}
"""Index of the slice through the middle of each body in :func:`volume`."""
CENTRE_J, CENTRE_I = 74, 64


def identity() -> StudyIdentity:
    return StudyIdentity(
        study_instance_uid=STUDY_UID,
        series_instance_uid=SERIES_UID,
        frame_of_reference_uid="1.2.826.0.1.3680043.8.498.3",
        patient_id="SAMPLE-0001",
        patient_id_issuer="SAMPLE HOSPITAL",
        accession_number="A-4711",
        patient_sex="F",
        patient_age_years=68.0,
        patient_height_m=None,
        patient_weight_kg=61.0,
    )


def patient() -> PatientContext:
    return PatientContext(
        age_years=68.0, sex=Sex.FEMALE, height_m=1.58, weight_kg=61.0, postmenopausal=True, prior_dxa=False
    )


def acquisition() -> Acquisition:
    return Acquisition(
        kvp=120.0,
        spectral_filter=SpectralFilter.NONE,
        kernel="B30f",
        kernel_class=KernelClass.SOFT,
        slice_thickness_mm=1.5,
        slice_spacing_mm=1.0,
        pixel_spacing_mm=(0.703, 0.703),
        reconstruction_diameter_mm=360.0,
        contrast=ContrastTag.NOT_GIVEN,
        exposure_mas=80.0,
        ctdi_vol_mgy=5.4,
        manufacturer="SIEMENS",
        model="SOMATOM Definition",
        station_hash="9f2c6c1b",
        acquired_at="2026-03-14T10:21:07",
    )


def roi(level: Level) -> TrabecularRoi:
    """ROI at the middle of the body of one vertebra of :func:`volume`."""
    centre = geometry().index_to_lps((BODY_TOP_K[level], CENTRE_J, CENTRE_I))
    return TrabecularRoi(
        centre_lps_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        superior=(0.0, 0.0, 1.0),
        left=(1.0, 0.0, 0.0),
        anterior=(0.0, -1.0, 0.0),
        half_width_mm=13.0,
        half_depth_mm=9.0,
        half_height_mm=5.0,
        volume_mm3=3510.5,
    )


def vertebra(level: Level, hu: float, density: float, uncertainty: float) -> VertebraResult:
    """A vertebra that counts; thoracic ones are converted as a lumbar equivalent a little lower."""
    lumbar = density if level.is_lumbar else 1.081 * density - 18.4
    return VertebraResult(
        level=level,
        level_confidence=0.97,
        hu_mean=hu,
        hu_sd=31.2,
        hu_calibrated=round(hu + 2.4, 1),
        vbmd_mg_cm3=density,
        vbmd_standard_uncertainty_mg_cm3=uncertainty,
        lumbar_equivalent_mg_cm3=round(lumbar, 3),
        lumbar_equivalent_standard_uncertainty_mg_cm3=round(uncertainty + (0.0 if level.is_lumbar else 3.5), 3),
        scale=DensityScale.K2HPO4,
        roi_voxels=2874,
        roi_volume_mm3=3510.5,
        roi=roi(level),
        height_anterior_mm=22.1,
        height_middle_mm=21.7,
        height_posterior_mm=23.0,
        excluded=(),
        height_rim_standard_uncertainty_mm=0.75,
        height_middle_standard_uncertainty_mm=0.27,
        deformity=deformity(),
        exclusions=(island(),) if level is Level.T12 else (),
        cortex=cortex(),
        roi_growth=growth() if level is Level.T11 else None,
        hu_standard_error=2.4,
    )


def deformity() -> Deformity:
    """None, with a Schmorl node."""
    return Deformity(
        status=DeformityStatus.NONE,
        kind=None,
        grade=0,
        probability=0.004,
        height_loss=0.056,
        anterior_to_posterior=0.961,
        middle_to_posterior=0.944,
        posterior_to_neighbours=1.01,
        superior_depression_mm=1.2,
        inferior_depression_mm=1.4,
        variants=(ShapeVariant.SCHMORL_NODE,),
        reasons=("pit in an endplate, 3.1 mm deep (Schmorl node)",),
    )


def fracture() -> Deformity:
    """Biconcave, grade 2."""
    return replace(
        deformity(),
        status=DeformityStatus.SUSPECTED,
        kind=DeformityKind.BICONCAVE,
        grade=2,
        probability=0.999,
        height_loss=0.387,
        variants=(),
        reasons=("biconcave shape, height loss 39 % ± 4 %, Genant grade 2", "stands out from the neighbours"),
    )


def island() -> Exclusion:
    return Exclusion(
        reason=ExclusionReason.BONE_ISLAND,
        whole=False,
        text="dense spots (bone island, calcification) cut out of the region: 45 mm3, +188 HU beside the rest",
        rule="bone.roi.cut_mad",
        measured=188.0,
        limit=96.5,
        unit="HU",
        volume_mm3=45.0,
    )


def cortex() -> CortexMeasurement:
    return CortexMeasurement(
        resolved=True,
        why_not="",
        thickness_mm=0.34,
        thickness_standard_uncertainty_mm=0.06,
        attenuation_hu=462.0,
        attenuation_standard_uncertainty_hu=14.0,
        layer_mm=1.5,
        assumed_attenuation_hu=1600.0,
        blur_fwhm_mm=1.52,
        blur_source="edge between air and skin",
        sectors=10,
    )


def growth() -> RoiGrowth:
    return RoiGrowth(
        noise_hu=48.2,
        target_standard_error_hu=1.5,
        standard_error_before_hu=2.1,
        standard_error_after_hu=1.4,
        volume_before_mm3=2310.0,
        volume_after_mm3=3510.5,
        slices_before=8,
        slices_after=11,
        change_hu=-0.6,
    )


def vertebrae() -> tuple[VertebraResult, ...]:
    """T11, T12 and L1 count; L2 is fractured and stays outside the means."""
    fractured = replace(
        vertebra(Level.L2, 171.8, 141.2, 5.9),
        height_anterior_mm=15.2,
        height_middle_mm=14.1,
        excluded=(ExclusionReason.FRACTURE,),
        deformity=fracture(),
        exclusions=(
            Exclusion(
                ExclusionReason.FRACTURE,
                whole=True,
                text="suspected fracture, biconcave, Genant grade 2; for confirmation",
                rule="bone.deformity.genant",
                measured=0.387,
                limit=0.25,
                unit="fraction of height",
            ),
        ),
    )
    return (
        vertebra(Level.T11, 121.4, 101.8, 5.6),
        vertebra(Level.T12, 113.9, 95.3, 5.5),
        vertebra(Level.L1, 105.2, 88.1, 5.3),
        fractured,
    )


def density() -> DensitySummary:
    return DensitySummary(
        levels_used=(Level.T11, Level.T12, Level.L1),
        vbmd_mean_mg_cm3=95.07,
        vbmd_mean_standard_uncertainty_mg_cm3=4.8,
        lumbar_equivalent_mg_cm3=88.1,
        lumbar_equivalent_standard_uncertainty_mg_cm3=5.3,
        conversion="density.conversion.lumbar-identity",
        hu_mean_120kvp=115.6,
        scale=DensityScale.K2HPO4,
        uncertainty_budget=(UncertaintyTerm("noise", 1.1), UncertaintyTerm("references", 2.2)),
    )


def calibration() -> Calibration:
    return Calibration(
        method=CalibrationMethod.PHANTOMLESS,
        scale=DensityScale.K2HPO4,
        gain=1.012,
        offset_hu=1.1,
        gain_variance=1.1e-5,
        offset_variance_hu2=1.7,
        gain_offset_covariance_hu=2.1e-4,
        slope_hu_per_mg_cm3=1.214,
        slope_standard_uncertainty=0.031,
        effective_kvp=120.0,
        water_equivalent_diameter_cm=26.3,
        contrast_enhanced=False,
        contrast_evidence="The header says no contrast medium was given; aortic blood 41 HU agrees.",
        contrast_correction_hu=0.0,
        contrast_standard_uncertainty_hu=0.0,
        references=(
            ReferenceMeasurement(ReferenceTissue.OUTSIDE_AIR, -1001.2, -1000.0, 4.0, 91244, True, None, 1.0, 32.3),
            ReferenceMeasurement(ReferenceTissue.SUBCUTANEOUS_FAT, -104.9, -103.5, 6.0, 20418, True, None),
            ReferenceMeasurement(ReferenceTissue.PARASPINAL_MUSCLE, 47.2, 52.0, 8.0, 12007, True, None),
            ReferenceMeasurement(
                ReferenceTissue.AORTIC_BLOOD, 88.3, 43.0, 7.0, 4410, False, "45 HU off the fit of the other references"
            ),
        ),
        model_name="phantomless-calibration",
        model_version="0.1.0",
        notices=(),
        slope_size_standard_uncertainty=0.011,
        kernel_standard_uncertainty_mg_cm3=0.5,
        slice_standard_uncertainty_mg_cm3=0.6,
        corrections=(
            CorrectionStep(CorrectionName.PATIENT_SIZE, 0.983, "1", "mineral slope, calibration-phantomless", 0.009),
            CorrectionStep(CorrectionName.TUBE_VOLTAGE, 1.0, "1", "mineral slope, calibration-phantomless", 0.019),
            CorrectionStep(CorrectionName.CONTRAST, 0.0, "HU", "unenhanced: aorta 41 HU", 0.0),
            CorrectionStep(CorrectionName.KERNEL, 0.0, "mg/cm3", "proposal", 0.5, applied=False),
        ),
        chosen_because="next method of the profile site that this scan allows",
        alternatives=(MethodVerdict(CalibrationMethod.ASYNCHRONOUS, "no phantom scans of this scanner"),),
    )


def composition() -> tuple[CompositionAtLevel, ...]:
    whole = CompositionAtLevel(
        level=Level.T12,
        slice_index=BODY_TOP_K[Level.T12],
        muscle_area_cm2=78.4,
        muscle_attenuation_hu=33.1,
        paraspinal_muscle_area_cm2=34.6,
        paraspinal_muscle_attenuation_hu=36.2,
        imat_area_cm2=6.1,
        sat_area_cm2=121.3,
        vat_area_cm2=88.7,
        vat_sat_ratio=0.731,
        muscle_index_cm2_m2=31.4,
        truncated=False,
        missing_area_cm2=0.0,
        paraspinal_muscle_index_cm2_m2=13.9,
        muscle_fat_by_share_cm2=9.8,
        lean_muscle_attenuation_hu=47.2,
    )
    cut = replace(
        whole,
        level=Level.T11,
        slice_index=BODY_TOP_K[Level.T11],
        muscle_area_cm2=None,
        sat_area_cm2=None,
        vat_sat_ratio=None,
        muscle_index_cm2_m2=None,
        truncated=True,
        missing_area_cm2=18.3,
        paraspinal_muscle_index_cm2_m2=None,
    )
    return (cut, whole)


def assessment() -> Assessment:
    return Assessment(
        category=Category.LOW_BONE_DENSITY_RANGE,
        between=(),
        statement="Trabecular bone density is in the low range (80 to 120 mg/cm3) on this scan.",
        decided_on="lumbar equivalent 88.1 mg/cm3 (K2HPO4), from L1",
        drivers=(
            Driver("bone", "Lumbar equivalent density is above the osteoporosis cut-off", 88.1, "mg/cm3", 80.0, "vbmd"),
            Driver("bone", "Lumbar equivalent density is below the low-density cut-off", 88.1, "mg/cm3", 120.0, "vbmd"),
            Driver(
                "muscle", "Muscle attenuation at T12 is just under the cut-off", 33.1, "HU", 33.17, "smd.t12.female"
            ),
            Driver("fat", "Visceral to subcutaneous fat ratio is reported without a class", 0.731, None, None, "vat"),
        ),
        confidence=Confidence.MODERATE,
        confidence_reasons=("Aortic blood was rejected as a calibration reference.", "L2 is fractured."),
        unknown_context=("glucocorticoids", "prior_fragility_fracture"),
        density_cutoffs_mg_cm3=(80.0, 120.0),
        profile="cn-2024-1.0.0",
        readings=readings(),
        tiers=(
            TierResult(Tier.HU_PRE_SCREEN, "below-balanced-line", "116 HU, between 110 and 135 HU.", 115.6, "HU"),
            TierResult(
                Tier.PHANTOMLESS_QUANTIFICATION, "low-bone-density-range", "88 ± 5 mg/cm3 K2HPO4.", 88.1, "mg/cm3"
            ),
            TierResult(Tier.GOLD_STANDARD_CONFIRMATION, "advised", "Advised: DXA.", None, None),
        ),
        joint=JointAssessment(
            JointPattern.BONE_ALONE,
            "Bone density lies beyond a cut-off on this scan, no muscle value does.",
            (
                Contribution(
                    "bone",
                    "density-range",
                    Finding.BEYOND_CUTOFF,
                    "Density in the low range",
                    88.1,
                    "mg/cm3",
                    120.0,
                    "levels.lumbar",
                    True,
                ),
                Contribution(
                    "muscle",
                    "imat",
                    Finding.NOT_COMPARED,
                    "Intermuscular fat not compared",
                    6.1,
                    "cm2",
                    None,
                    "composition.window.muscle",
                    False,
                ),
                Contribution(
                    "fat",
                    "visceral-fat",
                    Finding.NO_CUTOFF,
                    "Visceral fat at T12 is 88.7 cm2",
                    88.7,
                    "cm2",
                    None,
                    "composition.window.fat",
                    False,
                ),
            ),
        ),
    )


def readings() -> tuple[LevelReading, ...]:
    """T12 in both ways, and the lumbar equivalent that decides."""
    low = (Category.LOW_BONE_DENSITY_RANGE,)
    hu_li = ("Hu N, lower thoracic vBMD", False)
    return (
        LevelReading((Level.T12,), ReadingKind.DIRECT, "levels.lower-thoracic", 95.3, 5.5, 91.0, 128.0,
                     (Category.OSTEOPOROSIS_RANGE, *low), False, *hu_li),
        LevelReading((Level.T12,), ReadingKind.LUMBAR_EQUIVALENT, "levels.lower-thoracic", 84.6, 9.0, 80.0, 120.0,
                     (Category.OSTEOPOROSIS_RANGE, *low), False, *hu_li),
        LevelReading((Level.L1,), ReadingKind.LUMBAR_EQUIVALENT, "levels.lumbar", 88.1, 5.3, 80.0, 120.0,
                     low, True, "Cheng 2020 QIMS 10:2066-2077", True),
    )  # fmt: skip


def second_readings() -> tuple[SecondReading, ...]:
    """One second reader that disagrees, and one that was not asked."""
    asked = SecondReading(
        model_name="second-reader-example",
        model_version="1.0.0",
        sha256="d" * 64,
        provider="CPUExecutionProvider",
        question="trabecular density of L1 and L2 below 80 mg/cm3 (K2HPO4)",
        reference_standard=ReferenceStandard.SIMULATION,
        reference_definition="Density of the digital phantom.",
        cut_off=0.5,
        scores=(LevelScore(Level.L1, 0.71),),
        score=0.71,
        positive=True,
        agreement=Agreement.DISAGREES,
        statement="Second reader second-reader-example 1.0.0 answers yes; the measurement does not agree.",
        not_read_because=None,
        limits="Example trained on simulated images only. Not for clinical use.",
    )
    silent = replace(
        asked,
        model_name="another-reader",
        reference_standard=ReferenceStandard.DXA,
        scores=(),
        score=None,
        positive=None,
        agreement=Agreement.NOT_READ,
        statement="Second reader another-reader 1.0.0 was not asked: contrast medium was given.",
        not_read_because="contrast medium was given",
    )
    return (asked, silent)


def recommendations() -> tuple[Recommendation, ...]:
    return (
        Recommendation(
            rule_id="low-range-dxa",
            rule_version="1",
            action="dxa-confirmation",
            text="Confirm by DXA of hip and lumbar spine.",
            because=("category low-bone-density-range", "no DXA known"),
            citation="Chinese consensus on QCT, Quant Imaging Med Surg 2020;10:2066-2077",
            verified=True,
            plan_definition="https://trabecula.example/fhir/PlanDefinition/confirm-low-range|1.0.0",
            activity_definition="https://trabecula.example/fhir/ActivityDefinition/dxa-confirmation|1.0.0",
            condition="parameter.where(name = 'category').value = 'low-bone-density-range'",
            facts=(RuleFact("category", "low-bone-density-range", "density in the low bone density range"),),
        ),
        Recommendation(
            rule_id="fracture-grade2",
            rule_version="1",
            action="fracture-assessment",
            text="Look at L2 for a vertebral fracture.",
            because=("L2 excluded: fracture",),
            citation="Wang 2019, Quant Imaging Med Surg",
            verified=False,
        ),
    )


def models() -> tuple[ModelUse, ...]:
    return (
        ModelUse("coarse", "0.1.0", "a" * 64, "levels of the whole column", "CPUExecutionProvider"),
        ModelUse("fine", "0.1.0", "b" * 64, "anatomy around T10 to L2", "CPUExecutionProvider"),
        ModelUse("phantomless-calibration", "0.1.0", "c" * 64, "HU to density", "CPUExecutionProvider"),
    )


def series() -> tuple[SeriesCandidate, ...]:
    return (
        SeriesCandidate(3, "axial original soft 1.0 mm", 304, 9.1, True, ("soft kernel", "unenhanced", "covers T11")),
        SeriesCandidate(4, "axial original sharp 1.0 mm", 304, 6.2, False, ("sharp kernel raises noise in bone",)),
        SeriesCandidate(1, "localizer", 2, 0.0, False, ("localizer",)),
    )


def reported() -> ScreeningReport:
    """A whole result: four vertebrae, one of them excluded, one truncated slice, one rejected reference."""
    return ScreeningReport(
        schema_version=SCHEMA_VERSION,
        software_version="0.1.0",
        clinical_data_version="2026.11",
        screening_id="6f0e2c52-3c5b-5b1f-9a53-0d9c8f1c6a11",
        created_at="2026-11-22T16:40:12Z",
        status=ReportStatus.REPORTED,
        study=identity(),
        patient=patient(),
        refusals=(),
        acquisition=acquisition(),
        series=series(),
        vertebrae=vertebrae(),
        density=density(),
        calibration=calibration(),
        composition=composition(),
        assessment=assessment(),
        recommendations=recommendations(),
        notices=(
            Notice(
                "reference-rejected",
                Stage.CALIBRATION,
                Severity.WARNING,
                "Aortic blood does not fit the other references and was left out.",
            ),
            Notice("kernel-soft", Stage.IMAGING, Severity.INFORMATION, "A soft kernel was used."),
        ),
        level_evidence=("12 rib pairs counted", "L5 not in view"),
        models=models(),
        timings_s={"imaging": 1.213, "segmentation": 4.871, "bone": 0.094, "calibration": 0.181, "total": 6.902},
        limits_of_use=(
            "Cannot be used to rule out low bone mineral density.",
            "Not a DXA T-score and not comparable to one.",
        ),
        second_readings=second_readings(),
    )


def enhanced() -> ScreeningReport:
    """Contrast medium in the blood: correction applied, indeterminate, low confidence."""
    base = reported()
    return replace(
        base,
        screening_id="0d6e5e0b-35cb-5f9b-8f0f-4a5ef4b2b9a2",
        acquisition=replace(acquisition(), contrast=ContrastTag.GIVEN),
        calibration=replace(
            calibration(),
            contrast_enhanced=True,
            contrast_evidence="Aortic blood measures 168 HU; the header names a contrast medium.",
            contrast_correction_hu=11.4,
            contrast_standard_uncertainty_hu=8.0,
        ),
        assessment=replace(
            assessment(),
            category=Category.INDETERMINATE,
            between=(Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE),
            statement="Density lies too close to a cut-off to say on which side.",
            confidence=Confidence.LOW,
        ),
    )


def unknown_context() -> ScreeningReport:
    """Nothing known of the patient, and no patient id in the files."""
    nobody = replace(
        identity(),
        patient_id=None,
        patient_id_issuer=None,
        accession_number=None,
        patient_sex=None,
        patient_age_years=None,
        patient_weight_kg=None,
    )
    return replace(
        reported(),
        screening_id="c1a5a2be-1c1f-5d8c-b7d6-3df1b6c4c9b3",
        study=nobody,
        patient=PatientContext(),
        acquisition=replace(acquisition(), acquired_at=None),
        assessment=replace(
            assessment(), unknown_context=("age_years", "sex", "postmenopausal"), confidence=Confidence.LOW
        ),
    )


def not_classified() -> ScreeningReport:
    """A young patient: numbers are given, the words are withheld, nothing is recommended."""
    return replace(
        reported(),
        screening_id="5c9e1f6e-0a0e-5a0b-8c69-93f8d3a2d1c4",
        patient=replace(patient(), age_years=31.0, postmenopausal=False),
        assessment=replace(
            assessment(),
            category=Category.NOT_CLASSIFIED,
            statement="Density ranges are not defined for pre-menopausal women under 50.",
            drivers=(),
            density_cutoffs_mg_cm3=(),
            readings=tuple(
                replace(each, osteoporosis_below_mg_cm3=None, low_below_mg_cm3=None, ranges=()) for each in readings()
            ),
            tiers=(),
            joint=None,
        ),
        recommendations=(),
    )


def refused() -> ScreeningReport:
    """The levels are not in view."""
    return ScreeningReport(
        schema_version=SCHEMA_VERSION,
        software_version="0.1.0",
        clinical_data_version="2026.11",
        screening_id="9b1d2f35-7d5e-5b7a-a0ab-b1e2c3d4e5f6",
        created_at="2026-11-22T16:41:00Z",
        status=ReportStatus.REFUSED,
        study=identity(),
        patient=patient(),
        refusals=(
            Refusal(
                RefusalCode.LEVEL_NOT_IN_VIEW,
                Stage.SEGMENTATION,
                "The scan ends above T11: the lowest whole vertebra in view is T10.",
                "Send a series of the same study that reaches to L1 or lower.",
            ),
        ),
        acquisition=acquisition(),
        series=series(),
        vertebrae=(),
        density=None,
        calibration=None,
        composition=(),
        assessment=None,
        recommendations=(),
        notices=(),
        level_evidence=(),
        models=models()[:1],
        timings_s={"imaging": 1.1, "segmentation": 2.2, "total": 3.4},
        limits_of_use=("Cannot be used to rule out low bone mineral density.",),
    )


def refused_without_study() -> ScreeningReport:
    """Refused before anything of the study could be known."""
    return replace(
        refused(),
        screening_id="2f9f37a0-2c4c-5c53-93f0-5ac7c9f3a7d8",
        study=None,
        acquisition=None,
        series=(),
        models=(),
        patient=PatientContext(),
        refusals=(Refusal(RefusalCode.NOT_CT, Stage.IMAGING, "The images are MR, not CT.", "Send a CT of the chest."),),
    )


def all_reports() -> dict[str, ScreeningReport]:
    """Every sample by name."""
    return {
        "reported": reported(),
        "enhanced": enhanced(),
        "unknown_context": unknown_context(),
        "not_classified": not_classified(),
        "refused": refused(),
        "refused_without_study": refused_without_study(),
    }


def geometry() -> Geometry:
    """(120, 128, 128) voxels of 2.5 x 2 x 2 mm, origin somewhere off the isocentre."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, SPACING_MM[2]], [0, SPACING_MM[1], 0], [SPACING_MM[0], 0, 0]], dtype=float)
    affine[:3, 3] = (-131.0, -96.0, -402.5)
    return Geometry((120, 128, 128), affine)


def volume_and_anatomy() -> tuple[CtVolume, Anatomy]:
    """A cheap thorax-like block: oval body, canal, four vertebrae, two lungs, paired muscle."""
    grid = geometry()
    k, j, i = np.ogrid[: grid.shape[0], : grid.shape[1], : grid.shape[2]]
    labels = np.zeros(grid.shape, dtype=np.uint8)
    radius = ((j - 64) / 46.0) ** 2 + ((i - CENTRE_I) / 56.0) ** 2 + 0 * k
    labels[radius < 1] = Structure.SUBCUTANEOUS_FAT
    labels[radius < 0.8] = Structure.SKELETAL_MUSCLE
    labels[radius < 0.62] = Structure.CAVITY
    for side in (-1, 1):
        lung = ((j - 55) / 24.0) ** 2 + ((i - CENTRE_I - side * 26) / 17.0) ** 2 + ((k - 118) / 40.0) ** 2 < 1
        labels[lung] = Structure.LUNG
        muscle = ((j - 92) / 8.0) ** 2 + ((i - CENTRE_I - side * 14) / 11.0) ** 2 + 0 * k < 1
        labels[muscle] = Structure.PARASPINAL_MUSCLE
    column = ((j - CENTRE_J) / 9.0) ** 2 + ((i - CENTRE_I) / 11.0) ** 2 < 1
    for level, middle in BODY_TOP_K.items():
        labels[column & (abs(k - middle) < 6)] = vertebra_label(level, VertebraPart.BODY)
        arch = (abs(j - 93) < 4) & (abs(i - CENTRE_I) < 3) & (abs(k - middle) < 6)
        labels[arch] = vertebra_label(level, VertebraPart.POSTERIOR)
    canal = ((j - 86) ** 2 + (i - CENTRE_I) ** 2 < 16) & (k >= 0)
    labels[canal] = Structure.SPINAL_CANAL
    attenuation = np.full(256, 40, dtype=np.int16)
    attenuation[Structure.OUTSIDE] = -1000
    attenuation[Structure.SUBCUTANEOUS_FAT] = -100
    attenuation[Structure.LUNG] = -850
    attenuation[Structure.CAVITY] = -20
    attenuation[Structure.SPINAL_CANAL] = 20
    attenuation[33:57] = 130
    attenuation[65:89] = 350
    noise = np.random.default_rng(7).normal(0, 12, grid.shape)
    hu = (attenuation[labels] + noise).astype(np.int16)
    anatomy = Anatomy(
        labels=labels,
        geometry=grid,
        vertebrae=tuple(instance(level) for level in LEVELS),
        level_evidence=("ribs",),
        models=models(),
    )
    return CtVolume(hu, grid), anatomy


def instance(level: Level) -> VertebraInstance:
    x, y, z = geometry().index_to_lps((BODY_TOP_K[level], CENTRE_J, CENTRE_I))
    return VertebraInstance(
        level=level,
        level_confidence=0.97,
        centroid_lps_mm=(float(x), float(y), float(z)),
        superior=(0.0, 0.0, 1.0),
        anterior=(0.0, -1.0, 0.0),
        complete=True,
    )


def tissue(anatomy: Anatomy, slice_index: int) -> np.ndarray:
    """A tissue map as the composition stage would draw it."""
    plane = anatomy.labels[slice_index]
    out = np.zeros(plane.shape, dtype=np.uint8)
    out[(plane == Structure.SKELETAL_MUSCLE) | (plane == Structure.PARASPINAL_MUSCLE)] = 1
    out[(plane == Structure.PARASPINAL_MUSCLE) & (np.indices(plane.shape).sum(axis=0) % 7 == 0)] = 2
    out[plane == Structure.SUBCUTANEOUS_FAT] = 3
    out[(plane == Structure.CAVITY) & (np.indices(plane.shape)[0] < 70)] = 4
    return out


def screening(report: ScreeningReport | None = None) -> Screening:
    """A report with its pictures, built by the real evidence code."""
    from trabecula.evidence import build_views

    result = reported() if report is None else report
    if result.status is ReportStatus.REFUSED:
        return Screening(result, Evidence((), None))
    volume, anatomy = volume_and_anatomy()
    views = build_views(volume, anatomy, result.vertebrae, {k: tissue(anatomy, k) for k in BODY_TOP_K.values()})
    return Screening(result, Evidence(views, anatomy))
