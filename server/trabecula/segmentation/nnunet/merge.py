"""From the labels of one or more networks to one canonical map with named vertebrae."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import LabelArray, Structure, VertebraPart
from trabecula.segmentation.nnunet.labels import Target
from trabecula.segmentation.nnunet.predict import NetworkLabels

UNLABELLED = 255
_PARTS = {None: 0, VertebraPart.BODY: 1, VertebraPart.POSTERIOR: 2}
BODY_PART, POSTERIOR_PART = 1, 2


@dataclass(frozen=True, eq=False)
class MergedLabels:
    """What the networks say together. All arrays are (K, J, I) on the scan's grid."""

    structure: LabelArray
    """:class:`Structure`, or 255 where no network names one."""
    ordinal: LabelArray
    """Level ordinal of each voxel of a vertebra, else 0."""
    part: LabelArray
    """1 body, 2 posterior elements, where a network tells them apart; else 0."""
    rib: LabelArray
    """Number of a rib, where a network tells it; else 0."""
    certainty: dict[int, float]
    """By level ordinal: mean probability that the network gave to that level where it chose it."""
    supernumerary: bool
    """A 13th thoracic or 6th lumbar vertebra was named."""


def merge_labels(answers: Sequence[tuple[NetworkLabels, Sequence[Target]]]) -> MergedLabels:
    """Combine networks.

    What an earlier network names stands; later ones fill in what it leaves open. A network that tells the parts of
    vertebrae but not their levels gives the parts.

    Args:
        answers: each network's labels on the same grid, and what its labels mean.
    """
    shape = answers[0][0].labels.shape
    structure = np.full(shape, UNLABELLED, dtype=np.uint8)
    ordinal, part, rib = (np.zeros(shape, dtype=np.uint8) for _ in range(3))
    certainty: dict[int, float] = {}
    supernumerary = False
    for answer, targets in answers:
        tables = _tables(targets)
        _fill(structure, answer.labels, tables.structure, UNLABELLED)
        _fill(ordinal, answer.labels, tables.ordinal, 0)
        _fill(part, answer.labels, tables.part, 0)
        _fill(rib, answer.labels, tables.rib, 0)
        for number, target in enumerate(targets):
            if target.level is not None and answer.certainty[number] > 0:
                known = certainty.get(target.level.ordinal, 0.0)
                certainty[target.level.ordinal] = max(known, float(answer.certainty[number]))
        extra = [number for number, target in enumerate(targets) if target.supernumerary]
        supernumerary |= bool(answer.certainty[extra].any()) if extra else False
    structure[ordinal > 0] = UNLABELLED
    return MergedLabels(structure, ordinal, part, rib, certainty, supernumerary)


@dataclass(frozen=True, eq=False)
class _Tables:
    """By label number of one network."""

    structure: LabelArray
    ordinal: LabelArray
    part: LabelArray
    rib: LabelArray


def _tables(targets: Sequence[Target]) -> _Tables:
    bare = [target.vertebra and target.level is None for target in targets]
    return _Tables(
        # A vertebra without level and part is bone; one with a part only says where that part is.
        _table(
            UNLABELLED if t.structure is None and not (b and t.part is None) else (t.structure or Structure.OTHER_BONE)
            for t, b in zip(targets, bare, strict=True)
        ),
        _table(0 if t.level is None else t.level.ordinal for t in targets),
        _table(_PARTS[t.part] for t in targets),
        _table(t.rib or 0 for t in targets),
    )


def _table(values: Iterable[int]) -> LabelArray:
    return np.array([int(value) for value in values], dtype=np.uint8)


def _fill(into: LabelArray, labels: npt.NDArray[np.uint16], table: LabelArray, empty: int) -> None:
    """Write what the labels mean where nothing is written yet, plane by plane."""
    if (table == empty).all():
        return
    for here, numbers in zip(into, labels, strict=True):
        found = table[numbers]
        np.copyto(here, found, where=here == empty)
