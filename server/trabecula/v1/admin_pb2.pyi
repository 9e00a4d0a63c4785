import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from trabecula.v1 import screening_pb2 as _screening_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "priorities", "sources")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    PRIORITIES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[_screening_pb2.ScreeningState]
    priorities: _containers.RepeatedScalarFieldContainer[_screening_pb2.Priority]
    sources: _containers.RepeatedScalarFieldContainer[_screening_pb2.Source]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[_screening_pb2.ScreeningState, str]]] = ..., priorities: _Optional[_Iterable[_Union[_screening_pb2.Priority, str]]] = ..., sources: _Optional[_Iterable[_Union[_screening_pb2.Source, str]]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token", "counts", "oldest_open_age_s")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_OPEN_AGE_S_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[_screening_pb2.ScreeningSummary]
    next_page_token: str
    counts: _containers.RepeatedCompositeFieldContainer[StateCount]
    oldest_open_age_s: float
    def __init__(self, jobs: _Optional[_Iterable[_Union[_screening_pb2.ScreeningSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., counts: _Optional[_Iterable[_Union[StateCount, _Mapping]]] = ..., oldest_open_age_s: _Optional[float] = ...) -> None: ...

class StateCount(_message.Message):
    __slots__ = ("state", "jobs")
    STATE_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    state: _screening_pb2.ScreeningState
    jobs: int
    def __init__(self, state: _Optional[_Union[_screening_pb2.ScreeningState, str]] = ..., jobs: _Optional[int] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job", "steps", "not_before")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    job: _screening_pb2.ScreeningSummary
    steps: _containers.RepeatedCompositeFieldContainer[JobStep]
    not_before: _timestamp_pb2.Timestamp
    def __init__(self, job: _Optional[_Union[_screening_pb2.ScreeningSummary, _Mapping]] = ..., steps: _Optional[_Iterable[_Union[JobStep, _Mapping]]] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JobStep(_message.Message):
    __slots__ = ("at", "event", "state", "attempt", "reason")
    AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    event: str
    state: _screening_pb2.ScreeningState
    attempt: int
    reason: str
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., state: _Optional[_Union[_screening_pb2.ScreeningState, str]] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class RetryJobRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class RetryJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _screening_pb2.ScreeningSummary
    def __init__(self, job: _Optional[_Union[_screening_pb2.ScreeningSummary, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("screening_id",)
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    def __init__(self, screening_id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _screening_pb2.ScreeningSummary
    def __init__(self, job: _Optional[_Union[_screening_pb2.ScreeningSummary, _Mapping]] = ...) -> None: ...

class SetLegalHoldRequest(_message.Message):
    __slots__ = ("screening_id", "hold")
    SCREENING_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    screening_id: str
    hold: bool
    def __init__(self, screening_id: _Optional[str] = ..., hold: _Optional[bool] = ...) -> None: ...

class SetLegalHoldResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _screening_pb2.ScreeningSummary
    def __init__(self, job: _Optional[_Union[_screening_pb2.ScreeningSummary, _Mapping]] = ...) -> None: ...

class CollectGarbageRequest(_message.Message):
    __slots__ = ("dry_run",)
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    def __init__(self, dry_run: _Optional[bool] = ...) -> None: ...

class CollectGarbageResponse(_message.Message):
    __slots__ = ("pixels", "results", "objects", "object_bytes", "staging_bytes", "jobs", "dry_run")
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STAGING_BYTES_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    pixels: int
    results: int
    objects: int
    object_bytes: int
    staging_bytes: int
    jobs: int
    dry_run: bool
    def __init__(self, pixels: _Optional[int] = ..., results: _Optional[int] = ..., objects: _Optional[int] = ..., object_bytes: _Optional[int] = ..., staging_bytes: _Optional[int] = ..., jobs: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class CheckDatabaseRequest(_message.Message):
    __slots__ = ("deep",)
    DEEP_FIELD_NUMBER: _ClassVar[int]
    deep: bool
    def __init__(self, deep: _Optional[bool] = ...) -> None: ...

class CheckDatabaseResponse(_message.Message):
    __slots__ = ("ok", "server_version", "revision", "needed_revision", "screenings", "open_screenings", "open_without_job", "objects", "missing", "damaged", "unnamed", "unnamed_bytes")
    OK_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    NEEDED_REVISION_FIELD_NUMBER: _ClassVar[int]
    SCREENINGS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SCREENINGS_FIELD_NUMBER: _ClassVar[int]
    OPEN_WITHOUT_JOB_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    UNNAMED_FIELD_NUMBER: _ClassVar[int]
    UNNAMED_BYTES_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    server_version: int
    revision: str
    needed_revision: str
    screenings: int
    open_screenings: int
    open_without_job: int
    objects: int
    missing: _containers.RepeatedScalarFieldContainer[str]
    damaged: _containers.RepeatedScalarFieldContainer[str]
    unnamed: int
    unnamed_bytes: int
    def __init__(self, ok: _Optional[bool] = ..., server_version: _Optional[int] = ..., revision: _Optional[str] = ..., needed_revision: _Optional[str] = ..., screenings: _Optional[int] = ..., open_screenings: _Optional[int] = ..., open_without_job: _Optional[int] = ..., objects: _Optional[int] = ..., missing: _Optional[_Iterable[str]] = ..., damaged: _Optional[_Iterable[str]] = ..., unnamed: _Optional[int] = ..., unnamed_bytes: _Optional[int] = ...) -> None: ...

class UpgradeDatabaseRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UpgradeDatabaseResponse(_message.Message):
    __slots__ = ("revision_before", "revision")
    REVISION_BEFORE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision_before: str
    revision: str
    def __init__(self, revision_before: _Optional[str] = ..., revision: _Optional[str] = ...) -> None: ...

class BackupDatabaseRequest(_message.Message):
    __slots__ = ("name", "without_pixels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PIXELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    without_pixels: bool
    def __init__(self, name: _Optional[str] = ..., without_pixels: _Optional[bool] = ...) -> None: ...

class BackupDatabaseResponse(_message.Message):
    __slots__ = ("name", "revision", "screenings", "objects", "total_bytes", "left_out")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SCREENINGS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    screenings: int
    objects: int
    total_bytes: int
    left_out: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., screenings: _Optional[int] = ..., objects: _Optional[int] = ..., total_bytes: _Optional[int] = ..., left_out: _Optional[_Iterable[str]] = ...) -> None: ...

class RestoreDatabaseRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RestoreDatabaseResponse(_message.Message):
    __slots__ = ("created_at", "screenings", "objects", "total_bytes", "left_out")
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    SCREENINGS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    created_at: _timestamp_pb2.Timestamp
    screenings: int
    objects: int
    total_bytes: int
    left_out: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., screenings: _Optional[int] = ..., objects: _Optional[int] = ..., total_bytes: _Optional[int] = ..., left_out: _Optional[_Iterable[str]] = ...) -> None: ...
