"""One study on its way in: checked piece by piece, hashed and written once as it streams. Knows no transport.

Files are named by counters and hashes: nothing a client sends ever becomes part of a path.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from trabecula.config import Settings
from trabecula.errors import (
    InvalidRequest,
    LimitExceeded,
    UploadChecksumMismatch,
    UploadIncomplete,
    UploadOutOfOrder,
)
from trabecula.patient import PatientContext
from trabecula.work.records import ContentRef, Priority, Source, Submission
from trabecula.work.staging import Staging
from trabecula.work.submission import submission_of

MAX_KEY_LENGTH: Final = 128


@dataclass(frozen=True)
class UploadHeader:
    """What a client announces."""

    idempotency_key: str
    expected_instances: int
    total_bytes: int
    patient: PatientContext
    want_masks: bool
    priority: Priority = Priority.ROUTINE


@dataclass(frozen=True)
class UploadChunk:
    """A piece of one file."""

    instance_index: int
    offset: int
    data: bytes
    last: bool
    sha256: bytes
    """Of the whole file, with the last piece; else empty."""


def check_header(header: UploadHeader, settings: Settings) -> None:
    """Refuse what could never be accepted, before a byte is stored.

    Raises:
        InvalidRequest: for a key that is too long, or when nothing is announced.
        LimitExceeded: for more files or bytes than are allowed.
    """
    if len(header.idempotency_key) > MAX_KEY_LENGTH:
        raise InvalidRequest(field="header.idempotency_key", characters_at_most=MAX_KEY_LENGTH)
    if header.expected_instances == 0:
        raise InvalidRequest(field="header.expected_instances", at_least=1)
    if header.total_bytes == 0:
        raise InvalidRequest(field="header.total_bytes", at_least=1)
    if header.expected_instances > settings.max_instances:
        raise LimitExceeded(instances=header.expected_instances, at_most=settings.max_instances)
    if header.total_bytes > settings.max_study_bytes:
        raise LimitExceeded(total_bytes=header.total_bytes, at_most=settings.max_study_bytes)


@dataclass(frozen=True)
class ReceivedStudy:
    """A whole study whose bytes are durable in the content store. Holds patient data; never logged."""

    submission: Submission
    instances: tuple[ContentRef, ...]
    patient: PatientContext
    want_masks: bool


class Upload:
    """Streams one study's files into the content store. Its methods block on the disk: call them off the event loop,
    from one thread at a time except for :meth:`discard`."""

    def __init__(self, header: UploadHeader, staging: Staging) -> None:
        """Begin with a header that was checked."""
        self.header = header
        self.received_bytes = 0
        self._staging = staging
        self._files: list[ContentRef] = []
        self._offset = 0
        self._ended = False
        self._lock = threading.Lock()

    def write(self, chunk: UploadChunk) -> None:
        """Take the next piece.

        Raises:
            UploadOutOfOrder: if it is not the next piece.
            LimitExceeded: if more comes than was announced.
            UploadChecksumMismatch: if a file is complete and its SHA-256 is another one.
            Overloaded: if the disk is full.
        """
        with self._lock:
            if not self._ended:
                self._write(chunk)

    def _write(self, chunk: UploadChunk) -> None:
        if chunk.instance_index != len(self._files) or chunk.offset != self._offset:
            raise UploadOutOfOrder(expected_instance_index=len(self._files), expected_offset=self._offset)
        if chunk.instance_index >= self.header.expected_instances:
            raise LimitExceeded(announced_instances=self.header.expected_instances)
        if self.received_bytes + len(chunk.data) > self.header.total_bytes:
            raise LimitExceeded(announced_bytes=self.header.total_bytes)
        self._staging.write(chunk.data)
        self._offset += len(chunk.data)
        self.received_bytes += len(chunk.data)
        if chunk.last:
            self._offset = 0
            self._files.append(self._staging.end_file())
            if chunk.sha256.hex() != self._files[-1].sha256:
                raise UploadChecksumMismatch(instance_index=chunk.instance_index)

    def finish(self, source: Source = Source.GRPC) -> ReceivedStudy:
        """The study, durable in the content store, once the client has sent its last piece.

        Raises:
            UploadIncomplete: if less came than was announced.
            Overloaded: if the disk is full.
        """
        header = self.header
        with self._lock:
            complete = len(self._files) == header.expected_instances and self.received_bytes == header.total_bytes
            if not complete or self._ended:
                raise UploadIncomplete(
                    instances=len(self._files),
                    announced_instances=header.expected_instances,
                    bytes=self.received_bytes,
                    announced_bytes=header.total_bytes,
                )
            instances = self._staging.commit()
        submission = submission_of(
            instances,
            header.patient,
            want_masks=header.want_masks,
            idempotency_key=header.idempotency_key,
            priority=header.priority,
            source=source,
        )
        return ReceivedStudy(submission, instances, header.patient, header.want_masks)

    @property
    def missing_bytes(self) -> int:
        """What was announced and has not come; 0 once it is known that no more will."""
        return 0 if self._ended else self.header.total_bytes - self.received_bytes

    def discard(self) -> None:
        """Delete what was staged; a write that is still under way (of a client that went away) ends first, and a later
        one does nothing. After :meth:`finish` there is nothing to delete."""
        with self._lock:
            self._ended = True
            self._staging.discard()
