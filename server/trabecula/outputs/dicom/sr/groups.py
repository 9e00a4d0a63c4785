"""What the document says, group by group, before it is put into DICOM's templates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code

from trabecula.anatomy import Level
from trabecula.bone.vertebra import DeformityStatus, ExclusionReason
from trabecula.calibration.density_result import DensitySummary, VertebraResult
from trabecula.composition.body import CompositionAtLevel
from trabecula.composition.tissue import Tissue
from trabecula.outcome import Severity
from trabecula.outputs.dicom import codes
from trabecula.outputs.dicom.codes import own
from trabecula.report import ScreeningReport
from trabecula.second_reader.reading import SecondReading

AnyCode = Code | CodedConcept

YES = Code("373066001", "SCT", "Yes")
NO = Code("373067005", "SCT", "No")
TRABECULAR_REGION = own("trabecular-region", "Trabecular region in the middle of the vertebral body")
NOT_A_T_SCORE = "Volumetric density; not a DXA T-score and not comparable to one."


@dataclass(frozen=True)
class Number:
    """One numeric value, as it is reported."""

    name: AnyCode
    value: float
    unit: Code
    derivation: Code | None = None
    method: AnyCode | None = None


@dataclass(frozen=True)
class Group:
    """One measurement group (TID 1411 where there is a segment to refer to, else TID 1501)."""

    tracking: str
    finding: AnyCode
    levels: tuple[Level, ...] = ()
    """Finding sites; their segments are referred to."""
    tissue: Tissue | None = None
    """In the slice through the level's middle; its segment is referred to instead."""
    numbers: tuple[Number, ...] = ()
    evaluations: tuple[tuple[AnyCode, AnyCode], ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quality:
    """What is said of the study as a whole: codes and words, no numbers."""

    evaluations: tuple[tuple[AnyCode, AnyCode], ...]
    comments: tuple[str, ...]


def groups(report: ScreeningReport) -> tuple[Group, ...]:
    """The summary first, then each vertebra, body composition and second readers; none of a refused study."""
    summary = () if report.density is None else _summaries(report, report.density)
    return (
        *summary,
        *(vertebra(report, one) for one in report.vertebrae),
        *(group for one in report.composition for group in composition(one)),
        *(second_reader(report, one) for one in report.second_readings),
    )


def quality(report: ScreeningReport) -> Quality:
    """Whether the study was reported, every refusal and every warning, and the limits of use."""
    warnings = [notice for notice in report.notices if notice.severity is Severity.WARNING]
    status = report.status.value
    return Quality(
        evaluations=(
            (own("screening-quality", "Outcome and quality of the screening"), own(status, status)),
            *(
                (own("refusal", "Reason for refusing the study"), own(refusal.code.value, _words(refusal.code.value)))
                for refusal in report.refusals
            ),
            *(
                (own("notice", "Warning that goes with the result"), own(one.code, _words(one.code)))
                for one in warnings
            ),
        ),
        comments=(
            *(f"{refusal.message} {refusal.remedy}" for refusal in report.refusals),
            *(one.message for one in warnings),
            *report.limits_of_use,
        ),
    )


def _summaries(report: ScreeningReport, density: DensitySummary) -> tuple[Group, ...]:
    scale = _scale(density.scale.value)
    method = _method(report)
    mean = Group(
        "Mean of the vertebrae used",
        codes.VERTEBRAL_COLUMN,
        density.levels_used,
        numbers=_known(
            ("vbmd-trabecular-mean", "Mean trabecular volumetric bone mineral density", density.vbmd_mean_mg_cm3),
            ("vbmd-standard-uncertainty", "Standard uncertainty of the density",
             density.vbmd_mean_standard_uncertainty_mg_cm3),
            method=method,
        ),
        evaluations=(scale,),
        comments=(NOT_A_T_SCORE,),
    )  # fmt: skip
    assessment = report.assessment
    category: tuple[tuple[AnyCode, AnyCode], ...] = ()
    if assessment is not None:
        value = assessment.category.value
        category = (
            (own("density-category", "Range of trabecular density"), own(value, _words(value))),
            *(
                (own("density-category-between", "Range it may lie in"), own(one.value, _words(one.value)))
                for one in assessment.between
            ),
            (own("confidence", "Confidence"), own(assessment.confidence.value, assessment.confidence.value)),
        )
    comments = () if assessment is None else (assessment.statement, f"Decided on: {assessment.decided_on}.")
    lumbar = Group(
        "Lumbar equivalent",
        codes.VERTEBRAL_COLUMN,
        density.levels_used,
        numbers=_known(
            ("vbmd-lumbar-equivalent", "Lumbar-equivalent trabecular density", density.lumbar_equivalent_mg_cm3),
            ("vbmd-standard-uncertainty", "Standard uncertainty of the density",
             density.lumbar_equivalent_standard_uncertainty_mg_cm3),
            method=method,
        ),
        evaluations=(scale, *category),
        comments=(NOT_A_T_SCORE, *comments),
    )  # fmt: skip
    steps = tuple(f"Advised: {one.text}" for one in report.recommendations)
    return mean, replace(lumbar, comments=(*lumbar.comments, *steps))


def vertebra(report: ScreeningReport, one: VertebraResult) -> Group:
    """Attenuation, density, heights and deformity of one vertebra; what was not measured is not there."""
    method = _method(report)
    numbers = [
        *_number(codes.ATTENUATION, one.hu_mean, codes.HU, derivation=codes.MEAN, method=TRABECULAR_REGION),
        *_number(codes.ATTENUATION, one.hu_sd, codes.HU, derivation=codes.STANDARD_DEVIATION, method=TRABECULAR_REGION),
        *_known(
            ("vbmd-trabecular", "Trabecular volumetric bone mineral density", one.vbmd_mg_cm3),
            ("vbmd-standard-uncertainty", "Standard uncertainty of the density", one.vbmd_standard_uncertainty_mg_cm3),
            ("vbmd-lumbar-equivalent", "Lumbar-equivalent trabecular density", one.lumbar_equivalent_mg_cm3),
            method=method,
        ),
        *_number(own("roi-volume", "Volume of the region of interest"), one.roi_volume_mm3, codes.MM3),
        *_number(own("height-anterior", "Anterior height of the body"), one.height_anterior_mm, codes.MM),
        *_number(own("height-middle", "Middle height of the body"), one.height_middle_mm, codes.MM),
        *_number(own("height-posterior", "Posterior height of the body"), one.height_posterior_mm, codes.MM),
        *_number(
            own("level-confidence", "Probability that the vertebra is named rightly"),
            one.level_confidence,
            codes.NO_UNITS,
            digits=3,
        ),
    ]
    evaluations: list[tuple[AnyCode, AnyCode]] = [_scale(one.scale.value)]
    evaluations += [
        (own("exclusion-reason", "Reason why it does not count"), own(reason.value, _words(reason.value)))
        for reason in one.excluded
    ]
    comments = [found.text for found in one.exclusions]
    deformity = one.deformity
    if deformity is not None and deformity.status is not DeformityStatus.NOT_ASSESSED:
        suspected = deformity.status is DeformityStatus.SUSPECTED or ExclusionReason.FRACTURE in one.excluded
        evaluations += [
            (own("vcf-suspected", "Vertebral compression fracture suspected"), YES if suspected else NO),
            (own("genant-grade", "Genant grade of vertebral deformity"),
             own(f"genant-{deformity.grade}", f"Genant grade {deformity.grade}")),
        ]  # fmt: skip
        if deformity.kind is not None:
            evaluations.append(
                (own("deformity-kind", "Kind of deformity"), own(deformity.kind.value, deformity.kind.value))
            )
        numbers += _number(
            own("height-loss", "Largest loss of vertebral height"), deformity.height_loss, codes.RATIO, digits=3
        )
        comments += deformity.reasons
    return Group(
        one.level.value,
        codes.VERTEBRA,
        (one.level,),
        numbers=tuple(numbers),
        evaluations=tuple(evaluations),
        comments=tuple(comments),
    )


def composition(one: CompositionAtLevel) -> tuple[Group, ...]:
    """Muscle and fat in one slice, a group for each tissue."""
    muscle = (
        ("sma", "Skeletal muscle area", one.muscle_area_cm2, codes.CM2, 1),
        ("smd", "Skeletal muscle attenuation", one.muscle_attenuation_hu, codes.HU, 1),
        ("paraspinal-area", "Paraspinal muscle area", one.paraspinal_muscle_area_cm2, codes.CM2, 1),
        ("paraspinal-attenuation", "Paraspinal muscle attenuation", one.paraspinal_muscle_attenuation_hu, codes.HU, 1),
        ("smi", "Skeletal muscle area over height squared", one.muscle_index_cm2_m2, codes.CM2_M2, 1),
    )
    between = (("imat-area", "Intermuscular fat area", one.imat_area_cm2, codes.CM2, 1),)
    subcutaneous = (("sat-area", "Subcutaneous fat area", one.sat_area_cm2, codes.CM2, 1),)
    visceral = (
        ("vat-area", "Visceral fat area", one.vat_area_cm2, codes.CM2, 1),
        ("vat-sat-ratio", "Ratio of visceral to subcutaneous fat area", one.vat_sat_ratio, codes.RATIO, 2),
    )
    cut = "truncated" if one.truncated else "whole"
    tissues: tuple[tuple[Tissue, str, Code, Sequence[tuple[str, str, float | None, Code, int]]], ...] = (
        (Tissue.MUSCLE, "Muscle", codes.SKELETAL_MUSCLE, muscle),
        (Tissue.IMAT, "Intermuscular fat", codes.FAT, between),
        (Tissue.SAT, "Subcutaneous fat", codes.SUBCUTANEOUS_FAT, subcutaneous),
        (Tissue.VAT, "Visceral fat", codes.FAT, visceral),
    )
    return tuple(
        Group(
            f"{name} {one.level.value}",
            finding,
            (one.level,),
            tissue,
            numbers=numbers,
            evaluations=((own("field-of-view", "Field of view at this slice"), own(cut, _FIELD[cut])),),
            comments=("The field of view cuts the body: areas given are lower bounds.",) if one.truncated else (),
        )
        for tissue, name, finding, measured in tissues
        if (
            numbers := tuple(
                number
                for code, meaning, value, unit, digits in measured
                for number in _number(own(code, meaning), value, unit, digits=digits)
            )
        )
    )


_FIELD = {"truncated": "The body is cut by the field of view", "whole": "The body is in the field of view"}


def second_reader(report: ScreeningReport, one: SecondReading) -> Group:
    """An end-to-end model's answer, beside the measurement."""
    agreement = own("second-reader-agreement", "How it stands to the measurement")
    return Group(
        f"Second reader {one.model_name} {one.model_version}",
        own("second-reader", "Answer of an end-to-end model beside the measurement"),
        () if report.density is None else report.density.levels_used,
        numbers=_number(
            own("second-reader-score", "Score of the end-to-end model"), one.score, codes.NO_UNITS, digits=3
        ),
        evaluations=((agreement, own(one.agreement.value, _words(one.agreement.value))),),
        comments=(one.statement, one.limits),
    )


def _number(
    name: AnyCode,
    value: float | None,
    unit: Code,
    *,
    derivation: Code | None = None,
    method: AnyCode | None = None,
    digits: int = 1,
) -> tuple[Number, ...]:
    """A value at its reported precision; nothing when it was not measured."""
    if value is None:
        return ()
    return (Number(name, round(float(value), digits) + 0.0, unit, derivation, method),)


def _known(*densities: tuple[str, str, float | None], method: AnyCode | None) -> tuple[Number, ...]:
    return tuple(
        number
        for code, meaning, value in densities
        for number in _number(own(code, meaning), value, codes.MG_CM3, method=method)
    )


def _method(report: ScreeningReport) -> CodedConcept | None:
    calibration = report.calibration
    if calibration is None:
        return None
    return own(calibration.method.value, f"{_words(calibration.method.value)} calibration")


def _scale(value: str) -> tuple[AnyCode, AnyCode]:
    return own("density-scale", "Density scale"), own(value, f"{value} equivalent")


def _words(code: str) -> str:
    return code.replace("-", " ")
