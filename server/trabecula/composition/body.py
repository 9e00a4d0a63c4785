"""Values that the composition stage hands on."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.anatomy import Level


@dataclass(frozen=True)
class CompositionAtLevel:
    """Muscle and fat in the axial slice through the middle of a vertebral body. None: could not be measured."""

    level: Level
    slice_index: int
    """k index in the canonical volume."""
    muscle_area_cm2: float | None
    """All skeletal muscle, HU window from the clinical data file."""
    muscle_attenuation_hu: float | None
    paraspinal_muscle_area_cm2: float | None
    paraspinal_muscle_attenuation_hu: float | None
    imat_area_cm2: float | None
    """Fat inside the muscle compartment: pixels in fat's HU window, as published cut-offs were read."""
    sat_area_cm2: float | None
    vat_area_cm2: float | None
    vat_sat_ratio: float | None
    muscle_index_cm2_m2: float | None
    """Muscle area over height squared, when the height is known."""
    truncated: bool
    """The body reaches past the field of view at this slice, so areas of muscle and subcutaneous fat are too small."""
    missing_area_cm2: float | None = None
    """Estimated area of the body outside the field of view; 0 when nothing is cut, None when not estimated."""
    paraspinal_muscle_index_cm2_m2: float | None = None
    """Paraspinal muscle area over height squared, when the height is known."""
    muscle_fat_by_share_cm2: float | None = None
    """Fat inside the muscle compartment, pixels that hold both counted by their share of fat; no cut-off is known."""
    lean_muscle_attenuation_hu: float | None = None
    """Attenuation of the muscle compartment with that fat taken out; no cut-off is known."""
