"""Every code and code system address that goes into FHIR results, in one place.

Project codes have their definitions in ``fhir/codesystems``; a test holds the two together. Codes
of HL7's AI Transparency guide come from its January 2026 ballot and may change with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from trabecula.anatomy import SNOMED_VERTEBRA, Level
from trabecula.assessment.assessment import Category

Json = dict[str, Any]

SCT: Final = "http://snomed.info/sct"
LOINC: Final = "http://loinc.org"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
UCUM: Final = "http://unitsofmeasure.org"
DICOM_UID: Final = "urn:dicom:uid"
URI: Final = "urn:ietf:rfc:3986"
IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
OBSERVATION_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
INTERPRETATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
OBSERVATION_VALUE: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
DATA_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
DATA_ABSENT_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
REPORT_RISK_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/diagnosticReport-risk"
RISK_PROBABILITY: Final = "http://terminology.hl7.org/CodeSystem/risk-probability"
PARTICIPANT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
DATA_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
AI_GUIDE: Final = "http://hl7.org/fhir/uv/aitransparency"
AI_DEVICE_TYPE: Final = f"{AI_GUIDE}/CodeSystem/AIdeviceTypeCS"
AI_INPUTS: Final = f"{AI_GUIDE}/CodeSystem/AIinputsCS"
AI_KIND_EXTENSION: Final = f"{AI_GUIDE}/StructureDefinition/aitransparency.AIKind"
MODEL_CARD_EXTENSION: Final = f"{AI_GUIDE}/StructureDefinition/aitransparency.modelCardDescription"
EU_PRIORITY_CATEGORY: Final = "http://hl7.eu/fhir/health-data-api/CodeSystem/eehrxf-document-priority-category-cs"
AUDIT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
AUDIT_ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
BALP_ENTITY_TYPE: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
OBJECT_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
SOURCE_TYPE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"


class ProjectSystem(StrEnum):
    """Code systems of this project, below ``<base_url>/CodeSystem/``."""

    METRICS = "ct-bone-metrics"
    CATEGORY = "ct-bone-category"
    SCALE = "ct-density-scale"
    METHOD = "ct-calibration-method"
    EXCLUSION = "ct-vertebra-exclusion"
    STATUS = "ct-screening-status"
    REFUSAL = "ct-screening-refusal"
    NOTICE = "ct-screening-notice"
    ACTION = "ct-bone-action"
    FACT = "ct-bone-fact"
    PROGRAMME = "ct-bone-programme"


class ProgrammeState(StrEnum):
    """Where a person stands in the programme that follows a proposal of DXA."""

    PROPOSED = "proposed"
    CONTACTED = "contacted"
    BOOKED = "booked"
    DONE = "done"
    DECLINED = "declined"
    CLOSED = "closed"


PROGRAMME_DISPLAY: Final[dict[ProgrammeState, str]] = {
    ProgrammeState.PROPOSED: "DXA proposed",
    ProgrammeState.CONTACTED: "Person contacted",
    ProgrammeState.BOOKED: "DXA booked",
    ProgrammeState.DONE: "DXA done",
    ProgrammeState.DECLINED: "Person declined",
    ProgrammeState.CLOSED: "Closed without DXA",
}

TASK_STATUS: Final[dict[ProgrammeState, str]] = {
    ProgrammeState.PROPOSED: "requested",
    ProgrammeState.CONTACTED: "received",
    ProgrammeState.BOOKED: "in-progress",
    ProgrammeState.DONE: "completed",
    ProgrammeState.DECLINED: "rejected",
    ProgrammeState.CLOSED: "cancelled",
}
"""Task.status beside each state; the state itself is Task.businessStatus."""


class Metric(StrEnum):
    """What is measured; no LOINC, SNOMED CT or DICOM code was found for trabecular density of one vertebra."""

    VBMD = "vbmd-trabecular"
    VBMD_MEAN = "vbmd-trabecular-mean"
    LUMBAR_EQUIVALENT = "vbmd-lumbar-equivalent"
    UNCERTAINTY = "vbmd-standard-uncertainty"
    SCALE = "density-scale"
    HU_MEAN = "hu-trabecular-mean"
    HU_SD = "hu-trabecular-sd"
    ROI_VOXELS = "roi-voxels"
    ROI_VOLUME = "roi-volume"
    LEVEL_CONFIDENCE = "level-confidence"
    HEIGHT_ANTERIOR = "height-anterior"
    HEIGHT_MIDDLE = "height-middle"
    HEIGHT_POSTERIOR = "height-posterior"
    EXCLUSION = "exclusion-reason"
    FRACTURE_SUSPECTED = "vcf-suspected"
    HEIGHT_UNCERTAINTY = "height-standard-uncertainty"
    GENANT_GRADE = "genant-grade"
    DEFORMITY_KIND = "deformity-kind"
    HEIGHT_LOSS = "height-loss"
    SHELL_THICKNESS = "shell-thickness"
    SHELL_ATTENUATION = "shell-attenuation"
    PART_EXCLUSION = "part-exclusion"
    COMPOSITION = "body-composition"
    MUSCLE_AREA = "sma"
    MUSCLE_ATTENUATION = "smd"
    PARASPINAL_AREA = "paraspinal-area"
    PARASPINAL_ATTENUATION = "paraspinal-attenuation"
    MUSCLE_INDEX = "smi"
    IMAT_AREA = "imat-area"
    SAT_AREA = "sat-area"
    VAT_AREA = "vat-area"
    VAT_SAT_RATIO = "vat-sat-ratio"
    MISSING_AREA = "missing-area"
    PARASPINAL_INDEX = "paraspinal-index"
    FAT_BY_SHARE = "muscle-fat-by-share"
    LEAN_ATTENUATION = "lean-muscle-attenuation"
    DIRECT_READING = "direct-reading"
    SECOND_READER = "second-reader-score"
    SECOND_READER_CUTOFF = "second-reader-cut-off"
    SECOND_READER_AGREEMENT = "second-reader-agreement"
    QUALITY = "screening-quality"
    REFUSAL = "refusal"
    NOTICE = "notice"


METRIC_DISPLAY: Final[dict[Metric, str]] = {
    Metric.VBMD: "Trabecular volumetric bone mineral density of one vertebra",
    Metric.VBMD_MEAN: "Mean trabecular volumetric bone mineral density of the vertebrae used",
    Metric.LUMBAR_EQUIVALENT: "Lumbar-equivalent trabecular volumetric bone mineral density",
    Metric.UNCERTAINTY: "Standard uncertainty of the density",
    Metric.SCALE: "Density scale",
    Metric.HU_MEAN: "Mean trabecular attenuation",
    Metric.HU_SD: "Standard deviation of trabecular attenuation",
    Metric.ROI_VOXELS: "Voxels in the region of interest",
    Metric.ROI_VOLUME: "Volume of the region of interest",
    Metric.LEVEL_CONFIDENCE: "Probability that the vertebra is named rightly",
    Metric.HEIGHT_ANTERIOR: "Anterior height of the vertebral body",
    Metric.HEIGHT_MIDDLE: "Middle height of the vertebral body",
    Metric.HEIGHT_POSTERIOR: "Posterior height of the vertebral body",
    Metric.EXCLUSION: "Reason why the vertebra does not count towards the means",
    Metric.FRACTURE_SUSPECTED: "Vertebral compression fracture suspected",
    Metric.HEIGHT_UNCERTAINTY: "Standard uncertainty of the anterior and posterior height",
    Metric.GENANT_GRADE: "Genant grade of vertebral deformity",
    Metric.DEFORMITY_KIND: "Kind of vertebral deformity",
    Metric.HEIGHT_LOSS: "Largest loss of vertebral height",
    Metric.SHELL_THICKNESS: "Thickness of the vertebral shell",
    Metric.SHELL_ATTENUATION: "Attenuation of the outer layer of the vertebral body",
    Metric.PART_EXCLUSION: "Part cut out of the region of interest",
    Metric.COMPOSITION: "Muscle and fat in one axial slice",
    Metric.MUSCLE_AREA: "Skeletal muscle area",
    Metric.MUSCLE_ATTENUATION: "Skeletal muscle attenuation",
    Metric.PARASPINAL_AREA: "Paraspinal muscle area",
    Metric.PARASPINAL_ATTENUATION: "Paraspinal muscle attenuation",
    Metric.MUSCLE_INDEX: "Skeletal muscle area over height squared",
    Metric.IMAT_AREA: "Intermuscular fat area",
    Metric.SAT_AREA: "Subcutaneous fat area",
    Metric.VAT_AREA: "Visceral fat area",
    Metric.VAT_SAT_RATIO: "Ratio of visceral to subcutaneous fat area",
    Metric.MISSING_AREA: "Estimated area of the body outside the field of view",
    Metric.PARASPINAL_INDEX: "Paraspinal muscle area over height squared",
    Metric.FAT_BY_SHARE: "Fat inside the muscle compartment, mixed pixels counted by their share",
    Metric.LEAN_ATTENUATION: "Attenuation of muscle with the fat inside it taken out",
    Metric.DIRECT_READING: "Range by the cut-offs of the level itself",
    Metric.SECOND_READER: "Score of an end-to-end model beside the measurement",
    Metric.SECOND_READER_CUTOFF: "Cut-off of the end-to-end model",
    Metric.SECOND_READER_AGREEMENT: "How the end-to-end model stands to the measurement",
    Metric.QUALITY: "Outcome and quality of the screening",
    Metric.REFUSAL: "Reason for refusing the study",
    Metric.NOTICE: "Warning that goes with the result",
}


@dataclass(frozen=True)
class Unit:
    """Text for people and UCUM code."""

    text: str
    ucum: str


DENSITY_UNIT: Final = Unit("mg/cm3", "mg/cm3")
HU_UNIT: Final = Unit("HU", "[hnsf'U]")
AREA_UNIT: Final = Unit("cm2", "cm2")
INDEX_UNIT: Final = Unit("cm2/m2", "cm2/m2")
LENGTH_UNIT: Final = Unit("mm", "mm")
VOLUME_UNIT: Final = Unit("mm3", "mm3")
RATIO_UNIT: Final = Unit("ratio", "{ratio}")
PROBABILITY_UNIT: Final = Unit("1", "1")

STANDARD_CODES: Final[dict[Metric, tuple[str, str, str]]] = {
    Metric.HU_MEAN: (DCM, "112031", "Attenuation Coefficient"),
    Metric.HU_SD: (SCT, "386136009", "Standard deviation"),
    Metric.ROI_VOLUME: (SCT, "118565006", "Volume"),
    Metric.MUSCLE_AREA: (SCT, "42798000", "Area"),
    Metric.MUSCLE_ATTENUATION: (DCM, "112031", "Attenuation Coefficient"),
    Metric.PARASPINAL_AREA: (SCT, "42798000", "Area"),
    Metric.PARASPINAL_ATTENUATION: (DCM, "112031", "Attenuation Coefficient"),
    Metric.IMAT_AREA: (SCT, "42798000", "Area"),
    Metric.SAT_AREA: (SCT, "42798000", "Area"),
    Metric.VAT_AREA: (SCT, "42798000", "Area"),
    Metric.FAT_BY_SHARE: (SCT, "42798000", "Area"),
    Metric.MISSING_AREA: (SCT, "42798000", "Area"),
    Metric.LEAN_ATTENUATION: (DCM, "112031", "Attenuation Coefficient"),
}
"""A standard coding that may stand beside the project's own."""

METRIC_UNITS: Final[dict[Metric, Unit]] = {
    **dict.fromkeys((Metric.VBMD, Metric.VBMD_MEAN, Metric.LUMBAR_EQUIVALENT, Metric.UNCERTAINTY), DENSITY_UNIT),
    **dict.fromkeys(
        (
            Metric.HU_MEAN,
            Metric.HU_SD,
            Metric.MUSCLE_ATTENUATION,
            Metric.PARASPINAL_ATTENUATION,
            Metric.LEAN_ATTENUATION,
            Metric.SHELL_ATTENUATION,
        ),
        HU_UNIT,
    ),
    **dict.fromkeys(
        (
            Metric.MUSCLE_AREA,
            Metric.PARASPINAL_AREA,
            Metric.IMAT_AREA,
            Metric.SAT_AREA,
            Metric.VAT_AREA,
            Metric.FAT_BY_SHARE,
            Metric.MISSING_AREA,
        ),
        AREA_UNIT,
    ),
    **dict.fromkeys((Metric.MUSCLE_INDEX, Metric.PARASPINAL_INDEX), INDEX_UNIT),
    **dict.fromkeys(
        (
            Metric.HEIGHT_ANTERIOR,
            Metric.HEIGHT_MIDDLE,
            Metric.HEIGHT_POSTERIOR,
            Metric.HEIGHT_UNCERTAINTY,
            Metric.SHELL_THICKNESS,
        ),
        LENGTH_UNIT,
    ),
    **dict.fromkeys((Metric.VAT_SAT_RATIO, Metric.HEIGHT_LOSS), RATIO_UNIT),
    **dict.fromkeys((Metric.LEVEL_CONFIDENCE, Metric.SECOND_READER, Metric.SECOND_READER_CUTOFF), PROBABILITY_UNIT),
    Metric.ROI_VOLUME: VOLUME_UNIT,
}
"""The one unit in which each metric that has a unit is given."""

INTERPRETATIONS: Final[dict[Category, tuple[str, str]]] = {
    Category.SEVERE_RANGE_SUSPECTED: ("L", "Low"),
    Category.OSTEOPOROSIS_RANGE: ("L", "Low"),
    Category.LOW_BONE_DENSITY_RANGE: ("L", "Low"),
    Category.INDETERMINATE: ("IND", "Indeterminate"),
}
"""Never ``LL`` (critical low sets off alarms in an EHR) and never ``N`` (CT cannot rule low density out)."""

QUALITATIVE_RISK: Final[dict[Category, tuple[str, str]]] = {
    Category.SEVERE_RANGE_SUSPECTED: ("high", "High likelihood"),
    Category.OSTEOPOROSIS_RANGE: ("high", "High likelihood"),
    Category.LOW_BONE_DENSITY_RANGE: ("moderate", "Moderate likelihood"),
}
"""Likelihood that low bone density is confirmed; no reassuring word for the other categories."""

CATEGORY_DISPLAY: Final[dict[Category, str]] = {
    Category.SEVERE_RANGE_SUSPECTED: "Osteoporosis range with suspected vertebral fracture: severe category suspected",
    Category.OSTEOPOROSIS_RANGE: "Trabecular density in the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "Trabecular density in the low range",
    Category.NO_SIGN_OF_LOW_DENSITY: "No sign of low density on this scan",
    Category.INDETERMINATE: "Indeterminate between two ranges",
    Category.NOT_CLASSIFIED: "Not classified",
}


def coding(system: str, code: str, display: str | None = None) -> Json:
    """A FHIR Coding."""
    result = {"system": system, "code": code}
    return {**result, "display": display} if display else result


def concept(*codings: Json, text: str | None = None) -> Json:
    """A FHIR CodeableConcept."""
    result: Json = {"coding": list(codings)} if codings else {}
    return {**result, "text": text} if text else result


AI_ASSERTED: Final = coding(OBSERVATION_VALUE, "AIAST", "Artificial Intelligence asserted")
IMAGING: Final = concept(coding(OBSERVATION_CATEGORY, "imaging", "Imaging"))
RADIOLOGY: Final = concept(coding(LOINC, "LP29684-5", "Radiology"))
REPORT_CODE: Final = concept(
    coding(LOINC, "95925-4", "CT Skeletal system.axial Multisection for bone density"),
    text="Opportunistic bone, muscle and fat assessment from an existing CT",
)
DXA_ORDER: Final = concept(
    coding(LOINC, "83012-5", "DXA Skeletal system.axial Views for bone density"), text="DXA of the axial skeleton"
)
IMAGING_REPORT: Final = concept(coding(LOINC, "85430-7", "Diagnostic imaging report"))
EU_MEDICAL_IMAGING: Final = concept(coding(EU_PRIORITY_CATEGORY, "Medical-Imaging"))
IMAGING_ORDER: Final = concept(coding(SCT, "363679005", "Imaging"))
CT_MODALITY: Final = coding(DCM, "CT", "Computed Tomography")
AI_DEVICE: Final = concept(coding(AI_DEVICE_TYPE, "Artificial-Intelligence", "All kinds of Artificial Intelligence"))
AI_ROLE: Final = AI_DEVICE
AI_KINDS: Final = (
    concept(coding(AI_DEVICE_TYPE, "Deep-Learning-Models", "Deep Learning Models")),
    concept(coding(AI_DEVICE_TYPE, "Deterministic-AI", "Deterministic AI")),
    concept(coding(AI_DEVICE_TYPE, "Medical-Image-Analysis", "Medical Image Analysis")),
    concept(coding(AI_DEVICE_TYPE, "AI-for-Medical-Imaging-Data", "AI for Medical Imaging Data")),
)
MODEL_CARD: Final = concept(coding(AI_INPUTS, "AIModelCard", "AI Model-Card"))
MODEL_CARD_MARKDOWN: Final = concept(coding(AI_INPUTS, "AIModelCardMarkdownFormat", "Markdown Format"))
UNKNOWN_EXTENSION: Final[Json] = {"url": DATA_ABSENT_EXTENSION, "valueCode": "unknown"}
STUDY_UID_TYPE: Final = concept(coding(DCM, "110180", "Study Instance UID"))
ACCESSION_TYPE: Final = concept(coding(IDENTIFIER_TYPE, "ACSN", "Accession ID"))
AUTHOR: Final = concept(coding(PARTICIPANT_TYPE, "author", "Author"))
VERIFIER: Final = concept(coding(PARTICIPANT_TYPE, "verifier", "Verifier"))
CREATE: Final = concept(coding(DATA_OPERATION, "CREATE", "create"))
UPDATE: Final = concept(coding(DATA_OPERATION, "UPDATE", "revise"))
NULLIFY: Final = concept(coding(DATA_OPERATION, "NULLIFY", "nullify"))
POSITIVE: Final = coding(INTERPRETATION, "POS", "Positive")
NEGATIVE: Final = coding(INTERPRETATION, "NEG", "Negative")
NOT_PERFORMED: Final = coding(DATA_ABSENT, "not-performed", "Not Performed")
UNKNOWN: Final = coding(DATA_ABSENT, "unknown", "Unknown")


def vertebra_site(level: Level) -> Json:
    """Body site of a vertebra; the neck's vertebrae have no code in DICOM's table and go by text."""
    code = SNOMED_VERTEBRA.get(level)
    text = f"{level.value} vertebra"
    return concept(coding(SCT, code, text), text=text) if code else concept(text=text)
