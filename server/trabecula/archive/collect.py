"""All results of a campaign in one file: CSV, JSON Lines, or Parquet with the extra ``archive``."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

from trabecula.archive.ledger import read_ledger, shard_folders
from trabecula.archive.manifest import parquet_library
from trabecula.archive.parts import PATTERN
from trabecula.archive.results import ColumnKind, column_kind
from trabecula.errors import InvalidRequest

_BATCH: Final = 5_000
FORMS: Final = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Collected:
    """What was written."""

    results: int
    duplicates: int
    """Results with the key of another one: the same study named twice in a manifest, or read by two campaigns."""


def collect(folders: list[Path], out: Path, tell: Callable[[int], None] = lambda _: None) -> Collected:
    """Merge the results of all shards; of several with one key the one whose reference sorts first.

    The file appears when it is whole. Memory does not grow with the number of results.

    Args:
        folders: of campaigns or shards.
        out: ends in ``.csv``, ``.jsonl`` or ``.parquet``.
        tell: told how many results were read.

    Raises:
        CampaignNotFound: if there is none in a folder.
        InvalidRequest: for another ending.
        ExtraMissing: for Parquet without pyarrow.
    """
    if out.suffix not in FORMS:
        raise InvalidRequest(field="out", must_end_with=", ".join(FORMS))
    if out.suffix == ".parquet":
        parquet_library()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.draft")
    with TemporaryDirectory(prefix=".collect-", dir=out.parent) as scratch:
        db = sqlite3.connect(Path(scratch) / "results.sqlite", isolation_level=None)
        try:
            read, columns = _sort_in(db, folders, tell)
            rows = (json.loads(line) for (line,) in db.execute("SELECT line FROM result ORDER BY key"))
            number = _WRITERS[out.suffix](draft, columns, rows)
        finally:
            db.close()
    draft.replace(out)
    return Collected(number, read - number)


def _sort_in(db: sqlite3.Connection, folders: list[Path], tell: Callable[[int], None]) -> tuple[int, list[str]]:
    """Every result once into a table on disk; how many references were read, and their columns in order."""
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("CREATE TABLE result (key TEXT PRIMARY KEY, reference TEXT NOT NULL, line TEXT NOT NULL) WITHOUT ROWID")
    db.execute("CREATE TABLE seen (reference TEXT, key TEXT, PRIMARY KEY (reference, key)) WITHOUT ROWID")
    columns: dict[str, None] = {}
    db.execute("BEGIN")
    for number, line in enumerate(_lines(folders), start=1):
        row = json.loads(line)
        columns |= dict.fromkeys(row)
        db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (row["reference"], row["key"]))
        db.execute(
            "INSERT INTO result VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "reference = excluded.reference, line = excluded.line WHERE excluded.reference < reference",
            (row["key"], row["reference"], line),
        )
        if number % _BATCH == 0:
            tell(number)
    db.execute("COMMIT")
    return int(db.execute("SELECT count(*) FROM seen").fetchone()[0]), list(columns)


def _lines(folders: list[Path]) -> Iterator[str]:
    """Lines of all part files, and of results that stand in no part file yet."""
    for folder in folders:
        for shard in shard_folders(folder):
            # the ledger first: what it hands to a part file meanwhile is then read twice, and not left out
            with read_ledger(shard) as ledger:
                yield from (line for _, line in ledger.unwritten(-1))
            for part in sorted(shard.glob(PATTERN)):
                with part.open(encoding="utf-8") as stream:
                    yield from (line.rstrip("\n") for line in stream)


class _Write(Protocol):
    def __call__(self, path: Path, columns: list[str], rows: Iterator[dict[str, Any]]) -> int: ...


def _write_csv(path: Path, columns: list[str], rows: Iterator[dict[str, Any]]) -> int:
    number = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})
            number += 1
    return number


def _cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: header text of a device may begin as one (CWE-1236)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _write_jsonl(path: Path, columns: list[str], rows: Iterator[dict[str, Any]]) -> int:
    number = 0
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({name: row.get(name) for name in columns}, separators=(",", ":")) + "\n")
            number += 1
    return number


def _write_parquet(path: Path, columns: list[str], rows: Iterator[dict[str, Any]]) -> int:
    arrow = parquet_library()
    kinds = {
        ColumnKind.TEXT: arrow.string(),
        ColumnKind.NUMBER: arrow.float64(),
        ColumnKind.WHOLE: arrow.int64(),
        ColumnKind.TRUTH: arrow.bool_(),
    }
    schema = arrow.schema([(name, kinds[column_kind(name)]) for name in columns])
    number = 0
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(rows, _BATCH)):
            full = [{name: row.get(name) for name in columns} for row in batch]
            writer.write_table(arrow.Table.from_pylist(full, schema=schema))
            number += len(batch)
    return number


_WRITERS: Final[dict[str, _Write]] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
