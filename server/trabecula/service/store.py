"""Where screenings and their documents are kept: the narrow interface, and one store in memory and files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import TypeAdapter, ValidationError

from trabecula.errors import AlreadyExists, NotFound
from trabecula.service.records import DocumentKind, ScreeningRecord
from trabecula.service.states import State

_RECORD = TypeAdapter(ScreeningRecord)
_RECORD_NAME = "record.json"


class ScreeningStore(Protocol):
    """All that the service asks of a store."""

    def add(self, record: ScreeningRecord) -> ScreeningRecord:
        """Keep a new record, or return the one with the same key and content.

        Raises:
            AlreadyExists: if the key was used with other content.
        """

    def get(self, screening_id: str) -> ScreeningRecord:
        """Raises NotFound."""

    def put(self, record: ScreeningRecord) -> None:
        """Keep a newer version of a record. It counts from now on, even when it raises because it cannot be written."""

    def newest_first(self, states: Collection[State] = ()) -> Iterator[ScreeningRecord]:
        """All records, or those in the states."""

    def results_dir(self, screening_id: str) -> Path:
        """Folder for a screening's documents."""

    def document(self, screening_id: str, kind: DocumentKind) -> Path:
        """Path of a document. Raises NotFound."""

    def forget_ended_before(self, moment: datetime) -> int:
        """Delete old results; the number of screenings forgotten."""


class FolderStore:
    """Records in memory and, one folder each, on disk, so that results outlive a restart. One process only."""

    def __init__(self, folder: Path) -> None:
        """Open or make the store.

        Args:
            folder: made private to the user (0700), as documents hold patient data.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder = folder
        self._records: dict[str, ScreeningRecord] = {}
        self._by_key: dict[str, str] = {}
        for record in sorted(_read_records(folder), key=lambda record: record.submitted_at):
            self._remember(record)

    def add(self, record: ScreeningRecord) -> ScreeningRecord:
        key_hash = record.submission.key_hash
        if key_hash is not None and key_hash in self._by_key:
            known = self._records[self._by_key[key_hash]]
            if known.submission.fingerprint != record.submission.fingerprint:
                raise AlreadyExists
            return known
        self.results_dir(record.screening_id).mkdir(mode=0o700)
        self.put(record)
        return record

    def get(self, screening_id: str) -> ScreeningRecord:
        record = self._records.get(screening_id)
        if record is None:
            raise NotFound
        return record

    def put(self, record: ScreeningRecord) -> None:
        before = self._records.get(record.screening_id)
        self._remember(record)
        if before is not None and replace(before, progress=None) == replace(record, progress=None):
            return  # progress alone is not worth a write
        target = self.results_dir(record.screening_id) / _RECORD_NAME
        fresh = target.with_suffix(".new")
        fresh.write_bytes(_RECORD.dump_json(record))
        os.replace(fresh, target)

    def newest_first(self, states: Collection[State] = ()) -> Iterator[ScreeningRecord]:
        for record in reversed(self._records.values()):
            if not states or record.state in states:
                yield record

    def results_dir(self, screening_id: str) -> Path:
        return self._folder / screening_id

    def document(self, screening_id: str, kind: DocumentKind) -> Path:
        if kind not in self.get(screening_id).documents:
            raise NotFound(document=kind.value)
        return self.results_dir(screening_id) / kind.value

    def forget_ended_before(self, moment: datetime) -> int:
        old = [record for record in self._records.values() if record.ended_at and record.ended_at < moment]
        for record in old:
            del self._records[record.screening_id]
            if record.submission.key_hash is not None:
                self._by_key.pop(record.submission.key_hash, None)
            shutil.rmtree(self.results_dir(record.screening_id), ignore_errors=True)
        return len(old)

    def _remember(self, record: ScreeningRecord) -> None:
        self._records[record.screening_id] = record
        if record.submission.key_hash is not None:
            self._by_key[record.submission.key_hash] = record.screening_id


def _read_records(folder: Path) -> Iterator[ScreeningRecord]:
    for path in folder.glob(f"*/{_RECORD_NAME}"):
        try:
            yield _RECORD.validate_json(path.read_bytes())
        except ValidationError:
            structlog.get_logger().warning("damaged record passed over", screening_id=path.parent.name)
