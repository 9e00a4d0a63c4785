"""Small studies for fault tests: a few made once, and as many unlike copies of them as are wanted."""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from trabecula.anatomy import Level
from trabecula.phantom import PhantomSpec, write_phantom

PREAMBLE_BYTES = 128


class Kind(enum.StrEnum):
    """What a study is, and so how it has to end when nothing befalls it."""

    REPORT = "report"
    """A phantom, T11 to L1, that runs through the networks in about a second."""
    REFUSE = "refuse"
    """Too little of the body: refused with its reason."""
    BROKEN = "broken"
    """Not DICOM, or cut off."""
    KILL = "kill"
    """Kills the process that screens it."""
    HANG = "hang"
    BLOAT = "bloat"
    """Takes all the memory there is."""


ENDS = {
    Kind.REPORT: "reported",
    Kind.REFUSE: "refused",
    Kind.BROKEN: "failed",
    Kind.KILL: "failed",
    Kind.HANG: "failed",
    Kind.BLOAT: "failed",
}


@dataclass(frozen=True)
class Study:
    """The files of one study, in memory."""

    name: str
    kind: Kind
    files: tuple[bytes, ...]

    @property
    def total_bytes(self) -> int:
        return sum(map(len, self.files))


@cache
def originals(folder: Path) -> dict[Kind, tuple[bytes, ...]]:
    """The studies that all others are copies of; made in the folder unless they are there already."""
    report = _phantom(folder / "report", PhantomSpec(top=Level.T11, bottom=Level.L1, matrix=128, slice_mm=5.0, seed=3))
    refuse = _phantom(folder / "refuse", PhantomSpec(top=Level.T12, bottom=Level.T12, matrix=64, slice_mm=10.0, seed=3))
    broken = (refuse[0], *(data[: len(data) // 3] for data in refuse[1:]))
    return {
        Kind.REPORT: report,
        Kind.REFUSE: refuse,
        Kind.BROKEN: broken,
        Kind.KILL: refuse,
        Kind.HANG: refuse,
        Kind.BLOAT: refuse,
    }


def _phantom(folder: Path, spec: PhantomSpec) -> tuple[bytes, ...]:
    if not folder.exists():
        write_phantom(spec, folder)
    return tuple(path.read_bytes() for path in sorted((folder / "dicom").iterdir()))


def copy_of(original: tuple[bytes, ...], kind: Kind, name: str) -> Study:
    """The same images with other bytes: the preamble, which DICOM leaves to applications, says whose copy it is.

    The last file is left as it is, so that studies share some of their content.
    """
    mark = b"POISON " + kind.value.encode() if kind in (Kind.KILL, Kind.HANG, Kind.BLOAT) else name.encode()
    tail = (b"\0" + name.encode())[: PREAMBLE_BYTES - len(mark)]
    preamble = (mark + tail).ljust(PREAMBLE_BYTES, b"\0")
    *marked, last = original
    return Study(name, kind, (*(preamble + data[PREAMBLE_BYTES:] for data in marked), last))


def mixture(folder: Path, rng: random.Random, share: dict[Kind, float]) -> Iterator[Study]:
    """Studies without end, of kinds drawn from a bag that holds each by its share and is filled again when empty."""
    made = originals(folder)
    smallest = min(share.values())
    bag: list[Kind] = []
    for number in itertools.count():
        if not bag:
            bag = [kind for kind, part in share.items() for _ in range(round(part / smallest))]
            rng.shuffle(bag)
        kind = bag.pop()
        yield copy_of(made[kind], kind, f"{kind.value}-{number:05d}-{rng.randrange(1 << 30):08x}")
