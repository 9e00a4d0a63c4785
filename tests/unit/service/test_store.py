"""Records kept in memory and on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trabecula.errors import AlreadyExists, NotFound
from trabecula.outcome import Stage
from trabecula.service.records import DocumentKind, Failure, ScreeningRecord, StageProgress, Submission
from trabecula.service.states import Event, State
from trabecula.service.store import FolderStore

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def record(number: int, key: str | None = None, fingerprint: str = "f") -> ScreeningRecord:
    return ScreeningRecord(f"id-{number}", Submission(key, fingerprint, 3, 500), NOW + timedelta(seconds=number))


def test_a_record_comes_back_after_a_restart(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    kept = store.add(record(1, "key")).after(Event.START, NOW)
    kept = kept.after(Event.FAIL, NOW, failure=Failure("code", "message", input_error=True))
    store.put(kept)
    assert FolderStore(tmp_path).get("id-1") == kept


def test_order_survives_a_restart(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for number in (3, 1, 2):
        store.add(record(number))
    assert [each.screening_id for each in FolderStore(tmp_path).newest_first()] == ["id-3", "id-2", "id-1"]


def test_known_key_and_content_give_the_known_record(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = store.add(record(1, "key"))
    assert store.add(record(2, "key")) is first
    with pytest.raises(AlreadyExists):
        store.add(record(3, "key", "other"))
    assert FolderStore(tmp_path).add(record(4, "key")) == first


def test_progress_alone_is_not_written(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    running = store.add(record(1)).after(Event.START, NOW)
    store.put(running)
    written = (tmp_path / "id-1" / "record.json").stat().st_mtime_ns
    store.put(replace(running, progress=StageProgress(Stage.BONE, 0.5)))
    assert (tmp_path / "id-1" / "record.json").stat().st_mtime_ns == written
    assert store.get("id-1").progress == StageProgress(Stage.BONE, 0.5)


def test_only_old_ended_records_are_forgotten(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.add(record(1, "key"))
    store.put(store.get("id-1").after(Event.CANCEL, NOW))
    store.add(record(2))
    later = store.add(record(3))
    store.put(later.after(Event.CANCEL, NOW + timedelta(hours=1)))
    assert store.forget_ended_before(NOW + timedelta(minutes=1)) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"id-2", "id-3"}
    assert store.add(record(4, "key")).screening_id == "id-4"


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.add(record(1))
    with pytest.raises(NotFound):
        store.get("id-2")
    with pytest.raises(NotFound):
        store.document("id-1", DocumentKind.REPORT_JSON)


def test_a_damaged_record_does_not_keep_the_service_from_starting(tmp_path: Path) -> None:
    FolderStore(tmp_path).add(record(1))
    (tmp_path / "id-2").mkdir()
    (tmp_path / "id-2" / "record.json").write_text("{")
    assert [each.screening_id for each in FolderStore(tmp_path).newest_first()] == ["id-1"]


def test_narrowed_to_states(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.add(record(1))
    store.put(store.add(record(2)).after(Event.CANCEL, NOW))
    assert [each.screening_id for each in store.newest_first((State.CANCELLED,))] == ["id-2"]
