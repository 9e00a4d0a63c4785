"""A picture with the result on it, for viewers that show nothing else: Secondary Capture (PS3.3 A.8.1)."""

from trabecula.outputs.dicom.sc.build import to_secondary_capture

__all__ = ["to_secondary_capture"]
