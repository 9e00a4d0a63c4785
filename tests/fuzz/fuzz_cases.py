"""Mutated studies: any of them is made anew from seed and number alone."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fuzz_elements import Part10
from fuzz_mutations import MUTATIONS, apply, mutate
from fuzz_seeds import NAMES, seed

HOW = {"one": 0.2, "some": 0.2, "every": 0.45, "alike": 0.15}
"""Which instances are mutated: one, a few, each by itself, or all in the same way."""
_MOST_AT_ONCE = 6


@dataclass(frozen=True)
class Case:
    """One study to be read."""

    name: str
    base: str
    """Of the sound study."""
    files: tuple[bytes, ...]
    mutated: frozenset[int]
    notes: tuple[str, ...] = ()

    def write(self, folder: Path) -> tuple[Path, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(folder / f"{index:04d}" for index in range(len(self.files)))
        for path, data in zip(paths, self.files, strict=True):
            path.write_bytes(data)
        return paths


@cache
def sound_files(base: str) -> tuple[bytes, ...]:
    return tuple(each.to_bytes() for each in seed(base).instances)


def make_case(campaign: int, number: int) -> Case:
    """The mutated study of that number."""
    chosen = random.Random(f"dicom {campaign} {number}")
    base = chosen.choice(NAMES)
    sound = seed(base)
    how = chosen.choices(list(HOW), list(HOW.values()))[0]
    wrong: dict[int, Part10] = dict(mutated_parts(sound.instances, how, chosen))
    files = list(sound_files(base))
    for index, part in wrong.items():
        files[index] = part.to_bytes()
    notes = tuple(sorted({note for part in wrong.values() for note in part.notes}))
    return Case(f"{campaign}-{number}", base, tuple(files), frozenset(wrong), (how, *notes))


def mutated_parts(sound: tuple[Part10, ...], how: str, chosen: random.Random) -> Iterator[tuple[int, Part10]]:
    """Those instances of a study that are mutated, each with its place; how is one of :data:`HOW`."""
    count = len(sound)
    if how == "alike":
        weights = [weight for weight, _ in MUTATIONS.values()]
        names = chosen.choices(list(MUTATIONS), weights, k=chosen.choice((1, 1, 2)))
        alike = chosen.getrandbits(64)
        for index, part in enumerate(sound):
            made, again = part.copy(), random.Random(alike)
            for name in names:
                apply(name, made, again)
            yield index, made
        return
    if how == "every":
        places = list(range(count))
    else:
        some = 1 if how == "one" else min(count, chosen.randint(2, _MOST_AT_ONCE))
        ends = (
            [*range(3), *range(count - 3, count)] if count > _MOST_AT_ONCE and chosen.random() < 0.4 else range(count)
        )
        places = chosen.sample(list(ends), some)
    for index in places:
        yield index, mutate(sound[index], chosen)


def save_case(case: Case, path: Path) -> None:
    """Keep a case: its mutated instances, and the name of the sound study that they stand in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = case.base.encode()
        for index in sorted(case.mutated):
            archive.writestr(zipfile.ZipInfo(f"{index:04d}"), case.files[index], zipfile.ZIP_DEFLATED)


def load_case(path: Path) -> Case:
    """A kept case."""
    with zipfile.ZipFile(path) as archive:
        base = archive.comment.decode()
        wrong = {int(name): archive.read(name) for name in archive.namelist()}
    files = list(sound_files(base))
    for index, data in wrong.items():
        files[index] = data
    return Case(path.stem, base, tuple(files), frozenset(wrong), ())
