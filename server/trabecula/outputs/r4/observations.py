"""Measurements as Observations: densities, body composition, and the quality of the screening itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trabecula.assessment.assessment import ReadingKind
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.density_result import VertebraResult
from trabecula.composition.body import CompositionAtLevel
from trabecula.outcome import Severity
from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import Metric, ProjectSystem, Unit
from trabecula.outputs.r4.filing import Filing
from trabecula.outputs.r4.profiles import (
    BodyCompositionObservation,
    LumbarEquivalentBmdObservation,
    MeanTrabecularBmdObservation,
    QualityObservation,
    ScreeningObservation,
    SecondReaderObservation,
    TrabecularBmdObservation,
)
from trabecula.second_reader.reading import SecondReading

Json = dict[str, Any]

NOT_A_T_SCORE = "Not a DXA T-score and not comparable to one."


def vertebra_observation(filing: Filing, vertebra: VertebraResult) -> TrabecularBmdObservation:
    """Trabecular density of one vertebra; one that was excluded says why."""
    reasons = ", ".join(reason.value for reason in vertebra.excluded)
    return TrabecularBmdObservation(
        {
            **_observation(filing, TrabecularBmdObservation, Metric.VBMD, vertebra.level.value),
            "bodySite": codes.vertebra_site(vertebra.level),
            **_value(
                vertebra.vbmd_mg_cm3, codes.DENSITY_UNIT, f"not measured: {reasons}" if reasons else "not measured"
            ),
            **_method(filing),
            "referenceRange": [{"text": NOT_A_T_SCORE}],
            "component": _vertebra_components(filing, vertebra),
        }
    )


def _vertebra_components(filing: Filing, vertebra: VertebraResult) -> list[Json]:
    measured = (
        (Metric.UNCERTAINTY, vertebra.vbmd_standard_uncertainty_mg_cm3, codes.DENSITY_UNIT, 1),
        (Metric.LUMBAR_EQUIVALENT, vertebra.lumbar_equivalent_mg_cm3, codes.DENSITY_UNIT, 1),
        (Metric.HU_MEAN, vertebra.hu_mean, codes.HU_UNIT, 1),
        (Metric.HU_SD, vertebra.hu_sd, codes.HU_UNIT, 1),
        (Metric.ROI_VOLUME, vertebra.roi_volume_mm3, codes.VOLUME_UNIT, 1),
        (Metric.LEVEL_CONFIDENCE, vertebra.level_confidence, codes.PROBABILITY_UNIT, 3),
        (Metric.HEIGHT_ANTERIOR, vertebra.height_anterior_mm, codes.LENGTH_UNIT, 1),
        (Metric.HEIGHT_MIDDLE, vertebra.height_middle_mm, codes.LENGTH_UNIT, 1),
        (Metric.HEIGHT_POSTERIOR, vertebra.height_posterior_mm, codes.LENGTH_UNIT, 1),
    )
    components = [
        {"code": filing.metric(metric), **_value(value, unit, "not measured", digits)}
        for metric, value, unit, digits in measured
    ]
    components.append({"code": filing.metric(Metric.ROI_VOXELS), "valueInteger": int(vertebra.roi_voxels)})
    components.append(_coded(filing, Metric.SCALE, ProjectSystem.SCALE, vertebra.scale.value))
    words = {found.reason: found.text for found in vertebra.exclusions if found.whole}
    components.extend(
        _coded(filing, Metric.EXCLUSION, ProjectSystem.EXCLUSION, reason.value, words.get(reason))
        for reason in vertebra.excluded
    )
    components.extend(
        _coded(filing, Metric.PART_EXCLUSION, ProjectSystem.EXCLUSION, found.reason.value, found.text)
        for found in vertebra.exclusions
        if not found.whole
    )
    components.extend(_shape_components(filing, vertebra))
    if ExclusionReason.FRACTURE in vertebra.excluded:
        components.append({"code": filing.metric(Metric.FRACTURE_SUSPECTED), "valueBoolean": True})
    return components


def _shape_components(filing: Filing, vertebra: VertebraResult) -> list[Json]:
    """Deformity and shell, where they were measured."""
    components: list[Json] = []
    deformity, cortex = vertebra.deformity, vertebra.cortex
    if vertebra.height_rim_standard_uncertainty_mm is not None:
        error = vertebra.height_rim_standard_uncertainty_mm
        components.append(
            {"code": filing.metric(Metric.HEIGHT_UNCERTAINTY), **_value(error, codes.LENGTH_UNIT, "not estimated")}
        )
    if deformity is not None and deformity.height_loss is not None:
        kind = "none" if deformity.kind is None else deformity.kind.value
        components += [
            {"code": filing.metric(Metric.GENANT_GRADE), "valueInteger": deformity.grade},
            {"code": filing.metric(Metric.DEFORMITY_KIND), "valueString": f"{kind} ({deformity.status.value})"},
            {"code": filing.metric(Metric.HEIGHT_LOSS), **_value(deformity.height_loss, codes.RATIO_UNIT, "", 3)},
        ]
    if cortex is not None:
        components += [
            {"code": filing.metric(metric), **_value(value, unit, cortex.why_not, digits)}
            for metric, value, unit, digits in (
                (Metric.SHELL_THICKNESS, cortex.thickness_mm, codes.LENGTH_UNIT, 2),
                (Metric.SHELL_ATTENUATION, cortex.attenuation_hu, codes.HU_UNIT, 0),
            )
        ]
    return components


def mean_observation(filing: Filing, used: Sequence[ScreeningObservation]) -> MeanTrabecularBmdObservation:
    """Mean density of the vertebrae used; a refused study has it too, with the reason for its absence."""
    density = filing.report.density
    value = None if density is None else density.vbmd_mean_mg_cm3
    uncertainty = None if density is None else density.vbmd_mean_standard_uncertainty_mg_cm3
    return MeanTrabecularBmdObservation(
        {
            **_observation(filing, MeanTrabecularBmdObservation, Metric.VBMD_MEAN, "study"),
            **_value(value, codes.DENSITY_UNIT, _absence(filing)),
            **_method(filing),
            **_notes(filing),
            "referenceRange": [{"text": NOT_A_T_SCORE}],
            **_derived_from(used),
            **_density_components(filing, value, uncertainty),
        }
    )


def lumbar_observation(filing: Filing, mean: MeanTrabecularBmdObservation) -> LumbarEquivalentBmdObservation:
    """The number that was compared with the cut-offs, with the category as its interpretation."""
    density, assessment = filing.report.density, filing.report.assessment
    value = None if density is None else density.lumbar_equivalent_mg_cm3
    uncertainty = None if density is None else density.lumbar_equivalent_standard_uncertainty_mg_cm3
    interpretation: Json = {}
    if assessment is not None:
        standard = codes.INTERPRETATIONS.get(assessment.category)
        own = codes.coding(filing.system(ProjectSystem.CATEGORY), assessment.category.value)
        beside = () if standard is None else (codes.coding(codes.INTERPRETATION, *standard),)
        interpretation = {
            "interpretation": [codes.concept(*beside, own, text=codes.CATEGORY_DISPLAY[assessment.category])]
        }
    decides = () if assessment is None else [reading.kind for reading in assessment.readings if reading.decides]
    note = {"note": [{"text": f"Decided on: {assessment.decided_on}."}]} if assessment and decides else {}
    return LumbarEquivalentBmdObservation(
        {
            **_observation(filing, LumbarEquivalentBmdObservation, Metric.LUMBAR_EQUIVALENT, "study"),
            **note,
            **_value(value, codes.DENSITY_UNIT, _absence(filing)),
            **interpretation,
            **_method(filing),
            "referenceRange": [{"text": NOT_A_T_SCORE}],
            **_derived_from([mean]),
            **_with_components(_density_components(filing, value, uncertainty), _direct_reading(filing)),
        }
    )


def second_reader_observation(filing: Filing, second: SecondReading) -> SecondReaderObservation:
    """An end-to-end model's answer, beside the measurement; one that was not asked says why."""
    interpretation: Json = {}
    if second.positive is not None:
        code = codes.POSITIVE if second.positive else codes.NEGATIVE
        interpretation = {"interpretation": [codes.concept(code, text=second.question)]}
    agreement = {
        "code": filing.metric(Metric.SECOND_READER_AGREEMENT),
        "valueString": second.agreement.value,
    }
    cut_off = {
        "code": filing.metric(Metric.SECOND_READER_CUTOFF),
        **_value(second.cut_off, codes.PROBABILITY_UNIT, "", 3),
    }
    return SecondReaderObservation(
        {
            **_observation(
                filing, SecondReaderObservation, Metric.SECOND_READER, f"{second.model_name}-{second.model_version}"
            ),
            **_value(second.score, codes.PROBABILITY_UNIT, second.not_read_because or "not read", 3),
            **interpretation,
            "method": codes.concept(text=f"{second.model_name} {second.model_version}; {second.reference_definition}"),
            "note": [{"text": second.statement}, {"text": second.limits}],
            "component": [cut_off, agreement],
        }
    )


def _direct_reading(filing: Filing) -> list[Json]:
    """The deciding densities read by the cut-offs of their own level, where that is another reading."""
    assessment = filing.report.assessment
    readings = () if assessment is None else assessment.readings
    decides = next((reading for reading in readings if reading.decides), None)
    direct = next(
        (
            reading
            for reading in reversed(readings)
            if reading.kind is ReadingKind.DIRECT and decides is not None and reading.levels == decides.levels
        ),
        None,
    )
    if direct is None or not direct.ranges or direct.rule == "levels.lumbar":
        return []
    levels = ", ".join(level.value for level in direct.levels)
    cuts = f"{direct.osteoporosis_below_mg_cm3 or 0:g} and {direct.low_below_mg_cm3 or 0:g} mg/cm3"
    text = f"{direct.value_mg_cm3:.1f} mg/cm3 at {levels}, cut-offs {cuts}"
    system = filing.system(ProjectSystem.CATEGORY)
    codings = [codes.coding(system, category.value) for category in direct.ranges]
    return [{"code": filing.metric(Metric.DIRECT_READING), "valueCodeableConcept": codes.concept(*codings, text=text)}]


def composition_observation(filing: Filing, composition: CompositionAtLevel) -> BodyCompositionObservation:
    """Muscle and fat at one level; what could not be measured says why."""
    absent = "the field of view cuts the body" if composition.truncated else "not measured"
    measured = (
        (Metric.MUSCLE_AREA, composition.muscle_area_cm2, codes.AREA_UNIT, absent),
        (Metric.MUSCLE_ATTENUATION, composition.muscle_attenuation_hu, codes.HU_UNIT, absent),
        (Metric.PARASPINAL_AREA, composition.paraspinal_muscle_area_cm2, codes.AREA_UNIT, absent),
        (Metric.PARASPINAL_ATTENUATION, composition.paraspinal_muscle_attenuation_hu, codes.HU_UNIT, absent),
        (Metric.IMAT_AREA, composition.imat_area_cm2, codes.AREA_UNIT, absent),
        (Metric.SAT_AREA, composition.sat_area_cm2, codes.AREA_UNIT, absent),
        (Metric.VAT_AREA, composition.vat_area_cm2, codes.AREA_UNIT, absent),
        (Metric.VAT_SAT_RATIO, composition.vat_sat_ratio, codes.RATIO_UNIT, absent),
        (Metric.MUSCLE_INDEX, composition.muscle_index_cm2_m2, codes.INDEX_UNIT, f"{absent}, or height not known"),
        (
            Metric.PARASPINAL_INDEX,
            composition.paraspinal_muscle_index_cm2_m2,
            codes.INDEX_UNIT,
            f"{absent}, or height not known",
        ),
        (Metric.FAT_BY_SHARE, composition.muscle_fat_by_share_cm2, codes.AREA_UNIT, absent),
        (Metric.LEAN_ATTENUATION, composition.lean_muscle_attenuation_hu, codes.HU_UNIT, absent),
        (Metric.MISSING_AREA, composition.missing_area_cm2, codes.AREA_UNIT, "not estimated"),
    )
    note = [{"text": "The field of view cuts the body: areas given are lower bounds."}] if composition.truncated else []
    return BodyCompositionObservation(
        {
            **_observation(filing, BodyCompositionObservation, Metric.COMPOSITION, composition.level.value),
            "bodySite": codes.vertebra_site(composition.level),
            **({"note": note} if note else {}),
            "component": [
                {"code": filing.metric(metric), **_value(value, unit, reason, 2 if unit is codes.RATIO_UNIT else 1)}
                for metric, value, unit, reason in measured
            ],
        }
    )


def quality_observation(filing: Filing) -> QualityObservation:
    """Whether the study was reported, every refusal and every warning, coded; information stays in the JSON report."""
    report = filing.report
    components = [
        _coded(filing, Metric.REFUSAL, ProjectSystem.REFUSAL, refusal.code.value, f"{refusal.message} {refusal.remedy}")
        for refusal in report.refusals
    ]
    components.extend(
        _coded(filing, Metric.NOTICE, ProjectSystem.NOTICE, notice.code, notice.message)
        for notice in report.notices
        if notice.severity is Severity.WARNING
    )
    return QualityObservation(
        {
            **_observation(filing, QualityObservation, Metric.QUALITY, "study"),
            "valueCodeableConcept": filing.project_concept(ProjectSystem.STATUS, report.status.value),
            **({"component": components} if components else {}),
        }
    )


def _observation(filing: Filing, profile: type[ScreeningObservation], metric: Metric, part: str) -> Json:
    """What every Observation has; ``preliminary`` until a person has signed."""
    return {
        **filing.head(profile, f"{metric.value}/{part}"),
        **({} if filing.imaging_study is None else {"partOf": [filing.imaging_study]}),
        "status": "preliminary",
        "category": [codes.IMAGING],
        "code": filing.metric(metric),
        "subject": filing.subject,
        **filing.effective,
        "issued": filing.report.created_at,
        "device": filing.device,
    }


def _value(value: float | None, unit: Unit, absent: str, digits: int = 1) -> Json:
    """A quantity at its reported precision, or the reason for its absence."""
    if value is None:
        return {"dataAbsentReason": codes.concept(codes.NOT_PERFORMED, text=absent)}
    number = round(float(value), digits) + 0.0  # + 0.0: no minus zero
    return {"valueQuantity": {"value": number, "unit": unit.text, "system": codes.UCUM, "code": unit.ucum}}


def _coded(filing: Filing, metric: Metric, system: ProjectSystem, code: str, text: str | None = None) -> Json:
    return {"code": filing.metric(metric), "valueCodeableConcept": filing.project_concept(system, code, text)}


def _density_components(filing: Filing, value: float | None, uncertainty: float | None) -> Json:
    density = filing.report.density
    if density is None or value is None:
        return {}
    return {
        "component": [
            {"code": filing.metric(Metric.UNCERTAINTY), **_value(uncertainty, codes.DENSITY_UNIT, "not estimated")},
            _coded(filing, Metric.SCALE, ProjectSystem.SCALE, density.scale.value),
        ]
    }


def _with_components(known: Json, more: list[Json]) -> Json:
    components = [*known.get("component", ()), *more]
    return {"component": components} if components else {}


def _derived_from(sources: Sequence[ScreeningObservation]) -> Json:
    return {"derivedFrom": [source.reference() for source in sources]} if sources else {}


def _method(filing: Filing) -> Json:
    calibration = filing.report.calibration
    if calibration is None:
        return {}
    text = f"{calibration.method.value} calibration, {calibration.model_name} {calibration.model_version}"
    return {"method": filing.project_concept(ProjectSystem.METHOD, calibration.method.value, text)}


def _notes(filing: Filing) -> Json:
    texts = [notice.message for notice in filing.report.notices if notice.severity is Severity.WARNING]
    calibration = filing.report.calibration
    if calibration is not None and calibration.contrast_enhanced:
        texts.append(f"Contrast-enhanced scan. {calibration.contrast_evidence}")
    return {"note": [{"text": text} for text in texts]} if texts else {}


def _absence(filing: Filing) -> str:
    refusals = filing.report.refusals
    return (
        "; ".join(f"{refusal.code.value}: {refusal.message}" for refusal in refusals) or "no vertebra could be measured"
    )
