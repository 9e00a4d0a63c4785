"""Measurements as a Comprehensive 3D SR (PS3.3 A.35.13) after TID 1500 Measurement Report."""

from trabecula.outputs.dicom.sr.build import sign, to_sr
from trabecula.outputs.dicom.sr.review import Outcome, Review, observer, reviewed

__all__ = ["Outcome", "Review", "observer", "reviewed", "sign", "to_sr"]
