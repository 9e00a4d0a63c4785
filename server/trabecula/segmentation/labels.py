"""From probabilities on the models' grids to canonical labels on the scan's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, LabelArray, Structure
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.body import BodyMask
from trabecula.segmentation.bundle import BACKGROUND, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid, interpolate_slabs, nearest_index, nearest_labels
from trabecula.segmentation.session import FloatVolume
from trabecula.segmentation.settings import SegmentationSettings
from trabecula.segmentation.vertebrae import CutPlanes, InstanceMap, spread

Box = tuple[slice, slice, slice]


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

    The coarse answer holds everywhere, the fine one inside its box (but for a rim) for the structures it knows;
    outside air, table and metal come from attenuation.
    """
    scan = Grid.of_scan(volume.geometry)
    spacing = coarse.prediction.grid.spacing_mm
    factor = settings.label_grid_factor
    label_grid = coarse.prediction.grid.covering((spacing[0] / factor, spacing[1] / factor, spacing[2] / factor))
    everything = _top_labels(coarse.prediction, label_grid, ())
    labels = np.zeros(scan.shape, dtype=np.uint8)
    half = np.array(spacing) / 2
    low = np.array(label_grid.start_mm) - half / factor
    high = label_grid.to_mm(np.array(label_grid.shape) - 1) + half / factor
    box = scan.box_around(low, high)
    labels[box] = nearest_labels(everything, label_grid, scan.crop(box))
    if fine is not None:
        _put_fine(labels, scan, coarse.prediction, label_grid, fine.prediction, settings)
    _number_vertebrae(labels, scan, coarse, fine, planes, ordinals)
    trim_to_body(labels, volume, body, body_grid, scan, settings)
    mark_metal(labels, volume, settings)
    labels.setflags(write=False)
    return labels


def channel_labels(channels: Sequence[str]) -> LabelArray:
    """Canonical label of each channel; vertebrae without a level get the bare base of their part."""
    named = {VERTEBRA_BODY: BODY_LABEL_BASE, VERTEBRA_POSTERIOR: POSTERIOR_LABEL_BASE, BACKGROUND: Structure.BODY}
    return np.array([named.get(name) or Structure[name.upper()] for name in channels], dtype=np.uint8)


def _top_labels(prediction: Prediction, target: Grid, without: Sequence[str]) -> LabelArray:
    """Label of the likeliest channel on a finer grid, some channels left out."""
    rows = [n for n, name in enumerate(prediction.channels) if name not in without]
    table = channel_labels([prediction.channels[n] for n in rows])
    out = np.empty(target.shape, dtype=np.uint8)
    for planes, values in interpolate_slabs(prediction.probability[rows], prediction.grid, target):
        out[planes] = table[_argmax(values)]
    return out


def _argmax(values: FloatVolume) -> npt.NDArray[np.uint8]:
    """``values.argmax(axis=0)``, several times faster for few channels."""
    best = values[0].copy()
    out = np.zeros(best.shape, dtype=np.uint8)
    for n in range(1, len(values)):
        better = values[n] > best
        out[better] = n
        np.maximum(best, values[n], out=best)
    return out


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
    rest = nearest_labels(_top_labels(coarse, label_grid, fine.channels), label_grid, here)
    table = channel_labels(fine.channels)
    unsure = fine.channels.index(BACKGROUND) if BACKGROUND in fine.channels else -1
    target = labels[box]
    for planes, values in interpolate_slabs(fine.probability, fine.grid, here):
        top = _argmax(values)
        target[planes] = np.where(top == unsure, rest[planes], table[top])


def _number_vertebrae(
    labels: LabelArray,
    scan: Grid,
    coarse: Cleaned,
    fine: Cleaned | None,
    planes: CutPlanes,
    ordinals: Sequence[int],
) -> None:
    """Put levels in the place of the bare vertebra labels: bodies by the disc planes, posterior elements by the
    instance maps. Instances past the last lumbar level become other bone."""
    numbers = np.array([n if n <= POSTERIOR_LABEL_BASE - BODY_LABEL_BASE and n <= 24 else 0 for n in ordinals])
    bone = (labels == BODY_LABEL_BASE) | (labels == POSTERIOR_LABEL_BASE)
    flat = np.flatnonzero(bone)
    if len(flat) == 0:
        return
    index = np.stack(np.unravel_index(flat, labels.shape), axis=1)
    label = labels.ravel()[flat]
    segment = planes.segment_of(scan.to_mm(index).astype(np.float32)).astype(np.intp)
    posterior = np.flatnonzero(label == POSTERIOR_LABEL_BASE)
    for cleaned, steps in ((coarse, 1), (fine, 2)):
        if cleaned is None:
            continue
        found = _lookup(spread(cleaned.instances, steps), cleaned.prediction.grid, scan, index[posterior])
        segment[posterior] = np.where(found > 0, found.astype(np.intp) - 1, segment[posterior])
    counted = (segment >= 0) & (segment < len(numbers))
    ordinal = np.where(counted, numbers[np.clip(segment, 0, len(numbers) - 1)], 0)
    labels.ravel()[flat] = np.where(ordinal > 0, label + ordinal, int(Structure.OTHER_BONE)).astype(np.uint8)


def _lookup(array: InstanceMap, grid: Grid, scan: Grid, index: npt.NDArray[np.intp]) -> InstanceMap:
    """Values of an array on a grid at scan voxels; 0 outside the grid."""
    where = np.rint(grid.to_index(scan.to_mm(index))).astype(np.intp)
    inside = ((where >= 0) & (where < grid.shape)).all(axis=1)
    out = np.zeros(len(index), dtype=np.uint8)
    out[inside] = array[tuple(where[inside].T)]
    return out


def trim_to_body(
    labels: LabelArray, volume: CtVolume, body: BodyMask, grid: Grid, scan: Grid, settings: SegmentationSettings
) -> None:
    """Outside and table from the body mask; within a voxel of the skin each scan voxel's own attenuation decides."""
    inner = ndimage.binary_erosion(body.body, ndimage.generate_binary_structure(2, 1)[None], border_value=1)
    outer = ndimage.binary_dilation(body.body, ndimage.generate_binary_structure(2, 1)[None])
    zone = outer.astype(np.uint8) + inner + 3 * (body.other & ~outer)
    k, j, i = (nearest_index(grid, scan, axis) for axis in range(3))
    for row, plane in enumerate(k):
        where = zone[plane].take(j, axis=0).take(i, axis=1)
        here = labels[row]
        here[(where >= 1) & (where <= 2) & (here == Structure.OUTSIDE)] = Structure.BODY
        here[(where == 0) | ((where == 1) & (volume.hu[row] < settings.body.air_hu))] = Structure.OUTSIDE
        here[where == 3] = Structure.TABLE


def mark_metal(labels: LabelArray, volume: CtVolume, settings: SegmentationSettings) -> None:
    """Connected voxels denser than any bone, inside the body."""
    flat = np.flatnonzero(volume.hu > settings.body.metal_hu)
    if len(flat) == 0:
        return
    index = np.unravel_index(flat, labels.shape)
    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in index)
    pieces, count = ndimage.label(volume.hu[box] > settings.body.metal_hu)
    smallest = settings.body.metal_min_volume_mm3 / volume.geometry.voxel_volume_mm3
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= smallest
    large[0] = False
    part = labels[box]
    part[large[pieces] & (part != Structure.OUTSIDE) & (part != Structure.TABLE)] = Structure.METAL
