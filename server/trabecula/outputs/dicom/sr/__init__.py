"""Measurements as a Comprehensive 3D SR (PS3.3 A.35.13) after TID 1500 Measurement Report."""

from trabecula.outputs.dicom.sr.build import sign, to_sr

__all__ = ["sign", "to_sr"]
