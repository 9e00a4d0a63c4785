"""Vertebrae out of a map in which a network has already named them: cleaning, checking, splitting into parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from trabecula.anatomy import LabelArray
from trabecula.geometry import FloatArray
from trabecula.segmentation.nnunet.merge import BODY_PART

Mask = npt.NDArray[np.bool_]
Points = FloatArray
"""(N, 3) scan millimetres along (k, j, i)."""
Triple = tuple[float, float, float]

_SMALLEST_MM3: Final = 1500.0
"""A named piece smaller than this is no vertebra that could be measured."""
_SECOND_PIECE: Final = 0.3
"""A second piece of this share of the largest: the name was given twice."""
_REACH_MM: Final = 4.0
"""Loose pieces this near to a vertebra belong to it."""
_CANAL_MARGIN_MM: Final = 6.0
_CANAL_MM2: Final = 60.0
"""A smaller hole is no canal."""
_ARCH_GAP_MM: Final = 5.0
"""Gaps in an arch up to this wide are bridged."""
_MIDLINE_MM: Final = 7.0
_BIN_MM: Final = 2.0
_PART_SHARE: Final = 0.1
"""A network's own body label is used when it covers this share of the vertebra."""
_RIB_CONTACT_MM: Final = 8.0
_RIB_SAMPLES: Final = 4000
_T1: Final = 8
"""Ordinal of the first thoracic vertebra."""


@dataclass(frozen=True, eq=False)
class NamedVertebra:
    """One vertebra that the network named."""

    ordinal: int
    box: tuple[slice, slice, slice]
    whole: Mask
    """In ``box``."""
    body: Mask
    """In ``box``."""
    centre_mm: FloatArray
    """Of the body."""
    canal_mm: FloatArray
    """Middle of the canal behind the body."""
    doubled: bool
    """A second large piece carried the same name."""


def clean_levels(ordinal: LabelArray, spacing_mm: Triple) -> tuple[LabelArray, frozenset[int]]:
    """Each level as one piece: the largest; loose ones go to the vertebra that they touch, or to none.

    Returns:
        (K, J, I) ordinals (255: a loose piece beside no vertebra), and the ordinals with a second large piece.
    """
    out = ordinal.copy()
    loose = np.zeros(ordinal.shape, dtype=bool)
    doubled = set()
    voxel_mm3 = float(np.prod(spacing_mm))
    for number, box in enumerate(ndimage.find_objects(ordinal), start=1):
        if box is None:
            continue
        pieces, count = ndimage.label(ordinal[box] == number, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = 0
        largest = int(sizes.argmax())
        if (np.delete(sizes, largest) > _SECOND_PIECE * sizes[largest]).any():
            doubled.add(number)
        kept = pieces == largest if sizes[largest] * voxel_mm3 >= _SMALLEST_MM3 else np.zeros_like(pieces, dtype=bool)
        loose[box] |= (pieces > 0) & ~kept
    if loose.any():
        _settle(out, loose, spacing_mm)
    return out, frozenset(doubled)


def _settle(ordinal: LabelArray, loose: Mask, spacing_mm: Triple) -> None:
    """Give loose voxels the level of the nearest kept one within reach."""
    places = np.argwhere(loose)
    ordinal[loose] = 0
    margin = np.ceil(_REACH_MM / np.array(spacing_mm)).astype(int)
    low = np.maximum(places.min(axis=0) - margin, 0)
    high = np.minimum(places.max(axis=0) + margin + 1, ordinal.shape)
    around = ordinal[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    kept = np.argwhere(around)
    value = np.full(len(places), 255, dtype=np.uint8)
    if len(kept):
        distance, nearest = cKDTree((kept + low) * spacing_mm).query(
            places * spacing_mm, distance_upper_bound=_REACH_MM
        )
        near = np.isfinite(distance)
        value[near] = around[tuple(kept[nearest[near]].T)]
    ordinal[tuple(places.T)] = value


def find_named(
    ordinal: LabelArray, part: LabelArray, canal: Mask, spacing_mm: Triple, doubled: frozenset[int]
) -> tuple[NamedVertebra, ...]:
    """Vertebrae head to foot as their names say, each with its body.

    The body is what the network calls so, where it tells parts apart, else what lies in front of the canal's front
    wall. A vertebra without a body or without canal beside it is left out.
    """
    found = []
    for number, box in enumerate(ndimage.find_objects(np.where(ordinal == 255, 0, ordinal)), start=1):
        if box is None:
            continue
        whole = ordinal[box] == number
        start = np.array([side.start for side in box])
        points = (np.argwhere(whole) + start) * spacing_mm
        beside = _canal_beside(canal, points, spacing_mm)
        if len(beside) == 0:
            continue
        own = whole & (part[box] == BODY_PART)
        body = own if own.sum() >= _PART_SHARE * whole.sum() else _in_front(whole, points, beside)
        body = _largest(body)
        if not body.any():
            continue
        centre = (np.argwhere(body) + start).mean(axis=0) * spacing_mm
        level_with = np.abs(beside[:, 0] - centre[0])
        behind = beside[level_with <= level_with.min() + 2 * _BIN_MM].mean(axis=0)
        found.append(NamedVertebra(number, box, whole, body, centre, behind, number in doubled))
    return tuple(found)


def canal_in_arches(ordinal: LabelArray, spacing_mm: Triple) -> Mask:
    """Canal for networks that have no label for it: the holes that the vertebrae leave, slice by slice.

    Where no arch closes the ring there is none.
    """
    out = np.zeros(ordinal.shape, dtype=bool)
    bone = (ordinal > 0) & (ordinal < 255)
    boxes = ndimage.find_objects(bone.astype(np.uint8))
    if not boxes:
        return out
    _, row, column = boxes[0]
    reach = [max(1, round(_ARCH_GAP_MM / 2 / mm)) for mm in spacing_mm[1:]]
    square = np.ones((2 * reach[0] + 1, 2 * reach[1] + 1), dtype=bool)
    pad = [(r, r) for r in reach]
    for plane, found in zip(bone[:, row, column], out[:, row, column], strict=True):
        closed = ndimage.binary_closing(np.pad(plane, pad), square)[reach[0] : -reach[0], reach[1] : -reach[1]]
        holes, count = ndimage.label(ndimage.binary_fill_holes(closed) & ~closed)
        if count:
            largest = 1 + int(np.bincount(holes.ravel())[1:].argmax())
            if (holes == largest).sum() * spacing_mm[1] * spacing_mm[2] >= _CANAL_MM2:
                found |= holes == largest
    return out


def _canal_beside(canal: Mask, points: Points, spacing_mm: Triple) -> Points:
    """Canal voxels in the box around a vertebra, a little more at both ends."""
    low, high = np.percentile(points, (2, 98), axis=0)
    first = np.maximum(0, (low - _CANAL_MARGIN_MM) / spacing_mm).astype(int)
    last = ((high + _CANAL_MARGIN_MM) / spacing_mm).astype(int) + 1
    near = np.argwhere(canal[tuple(slice(a, b) for a, b in zip(first, last, strict=True))])
    return np.asarray((near + first) * np.array(spacing_mm))


def _in_front(whole: Mask, points: Points, canal: Points) -> Mask:
    """What of a vertebra lies in front of the canal's front wall.

    The wall is the back of the bone in the midline before the canal, a straight line over the vertebra's height in
    the canal's own frame. Points and canal in scan millimetres; the points are those of ``whole`` in order.
    """
    out = np.zeros_like(whole)
    origin = canal.mean(axis=0)
    up = _canal_direction(canal, origin)
    ahead = points[points[:, 1] < origin[1]]
    if len(ahead) == 0:
        return out
    forward = ahead.mean(axis=0) - origin
    forward -= up * float(forward @ up)
    forward /= np.linalg.norm(forward)
    left = np.cross(up, forward)
    rel = points - origin
    height, depth = rel @ up, rel @ forward
    midline = (np.abs(rel @ left) < _MIDLINE_MM) & (depth > 0)
    bins = np.round(height / _BIN_MM)
    walls = [
        (_BIN_MM * b, float(np.percentile(depth[midline & (bins == b)], 2)))
        for b in np.unique(bins[midline])
        if (midline & (bins == b)).sum() >= 8
    ]
    if not walls:
        return out
    heights, wall = np.array(walls).T
    wall = np.minimum(wall, np.median(wall) + 3.0)  # beyond an endplate the midline meets the rim further forward
    line = np.polyfit(heights, wall, 1 if len(walls) > 3 else 0)
    front = depth >= np.polyval(line, np.clip(height, heights[0], heights[-1])) - 0.25
    out[whole] = front
    return out


def _canal_direction(canal: Points, origin: FloatArray) -> FloatArray:
    """Unit vector along a stretch of canal, towards the head."""
    heights = np.unique(canal[:, 0])
    if len(heights) < 3:
        return np.array([1.0, 0.0, 0.0])
    centres = np.array([canal[canal[:, 0] == h, 1:].mean(axis=0) for h in heights])
    slope = np.polyfit(heights - origin[0], centres - origin[1:], 1)[0]
    up = np.array([1.0, *slope])
    return np.asarray(up / np.linalg.norm(up))


def _largest(mask: Mask) -> Mask:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + np.bincount(pieces.ravel())[1:].argmax())


def orderly(vertebrae: tuple[NamedVertebra, ...]) -> tuple[NamedVertebra, ...]:
    """The longest run of vertebrae whose heights fall as their ordinals rise."""
    runs: list[tuple[NamedVertebra, ...]] = []
    for n, vertebra in enumerate(vertebrae):
        longest: tuple[NamedVertebra, ...] = ()
        for run, last in zip(runs, vertebrae[:n], strict=True):
            if last.centre_mm[0] > vertebra.centre_mm[0] and len(run) > len(longest):
                longest = run
        runs.append((*longest, vertebra))
    return max(runs, key=len) if runs else ()


def rib_agreement(rib: LabelArray, vertebrae: tuple[NamedVertebra, ...], spacing_mm: Triple) -> dict[int, bool]:
    """By rib number: whether the rib touches the posterior elements of the thoracic vertebra with its own number more
    than those of any other.

    With its head a rib may touch the vertebra above too, with its neck and tubercle only the pedicle and transverse
    process of its own. Ribs that touch none are left out.
    """
    places, levels = [], []
    for vertebra in vertebrae:
        index = np.argwhere(vertebra.whole & ~vertebra.body)
        index = index[:: max(1, len(index) // _RIB_SAMPLES)] + [side.start for side in vertebra.box]
        places.append(index * np.array(spacing_mm))
        levels.append(np.full(len(index), vertebra.ordinal))
    tree, level = cKDTree(np.concatenate(places)), np.concatenate(levels)
    found = {}
    for number, box in enumerate(ndimage.find_objects(rib), start=1):
        if box is None:
            continue
        index = np.argwhere(rib[box] == number) + [side.start for side in box]
        distance, nearest = tree.query(index * np.array(spacing_mm), distance_upper_bound=_RIB_CONTACT_MM)
        touching = np.isfinite(distance)
        if touching.any():
            votes = np.bincount(level[nearest[touching]])
            found[number] = int(votes.argmax()) == _T1 + number - 1
    return found
