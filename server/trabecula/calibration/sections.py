"""Sections of the scan around the measured levels: where reference tissues and patient size are taken from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import Anatomy, LabelArray, Level, Structure
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import CtVolume, HuArray

FloatImage = npt.NDArray[np.float32]
MaskImage = npt.NDArray[np.bool_]

_MOST_SECTIONS: Final = 12
_MOST_NEIGHBOURS: Final = 5
SLAB_MM: Final = 3.0
"""Foot-to-head thickness averaged over where noise asks for no more."""


@dataclass(frozen=True, eq=False)
class Section:
    """One axial slice, with its neighbours' mean for less noise. Arrays are (J, I)."""

    hu: HuArray
    """The slice itself; a view into the volume."""
    slab_hu: FloatImage
    """Mean over a few millimetres along the patient's axis."""
    labels: LabelArray
    pixel_mm: tuple[float, float]

    @property
    def body(self) -> MaskImage:
        """Everything that belongs to the patient."""
        return np.asarray((self.labels != Structure.OUTSIDE) & (self.labels != Structure.TABLE))


def take_sections(
    volume: CtVolume, anatomy: Anatomy, constants: ClinicalConstants, slab_mm: float = SLAB_MM
) -> tuple[Section, ...]:
    """At most 12 sections, evenly spread over the calibration levels in view, each averaged over ``slab_mm``.

    Where none of those levels is in view, over all vertebrae in view; without any vertebra, over the whole scan.
    """
    spacing_k, spacing_j, spacing_i = volume.geometry.spacing_mm
    first, last = _range(volume, anatomy, constants)
    count = min(_MOST_SECTIONS, last - first + 1)
    half = max(0, min(_MOST_NEIGHBOURS, round((slab_mm / spacing_k - 1) / 2)))
    sections = []
    for k in np.unique(np.linspace(first, last, count).round().astype(int)):
        slab = volume.hu[max(0, k - half) : k + half + 1].mean(axis=0, dtype=np.float32)
        sections.append(Section(volume.hu[k], slab, anatomy.labels[k], (spacing_j, spacing_i)))
    return tuple(sections)


def _range(volume: CtVolume, anatomy: Anatomy, constants: ClinicalConstants) -> tuple[int, int]:
    wanted = {Level(name) for name in constants.texts("calibration.levels")}
    margin = constants.number("calibration.region_margin") / volume.geometry.spacing_mm[0]
    chosen = [v for v in anatomy.vertebrae if v.level in wanted] or list(anatomy.vertebrae)
    slices = volume.geometry.shape[0]
    if not chosen:
        return 0, slices - 1
    k = [volume.geometry.lps_to_index(v.centroid_lps_mm)[0] for v in chosen]
    first, last = max(0, int(min(k) - margin)), min(slices - 1, int(np.ceil(max(k) + margin)))
    return (first, last) if first <= last else (0, slices - 1)
