import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trabecula.v1 import report_pb2 as _report_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_ARCHIVE: _ClassVar[Priority]
    PRIORITY_ROUTINE: _ClassVar[Priority]
    PRIORITY_STAT: _ClassVar[Priority]

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_UNSPECIFIED: _ClassVar[Source]
    SOURCE_GRPC: _ClassVar[Source]
    SOURCE_DIMSE: _ClassVar[Source]
    SOURCE_DICOMWEB: _ClassVar[Source]

class ScreeningState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCREENING_STATE_UNSPECIFIED: _ClassVar[ScreeningState]
    SCREENING_STATE_QUEUED: _ClassVar[ScreeningState]
    SCREENING_STATE_RUNNING: _ClassVar[ScreeningState]
    SCREENING_STATE_REPORTED: _ClassVar[ScreeningState]
    SCREENING_STATE_REFUSED: _ClassVar[ScreeningState]
    SCREENING_STATE_FAILED: _ClassVar[ScreeningState]
    SCREENING_STATE_CANCELLED: _ClassVar[ScreeningState]

class DocumentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DOCUMENT_KIND_UNSPECIFIED: _ClassVar[DocumentKind]
    DOCUMENT_KIND_REPORT_JSON: _ClassVar[DocumentKind]
    DOCUMENT_KIND_REPORT_HTML: _ClassVar[DocumentKind]
    DOCUMENT_KIND_BUNDLE_JSON: _ClassVar[DocumentKind]
    DOCUMENT_KIND_ANATOMY_NIFTI: _ClassVar[DocumentKind]
    DOCUMENT_KIND_ANATOMY_LABELS: _ClassVar[DocumentKind]
    DOCUMENT_KIND_DICOM_SR: _ClassVar[DocumentKind]
    DOCUMENT_KIND_DICOM_SEG: _ClassVar[DocumentKind]
    DOCUMENT_KIND_DICOM_PDF: _ClassVar[DocumentKind]
    DOCUMENT_KIND_DICOM_SC: _ClassVar[DocumentKind]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_ARCHIVE: Priority
PRIORITY_ROUTINE: Priority
PRIORITY_STAT: Priority
SOURCE_UNSPECIFIED: Source
SOURCE_GRPC: Source
SOURCE_DIMSE: Source
SOURCE_DICOMWEB: Source
SCREENING_STATE_UNSPECIFIED: ScreeningState
SCREENING_STATE_QUEUED: ScreeningState
SCREENING_STATE_RUNNING: ScreeningState
SCREENING_STATE_REPORTED: ScreeningState
SCREENING_STATE_REFUSED: ScreeningState
SCREENING_STATE_FAILED: ScreeningState
SCREENING_STATE_CANCELLED: ScreeningState
DOCUMENT_KIND_UNSPECIFIED: DocumentKind
DOCUMENT_KIND_REPORT_JSON: DocumentKind
DOCUMENT_KIND_REPORT_HTML: DocumentKind
DOCUMENT_KIND_BUNDLE_JSON: DocumentKind
DOCUMENT_KIND_ANATOMY_NIFTI: DocumentKind
DOCUMENT_KIND_ANATOMY_LABELS: DocumentKind
DOCUMENT_KIND_DICOM_SR: DocumentKind
DOCUMENT_KIND_DICOM_SEG: DocumentKind
DOCUMENT_KIND_DICOM_PDF: DocumentKind
DOCUMENT_KIND_DICOM_SC: DocumentKind

class SubmitStudyRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: StudyHeader
    chunk: InstanceChunk
    def __init__(self, header: _Optional[_Union[StudyHeader, _Mapping]] = ..., chunk: _Optional[_Union[InstanceChunk, _Mapping]] = ...) -> None: ...

class StudyHeader(_message.Message):
    __slots__ = ("idempotency_key", "expected_instances", "total_bytes", "patient", "want_masks", "priority")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    WANT_MASKS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    expected_instances: int
    total_bytes: int
    patient: _report_pb2.PatientContext
    want_masks: bool
    priority: Priority
    def __init__(self, idempotency_key: _Optional[str] = ..., expected_instances: _Optional[int] = ..., total_bytes: _Optional[int] = ..., patient: _Optional[_Union[_report_pb2.PatientContext, _Mapping]] = ..., want_masks: _Optional[bool] = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class InstanceChunk(_message.Message):
    __slots__ = ("instance_index", "offset", "data", "last", "sha256")
    INSTANCE_INDEX_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    instance_index: int
    offset: int
    data: bytes
    last: bool
    sha256: bytes
    def __init__(self, instance_index: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., last: _Optional[bool] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class SubmitStudyResponse(_message.Message):
    __slots__ = ("screening_id", "state")
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    state: ScreeningState
    def __init__(self, screening_id: _Optional[str] = ..., state: _Optional[_Union[ScreeningState, str]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "input_error")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    INPUT_ERROR_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    input_error: bool
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., input_error: _Optional[bool] = ...) -> None: ...

class StageProgress(_message.Message):
    __slots__ = ("stage", "fraction")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    stage: _report_pb2.Stage
    fraction: float
    def __init__(self, stage: _Optional[_Union[_report_pb2.Stage, str]] = ..., fraction: _Optional[float] = ...) -> None: ...

class ScreeningSummary(_message.Message):
    __slots__ = ("screening_id", "state", "progress", "failure", "documents", "submitted_at", "started_at", "ended_at", "instances", "total_bytes", "attempt", "priority", "source", "legal_hold")
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LEGAL_HOLD_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    state: ScreeningState
    progress: StageProgress
    failure: Failure
    documents: _containers.RepeatedScalarFieldContainer[DocumentKind]
    submitted_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    instances: int
    total_bytes: int
    attempt: int
    priority: Priority
    source: Source
    legal_hold: bool
    def __init__(self, screening_id: _Optional[str] = ..., state: _Optional[_Union[ScreeningState, str]] = ..., progress: _Optional[_Union[StageProgress, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., documents: _Optional[_Iterable[_Union[DocumentKind, str]]] = ..., submitted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., instances: _Optional[int] = ..., total_bytes: _Optional[int] = ..., attempt: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., source: _Optional[_Union[Source, str]] = ..., legal_hold: _Optional[bool] = ...) -> None: ...

class GetScreeningRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class GetScreeningResponse(_message.Message):
    __slots__ = ("summary", "report")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    summary: ScreeningSummary
    report: _report_pb2.ScreeningReport
    def __init__(self, summary: _Optional[_Union[ScreeningSummary, _Mapping]] = ..., report: _Optional[_Union[_report_pb2.ScreeningReport, _Mapping]] = ...) -> None: ...

class WatchScreeningRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class WatchScreeningResponse(_message.Message):
    __slots__ = ("summary",)
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    summary: ScreeningSummary
    def __init__(self, summary: _Optional[_Union[ScreeningSummary, _Mapping]] = ...) -> None: ...

class ListScreeningsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[ScreeningState]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[ScreeningState, str]]] = ...) -> None: ...

class ListScreeningsResponse(_message.Message):
    __slots__ = ("summaries", "next_page_token")
    SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    summaries: _containers.RepeatedCompositeFieldContainer[ScreeningSummary]
    next_page_token: str
    def __init__(self, summaries: _Optional[_Iterable[_Union[ScreeningSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelScreeningRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class CancelScreeningResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: ScreeningState
    def __init__(self, state: _Optional[_Union[ScreeningState, str]] = ...) -> None: ...

class GetDocumentRequest(_message.Message):
    __slots__ = ("screening_id", "kind")
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    kind: DocumentKind
    def __init__(self, screening_id: _Optional[str] = ..., kind: _Optional[_Union[DocumentKind, str]] = ...) -> None: ...

class GetDocumentResponse(_message.Message):
    __slots__ = ("data", "media_type", "total_bytes")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    media_type: str
    total_bytes: int
    def __init__(self, data: _Optional[bytes] = ..., media_type: _Optional[str] = ..., total_bytes: _Optional[int] = ...) -> None: ...
