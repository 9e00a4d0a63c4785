"""Vertebrae and measured tissue as a DICOM Segmentation (PS3.3 A.51), BINARY."""

from trabecula.outputs.dicom.seg.build import Segments, to_seg

__all__ = ["Segments", "to_seg"]
