"""Fat in the muscle compartment with mixed pixels counted by their share.

Planes of fat between muscles are thinner than a pixel and than the slab, so most of their fat sits in pixels whose
attenuation stays inside muscle's window: counting pixels under -30 HU finds a third to a half of it, and the muscle
around reads low. The integral over a blurred plane is that of the plane itself, so shares are summed instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.composition.morphology import closed, distance_inside, grown
from trabecula.composition.rules import TissueRules
from trabecula.composition.tissue import Plane, Tissue, TissueMap

_SMOOTHED_BINS: Final = 9
"""HU over which the histogram of muscle is smoothed before its mode is read."""
_NOISE_FACTOR: Final = 2.5
"""A pixel counts as mixed when it lies so many standard deviations of noise under the mode of muscle."""


@dataclass(frozen=True)
class Mixture:
    """Muscle compartment parted into fat and lean by attenuation."""

    fat_cm2: float
    lean_hu: float
    """Attenuation of the compartment with the fat taken out."""


def unmix(plane: Plane, tissue: TissueMap, noise_hu: float, rules: TissueRules) -> Mixture | None:
    """Part the muscle compartment into fat and lean; None when muscle or subcutaneous fat is too scarce to compare.

    Args:
        plane: the slab as classified.
        tissue: its tissue map.
        noise_hu: standard deviation of noise in the plane.
        rules: windows and distances.
    """
    muscle, fat = tissue == Tissue.MUSCLE, tissue == Tissue.SAT
    inside = closed(muscle, rules.compartment_mm, plane.pixel_mm) & (plane.hu <= rules.muscle_hu[1])
    inside &= (tissue == Tissue.MUSCLE) | (tissue == Tissue.IMAT) | (tissue == Tissue.NONE)
    # At the compartment's edge pixels are mixed with what lies outside.
    core = distance_inside(inside, plane.pixel_mm) > rules.edge_mm
    if core.sum() * plane.pixel_cm2 < rules.fewest_cm2 or fat.sum() * plane.pixel_cm2 < rules.fewest_cm2:
        return None
    lean_hu, fat_hu = _mode(plane.hu[muscle & core], rules.muscle_hu), float(np.median(plane.hu[fat]))
    share = np.minimum((lean_hu - plane.hu) / (lean_hu - fat_hu), 1.0)
    mixed = inside & (share > max(rules.mixed_from, _NOISE_FACTOR * noise_hu / (lean_hu - fat_hu)))
    # The blurred flanks beside them hold the rest of the fat; noise cancels there, as shares under 0 count too.
    counted = core & grown(mixed, rules.flank_mm, plane.pixel_mm) | (tissue == Tissue.IMAT)
    pixels = float(share[counted].sum())
    whole = core | counted
    lean = (float(plane.hu[whole].sum()) - pixels * fat_hu) / (float(whole.sum()) - pixels)
    return Mixture(pixels * plane.pixel_cm2, lean)


def _mode(values_hu: npt.NDArray[np.float32], window_hu: tuple[float, ...]) -> float:
    counts, edges = np.histogram(values_hu, bins=np.arange(window_hu[0], window_hu[1] + 1.0, 1.0))
    smooth = np.convolve(counts, np.ones(_SMOOTHED_BINS), "same")
    highest = np.flatnonzero(smooth == smooth.max())  # a narrow peak gives a plateau as wide as the smoothing
    return float(edges[highest].mean() + 0.5)
