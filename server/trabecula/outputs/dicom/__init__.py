"""DICOM results of a screening: Segmentation, Comprehensive 3D SR, encapsulated PDF, Secondary Capture picture.

Pure: the screening and the headers of its source in, data sets out. They lie in the study they came from, in series
of their own, and are preliminary and unverified until a signature is given.
"""

from trabecula.outputs.dicom.filing import DicomOptions, ObjectKind, Signature
from trabecula.outputs.dicom.results import DicomResults, to_dicom
from trabecula.outputs.dicom.source import SourceStudy, read_source

__all__ = ["DicomOptions", "DicomResults", "ObjectKind", "Signature", "SourceStudy", "read_source", "to_dicom"]
