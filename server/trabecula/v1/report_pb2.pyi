from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReportStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPORT_STATUS_UNSPECIFIED: _ClassVar[ReportStatus]
    REPORT_STATUS_REPORTED: _ClassVar[ReportStatus]
    REPORT_STATUS_REFUSED: _ClassVar[ReportStatus]

class Stage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGE_UNSPECIFIED: _ClassVar[Stage]
    STAGE_IMAGING: _ClassVar[Stage]
    STAGE_SEGMENTATION: _ClassVar[Stage]
    STAGE_BONE: _ClassVar[Stage]
    STAGE_CALIBRATION: _ClassVar[Stage]
    STAGE_DENSITY: _ClassVar[Stage]
    STAGE_COMPOSITION: _ClassVar[Stage]
    STAGE_ASSESSMENT: _ClassVar[Stage]
    STAGE_RECOMMENDATION: _ClassVar[Stage]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_INFORMATION: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]

class Sex(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEX_UNSPECIFIED: _ClassVar[Sex]
    SEX_FEMALE: _ClassVar[Sex]
    SEX_MALE: _ClassVar[Sex]

class SpectralFilter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPECTRAL_FILTER_UNSPECIFIED: _ClassVar[SpectralFilter]
    SPECTRAL_FILTER_NONE: _ClassVar[SpectralFilter]
    SPECTRAL_FILTER_TIN: _ClassVar[SpectralFilter]
    SPECTRAL_FILTER_UNKNOWN: _ClassVar[SpectralFilter]

class KernelClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KERNEL_CLASS_UNSPECIFIED: _ClassVar[KernelClass]
    KERNEL_CLASS_SOFT: _ClassVar[KernelClass]
    KERNEL_CLASS_MEDIUM: _ClassVar[KernelClass]
    KERNEL_CLASS_SHARP: _ClassVar[KernelClass]
    KERNEL_CLASS_UNKNOWN: _ClassVar[KernelClass]

class ContrastTag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTRAST_TAG_UNSPECIFIED: _ClassVar[ContrastTag]
    CONTRAST_TAG_GIVEN: _ClassVar[ContrastTag]
    CONTRAST_TAG_NOT_GIVEN: _ClassVar[ContrastTag]
    CONTRAST_TAG_UNKNOWN: _ClassVar[ContrastTag]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_C1: _ClassVar[Level]
    LEVEL_C2: _ClassVar[Level]
    LEVEL_C3: _ClassVar[Level]
    LEVEL_C4: _ClassVar[Level]
    LEVEL_C5: _ClassVar[Level]
    LEVEL_C6: _ClassVar[Level]
    LEVEL_C7: _ClassVar[Level]
    LEVEL_T1: _ClassVar[Level]
    LEVEL_T2: _ClassVar[Level]
    LEVEL_T3: _ClassVar[Level]
    LEVEL_T4: _ClassVar[Level]
    LEVEL_T5: _ClassVar[Level]
    LEVEL_T6: _ClassVar[Level]
    LEVEL_T7: _ClassVar[Level]
    LEVEL_T8: _ClassVar[Level]
    LEVEL_T9: _ClassVar[Level]
    LEVEL_T10: _ClassVar[Level]
    LEVEL_T11: _ClassVar[Level]
    LEVEL_T12: _ClassVar[Level]
    LEVEL_L1: _ClassVar[Level]
    LEVEL_L2: _ClassVar[Level]
    LEVEL_L3: _ClassVar[Level]
    LEVEL_L4: _ClassVar[Level]
    LEVEL_L5: _ClassVar[Level]

class ExclusionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXCLUSION_REASON_UNSPECIFIED: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_FRACTURE: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_CEMENT: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_HARDWARE: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_LESION: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_OUT_OF_VIEW: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_ROI_TOO_SMALL: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_IMPLAUSIBLE: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_DEGENERATION: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_BONE_ISLAND: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_LYTIC_AREA: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_SCHMORL_NODE: _ClassVar[ExclusionReason]
    EXCLUSION_REASON_REVIEWER: _ClassVar[ExclusionReason]

class DeformityKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEFORMITY_KIND_UNSPECIFIED: _ClassVar[DeformityKind]
    DEFORMITY_KIND_WEDGE: _ClassVar[DeformityKind]
    DEFORMITY_KIND_BICONCAVE: _ClassVar[DeformityKind]
    DEFORMITY_KIND_CRUSH: _ClassVar[DeformityKind]

class DeformityStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEFORMITY_STATUS_UNSPECIFIED: _ClassVar[DeformityStatus]
    DEFORMITY_STATUS_NONE: _ClassVar[DeformityStatus]
    DEFORMITY_STATUS_VARIANT: _ClassVar[DeformityStatus]
    DEFORMITY_STATUS_POSSIBLE: _ClassVar[DeformityStatus]
    DEFORMITY_STATUS_SUSPECTED: _ClassVar[DeformityStatus]
    DEFORMITY_STATUS_NOT_ASSESSED: _ClassVar[DeformityStatus]

class DensityScale(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DENSITY_SCALE_UNSPECIFIED: _ClassVar[DensityScale]
    DENSITY_SCALE_K2HPO4: _ClassVar[DensityScale]
    DENSITY_SCALE_HA: _ClassVar[DensityScale]

class CalibrationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CALIBRATION_METHOD_UNSPECIFIED: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_PHANTOMLESS: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_HU_ONLY: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_SYNCHRONOUS_PHANTOM: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_ASYNCHRONOUS: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_MUSCLE_ONLY: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_FAT_AIR: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_AIR_BLOOD: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_FAT_BLOOD_BONE: _ClassVar[CalibrationMethod]
    CALIBRATION_METHOD_MASS_ATTENUATION: _ClassVar[CalibrationMethod]

class ReferenceTissue(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFERENCE_TISSUE_UNSPECIFIED: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_OUTSIDE_AIR: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_SUBCUTANEOUS_FAT: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_PARASPINAL_MUSCLE: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_AORTIC_BLOOD: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_LIVER: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_SPLEEN: _ClassVar[ReferenceTissue]
    REFERENCE_TISSUE_CORTICAL_BONE: _ClassVar[ReferenceTissue]

class CorrectionName(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CORRECTION_NAME_UNSPECIFIED: _ClassVar[CorrectionName]
    CORRECTION_NAME_NOISE: _ClassVar[CorrectionName]
    CORRECTION_NAME_FIELD_OF_VIEW: _ClassVar[CorrectionName]
    CORRECTION_NAME_PATIENT_SIZE: _ClassVar[CorrectionName]
    CORRECTION_NAME_TUBE_VOLTAGE: _ClassVar[CorrectionName]
    CORRECTION_NAME_TIN_FILTER: _ClassVar[CorrectionName]
    CORRECTION_NAME_BEAM_PATH: _ClassVar[CorrectionName]
    CORRECTION_NAME_VIRTUAL_UNENHANCED: _ClassVar[CorrectionName]
    CORRECTION_NAME_CONTRAST: _ClassVar[CorrectionName]
    CORRECTION_NAME_MARROW: _ClassVar[CorrectionName]
    CORRECTION_NAME_KERNEL: _ClassVar[CorrectionName]
    CORRECTION_NAME_SLICE_THICKNESS: _ClassVar[CorrectionName]
    CORRECTION_NAME_DRIFT: _ClassVar[CorrectionName]
    CORRECTION_NAME_SCALE: _ClassVar[CorrectionName]

class Category(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CATEGORY_UNSPECIFIED: _ClassVar[Category]
    CATEGORY_OSTEOPOROSIS_RANGE: _ClassVar[Category]
    CATEGORY_LOW_BONE_DENSITY_RANGE: _ClassVar[Category]
    CATEGORY_NO_SIGN_OF_LOW_DENSITY: _ClassVar[Category]
    CATEGORY_INDETERMINATE: _ClassVar[Category]
    CATEGORY_NOT_CLASSIFIED: _ClassVar[Category]
    CATEGORY_SEVERE_RANGE_SUSPECTED: _ClassVar[Category]

class Confidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIDENCE_UNSPECIFIED: _ClassVar[Confidence]
    CONFIDENCE_HIGH: _ClassVar[Confidence]
    CONFIDENCE_MODERATE: _ClassVar[Confidence]
    CONFIDENCE_LOW: _ClassVar[Confidence]
REPORT_STATUS_UNSPECIFIED: ReportStatus
REPORT_STATUS_REPORTED: ReportStatus
REPORT_STATUS_REFUSED: ReportStatus
STAGE_UNSPECIFIED: Stage
STAGE_IMAGING: Stage
STAGE_SEGMENTATION: Stage
STAGE_BONE: Stage
STAGE_CALIBRATION: Stage
STAGE_DENSITY: Stage
STAGE_COMPOSITION: Stage
STAGE_ASSESSMENT: Stage
STAGE_RECOMMENDATION: Stage
SEVERITY_UNSPECIFIED: Severity
SEVERITY_INFORMATION: Severity
SEVERITY_WARNING: Severity
SEX_UNSPECIFIED: Sex
SEX_FEMALE: Sex
SEX_MALE: Sex
SPECTRAL_FILTER_UNSPECIFIED: SpectralFilter
SPECTRAL_FILTER_NONE: SpectralFilter
SPECTRAL_FILTER_TIN: SpectralFilter
SPECTRAL_FILTER_UNKNOWN: SpectralFilter
KERNEL_CLASS_UNSPECIFIED: KernelClass
KERNEL_CLASS_SOFT: KernelClass
KERNEL_CLASS_MEDIUM: KernelClass
KERNEL_CLASS_SHARP: KernelClass
KERNEL_CLASS_UNKNOWN: KernelClass
CONTRAST_TAG_UNSPECIFIED: ContrastTag
CONTRAST_TAG_GIVEN: ContrastTag
CONTRAST_TAG_NOT_GIVEN: ContrastTag
CONTRAST_TAG_UNKNOWN: ContrastTag
LEVEL_UNSPECIFIED: Level
LEVEL_C1: Level
LEVEL_C2: Level
LEVEL_C3: Level
LEVEL_C4: Level
LEVEL_C5: Level
LEVEL_C6: Level
LEVEL_C7: Level
LEVEL_T1: Level
LEVEL_T2: Level
LEVEL_T3: Level
LEVEL_T4: Level
LEVEL_T5: Level
LEVEL_T6: Level
LEVEL_T7: Level
LEVEL_T8: Level
LEVEL_T9: Level
LEVEL_T10: Level
LEVEL_T11: Level
LEVEL_T12: Level
LEVEL_L1: Level
LEVEL_L2: Level
LEVEL_L3: Level
LEVEL_L4: Level
LEVEL_L5: Level
EXCLUSION_REASON_UNSPECIFIED: ExclusionReason
EXCLUSION_REASON_FRACTURE: ExclusionReason
EXCLUSION_REASON_CEMENT: ExclusionReason
EXCLUSION_REASON_HARDWARE: ExclusionReason
EXCLUSION_REASON_LESION: ExclusionReason
EXCLUSION_REASON_OUT_OF_VIEW: ExclusionReason
EXCLUSION_REASON_ROI_TOO_SMALL: ExclusionReason
EXCLUSION_REASON_IMPLAUSIBLE: ExclusionReason
EXCLUSION_REASON_DEGENERATION: ExclusionReason
EXCLUSION_REASON_BONE_ISLAND: ExclusionReason
EXCLUSION_REASON_LYTIC_AREA: ExclusionReason
EXCLUSION_REASON_SCHMORL_NODE: ExclusionReason
EXCLUSION_REASON_REVIEWER: ExclusionReason
DEFORMITY_KIND_UNSPECIFIED: DeformityKind
DEFORMITY_KIND_WEDGE: DeformityKind
DEFORMITY_KIND_BICONCAVE: DeformityKind
DEFORMITY_KIND_CRUSH: DeformityKind
DEFORMITY_STATUS_UNSPECIFIED: DeformityStatus
DEFORMITY_STATUS_NONE: DeformityStatus
DEFORMITY_STATUS_VARIANT: DeformityStatus
DEFORMITY_STATUS_POSSIBLE: DeformityStatus
DEFORMITY_STATUS_SUSPECTED: DeformityStatus
DEFORMITY_STATUS_NOT_ASSESSED: DeformityStatus
DENSITY_SCALE_UNSPECIFIED: DensityScale
DENSITY_SCALE_K2HPO4: DensityScale
DENSITY_SCALE_HA: DensityScale
CALIBRATION_METHOD_UNSPECIFIED: CalibrationMethod
CALIBRATION_METHOD_PHANTOMLESS: CalibrationMethod
CALIBRATION_METHOD_HU_ONLY: CalibrationMethod
CALIBRATION_METHOD_SYNCHRONOUS_PHANTOM: CalibrationMethod
CALIBRATION_METHOD_ASYNCHRONOUS: CalibrationMethod
CALIBRATION_METHOD_MUSCLE_ONLY: CalibrationMethod
CALIBRATION_METHOD_FAT_AIR: CalibrationMethod
CALIBRATION_METHOD_AIR_BLOOD: CalibrationMethod
CALIBRATION_METHOD_FAT_BLOOD_BONE: CalibrationMethod
CALIBRATION_METHOD_MASS_ATTENUATION: CalibrationMethod
REFERENCE_TISSUE_UNSPECIFIED: ReferenceTissue
REFERENCE_TISSUE_OUTSIDE_AIR: ReferenceTissue
REFERENCE_TISSUE_SUBCUTANEOUS_FAT: ReferenceTissue
REFERENCE_TISSUE_PARASPINAL_MUSCLE: ReferenceTissue
REFERENCE_TISSUE_AORTIC_BLOOD: ReferenceTissue
REFERENCE_TISSUE_LIVER: ReferenceTissue
REFERENCE_TISSUE_SPLEEN: ReferenceTissue
REFERENCE_TISSUE_CORTICAL_BONE: ReferenceTissue
CORRECTION_NAME_UNSPECIFIED: CorrectionName
CORRECTION_NAME_NOISE: CorrectionName
CORRECTION_NAME_FIELD_OF_VIEW: CorrectionName
CORRECTION_NAME_PATIENT_SIZE: CorrectionName
CORRECTION_NAME_TUBE_VOLTAGE: CorrectionName
CORRECTION_NAME_TIN_FILTER: CorrectionName
CORRECTION_NAME_BEAM_PATH: CorrectionName
CORRECTION_NAME_VIRTUAL_UNENHANCED: CorrectionName
CORRECTION_NAME_CONTRAST: CorrectionName
CORRECTION_NAME_MARROW: CorrectionName
CORRECTION_NAME_KERNEL: CorrectionName
CORRECTION_NAME_SLICE_THICKNESS: CorrectionName
CORRECTION_NAME_DRIFT: CorrectionName
CORRECTION_NAME_SCALE: CorrectionName
CATEGORY_UNSPECIFIED: Category
CATEGORY_OSTEOPOROSIS_RANGE: Category
CATEGORY_LOW_BONE_DENSITY_RANGE: Category
CATEGORY_NO_SIGN_OF_LOW_DENSITY: Category
CATEGORY_INDETERMINATE: Category
CATEGORY_NOT_CLASSIFIED: Category
CATEGORY_SEVERE_RANGE_SUSPECTED: Category
CONFIDENCE_UNSPECIFIED: Confidence
CONFIDENCE_HIGH: Confidence
CONFIDENCE_MODERATE: Confidence
CONFIDENCE_LOW: Confidence

class ScreeningReport(_message.Message):
    __slots__ = ("schema_version", "software_version", "clinical_data_version", "screening_id", "created_at", "status", "study", "patient", "refusals", "acquisition", "series", "vertebrae", "density", "calibration", "composition", "assessment", "recommendations", "notices", "level_evidence", "models", "timings_s", "limits_of_use", "second_readings")
    class TimingsSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLINICAL_DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    ACQUISITION_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    VERTEBRAE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    COMPOSITION_FIELD_NUMBER: _ClassVar[int]
    ASSESSMENT_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    LEVEL_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_S_FIELD_NUMBER: _ClassVar[int]
    LIMITS_OF_USE_FIELD_NUMBER: _ClassVar[int]
    SECOND_READINGS_FIELD_NUMBER: _ClassVar[int]
    schema_version: str
    software_version: str
    clinical_data_version: str
    screening_id: str
    created_at: str
    status: ReportStatus
    study: StudyIdentity
    patient: PatientContext
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    acquisition: Acquisition
    series: _containers.RepeatedCompositeFieldContainer[SeriesCandidate]
    vertebrae: _containers.RepeatedCompositeFieldContainer[VertebraResult]
    density: DensitySummary
    calibration: Calibration
    composition: _containers.RepeatedCompositeFieldContainer[CompositionAtLevel]
    assessment: Assessment
    recommendations: _containers.RepeatedCompositeFieldContainer[Recommendation]
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    level_evidence: _containers.RepeatedScalarFieldContainer[str]
    models: _containers.RepeatedCompositeFieldContainer[ModelUse]
    timings_s: _containers.ScalarMap[str, float]
    limits_of_use: _containers.RepeatedScalarFieldContainer[str]
    second_readings: _containers.RepeatedCompositeFieldContainer[SecondReading]
    def __init__(self, schema_version: _Optional[str] = ..., software_version: _Optional[str] = ..., clinical_data_version: _Optional[str] = ..., screening_id: _Optional[str] = ..., created_at: _Optional[str] = ..., status: _Optional[_Union[ReportStatus, str]] = ..., study: _Optional[_Union[StudyIdentity, _Mapping]] = ..., patient: _Optional[_Union[PatientContext, _Mapping]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., acquisition: _Optional[_Union[Acquisition, _Mapping]] = ..., series: _Optional[_Iterable[_Union[SeriesCandidate, _Mapping]]] = ..., vertebrae: _Optional[_Iterable[_Union[VertebraResult, _Mapping]]] = ..., density: _Optional[_Union[DensitySummary, _Mapping]] = ..., calibration: _Optional[_Union[Calibration, _Mapping]] = ..., composition: _Optional[_Iterable[_Union[CompositionAtLevel, _Mapping]]] = ..., assessment: _Optional[_Union[Assessment, _Mapping]] = ..., recommendations: _Optional[_Iterable[_Union[Recommendation, _Mapping]]] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., level_evidence: _Optional[_Iterable[str]] = ..., models: _Optional[_Iterable[_Union[ModelUse, _Mapping]]] = ..., timings_s: _Optional[_Mapping[str, float]] = ..., limits_of_use: _Optional[_Iterable[str]] = ..., second_readings: _Optional[_Iterable[_Union[SecondReading, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "stage", "message", "remedy")
    CODE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    code: str
    stage: Stage
    message: str
    remedy: str
    def __init__(self, code: _Optional[str] = ..., stage: _Optional[_Union[Stage, str]] = ..., message: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class Notice(_message.Message):
    __slots__ = ("code", "stage", "severity", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    stage: Stage
    severity: Severity
    message: str
    def __init__(self, code: _Optional[str] = ..., stage: _Optional[_Union[Stage, str]] = ..., severity: _Optional[_Union[Severity, str]] = ..., message: _Optional[str] = ...) -> None: ...

class PatientContext(_message.Message):
    __slots__ = ("age_years", "sex", "height_m", "weight_kg", "postmenopausal", "prior_fragility_fracture", "glucocorticoids", "known_osteoporosis", "prior_dxa")
    AGE_YEARS_FIELD_NUMBER: _ClassVar[int]
    SEX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_KG_FIELD_NUMBER: _ClassVar[int]
    POSTMENOPAUSAL_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FRAGILITY_FRACTURE_FIELD_NUMBER: _ClassVar[int]
    GLUCOCORTICOIDS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_OSTEOPOROSIS_FIELD_NUMBER: _ClassVar[int]
    PRIOR_DXA_FIELD_NUMBER: _ClassVar[int]
    age_years: float
    sex: Sex
    height_m: float
    weight_kg: float
    postmenopausal: bool
    prior_fragility_fracture: bool
    glucocorticoids: bool
    known_osteoporosis: bool
    prior_dxa: bool
    def __init__(self, age_years: _Optional[float] = ..., sex: _Optional[_Union[Sex, str]] = ..., height_m: _Optional[float] = ..., weight_kg: _Optional[float] = ..., postmenopausal: _Optional[bool] = ..., prior_fragility_fracture: _Optional[bool] = ..., glucocorticoids: _Optional[bool] = ..., known_osteoporosis: _Optional[bool] = ..., prior_dxa: _Optional[bool] = ...) -> None: ...

class StudyIdentity(_message.Message):
    __slots__ = ("study_instance_uid", "series_instance_uid", "frame_of_reference_uid", "patient_id", "patient_id_issuer", "accession_number", "patient_sex", "patient_age_years", "patient_height_m", "patient_weight_kg")
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    FRAME_OF_REFERENCE_UID_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_ISSUER_FIELD_NUMBER: _ClassVar[int]
    ACCESSION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PATIENT_SEX_FIELD_NUMBER: _ClassVar[int]
    PATIENT_AGE_YEARS_FIELD_NUMBER: _ClassVar[int]
    PATIENT_HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    PATIENT_WEIGHT_KG_FIELD_NUMBER: _ClassVar[int]
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    patient_id: str
    patient_id_issuer: str
    accession_number: str
    patient_sex: str
    patient_age_years: float
    patient_height_m: float
    patient_weight_kg: float
    def __init__(self, study_instance_uid: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., frame_of_reference_uid: _Optional[str] = ..., patient_id: _Optional[str] = ..., patient_id_issuer: _Optional[str] = ..., accession_number: _Optional[str] = ..., patient_sex: _Optional[str] = ..., patient_age_years: _Optional[float] = ..., patient_height_m: _Optional[float] = ..., patient_weight_kg: _Optional[float] = ...) -> None: ...

class PixelSpacing(_message.Message):
    __slots__ = ("row", "column")
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    row: float
    column: float
    def __init__(self, row: _Optional[float] = ..., column: _Optional[float] = ...) -> None: ...

class Acquisition(_message.Message):
    __slots__ = ("kvp", "spectral_filter", "kernel", "kernel_class", "slice_thickness_mm", "slice_spacing_mm", "pixel_spacing_mm", "reconstruction_diameter_mm", "contrast", "exposure_mas", "ctdi_vol_mgy", "manufacturer", "model", "station_hash", "acquired_at", "virtual_unenhanced")
    KVP_FIELD_NUMBER: _ClassVar[int]
    SPECTRAL_FILTER_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    KERNEL_CLASS_FIELD_NUMBER: _ClassVar[int]
    SLICE_THICKNESS_MM_FIELD_NUMBER: _ClassVar[int]
    SLICE_SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    PIXEL_SPACING_MM_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTION_DIAMETER_MM_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_MAS_FIELD_NUMBER: _ClassVar[int]
    CTDI_VOL_MGY_FIELD_NUMBER: _ClassVar[int]
    MANUFACTURER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATION_HASH_FIELD_NUMBER: _ClassVar[int]
    ACQUIRED_AT_FIELD_NUMBER: _ClassVar[int]
    VIRTUAL_UNENHANCED_FIELD_NUMBER: _ClassVar[int]
    kvp: float
    spectral_filter: SpectralFilter
    kernel: str
    kernel_class: KernelClass
    slice_thickness_mm: float
    slice_spacing_mm: float
    pixel_spacing_mm: PixelSpacing
    reconstruction_diameter_mm: float
    contrast: ContrastTag
    exposure_mas: float
    ctdi_vol_mgy: float
    manufacturer: str
    model: str
    station_hash: str
    acquired_at: str
    virtual_unenhanced: bool
    def __init__(self, kvp: _Optional[float] = ..., spectral_filter: _Optional[_Union[SpectralFilter, str]] = ..., kernel: _Optional[str] = ..., kernel_class: _Optional[_Union[KernelClass, str]] = ..., slice_thickness_mm: _Optional[float] = ..., slice_spacing_mm: _Optional[float] = ..., pixel_spacing_mm: _Optional[_Union[PixelSpacing, _Mapping]] = ..., reconstruction_diameter_mm: _Optional[float] = ..., contrast: _Optional[_Union[ContrastTag, str]] = ..., exposure_mas: _Optional[float] = ..., ctdi_vol_mgy: _Optional[float] = ..., manufacturer: _Optional[str] = ..., model: _Optional[str] = ..., station_hash: _Optional[str] = ..., acquired_at: _Optional[str] = ..., virtual_unenhanced: _Optional[bool] = ...) -> None: ...

class SeriesCandidate(_message.Message):
    __slots__ = ("series_number", "description_kind", "instances", "score", "chosen", "reasons")
    SERIES_NUMBER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_KIND_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    series_number: int
    description_kind: str
    instances: int
    score: float
    chosen: bool
    reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, series_number: _Optional[int] = ..., description_kind: _Optional[str] = ..., instances: _Optional[int] = ..., score: _Optional[float] = ..., chosen: _Optional[bool] = ..., reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class Exclusion(_message.Message):
    __slots__ = ("reason", "whole", "text", "rule", "measured", "limit", "unit", "volume_mm3")
    REASON_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    VOLUME_MM3_FIELD_NUMBER: _ClassVar[int]
    reason: ExclusionReason
    whole: bool
    text: str
    rule: str
    measured: float
    limit: float
    unit: str
    volume_mm3: float
    def __init__(self, reason: _Optional[_Union[ExclusionReason, str]] = ..., whole: _Optional[bool] = ..., text: _Optional[str] = ..., rule: _Optional[str] = ..., measured: _Optional[float] = ..., limit: _Optional[float] = ..., unit: _Optional[str] = ..., volume_mm3: _Optional[float] = ...) -> None: ...

class Deformity(_message.Message):
    __slots__ = ("status", "kind", "grade", "probability", "height_loss", "anterior_to_posterior", "middle_to_posterior", "posterior_to_neighbours", "superior_depression_mm", "inferior_depression_mm", "variants", "reasons")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_LOSS_FIELD_NUMBER: _ClassVar[int]
    ANTERIOR_TO_POSTERIOR_FIELD_NUMBER: _ClassVar[int]
    MIDDLE_TO_POSTERIOR_FIELD_NUMBER: _ClassVar[int]
    POSTERIOR_TO_NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    SUPERIOR_DEPRESSION_MM_FIELD_NUMBER: _ClassVar[int]
    INFERIOR_DEPRESSION_MM_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    status: DeformityStatus
    kind: DeformityKind
    grade: int
    probability: float
    height_loss: float
    anterior_to_posterior: float
    middle_to_posterior: float
    posterior_to_neighbours: float
    superior_depression_mm: float
    inferior_depression_mm: float
    variants: _containers.RepeatedScalarFieldContainer[str]
    reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, status: _Optional[_Union[DeformityStatus, str]] = ..., kind: _Optional[_Union[DeformityKind, str]] = ..., grade: _Optional[int] = ..., probability: _Optional[float] = ..., height_loss: _Optional[float] = ..., anterior_to_posterior: _Optional[float] = ..., middle_to_posterior: _Optional[float] = ..., posterior_to_neighbours: _Optional[float] = ..., superior_depression_mm: _Optional[float] = ..., inferior_depression_mm: _Optional[float] = ..., variants: _Optional[_Iterable[str]] = ..., reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class CortexMeasurement(_message.Message):
    __slots__ = ("resolved", "why_not", "thickness_mm", "thickness_standard_uncertainty_mm", "attenuation_hu", "attenuation_standard_uncertainty_hu", "layer_mm", "assumed_attenuation_hu", "blur_fwhm_mm", "blur_source", "sectors")
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    WHY_NOT_FIELD_NUMBER: _ClassVar[int]
    THICKNESS_MM_FIELD_NUMBER: _ClassVar[int]
    THICKNESS_STANDARD_UNCERTAINTY_MM_FIELD_NUMBER: _ClassVar[int]
    ATTENUATION_HU_FIELD_NUMBER: _ClassVar[int]
    ATTENUATION_STANDARD_UNCERTAINTY_HU_FIELD_NUMBER: _ClassVar[int]
    LAYER_MM_FIELD_NUMBER: _ClassVar[int]
    ASSUMED_ATTENUATION_HU_FIELD_NUMBER: _ClassVar[int]
    BLUR_FWHM_MM_FIELD_NUMBER: _ClassVar[int]
    BLUR_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SECTORS_FIELD_NUMBER: _ClassVar[int]
    resolved: bool
    why_not: str
    thickness_mm: float
    thickness_standard_uncertainty_mm: float
    attenuation_hu: float
    attenuation_standard_uncertainty_hu: float
    layer_mm: float
    assumed_attenuation_hu: float
    blur_fwhm_mm: float
    blur_source: str
    sectors: int
    def __init__(self, resolved: _Optional[bool] = ..., why_not: _Optional[str] = ..., thickness_mm: _Optional[float] = ..., thickness_standard_uncertainty_mm: _Optional[float] = ..., attenuation_hu: _Optional[float] = ..., attenuation_standard_uncertainty_hu: _Optional[float] = ..., layer_mm: _Optional[float] = ..., assumed_attenuation_hu: _Optional[float] = ..., blur_fwhm_mm: _Optional[float] = ..., blur_source: _Optional[str] = ..., sectors: _Optional[int] = ...) -> None: ...

class RoiGrowth(_message.Message):
    __slots__ = ("noise_hu", "target_standard_error_hu", "standard_error_before_hu", "standard_error_after_hu", "volume_before_mm3", "volume_after_mm3", "slices_before", "slices_after", "change_hu")
    NOISE_HU_FIELD_NUMBER: _ClassVar[int]
    TARGET_STANDARD_ERROR_HU_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_BEFORE_HU_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_AFTER_HU_FIELD_NUMBER: _ClassVar[int]
    VOLUME_BEFORE_MM3_FIELD_NUMBER: _ClassVar[int]
    VOLUME_AFTER_MM3_FIELD_NUMBER: _ClassVar[int]
    SLICES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SLICES_AFTER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_HU_FIELD_NUMBER: _ClassVar[int]
    noise_hu: float
    target_standard_error_hu: float
    standard_error_before_hu: float
    standard_error_after_hu: float
    volume_before_mm3: float
    volume_after_mm3: float
    slices_before: int
    slices_after: int
    change_hu: float
    def __init__(self, noise_hu: _Optional[float] = ..., target_standard_error_hu: _Optional[float] = ..., standard_error_before_hu: _Optional[float] = ..., standard_error_after_hu: _Optional[float] = ..., volume_before_mm3: _Optional[float] = ..., volume_after_mm3: _Optional[float] = ..., slices_before: _Optional[int] = ..., slices_after: _Optional[int] = ..., change_hu: _Optional[float] = ...) -> None: ...

class Vector3(_message.Message):
    __slots__ = ("x", "y", "z")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    z: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., z: _Optional[float] = ...) -> None: ...

class TrabecularRoi(_message.Message):
    __slots__ = ("centre_lps_mm", "superior", "left", "anterior", "half_width_mm", "half_depth_mm", "half_height_mm", "volume_mm3")
    CENTRE_LPS_MM_FIELD_NUMBER: _ClassVar[int]
    SUPERIOR_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    ANTERIOR_FIELD_NUMBER: _ClassVar[int]
    HALF_WIDTH_MM_FIELD_NUMBER: _ClassVar[int]
    HALF_DEPTH_MM_FIELD_NUMBER: _ClassVar[int]
    HALF_HEIGHT_MM_FIELD_NUMBER: _ClassVar[int]
    VOLUME_MM3_FIELD_NUMBER: _ClassVar[int]
    centre_lps_mm: Vector3
    superior: Vector3
    left: Vector3
    anterior: Vector3
    half_width_mm: float
    half_depth_mm: float
    half_height_mm: float
    volume_mm3: float
    def __init__(self, centre_lps_mm: _Optional[_Union[Vector3, _Mapping]] = ..., superior: _Optional[_Union[Vector3, _Mapping]] = ..., left: _Optional[_Union[Vector3, _Mapping]] = ..., anterior: _Optional[_Union[Vector3, _Mapping]] = ..., half_width_mm: _Optional[float] = ..., half_depth_mm: _Optional[float] = ..., half_height_mm: _Optional[float] = ..., volume_mm3: _Optional[float] = ...) -> None: ...

class VertebraResult(_message.Message):
    __slots__ = ("level", "level_confidence", "hu_mean", "hu_sd", "hu_calibrated", "vbmd_mg_cm3", "vbmd_standard_uncertainty_mg_cm3", "lumbar_equivalent_mg_cm3", "lumbar_equivalent_standard_uncertainty_mg_cm3", "scale", "roi_voxels", "roi_volume_mm3", "roi", "height_anterior_mm", "height_middle_mm", "height_posterior_mm", "excluded", "height_rim_standard_uncertainty_mm", "height_middle_standard_uncertainty_mm", "deformity", "exclusions", "cortex", "roi_growth", "hu_standard_error")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LEVEL_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    HU_MEAN_FIELD_NUMBER: _ClassVar[int]
    HU_SD_FIELD_NUMBER: _ClassVar[int]
    HU_CALIBRATED_FIELD_NUMBER: _ClassVar[int]
    VBMD_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    VBMD_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    LUMBAR_EQUIVALENT_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    LUMBAR_EQUIVALENT_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ROI_VOXELS_FIELD_NUMBER: _ClassVar[int]
    ROI_VOLUME_MM3_FIELD_NUMBER: _ClassVar[int]
    ROI_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_ANTERIOR_MM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_MIDDLE_MM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_POSTERIOR_MM_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_RIM_STANDARD_UNCERTAINTY_MM_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_MIDDLE_STANDARD_UNCERTAINTY_MM_FIELD_NUMBER: _ClassVar[int]
    DEFORMITY_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    CORTEX_FIELD_NUMBER: _ClassVar[int]
    ROI_GROWTH_FIELD_NUMBER: _ClassVar[int]
    HU_STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    level: Level
    level_confidence: float
    hu_mean: float
    hu_sd: float
    hu_calibrated: float
    vbmd_mg_cm3: float
    vbmd_standard_uncertainty_mg_cm3: float
    lumbar_equivalent_mg_cm3: float
    lumbar_equivalent_standard_uncertainty_mg_cm3: float
    scale: DensityScale
    roi_voxels: int
    roi_volume_mm3: float
    roi: TrabecularRoi
    height_anterior_mm: float
    height_middle_mm: float
    height_posterior_mm: float
    excluded: _containers.RepeatedScalarFieldContainer[ExclusionReason]
    height_rim_standard_uncertainty_mm: float
    height_middle_standard_uncertainty_mm: float
    deformity: Deformity
    exclusions: _containers.RepeatedCompositeFieldContainer[Exclusion]
    cortex: CortexMeasurement
    roi_growth: RoiGrowth
    hu_standard_error: float
    def __init__(self, level: _Optional[_Union[Level, str]] = ..., level_confidence: _Optional[float] = ..., hu_mean: _Optional[float] = ..., hu_sd: _Optional[float] = ..., hu_calibrated: _Optional[float] = ..., vbmd_mg_cm3: _Optional[float] = ..., vbmd_standard_uncertainty_mg_cm3: _Optional[float] = ..., lumbar_equivalent_mg_cm3: _Optional[float] = ..., lumbar_equivalent_standard_uncertainty_mg_cm3: _Optional[float] = ..., scale: _Optional[_Union[DensityScale, str]] = ..., roi_voxels: _Optional[int] = ..., roi_volume_mm3: _Optional[float] = ..., roi: _Optional[_Union[TrabecularRoi, _Mapping]] = ..., height_anterior_mm: _Optional[float] = ..., height_middle_mm: _Optional[float] = ..., height_posterior_mm: _Optional[float] = ..., excluded: _Optional[_Iterable[_Union[ExclusionReason, str]]] = ..., height_rim_standard_uncertainty_mm: _Optional[float] = ..., height_middle_standard_uncertainty_mm: _Optional[float] = ..., deformity: _Optional[_Union[Deformity, _Mapping]] = ..., exclusions: _Optional[_Iterable[_Union[Exclusion, _Mapping]]] = ..., cortex: _Optional[_Union[CortexMeasurement, _Mapping]] = ..., roi_growth: _Optional[_Union[RoiGrowth, _Mapping]] = ..., hu_standard_error: _Optional[float] = ...) -> None: ...

class DensitySummary(_message.Message):
    __slots__ = ("levels_used", "vbmd_mean_mg_cm3", "vbmd_mean_standard_uncertainty_mg_cm3", "lumbar_equivalent_mg_cm3", "lumbar_equivalent_standard_uncertainty_mg_cm3", "conversion", "hu_mean_120kvp", "scale", "uncertainty_budget")
    LEVELS_USED_FIELD_NUMBER: _ClassVar[int]
    VBMD_MEAN_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    VBMD_MEAN_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    LUMBAR_EQUIVALENT_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    LUMBAR_EQUIVALENT_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    CONVERSION_FIELD_NUMBER: _ClassVar[int]
    HU_MEAN_120KVP_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    UNCERTAINTY_BUDGET_FIELD_NUMBER: _ClassVar[int]
    levels_used: _containers.RepeatedScalarFieldContainer[Level]
    vbmd_mean_mg_cm3: float
    vbmd_mean_standard_uncertainty_mg_cm3: float
    lumbar_equivalent_mg_cm3: float
    lumbar_equivalent_standard_uncertainty_mg_cm3: float
    conversion: str
    hu_mean_120kvp: float
    scale: DensityScale
    uncertainty_budget: _containers.RepeatedCompositeFieldContainer[UncertaintyTerm]
    def __init__(self, levels_used: _Optional[_Iterable[_Union[Level, str]]] = ..., vbmd_mean_mg_cm3: _Optional[float] = ..., vbmd_mean_standard_uncertainty_mg_cm3: _Optional[float] = ..., lumbar_equivalent_mg_cm3: _Optional[float] = ..., lumbar_equivalent_standard_uncertainty_mg_cm3: _Optional[float] = ..., conversion: _Optional[str] = ..., hu_mean_120kvp: _Optional[float] = ..., scale: _Optional[_Union[DensityScale, str]] = ..., uncertainty_budget: _Optional[_Iterable[_Union[UncertaintyTerm, _Mapping]]] = ...) -> None: ...

class UncertaintyTerm(_message.Message):
    __slots__ = ("name", "standard_uncertainty_mg_cm3")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    name: str
    standard_uncertainty_mg_cm3: float
    def __init__(self, name: _Optional[str] = ..., standard_uncertainty_mg_cm3: _Optional[float] = ...) -> None: ...

class ReferenceMeasurement(_message.Message):
    __slots__ = ("tissue", "hu_measured", "hu_nominal", "standard_deviation_hu", "voxels", "used", "rejected_because", "sampling_standard_error_hu", "gate_hu")
    TISSUE_FIELD_NUMBER: _ClassVar[int]
    HU_MEASURED_FIELD_NUMBER: _ClassVar[int]
    HU_NOMINAL_FIELD_NUMBER: _ClassVar[int]
    STANDARD_DEVIATION_HU_FIELD_NUMBER: _ClassVar[int]
    VOXELS_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_STANDARD_ERROR_HU_FIELD_NUMBER: _ClassVar[int]
    GATE_HU_FIELD_NUMBER: _ClassVar[int]
    tissue: ReferenceTissue
    hu_measured: float
    hu_nominal: float
    standard_deviation_hu: float
    voxels: int
    used: bool
    rejected_because: str
    sampling_standard_error_hu: float
    gate_hu: float
    def __init__(self, tissue: _Optional[_Union[ReferenceTissue, str]] = ..., hu_measured: _Optional[float] = ..., hu_nominal: _Optional[float] = ..., standard_deviation_hu: _Optional[float] = ..., voxels: _Optional[int] = ..., used: _Optional[bool] = ..., rejected_because: _Optional[str] = ..., sampling_standard_error_hu: _Optional[float] = ..., gate_hu: _Optional[float] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("method", "scale", "gain", "offset_hu", "gain_variance", "offset_variance_hu2", "gain_offset_covariance_hu", "slope_hu_per_mg_cm3", "slope_standard_uncertainty", "effective_kvp", "water_equivalent_diameter_cm", "contrast_enhanced", "contrast_evidence", "contrast_correction_hu", "contrast_standard_uncertainty_hu", "references", "model_name", "model_version", "notices", "marrow_correction_hu", "marrow_standard_uncertainty_hu", "to_120kvp_gain", "to_120kvp_offset_hu", "slope_size_standard_uncertainty", "offset_slope_covariance", "density_correction_mg_cm3", "kernel_standard_uncertainty_mg_cm3", "slice_standard_uncertainty_mg_cm3", "curvature_mg_cm3_per_hu2", "corrections", "chosen_because", "alternatives", "bone_gain", "bone_offset_hu")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    GAIN_FIELD_NUMBER: _ClassVar[int]
    OFFSET_HU_FIELD_NUMBER: _ClassVar[int]
    GAIN_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_VARIANCE_HU2_FIELD_NUMBER: _ClassVar[int]
    GAIN_OFFSET_COVARIANCE_HU_FIELD_NUMBER: _ClassVar[int]
    SLOPE_HU_PER_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    SLOPE_STANDARD_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_KVP_FIELD_NUMBER: _ClassVar[int]
    WATER_EQUIVALENT_DIAMETER_CM_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_ENHANCED_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_CORRECTION_HU_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_STANDARD_UNCERTAINTY_HU_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    MARROW_CORRECTION_HU_FIELD_NUMBER: _ClassVar[int]
    MARROW_STANDARD_UNCERTAINTY_HU_FIELD_NUMBER: _ClassVar[int]
    TO_120KVP_GAIN_FIELD_NUMBER: _ClassVar[int]
    TO_120KVP_OFFSET_HU_FIELD_NUMBER: _ClassVar[int]
    SLOPE_SIZE_STANDARD_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_SLOPE_COVARIANCE_FIELD_NUMBER: _ClassVar[int]
    DENSITY_CORRECTION_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    KERNEL_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    SLICE_STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    CURVATURE_MG_CM3_PER_HU2_FIELD_NUMBER: _ClassVar[int]
    CORRECTIONS_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    BONE_GAIN_FIELD_NUMBER: _ClassVar[int]
    BONE_OFFSET_HU_FIELD_NUMBER: _ClassVar[int]
    method: CalibrationMethod
    scale: DensityScale
    gain: float
    offset_hu: float
    gain_variance: float
    offset_variance_hu2: float
    gain_offset_covariance_hu: float
    slope_hu_per_mg_cm3: float
    slope_standard_uncertainty: float
    effective_kvp: float
    water_equivalent_diameter_cm: float
    contrast_enhanced: bool
    contrast_evidence: str
    contrast_correction_hu: float
    contrast_standard_uncertainty_hu: float
    references: _containers.RepeatedCompositeFieldContainer[ReferenceMeasurement]
    model_name: str
    model_version: str
    notices: _containers.RepeatedCompositeFieldContainer[Notice]
    marrow_correction_hu: float
    marrow_standard_uncertainty_hu: float
    to_120kvp_gain: float
    to_120kvp_offset_hu: float
    slope_size_standard_uncertainty: float
    offset_slope_covariance: float
    density_correction_mg_cm3: float
    kernel_standard_uncertainty_mg_cm3: float
    slice_standard_uncertainty_mg_cm3: float
    curvature_mg_cm3_per_hu2: float
    corrections: _containers.RepeatedCompositeFieldContainer[CorrectionStep]
    chosen_because: str
    alternatives: _containers.RepeatedCompositeFieldContainer[MethodVerdict]
    bone_gain: float
    bone_offset_hu: float
    def __init__(self, method: _Optional[_Union[CalibrationMethod, str]] = ..., scale: _Optional[_Union[DensityScale, str]] = ..., gain: _Optional[float] = ..., offset_hu: _Optional[float] = ..., gain_variance: _Optional[float] = ..., offset_variance_hu2: _Optional[float] = ..., gain_offset_covariance_hu: _Optional[float] = ..., slope_hu_per_mg_cm3: _Optional[float] = ..., slope_standard_uncertainty: _Optional[float] = ..., effective_kvp: _Optional[float] = ..., water_equivalent_diameter_cm: _Optional[float] = ..., contrast_enhanced: _Optional[bool] = ..., contrast_evidence: _Optional[str] = ..., contrast_correction_hu: _Optional[float] = ..., contrast_standard_uncertainty_hu: _Optional[float] = ..., references: _Optional[_Iterable[_Union[ReferenceMeasurement, _Mapping]]] = ..., model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., notices: _Optional[_Iterable[_Union[Notice, _Mapping]]] = ..., marrow_correction_hu: _Optional[float] = ..., marrow_standard_uncertainty_hu: _Optional[float] = ..., to_120kvp_gain: _Optional[float] = ..., to_120kvp_offset_hu: _Optional[float] = ..., slope_size_standard_uncertainty: _Optional[float] = ..., offset_slope_covariance: _Optional[float] = ..., density_correction_mg_cm3: _Optional[float] = ..., kernel_standard_uncertainty_mg_cm3: _Optional[float] = ..., slice_standard_uncertainty_mg_cm3: _Optional[float] = ..., curvature_mg_cm3_per_hu2: _Optional[float] = ..., corrections: _Optional[_Iterable[_Union[CorrectionStep, _Mapping]]] = ..., chosen_because: _Optional[str] = ..., alternatives: _Optional[_Iterable[_Union[MethodVerdict, _Mapping]]] = ..., bone_gain: _Optional[float] = ..., bone_offset_hu: _Optional[float] = ...) -> None: ...

class CorrectionStep(_message.Message):
    __slots__ = ("name", "amount", "unit", "source", "added_standard_uncertainty", "applied")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ADDED_STANDARD_UNCERTAINTY_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    name: CorrectionName
    amount: float
    unit: str
    source: str
    added_standard_uncertainty: float
    applied: bool
    def __init__(self, name: _Optional[_Union[CorrectionName, str]] = ..., amount: _Optional[float] = ..., unit: _Optional[str] = ..., source: _Optional[str] = ..., added_standard_uncertainty: _Optional[float] = ..., applied: _Optional[bool] = ...) -> None: ...

class MethodVerdict(_message.Message):
    __slots__ = ("method", "because")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    method: CalibrationMethod
    because: str
    def __init__(self, method: _Optional[_Union[CalibrationMethod, str]] = ..., because: _Optional[str] = ...) -> None: ...

class CompositionAtLevel(_message.Message):
    __slots__ = ("level", "slice_index", "muscle_area_cm2", "muscle_attenuation_hu", "paraspinal_muscle_area_cm2", "paraspinal_muscle_attenuation_hu", "imat_area_cm2", "sat_area_cm2", "vat_area_cm2", "vat_sat_ratio", "muscle_index_cm2_m2", "truncated", "missing_area_cm2", "paraspinal_muscle_index_cm2_m2", "muscle_fat_by_share_cm2", "lean_muscle_attenuation_hu")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SLICE_INDEX_FIELD_NUMBER: _ClassVar[int]
    MUSCLE_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    MUSCLE_ATTENUATION_HU_FIELD_NUMBER: _ClassVar[int]
    PARASPINAL_MUSCLE_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    PARASPINAL_MUSCLE_ATTENUATION_HU_FIELD_NUMBER: _ClassVar[int]
    IMAT_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    SAT_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    VAT_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    VAT_SAT_RATIO_FIELD_NUMBER: _ClassVar[int]
    MUSCLE_INDEX_CM2_M2_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    MISSING_AREA_CM2_FIELD_NUMBER: _ClassVar[int]
    PARASPINAL_MUSCLE_INDEX_CM2_M2_FIELD_NUMBER: _ClassVar[int]
    MUSCLE_FAT_BY_SHARE_CM2_FIELD_NUMBER: _ClassVar[int]
    LEAN_MUSCLE_ATTENUATION_HU_FIELD_NUMBER: _ClassVar[int]
    level: Level
    slice_index: int
    muscle_area_cm2: float
    muscle_attenuation_hu: float
    paraspinal_muscle_area_cm2: float
    paraspinal_muscle_attenuation_hu: float
    imat_area_cm2: float
    sat_area_cm2: float
    vat_area_cm2: float
    vat_sat_ratio: float
    muscle_index_cm2_m2: float
    truncated: bool
    missing_area_cm2: float
    paraspinal_muscle_index_cm2_m2: float
    muscle_fat_by_share_cm2: float
    lean_muscle_attenuation_hu: float
    def __init__(self, level: _Optional[_Union[Level, str]] = ..., slice_index: _Optional[int] = ..., muscle_area_cm2: _Optional[float] = ..., muscle_attenuation_hu: _Optional[float] = ..., paraspinal_muscle_area_cm2: _Optional[float] = ..., paraspinal_muscle_attenuation_hu: _Optional[float] = ..., imat_area_cm2: _Optional[float] = ..., sat_area_cm2: _Optional[float] = ..., vat_area_cm2: _Optional[float] = ..., vat_sat_ratio: _Optional[float] = ..., muscle_index_cm2_m2: _Optional[float] = ..., truncated: _Optional[bool] = ..., missing_area_cm2: _Optional[float] = ..., paraspinal_muscle_index_cm2_m2: _Optional[float] = ..., muscle_fat_by_share_cm2: _Optional[float] = ..., lean_muscle_attenuation_hu: _Optional[float] = ...) -> None: ...

class Driver(_message.Message):
    __slots__ = ("domain", "statement", "value", "unit", "cutoff", "source")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    domain: str
    statement: str
    value: float
    unit: str
    cutoff: float
    source: str
    def __init__(self, domain: _Optional[str] = ..., statement: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., cutoff: _Optional[float] = ..., source: _Optional[str] = ...) -> None: ...

class Assessment(_message.Message):
    __slots__ = ("category", "between", "statement", "decided_on", "drivers", "confidence", "confidence_reasons", "unknown_context", "density_cutoffs_mg_cm3", "profile", "readings", "tiers", "joint")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    BETWEEN_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_ON_FIELD_NUMBER: _ClassVar[int]
    DRIVERS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_REASONS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    DENSITY_CUTOFFS_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    JOINT_FIELD_NUMBER: _ClassVar[int]
    category: Category
    between: _containers.RepeatedScalarFieldContainer[Category]
    statement: str
    decided_on: str
    drivers: _containers.RepeatedCompositeFieldContainer[Driver]
    confidence: Confidence
    confidence_reasons: _containers.RepeatedScalarFieldContainer[str]
    unknown_context: _containers.RepeatedScalarFieldContainer[str]
    density_cutoffs_mg_cm3: _containers.RepeatedScalarFieldContainer[float]
    profile: str
    readings: _containers.RepeatedCompositeFieldContainer[LevelReading]
    tiers: _containers.RepeatedCompositeFieldContainer[TierResult]
    joint: JointAssessment
    def __init__(self, category: _Optional[_Union[Category, str]] = ..., between: _Optional[_Iterable[_Union[Category, str]]] = ..., statement: _Optional[str] = ..., decided_on: _Optional[str] = ..., drivers: _Optional[_Iterable[_Union[Driver, _Mapping]]] = ..., confidence: _Optional[_Union[Confidence, str]] = ..., confidence_reasons: _Optional[_Iterable[str]] = ..., unknown_context: _Optional[_Iterable[str]] = ..., density_cutoffs_mg_cm3: _Optional[_Iterable[float]] = ..., profile: _Optional[str] = ..., readings: _Optional[_Iterable[_Union[LevelReading, _Mapping]]] = ..., tiers: _Optional[_Iterable[_Union[TierResult, _Mapping]]] = ..., joint: _Optional[_Union[JointAssessment, _Mapping]] = ...) -> None: ...

class LevelReading(_message.Message):
    __slots__ = ("levels", "kind", "rule", "value_mg_cm3", "standard_uncertainty_mg_cm3", "osteoporosis_below_mg_cm3", "low_below_mg_cm3", "ranges", "decides", "source", "verified")
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    VALUE_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    STANDARD_UNCERTAINTY_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    OSTEOPOROSIS_BELOW_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    LOW_BELOW_MG_CM3_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    DECIDES_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    levels: _containers.RepeatedScalarFieldContainer[Level]
    kind: str
    rule: str
    value_mg_cm3: float
    standard_uncertainty_mg_cm3: float
    osteoporosis_below_mg_cm3: float
    low_below_mg_cm3: float
    ranges: _containers.RepeatedScalarFieldContainer[Category]
    decides: bool
    source: str
    verified: bool
    def __init__(self, levels: _Optional[_Iterable[_Union[Level, str]]] = ..., kind: _Optional[str] = ..., rule: _Optional[str] = ..., value_mg_cm3: _Optional[float] = ..., standard_uncertainty_mg_cm3: _Optional[float] = ..., osteoporosis_below_mg_cm3: _Optional[float] = ..., low_below_mg_cm3: _Optional[float] = ..., ranges: _Optional[_Iterable[_Union[Category, str]]] = ..., decides: _Optional[bool] = ..., source: _Optional[str] = ..., verified: _Optional[bool] = ...) -> None: ...

class TierResult(_message.Message):
    __slots__ = ("tier", "outcome", "statement", "value", "unit")
    TIER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    tier: str
    outcome: str
    statement: str
    value: float
    unit: str
    def __init__(self, tier: _Optional[str] = ..., outcome: _Optional[str] = ..., statement: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("domain", "criterion", "finding", "statement", "value", "unit", "cutoff", "source", "counts")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    CRITERION_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    CUTOFF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    domain: str
    criterion: str
    finding: str
    statement: str
    value: float
    unit: str
    cutoff: float
    source: str
    counts: bool
    def __init__(self, domain: _Optional[str] = ..., criterion: _Optional[str] = ..., finding: _Optional[str] = ..., statement: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., cutoff: _Optional[float] = ..., source: _Optional[str] = ..., counts: _Optional[bool] = ...) -> None: ...

class JointAssessment(_message.Message):
    __slots__ = ("pattern", "statement", "contributions")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    statement: str
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    def __init__(self, pattern: _Optional[str] = ..., statement: _Optional[str] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ...) -> None: ...

class RuleFact(_message.Message):
    __slots__ = ("name", "value", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    text: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("rule_id", "rule_version", "action", "text", "because", "citation", "verified", "plan_definition", "activity_definition", "condition", "facts")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BECAUSE_FIELD_NUMBER: _ClassVar[int]
    CITATION_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_FIELD_NUMBER: _ClassVar[int]
    PLAN_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    rule_version: str
    action: str
    text: str
    because: _containers.RepeatedScalarFieldContainer[str]
    citation: str
    verified: bool
    plan_definition: str
    activity_definition: str
    condition: str
    facts: _containers.RepeatedCompositeFieldContainer[RuleFact]
    def __init__(self, rule_id: _Optional[str] = ..., rule_version: _Optional[str] = ..., action: _Optional[str] = ..., text: _Optional[str] = ..., because: _Optional[_Iterable[str]] = ..., citation: _Optional[str] = ..., verified: _Optional[bool] = ..., plan_definition: _Optional[str] = ..., activity_definition: _Optional[str] = ..., condition: _Optional[str] = ..., facts: _Optional[_Iterable[_Union[RuleFact, _Mapping]]] = ...) -> None: ...

class SecondReading(_message.Message):
    __slots__ = ("model_name", "model_version", "sha256", "provider", "question", "reference_standard", "reference_definition", "cut_off", "scores", "score", "positive", "agreement", "statement", "not_read_because", "limits")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_STANDARD_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_DEFINITION_FIELD_NUMBER: _ClassVar[int]
    CUT_OFF_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    POSITIVE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    NOT_READ_BECAUSE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: str
    sha256: str
    provider: str
    question: str
    reference_standard: str
    reference_definition: str
    cut_off: float
    scores: _containers.RepeatedCompositeFieldContainer[LevelScore]
    score: float
    positive: bool
    agreement: str
    statement: str
    not_read_because: str
    limits: str
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., sha256: _Optional[str] = ..., provider: _Optional[str] = ..., question: _Optional[str] = ..., reference_standard: _Optional[str] = ..., reference_definition: _Optional[str] = ..., cut_off: _Optional[float] = ..., scores: _Optional[_Iterable[_Union[LevelScore, _Mapping]]] = ..., score: _Optional[float] = ..., positive: _Optional[bool] = ..., agreement: _Optional[str] = ..., statement: _Optional[str] = ..., not_read_because: _Optional[str] = ..., limits: _Optional[str] = ...) -> None: ...

class LevelScore(_message.Message):
    __slots__ = ("level", "score")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    level: Level
    score: float
    def __init__(self, level: _Optional[_Union[Level, str]] = ..., score: _Optional[float] = ...) -> None: ...

class ModelUse(_message.Message):
    __slots__ = ("name", "version", "sha256", "purpose", "provider")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    sha256: str
    purpose: str
    provider: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., sha256: _Optional[str] = ..., purpose: _Optional[str] = ..., provider: _Optional[str] = ...) -> None: ...
