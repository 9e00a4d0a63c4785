"""Manifests: which studies a campaign reads. CSV, JSON Lines, or Parquet with the extra ``archive``.

Read as a stream: ten million lines never lie in memory.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from trabecula.archive.reference import Reference, parse_reference
from trabecula.errors import ExtraMissing, InvalidRequest, ManifestUnusable

LONGEST_LINE: Final = 1 << 22
"""Characters."""
_BATCH: Final = 10_000
_COLUMNS: Final = ("path", "paths", "study_uid")


def read_manifest(path: Path) -> Iterator[Reference]:
    """Each study, in the manifest's order. The ending of the name says the form: ``.csv``, ``.jsonl``, ``.parquet``.

    Raises:
        ManifestUnusable: if it cannot be read, naming the line (from 1, the header of a CSV file is line 1).
        ExtraMissing: for Parquet without pyarrow.
    """
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows, ".parquet": _parquet_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ManifestUnusable(must_end_with=", ".join(sorted(readers)))
    for line, row in reader(path):
        try:
            yield parse_reference(row)
        except InvalidRequest as error:
            raise ManifestUnusable("", line=line, **error.fields) from None


def write_manifest(path: Path, references: Iterator[Reference]) -> int:
    """Write JSON Lines; how many. The file appears when it is whole."""
    part = path.with_name(path.name + ".part")
    number = 0
    with part.open("w", encoding="utf-8") as stream:
        for reference in references:
            stream.write(json.dumps(reference.to_json()) + "\n")
            number += 1
    part.replace(path)
    return number


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with _opened(path) as stream:
        rows = csv.DictReader(_bounded(stream))
        try:
            if not {"path", "study_uid"} & set(rows.fieldnames or ()):
                raise ManifestUnusable(line=1, must_have="a column path or study_uid")
            for row in rows:
                yield rows.line_num, {name: row.get(name) for name in ("path", "study_uid")}
        except (csv.Error, UnicodeDecodeError):
            raise ManifestUnusable(line=rows.line_num + 1, must_be="CSV in UTF-8") from None


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    number = 0
    with _opened(path) as stream:
        try:
            for number, line in enumerate(_bounded(stream), start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ManifestUnusable(line=number, must_be="a JSON object")
                yield number, row
        except (ValueError, RecursionError):  # numbers of thousands of digits are a ValueError alone
            raise ManifestUnusable(line=number, must_be="a JSON object in UTF-8") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    pyarrow = parquet_library()
    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
        if not columns:
            raise ManifestUnusable(must_have="a column path, paths or study_uid")
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, pyarrow.ArrowException):
        raise ManifestUnusable(must_be="Parquet") from None


def parquet_library() -> Any:
    """pyarrow, which is no part of the program itself.

    Raises:
        ExtraMissing: if it is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise ExtraMissing(extra="archive", for_="Parquet") from None


def _opened(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise ManifestUnusable(because=error.strerror) from None


def _bounded(stream: Any) -> Iterator[str]:
    """Lines of a text, none longer than may be."""
    while line := stream.readline(LONGEST_LINE):
        if len(line) >= LONGEST_LINE:
            raise ManifestUnusable(longest_line=LONGEST_LINE)
        yield line
