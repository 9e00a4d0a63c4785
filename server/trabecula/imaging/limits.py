"""What the imaging stage accepts: bounds against hostile input, and the geometry it can measure on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImagingLimits:
    """Bounds that are checked from headers, before any pixel memory is taken."""

    max_files: int = 50_000
    """Files looked at below the paths given."""
    max_instances: int = 20_000
    """DICOM instances in a study; also frames in one instance."""
    max_total_bytes: int = 8 << 30
    """Bytes of all DICOM files together."""
    max_header_bytes: int = 32 << 20
    """Bytes before the pixel data of one instance."""
    max_header_elements: int = 500_000
    """Reads that a header takes, one or two for each element, those in sequences included; an enhanced CT of 5,000
    frames takes half of them."""
    max_side_pixels: int = 2048
    """Rows or columns of one image."""
    max_voxels: int = 640_000_000
    """Voxels of the decoded volume (two bytes each)."""
    max_inflated_bytes: int = 1 << 30
    """Bytes that one deflated instance may grow to."""
    max_compression_ratio: float = 400.0
    """Announced pixel bytes over bytes in the files, for a whole series; beyond it the header is not believed."""
    min_slices: int = 10
    min_extent_mm: float = 60.0
    """Foot-to-head extent below which no whole target vertebra with its neighbours can be in view."""
    max_slice_mm: float = 5.0
    """Larger of slice thickness and spacing (proposal of the project; 1 to 3 mm is usual)."""
    warn_slice_mm: float = 3.0
    max_gantry_tilt_deg: float = 30.0
    max_oblique_deg: float = 35.0
    """Angle between the slice normal and the foot-to-head axis up to which a series counts as axial."""
    spacing_tolerance: float = 0.10
    """Step between neighbours may differ from the median by this fraction (or 0.11 mm, positions being rounded)."""
    max_end_slices_dropped: int = 3
    """Slices beyond a gap near an end that are dropped rather than the series refused,"""
    max_end_fraction_dropped: float = 0.02
    """and at most this part of the series."""
    accept_virtual_unenhanced: bool = False
    """Whether the site has a map that brings dual-energy virtual unenhanced HU to true ones; refused otherwise."""
    threads: int = 2
    """Threads that read and decode."""
