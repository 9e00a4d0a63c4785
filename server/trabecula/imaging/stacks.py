"""Grouping frames into stacks: images of one series that can make one volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trabecula.geometry import FloatArray
from trabecula.imaging.instance import Instance, Slice, Vector
from trabecula.imaging.nature import nature_of

_ORIENTATION_TOLERANCE = 0.01
_SAME_POSITION_MM = 0.01
_SPLIT_FRACTION = 0.2
"""Shared positions, as a part of all, from which a stack is taken for several rather than for one with copies."""


@dataclass(frozen=True)
class Stack:
    """Slices with one orientation and matrix, sorted along their normal, one at each position."""

    slices: tuple[Slice, ...]
    copies_dropped: int
    """Slices left out because another one lies at the same position."""

    @property
    def middle(self) -> Slice:
        return self.slices[len(self.slices) // 2]


def build_stacks(instances: Iterable[Instance]) -> list[Stack]:
    """Stacks of all CT frames, in a stable order that does not depend on the order of the files."""
    groups: dict[Hashable, list[Slice]] = defaultdict(list)
    orientations: dict[str, list[Vector]] = defaultdict(list)
    for instance in sorted(instances, key=lambda one: (one.series_uid, one.instance_number, one.sop_uid)):
        known = orientations[instance.series_uid]
        for frame in instance.frames:
            which = _index_of(frame.orientation, known)
            nature = nature_of(frame.image_type)
            key = (
                instance.series_uid,
                which,
                instance.pixels.rows,
                instance.pixels.columns,
                tuple(round(value, 4) for value in frame.pixel_spacing),
                bool(frame.position),
                frame.kernel,
                frame.rescale_type,
                (nature.origin, nature.localizer, nature.reformatted, nature.mixed_energy, nature.computed),
            )
            groups[key].append(Slice(instance, frame))
    return [stack for group in groups.values() for stack in _split(group)]


def slice_normal(orientation: Vector) -> FloatArray:
    """Unit normal of the image plane, its largest component positive, so that mirrored images sort alike."""
    values = np.asarray(orientation, dtype=np.float64)
    normal: FloatArray = np.cross(values[:3], values[3:])
    length = float(np.linalg.norm(normal))
    if length == 0:
        return normal
    unit: FloatArray = normal / length * np.sign(normal[np.argmax(np.abs(normal))])
    return unit


def _index_of(orientation: Vector, known: list[Vector]) -> int:
    """Index of the known orientation that this one equals within rounding; a new one is added."""
    for index, other in enumerate(known):
        if len(other) == len(orientation) and all(
            abs(a - b) < _ORIENTATION_TOLERANCE for a, b in zip(orientation, other, strict=True)
        ):
            return index
    known.append(orientation)
    return len(known) - 1


def _split(group: Sequence[Slice]) -> list[Stack]:
    """Split by acquisition, time point and the like only where images share positions."""
    if not group[0].frame.position or not group[0].frame.orientation:
        return [Stack(tuple(group), 0)]
    ordered = _sorted(group)
    copies = len(ordered) - len(_unique(ordered))
    if copies > _SPLIT_FRACTION * len(ordered):
        for parts in _partitions(ordered):
            remaining = sum(len(part) - len(_unique(_sorted(part))) for part in parts)
            if remaining < copies:
                return [stack for part in parts for stack in _split(part)]
    return [Stack(tuple(_unique(ordered)), copies)]


def _partitions(group: Sequence[Slice]) -> Iterable[list[list[Slice]]]:
    """Ways to part a group by one attribute."""
    for index in range(-1, len(group[0].frame.split_keys)):
        parts: dict[Hashable, list[Slice]] = defaultdict(list)
        for one in group:
            parts[one.frame.image_type if index < 0 else one.frame.split_keys[index]].append(one)
        if len(parts) > 1:
            yield list(parts.values())


def _sorted(group: Sequence[Slice]) -> list[Slice]:
    normal = slice_normal(group[0].frame.orientation)
    along = {id(one): float(np.dot(one.frame.position, normal)) for one in group}
    return sorted(group, key=lambda one: (along[id(one)], one.instance.instance_number, one.instance.sop_uid))


def _unique(ordered: Sequence[Slice]) -> list[Slice]:
    """First slice at each position."""
    normal = slice_normal(ordered[0].frame.orientation)
    kept: list[Slice] = []
    last = -np.inf
    for one in ordered:
        along = float(np.dot(one.frame.position, normal))
        if along - last > _SAME_POSITION_MM:
            kept.append(one)
            last = along
    return kept
