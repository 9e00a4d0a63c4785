"""Muscle and subcutaneous fat of the trunk's wall where the coarse model has no channel of its own for them.

Told on the coarse grid from attenuation and place, like the areas of :mod:`trabecula.composition`, but as outlines of
compartments in three dimensions: areas are measured there, on the slices of a level, and not from these labels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid, top_channel
from trabecula.segmentation.session import FloatVolume
from trabecula.segmentation.settings import SoftTissueSettings

SKELETAL_MUSCLE, SUBCUTANEOUS_FAT, METAL = "skeletal_muscle", "subcutaneous_fat", "metal"
_BODY, _OUTSIDE, _WALL_BONE = "body", "outside", ("rib", "other_bone")

_Mask = npt.NDArray[np.bool_]


def with_wall_tissues(coarse: Prediction, hu: FloatVolume, rules: SoftTissueSettings) -> Prediction:
    """The prediction with channels for muscle and subcutaneous fat, taken out of plain body.

    A prediction that has one of these channels, or none of plain body, stays as it is.

    Args:
        hu: (K, J, I) CT numbers on the prediction's grid.
    """
    if _BODY not in coarse.channels or {SKELETAL_MUSCLE, SUBCUTANEOUS_FAT} & set(coarse.channels):
        return coarse
    muscle, fat = _compartments(coarse, hu, rules)
    body = coarse.probability[coarse.channels.index(_BODY)]
    split = np.stack([np.where(mask, body, np.float32(0)) for mask in (muscle, fat)])
    probability = np.concatenate((coarse.probability, split))
    probability[coarse.channels.index(_BODY)] = np.where(muscle | fat, np.float32(0), body)
    return replace(coarse, channels=(*coarse.channels, SKELETAL_MUSCLE, SUBCUTANEOUS_FAT), probability=probability)


def _compartments(coarse: Prediction, hu: FloatVolume, rules: SoftTissueSettings) -> tuple[_Mask, _Mask]:
    """Where the wall is muscle and where subcutaneous fat.

    Muscle is soft tissue of the wall deeper than skin, in pieces that are large and near bone or cavity. Fat is
    subcutaneous where it lies outside the fascia: outside what muscle, bone and cavity enclose slice by slice.
    """
    grid = coarse.grid
    top = top_channel(coarse.probability)
    wall = top == coarse.channels.index(_BODY)
    outside = top == coarse.channels.index(_OUTSIDE) if _OUTSIDE in coarse.channels else np.zeros_like(wall)
    within = ~wall & ~outside
    deep = ~_grown(outside, rules.skin_mm, grid)
    low, high = rules.muscle_hu
    soft = wall & deep & (hu >= low) & (hu <= high)
    muscle = _large(soft, rules.least_muscle_mm3, grid) & ~_far_from(within, rules.muscle_reach_mm, grid)
    fascia = _closed(muscle | within, rules.fascia_mm, grid)
    for plane in fascia:
        ndimage.binary_fill_holes(plane, output=plane)
    fat = wall & ~fascia & ~soft & (hu >= rules.fat_hu[0]) & (hu <= rules.fat_hu[1])
    return muscle, fat


def _disc(radius_mm: float, grid: Grid) -> _Mask:
    reach = [max(1, int(radius_mm / mm)) for mm in grid.spacing_mm[1:]]
    j, i = np.ogrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    inside = (j * grid.spacing_mm[1]) ** 2 + (i * grid.spacing_mm[2]) ** 2 <= radius_mm**2
    return np.asarray(inside)[None]


def _grown(mask: _Mask, by_mm: float, grid: Grid) -> _Mask:
    return np.asarray(ndimage.binary_dilation(mask, _disc(by_mm, grid)))


def _closed(mask: _Mask, by_mm: float, grid: Grid) -> _Mask:
    element = _disc(by_mm, grid)
    pad = [(0, 0), *((n // 2, n // 2) for n in element.shape[1:])]
    grown = ndimage.binary_dilation(np.pad(mask, pad), element)
    shrunk = ndimage.binary_erosion(grown, element, border_value=1)
    return np.asarray(shrunk[:, pad[1][0] : -pad[1][0], pad[2][0] : -pad[2][0]])


def _large(mask: _Mask, least_mm3: float, grid: Grid) -> _Mask:
    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * float(np.prod(grid.spacing_mm))
    sizes[0] = 0.0
    return np.asarray((sizes >= least_mm3)[pieces])


def _far_from(mask: _Mask, by_mm: float, grid: Grid) -> _Mask:
    return ~_grown(mask, by_mm, grid)
