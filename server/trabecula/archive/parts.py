"""Result lines in files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trabecula.archive.ledger import Ledger, disk_full_as_overload
from trabecula.work.disk import flush_folder

LINES: Final = 1000
"""Results in one part file."""
PATTERN: Final = "part-*.jsonl"


def write_parts(folder: Path, ledger: Ledger, *, rest: bool) -> int:
    """Bring results from the ledger into part files; how many files were written.

    A file is written under another name, flushed and renamed; then the ledger learns of it. Killed in between, the next
    driver writes a file with the same number again, over the one that nobody knows of, with the same results.

    Args:
        rest: also write a last file that is not full.
    """
    written = 0
    while True:
        rows = ledger.unwritten(LINES)
        if not rows or (len(rows) < LINES and not rest):
            return written
        number = ledger.last_part() + 1
        path = folder / f"part-{number:06d}.jsonl"
        with disk_full_as_overload():
            _write(path, [line for _, line in rows])
        ledger.written(number, [study_id for study_id, _ in rows])
        written += 1


def _write(path: Path, lines: list[str]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as stream:
        stream.writelines(line + "\n" for line in lines)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    flush_folder(path.parent)
