"""The report on paper, and as Encapsulated PDF (PS3.3 A.45.1)."""

from trabecula.outputs.dicom.pdf.build import to_encapsulated_pdf
from trabecula.outputs.dicom.pdf.document import to_pdf

__all__ = ["to_encapsulated_pdf", "to_pdf"]
