"""What has become of each study of a shard: one SQLite file, written by one driver.

The journal is SQLite's own (not WAL, which asks for memory shared between processes), so that the file may lie on a
network's file system; every commit is flushed. What has ended stays: a driver that is killed at any moment and started
again reads nothing twice that has a row.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from trabecula.archive.reference import Reference, of_key
from trabecula.archive.shards import Shard
from trabecula.errors import CampaignBusy, CampaignChanged, CampaignNotFound, Overloaded
from trabecula.work.disk import DISK_FULL_RETRY_S, disk_full_is_overload

FILE: Final = "ledger.sqlite"
LOCK_FILE: Final = "driver.lock"
BUSY_S: Final = 60.0
"""How long to wait for somebody who reads."""
_BATCH: Final = 20_000

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS study (
    id INTEGER PRIMARY KEY,
    reference BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'claimed', 'done', 'refused', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    claimed_at REAL,
    ended_at REAL,
    seconds REAL,
    result TEXT,
    part INTEGER
);
CREATE INDEX IF NOT EXISTS study_next ON study (state, attempts, id);
CREATE INDEX IF NOT EXISTS study_unwritten ON study (id) WHERE result IS NOT NULL;
"""


class StudyState(StrEnum):
    """Where a study stands. Published in `archive status --json`."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    DONE = "done"
    """It has a result."""
    REFUSED = "refused"
    """It has a coded refusal, which is a result as well."""
    DEAD = "dead"
    """It cannot be read, or failed as often as it may."""

    @property
    def ended(self) -> bool:
        return self not in (StudyState.WAITING, StudyState.CLAIMED)


@dataclass(frozen=True)
class Claim:
    """A study taken for one attempt."""

    study_id: int
    reference: Reference
    attempt: int
    """From 1."""


@dataclass(frozen=True)
class ShardCounts:
    """One shard at one moment."""

    states: dict[StudyState, int]
    refused: dict[str, int]
    """By code; a study with two refusals counts at the first."""
    dead: dict[str, int]
    first_claim_at: float | None
    last_end_at: float | None
    """Seconds since 1970."""
    ended_lately: int
    """In the last hour before ``last_end_at``."""
    mean_s: float | None
    """Of one attempt that ended with a result or a refusal."""

    @property
    def total(self) -> int:
        return sum(self.states.values())


class Ledger:
    """An open ledger; used by one thread. Make it with :func:`open_ledger`."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], float] = time.time) -> None:
        self._db = connection
        self._now = now

    def bind(self, **facts: str) -> None:
        """Say what the campaign is made of; the first word stays.

        Raises:
            CampaignChanged: if it was begun with something else.
        """
        with self._write():
            for name, value in facts.items():
                self._db.execute("INSERT OR IGNORE INTO campaign VALUES (?, ?)", (name, value))
        changed = [name for name, value in facts.items() if self.fact(name) != value]
        if changed:
            raise CampaignChanged(changed=",".join(changed))

    def fact(self, name: str) -> str | None:
        """What was said of the campaign."""
        row = self._db.execute("SELECT value FROM campaign WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def add(self, references: Iterable[Reference], tell: Callable[[int], None] = lambda _: None) -> int:
        """Take in the shard's studies, in one transaction; those that are there already stay as they are.

        Args:
            tell: told now and then how many were looked at.

        Returns:
            How many are new.
        """
        before = self._db.total_changes
        with self._write():
            batch: list[tuple[bytes]] = []
            for number, reference in enumerate(references, start=1):
                batch.append((os.fsencode(reference.key),))
                if len(batch) == _BATCH:
                    self._insert(batch)
                    tell(number)
            self._insert(batch)
            return self._db.total_changes - before

    def _insert(self, batch: list[tuple[bytes]]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO study (reference) VALUES (?)", batch)
        batch.clear()

    def take_back(self, attempts: int) -> int:
        """What a driver that was killed had taken: another attempt, or the end after so many.

        The attempt counts: the study may be what killed the driver.
        """
        with self._write():
            self._db.execute(
                "UPDATE study SET state = 'dead', code = 'worker-lost', ended_at = ? "
                "WHERE state = 'claimed' AND attempts >= ?",
                (self._now(), attempts),
            )
            taken = self._db.execute("UPDATE study SET state = 'waiting' WHERE state = 'claimed'")
            return taken.rowcount

    def revive(self) -> int:
        """Give the dead all their attempts again."""
        with self._write():
            done = self._db.execute(
                "UPDATE study SET state = 'waiting', attempts = 0, code = NULL, ended_at = NULL WHERE state = 'dead'"
            )
            return done.rowcount

    def next(self) -> Reference | None:
        """Whose turn it is: those tried least, in the order of the manifest."""
        row = self._next_row()
        return None if row is None else _reference(row[1])

    def claim(self) -> Claim | None:
        """Take the next study. On return the attempt is counted, whatever happens to this process."""
        with self._write():
            row = self._next_row()
            if row is None:
                return None
            self._db.execute(
                "UPDATE study SET state = 'claimed', attempts = attempts + 1, claimed_at = ? WHERE id = ?",
                (self._now(), row[0]),
            )
        return Claim(row[0], _reference(row[1]), row[2] + 1)

    def _next_row(self) -> Any:
        query = "SELECT id, reference, attempts FROM study WHERE state = 'waiting' ORDER BY attempts, id LIMIT 1"
        return self._db.execute(query).fetchone()

    def settle(self, claim: Claim, state: StudyState, *, code: str | None, seconds: float, result: str | None) -> None:
        """End an attempt: with an end of the study, or ``waiting`` for another attempt."""
        with self._write():
            self._db.execute(
                "UPDATE study SET state = ?, code = ?, ended_at = ?, seconds = ?, result = ? "
                "WHERE id = ? AND state = 'claimed' AND attempts = ?",
                (
                    state.value,
                    code,
                    self._now() if state.ended else None,
                    seconds,
                    result,
                    claim.study_id,
                    claim.attempt,
                ),
            )

    def release(self, claim: Claim) -> None:
        """Put a study back as if it had never been taken."""
        with self._write():
            self._db.execute(
                "UPDATE study SET state = 'waiting', attempts = attempts - 1 "
                "WHERE id = ? AND state = 'claimed' AND attempts = ?",
                (claim.study_id, claim.attempt),
            )

    def unwritten(self, most: int) -> list[tuple[int, str]]:
        """Results that stand in no part file yet, at most so many, by id."""
        query = "SELECT id, result FROM study WHERE result IS NOT NULL ORDER BY id LIMIT ?"
        return [(int(row[0]), str(row[1])) for row in self._db.execute(query, (most,))]

    def count_unwritten(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM study WHERE result IS NOT NULL").fetchone()[0])

    def last_part(self) -> int:
        """Number of the newest part file that the ledger knows of; 0 for none."""
        return int(self._db.execute("SELECT coalesce(max(part), 0) FROM study").fetchone()[0])

    def written(self, part: int, study_ids: Iterable[int]) -> None:
        """These results stand in a part file, durably."""
        with self._write():
            self._db.executemany(
                "UPDATE study SET result = NULL, part = ? WHERE id = ?", ((part, each) for each in study_ids)
            )

    def counts(self) -> ShardCounts:
        """How the shard stands."""
        states = dict.fromkeys(StudyState, 0)
        by_code: dict[str, dict[str, int]] = {"refused": {}, "dead": {}}
        for state, code, number in self._db.execute("SELECT state, code, count(*) FROM study GROUP BY state, code"):
            states[StudyState(state)] += number
            if state in by_code:
                by_code[state][str(code)] = number
        first, last, mean_s = self._db.execute(
            "SELECT min(claimed_at), max(ended_at), avg(CASE WHEN state IN ('done', 'refused') THEN seconds END) "
            "FROM study"
        ).fetchone()
        lately = self._db.execute("SELECT count(*) FROM study WHERE ended_at > ?", ((last or 0.0) - 3600,)).fetchone()
        return ShardCounts(states, by_code["refused"], by_code["dead"], first, last, int(lately[0]), mean_s)

    def ended_as(self, state: StudyState) -> Iterator[tuple[Reference, str | None]]:
        """References with their code; for the operator alone."""
        query = "SELECT reference, code FROM study WHERE state = ? ORDER BY id"
        for reference, code in self._db.execute(query, (state.value,)):
            yield _reference(reference), code

    @contextmanager
    def _write(self) -> Iterator[None]:
        with disk_full_as_overload():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextmanager
def open_ledger(folder: Path, shard: Shard, now: Callable[[], float] = time.time) -> Iterator[Ledger]:
    """Make or open a shard's ledger for its driver.

    Raises:
        CampaignBusy: if another driver has it open.
        CampaignChanged: if it is that of another shard.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CampaignBusy(shard=str(shard)) from None
        connection = _connect(folder / FILE, "rwc")
        try:
            connection.executescript(_TABLES)
            ledger = Ledger(connection, now)
            ledger.bind(shard=str(shard))
            yield ledger
        finally:
            connection.close()
    finally:
        os.close(lock)


@contextmanager
def read_ledger(folder: Path) -> Iterator[Ledger]:
    """A ledger to look at, also while its driver runs.

    Raises:
        CampaignNotFound: if there is none.
    """
    connection = _connect(folder / FILE, "rw")
    try:
        yield Ledger(connection)
    finally:
        connection.close()


def shard_folders(folder: Path) -> list[Path]:
    """Folders of shards: the one given, or those in it.

    Raises:
        CampaignNotFound: if there is none.
    """
    if (folder / FILE).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"shard-*/{FILE}"))
    if not found:
        raise CampaignNotFound
    return found


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    where = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        connection = sqlite3.connect(where, uri=True, timeout=BUSY_S, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        raise CampaignNotFound(because=error.sqlite_errorname) from None
    if mode == "rwc":
        path.chmod(0o600)  # references may say who the patient is
    return connection


@contextmanager
def disk_full_as_overload() -> Iterator[None]:
    """A full disk below SQLite, or below a file, becomes :class:`trabecula.errors.Overloaded`."""
    try:
        with disk_full_is_overload():
            yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise Overloaded("no room on the disk", retry_after_s=DISK_FULL_RETRY_S) from error
        raise


def _reference(key: bytes) -> Reference:
    return of_key(os.fsdecode(key))


def to_line(row: dict[str, object]) -> str:
    """A result as one line of JSON."""
    return json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
