"""What is known of DICOM instances and their frames before pixels are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.2"
CT_CLASSES = frozenset({CT_IMAGE, ENHANCED_CT, LEGACY_ENHANCED_CT})

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How one instance stores its pixels."""

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    padding: tuple[int, int] | None
    """Stored values from .. to (inclusive) that are no measurement."""

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * self.samples * max(1, self.bits_allocated // 8)


@dataclass(frozen=True, slots=True)
class Frame:
    """One image plane, placed in the patient."""

    index: int
    """Within its instance, from 0."""
    position: Vector
    """ImagePositionPatient (3) in mm; () where the header has none."""
    orientation: Vector
    """ImageOrientationPatient (6); () where the header has none."""
    pixel_spacing: Vector
    """Row spacing, column spacing in mm; () where the header has none."""
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]
    kernel: str
    split_keys: tuple[str, ...]
    """Acquisition, temporal position, stack, time: what tells apart images at one position."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One DICOM file. Holds identifiers: never logged."""

    path: Path
    sop_class: str
    sop_uid: str
    modality: str
    patient_id: str
    patient_name: str
    study_uid: str
    series_uid: str
    series_number: int | None
    instance_number: int
    lossy: bool
    pixels: PixelFormat
    pixel_offset: int
    """Where the pixel data element starts, in the file or, where deflated, in the inflated data set."""
    available_bytes: int
    """Bytes after that place."""
    deflated: bool
    frames: tuple[Frame, ...]

    @property
    def is_ct(self) -> bool:
        return self.sop_class in CT_CLASSES or (not self.sop_class and self.modality == "CT")


@dataclass(frozen=True, slots=True)
class Slice:
    """A frame together with the instance that holds it."""

    instance: Instance
    frame: Frame
