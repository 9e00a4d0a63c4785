"""Requests, records and summaries between values and messages (the report itself: :mod:`trabecula.service.convert`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from trabecula.errors import InvalidRequest, UploadOutOfOrder
from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.patient_file import check_patient
from trabecula.service.convert import enum_from_proto, enum_to_proto, fill_message, read_message
from trabecula.service.intake import UploadMessage
from trabecula.service.upload import UploadChunk, UploadHeader
from trabecula.v1 import report_pb2, screening_pb2
from trabecula.work.records import DocumentKind, Priority, ScreeningRecord, Source
from trabecula.work.states import State

_STATE = screening_pb2.ScreeningState.DESCRIPTOR
_KIND = screening_pb2.DocumentKind.DESCRIPTOR
_SOURCE = screening_pb2.Source.DESCRIPTOR
_STAGE = report_pb2.Stage.DESCRIPTOR


async def upload_from_proto(requests: AsyncIterator[screening_pb2.SubmitStudyRequest]) -> AsyncIterator[UploadMessage]:
    """The messages of an upload.

    Raises:
        UploadOutOfOrder: for a message that is neither header nor chunk.
        InvalidPatientContext: for a patient context out of any human range.
    """
    async for request in requests:
        part = request.WhichOneof("part")
        if part == "header":
            yield header_from_proto(request.header)
        elif part == "chunk":
            yield chunk_from_proto(request.chunk)
        else:
            raise UploadOutOfOrder(expected="header or chunk")


def header_from_proto(message: screening_pb2.StudyHeader) -> UploadHeader:
    priority = priority_from_proto(message.priority)
    try:
        patient = read_message(PatientContext, message.patient)
    except ValueError:
        raise InvalidRequest(field="header.patient", why="a code that this version does not know") from None
    return UploadHeader(
        idempotency_key=message.idempotency_key,
        expected_instances=message.expected_instances,
        total_bytes=message.total_bytes,
        patient=check_patient(patient),
        want_masks=message.want_masks,
        priority=Priority.ROUTINE if priority is None else priority,
    )


def header_to_proto(header: UploadHeader) -> screening_pb2.SubmitStudyRequest:
    request = screening_pb2.SubmitStudyRequest()
    priority = priority_to_proto(header.priority)
    request.header.idempotency_key = header.idempotency_key
    request.header.expected_instances = header.expected_instances
    request.header.total_bytes = header.total_bytes
    request.header.want_masks = header.want_masks
    request.header.priority = priority
    fill_message(header.patient, request.header.patient)
    return request


def chunk_from_proto(message: screening_pb2.InstanceChunk) -> UploadChunk:
    return UploadChunk(message.instance_index, message.offset, message.data, message.last, message.sha256)


def chunk_to_proto(chunk: UploadChunk) -> screening_pb2.SubmitStudyRequest:
    request = screening_pb2.SubmitStudyRequest()
    fill_message(chunk, request.chunk)
    return request


def summary_to_proto(record: ScreeningRecord) -> screening_pb2.ScreeningSummary:
    """What clients may know of a record."""
    summary = screening_pb2.ScreeningSummary(
        screening_id=record.screening_id,
        state=state_to_proto(record.state),
        documents=[enum_to_proto(_KIND, kind) for kind in record.documents],
        submitted_at=timestamp_to_proto(record.submitted_at),
        started_at=timestamp_to_proto(record.started_at),
        ended_at=timestamp_to_proto(record.ended_at),
        instances=record.submission.instances,
        total_bytes=record.submission.total_bytes,
        attempt=record.attempt,
        priority=priority_to_proto(record.submission.priority),
        source=enum_to_proto(_SOURCE, record.submission.source),
        legal_hold=record.legal_hold,
    )
    if record.progress is not None:
        summary.progress.stage = enum_to_proto(_STAGE, record.progress.stage)
        summary.progress.fraction = record.progress.fraction
    if record.failure is not None:
        fill_message(record.failure, summary.failure)
    return summary


def priority_to_proto(priority: Priority) -> screening_pb2.Priority:
    return screening_pb2.Priority.Value(f"PRIORITY_{priority.name}")  # type: ignore[return-value]


def priority_from_proto(number: int) -> Priority | None:
    """None for unspecified. Raises InvalidRequest for a number that is no priority."""
    if number == screening_pb2.PRIORITY_UNSPECIFIED:
        return None
    try:
        return Priority[screening_pb2.Priority.Name(number).removeprefix("PRIORITY_")]
    except (ValueError, KeyError):
        raise InvalidRequest(field="priority") from None


def source_from_proto(number: int) -> Source | None:
    """None for unspecified. Raises InvalidRequest for a number that is no source."""
    try:
        return enum_from_proto(_SOURCE, Source, number)
    except ValueError:
        raise InvalidRequest(field="source") from None


def state_to_proto(state: State) -> screening_pb2.ScreeningState:
    number: screening_pb2.ScreeningState = enum_to_proto(_STATE, state)
    return number


def states_from_proto(numbers: Iterable[int]) -> tuple[State, ...]:
    """Raises InvalidRequest for a number that is no state."""
    return tuple(state_from_proto(number) for number in numbers)


def state_from_proto(number: int) -> State:
    """Raises InvalidRequest for a number that is no state."""
    try:
        state = enum_from_proto(_STATE, State, number)
    except ValueError:
        state = None
    if state is None:
        raise InvalidRequest(field="state")
    return state


def kind_from_proto(number: int) -> DocumentKind:
    """Raises InvalidRequest for a number that is no kind of document."""
    try:
        kind = enum_from_proto(_KIND, DocumentKind, number)
    except ValueError:
        kind = None
    if kind is None:
        raise InvalidRequest(field="kind")
    return kind


def kind_to_proto(kind: DocumentKind) -> screening_pb2.DocumentKind:
    number: screening_pb2.DocumentKind = enum_to_proto(_KIND, kind)
    return number


def stage_from_proto(number: int) -> Stage | None:
    """None for a stage that this version does not know."""
    try:
        return enum_from_proto(_STAGE, Stage, number)
    except ValueError:
        return None


def timestamp_to_proto(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
