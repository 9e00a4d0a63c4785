"""Work that leaves a child's heap as a study's does: much of it free, in pieces between what is kept.

And work that says when it was loaded.
"""

from __future__ import annotations

from pathlib import Path

from fake_screens import make_light_perform

from trabecula.progress import ProgressListener
from trabecula.work.records import Job
from trabecula.work.runner import Completion, Perform

PIECE_BYTES = 60_000
"""Too little for glibc to take it from the system by itself."""
PIECES = 4000
KEPT_EVERY = 20


def make_scattering_perform() -> Perform:
    light = make_light_perform()
    kept: list[bytearray] = []

    def perform(job: Job, progress: ProgressListener) -> Completion:
        pieces = [bytearray(b"x" * PIECE_BYTES) for _ in range(PIECES)]
        kept[:] = pieces[::KEPT_EVERY]
        return light(job, progress)

    return perform


def make_noted_perform(notes: Path) -> Perform:
    """Adds a line to a file each time that it is loaded."""
    with notes.open("a") as file:
        file.write("loaded\n")
    return make_light_perform()
