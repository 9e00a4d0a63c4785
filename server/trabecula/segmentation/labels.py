"""From probabilities on the models' grids to canonical labels on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, LabelArray, Structure
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.body import BodyMask
from trabecula.segmentation.bundle import BACKGROUND, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid, interpolate_slabs, nearest_index, nearest_labels, top_channel
from trabecula.segmentation.settings import SegmentationSettings
from trabecula.segmentation.soft_tissue import METAL, SKELETAL_MUSCLE, SUBCUTANEOUS_FAT
from trabecula.segmentation.vertebrae import CutPlanes, InstanceMap, spread, tells_bodies_apart

Box = tuple[slice, slice, slice]
_PART = 24
_MARGIN_MM = 9.0
"""Labels of a vertebra reach at most this far beyond its instance's voxels."""


@dataclass(frozen=True, eq=False)
class Cleaned:
    """A prediction after :func:`keep_vertebrae`, with its instances."""

    prediction: Prediction
    instances: InstanceMap


def scan_labels(
    volume: CtVolume,
    body: BodyMask,
    body_grid: Grid,
    coarse: Cleaned,
    fine: Cleaned | None,
    planes: CutPlanes,
    ordinals: Sequence[int],
    settings: SegmentationSettings,
) -> LabelArray:
    """(K, J, I) canonical labels of the scan.

    The coarse answer holds everywhere, the fine one inside its box (but for a rim) for the structures it knows.
    Outside air, table and metal come from attenuation, as does what is fat and what is muscle near their border.
    """
    scan = Grid.of_scan(volume.geometry)
    spacing = coarse.prediction.grid.spacing_mm
    factor = settings.label_grid_factor
    label_grid = coarse.prediction.grid.covering((spacing[0] / factor, spacing[1] / factor, spacing[2] / factor))
    everything = _top_labels(coarse.prediction, label_grid, (METAL,), settings.threads)
    _name_stray_bone(everything, label_grid, coarse)
    labels = np.zeros(scan.shape, dtype=np.uint8)
    half = np.array(spacing) / 2
    low = np.array(label_grid.start_mm) - half / factor
    high = label_grid.to_mm(np.array(label_grid.shape) - 1) + half / factor
    box = scan.box_around(low, high)
    labels[box] = nearest_labels(everything, label_grid, scan.crop(box))
    if fine is not None:
        _put_fine(labels, scan, coarse.prediction, label_grid, fine.prediction, settings)
    _number_vertebrae(labels, scan, coarse, fine, planes, ordinals, settings)
    _refine_soft_tissue(labels, volume, box, coarse.prediction.channels, settings)
    trim_to_body(labels, volume, body, body_grid, scan, settings)
    mark_metal(labels, volume, settings)
    for cleaned in (coarse, fine):
        if cleaned is not None:
            _mark_known_metal(labels, volume, scan, cleaned.prediction, settings)
    labels.setflags(write=False)
    return labels


def channel_labels(channels: Sequence[str]) -> LabelArray:
    """Canonical label of each channel; vertebrae without a level get the bare base of their part."""
    named = {VERTEBRA_BODY: BODY_LABEL_BASE, VERTEBRA_POSTERIOR: POSTERIOR_LABEL_BASE, BACKGROUND: Structure.BODY}
    return np.array([named.get(name) or Structure[name.upper()] for name in channels], dtype=np.uint8)


def _top_labels(prediction: Prediction, target: Grid, without: Sequence[str], threads: int) -> LabelArray:
    """Label of the likeliest channel on a finer grid, some channels left out."""
    rows = np.array([n for n, name in enumerate(prediction.channels) if name not in without])
    table = channel_labels(prediction.channels)
    out = np.empty(target.shape, dtype=np.uint8)

    def fill(part: slice) -> None:
        here = target.crop((part, slice(None), slice(None)))
        for planes, used, values in interpolate_slabs(prediction.probability, prediction.grid, here, rows):
            out[part][planes] = table[used[top_channel(values)]]

    _in_parts(fill, target.shape[0], threads)
    return out


def _in_parts(work: Callable[[slice], None], count: int, threads: int) -> None:
    """Planes 0 .. count - 1 in parts, as many at a time as there are threads; numpy lets others run."""
    parts = [slice(first, min(first + _PART, count)) for first in range(0, count, _PART)]
    if threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


def _name_stray_bone(labels: LabelArray, grid: Grid, coarse: Cleaned) -> None:
    """What is called vertebra far from every vertebra that was kept is other bone."""
    bare = (labels == BODY_LABEL_BASE) | (labels == POSTERIOR_LABEL_BASE)
    box = _box_of(coarse, grid)
    if box is not None:
        bare[box] = False
    labels[bare] = Structure.OTHER_BONE


def _box_of(cleaned: Cleaned, target: Grid) -> Box | None:
    """Voxels of another grid around the vertebrae that were kept."""
    found = ndimage.find_objects((cleaned.instances > 0).astype(np.uint8))
    if not found:
        return None
    grid = cleaned.prediction.grid
    low = grid.to_mm([part.start for part in found[0]]) - _MARGIN_MM
    high = grid.to_mm([part.stop - 1 for part in found[0]]) + _MARGIN_MM
    return target.box_around(low, high)


def _put_fine(
    labels: LabelArray,
    scan: Grid,
    coarse: Prediction,
    label_grid: Grid,
    fine: Prediction,
    settings: SegmentationSettings,
) -> None:
    """Overwrite the fine box: the fine model's structures where it sees them, and what the coarse model says of the
    rest, without the structures that the fine model would know better."""
    trim = settings.fine_box.trim_mm
    low, high = fine.grid.to_mm((0, 0, 0)) + trim, fine.grid.to_mm(np.array(fine.grid.shape) - 1) - trim
    box = scan.box_around(low, high)
    here = scan.crop(box)
    if 0 in here.shape:
        return
    margin = np.array(label_grid.spacing_mm)
    near = label_grid.crop(label_grid.box_around(low - margin, high + margin))
    rest = nearest_labels(_top_labels(coarse, near, (*fine.channels, METAL), settings.threads), near, here)
    rows = np.array([n for n, name in enumerate(fine.channels) if name != METAL])
    table = channel_labels(fine.channels)
    unsure = fine.channels.index(BACKGROUND) if BACKGROUND in fine.channels else -1
    target = labels[box]

    def fill(part: slice) -> None:
        there = here.crop((part, slice(None), slice(None)))
        for planes, used, values in interpolate_slabs(fine.probability, fine.grid, there, rows):
            top = used[top_channel(values)]
            target[part][planes] = np.where(top == unsure, rest[part][planes], table[top])

    _in_parts(fill, here.shape[0], settings.threads)


def _number_vertebrae(
    labels: LabelArray,
    scan: Grid,
    coarse: Cleaned,
    fine: Cleaned | None,
    planes: CutPlanes,
    ordinals: Sequence[int],
    settings: SegmentationSettings,
) -> None:
    """Put levels in the place of the bare vertebra labels: bodies by the disc planes, posterior elements by the
    instance maps (of a fine model with offsets, bodies too). Instances past the last lumbar level become other bone."""
    boxes = [box for cleaned in (coarse, fine) if cleaned is not None and (box := _box_of(cleaned, scan)) is not None]
    if not boxes:
        return
    k, j, i = (slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3))
    here = scan.crop((k, j, i))
    numbers = np.zeros(len(ordinals) + 1, dtype=np.uint8)
    numbers[:-1] = [n if n <= POSTERIOR_LABEL_BASE - BODY_LABEL_BASE and n <= 24 else 0 for n in ordinals]
    heights = planes.heights_mm(here)
    lookups = [_Lookup.of(cleaned, steps, here) for cleaned, steps in ((coarse, 1), (fine, 2)) if cleaned is not None]
    fine_bodies = fine is not None and tells_bodies_apart(fine.prediction, settings.column)
    for row in range(here.shape[0]):
        plane = labels[k.start + row, j, i]
        body = plane == BODY_LABEL_BASE
        bone = body | (plane == POSTERIOR_LABEL_BASE)
        if not bone.any():
            continue
        segment = planes.segments_at(here.start_mm[0] + row * here.spacing_mm[0], heights)
        for number, lookup in enumerate(lookups):
            found = lookup.plane(row)
            if found is None:
                continue
            told = (found > 0) & (bone if fine_bodies and number == len(lookups) - 1 else ~body)
            np.copyto(segment, found.astype(np.int16) - 1, where=told)
        segment[(segment < 0) | (segment >= len(ordinals))] = len(ordinals)
        ordinal = numbers[segment[bone]]
        plane[bone] = np.where(ordinal > 0, plane[bone] + ordinal, int(Structure.OTHER_BONE)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Lookup:
    """An instance map seen from another grid, plane by plane."""

    instances: InstanceMap
    """Padded by one empty voxel, for places outside."""
    index: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]

    @classmethod
    def of(cls, cleaned: Cleaned, steps: int, target: Grid) -> _Lookup:
        grid = cleaned.prediction.grid
        index = []
        for axis in range(3):
            there = target.start_mm[axis] + np.arange(target.shape[axis]) * target.spacing_mm[axis]
            row = np.rint((there - grid.start_mm[axis]) / grid.spacing_mm[axis])
            index.append(np.where((row >= 0) & (row < grid.shape[axis]), row + 1, 0).astype(np.intp))
        return cls(np.pad(spread(cleaned.instances, steps), 1), (index[0], index[1], index[2]))

    def plane(self, row: int) -> InstanceMap | None:
        """(J, I) instances; None outside the map."""
        k, j, i = self.index
        return None if k[row] == 0 else self.instances[k[row]].take(j, axis=0).take(i, axis=1)


def _refine_soft_tissue(
    labels: LabelArray, volume: CtVolume, box: Box, channels: Sequence[str], settings: SegmentationSettings
) -> None:
    """Subcutaneous fat that is much too dense for fat, and muscle that is much too light for muscle, is plain body."""
    rules = settings.body
    if not {SUBCUTANEOUS_FAT, SKELETAL_MUSCLE} & set(channels):
        return
    mine, theirs = labels[box], volume.hu[box]

    def refine(part: slice) -> None:
        for plane, hu in zip(mine[part], theirs[part], strict=True):
            wrong = (plane == Structure.SUBCUTANEOUS_FAT) & (hu > rules.fat_below_hu)
            wrong |= (plane == Structure.SKELETAL_MUSCLE) & (hu < rules.muscle_above_hu)
            np.putmask(plane, wrong, Structure.BODY)

    _in_parts(refine, len(mine), settings.threads)


def trim_to_body(
    labels: LabelArray, volume: CtVolume, body: BodyMask, grid: Grid, scan: Grid, settings: SegmentationSettings
) -> None:
    """Outside and table from the body mask; within a voxel of the skin each scan voxel's own attenuation decides."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    inner = ndimage.binary_erosion(body.body, cross, border_value=1)
    outer = ndimage.binary_dilation(body.body, cross)
    zone = outer.astype(np.uint8) + inner + 3 * (body.other & ~outer)
    k, j, i = (nearest_index(grid, scan, axis) for axis in range(3))

    def trim(part: slice) -> None:
        last = -1
        for row in range(part.start, part.stop):
            if k[row] != last:
                last = k[row]
                where = zone[last].take(j, axis=0).take(i, axis=1)
                least = np.where((where == 1) | (where == 2), np.uint8(Structure.BODY), np.uint8(0))
                rim, table = np.flatnonzero(where == 1), np.flatnonzero(where == 3)
            here = labels[row]
            # Labels are positive but for the outside, so that these two are "at least body" and "nothing outside".
            np.maximum(here, least, out=here)
            here *= least
            flat = here.reshape(-1)
            flat[rim[volume.hu[row].reshape(-1)[rim] < settings.body.air_hu]] = Structure.OUTSIDE
            flat[table] = Structure.TABLE

    _in_parts(trim, len(k), settings.threads)


def mark_metal(labels: LabelArray, volume: CtVolume, settings: SegmentationSettings) -> None:
    """Connected voxels denser than any bone, inside the body."""
    planes = np.flatnonzero(volume.hu.max(axis=(1, 2)) > settings.body.metal_hu)
    if len(planes) == 0:
        return
    dense = np.zeros((int(planes[-1]) - int(planes[0]) + 1, *volume.hu.shape[1:]), dtype=bool)
    around = slice(int(planes[0]), int(planes[-1]) + 1)
    corners = []
    for plane in planes:
        found = np.greater(volume.hu[plane], settings.body.metal_hu, out=dense[plane - around.start])
        corners.append((np.flatnonzero(found.any(axis=1))[[0, -1]], np.flatnonzero(found.any(axis=0))[[0, -1]]))
    low, high = np.min(corners, axis=(0, 2)), np.max(corners, axis=(0, 2)) + 1
    box = slice(None), slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))
    pieces, count = ndimage.label(dense[box])
    smallest = settings.body.metal_min_volume_mm3 / volume.geometry.voxel_volume_mm3
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    part = labels[around][box]
    part[large[pieces] & (part != Structure.OUTSIDE) & (part != Structure.TABLE)] = Structure.METAL


def _mark_known_metal(
    labels: LabelArray, volume: CtVolume, scan: Grid, prediction: Prediction, settings: SegmentationSettings
) -> None:
    """Where a model sees metal, what is denser than spongy bone or contrast medium is metal."""
    if METAL not in prediction.channels:
        return
    likely = prediction.of(METAL) > 0.5
    found = ndimage.find_objects(likely.astype(np.uint8))
    if not found:
        return
    grid, half = prediction.grid, np.array(prediction.grid.spacing_mm) / 2
    low, high = (grid.to_mm([edge(part) for part in found[0]]) for edge in (_start, _stop))
    box = scan.box_around(low - half, high + half)
    here = nearest_labels(likely.astype(np.uint8), grid, scan.crop(box)) > 0
    part = labels[box]
    here &= (volume.hu[box] > settings.body.known_metal_hu) & (part != Structure.OUTSIDE) & (part != Structure.TABLE)
    part[here] = Structure.METAL


def _start(part: slice) -> int:
    return int(part.start)


def _stop(part: slice) -> int:
    return int(part.stop) - 1
