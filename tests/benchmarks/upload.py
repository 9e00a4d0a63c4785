"""How fast a study streams into the content store: ``python tests/benchmarks/upload.py [folder]``.

300 files of 512 KiB. Each way runs five times, the ways by turns; the table gives the median.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from trabecula.config import Settings
from trabecula.patient import PatientContext
from trabecula.service.intake import Intake, UploadMessage
from trabecula.service.upload import UploadChunk, UploadHeader
from trabecula.work.content import FolderContent

FILES, SIZE, PIECE, ROUNDS = 300, 512 * 1024, 256 * 1024, 5


def plain(folder: Path, files: list[bytes]) -> None:
    for index, data in enumerate(files):
        (folder / str(index)).write_bytes(data)


def plain_hashed(folder: Path, files: list[bytes]) -> None:
    for index, data in enumerate(files):
        hashlib.sha256(data).hexdigest()
        (folder / str(index)).write_bytes(data)


def flushed_one_by_one(folder: Path, files: list[bytes]) -> None:
    for index, data in enumerate(files):
        hashlib.sha256(data).hexdigest()
        with (folder / str(index)).open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())


def staged(folder: Path, files: list[bytes]) -> None:
    staging = FolderContent(folder).stage()
    for data in files:
        for offset in range(0, SIZE, PIECE):
            staging.write(data[offset : offset + PIECE])
        staging.end_file()
    staging.commit()


def taken_in(folder: Path, files: list[bytes]) -> None:
    hashes = [hashlib.sha256(data).digest() for data in files]

    async def messages() -> AsyncIterator[UploadMessage]:
        yield UploadHeader("", FILES, FILES * SIZE, PatientContext(), False)
        for index, data in enumerate(files):
            for offset in range(0, SIZE, PIECE):
                last = offset + PIECE == SIZE
                yield UploadChunk(index, offset, data[offset : offset + PIECE], last, hashes[index] if last else b"")

    async def run() -> None:
        intake = Intake(FolderContent(folder), Settings())
        stream = messages()
        upload = await intake.begin(stream)
        await intake.fill(upload, stream)
        await asyncio.to_thread(upload.finish)

    asyncio.run(run())


WAYS: dict[str, Callable[[Path, list[bytes]], None]] = {
    "plain write": plain,
    "hash, plain write": plain_hashed,
    "hash, write, fsync, one after the other": flushed_one_by_one,
    "content store: hash, write, fsync in the background, rename, fsync folders": staged,
    "the same through the intake of the service": taken_in,
}


def main(root: Path) -> None:
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(ROUNDS):
        files = [os.urandom(SIZE - 8) + (turn * FILES + index).to_bytes(8, "big") for index in range(FILES)]
        for name, way in WAYS.items():
            folder = Path(tempfile.mkdtemp(dir=root))
            os.sync()
            start = time.perf_counter()
            way(folder, files)
            spent[name].append(time.perf_counter() - start)
            shutil.rmtree(folder)
    sys.stdout.write("| way | s | MiB/s |\n|---|---|---|\n")
    for name, times in spent.items():
        median = statistics.median(times)
        sys.stdout.write(f"| {name} | {median:.2f} | {FILES * SIZE / 2**20 / median:.0f} |\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
