"""The Encapsulated PDF object."""

from __future__ import annotations

from highdicom.base import SOPClass
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from trabecula.outputs.dicom.filing import Filing, ObjectKind
from trabecula.outputs.dicom.pdf.document import to_pdf
from trabecula.report import Screening


def to_encapsulated_pdf(screening: Screening, filing: Filing) -> Dataset:
    """The report as a PDF inside a DICOM object of the same study."""
    header = filing.source.header
    document = SOPClass(
        study_instance_uid=filing.source.study_uid,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **filing.patient,
        **filing.series_of(ObjectKind.PDF),
    )
    document.copy_patient_and_study_information(filing.source.reference)
    content = to_pdf(screening, filing.statement)
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = None
    document.BurnedInAnnotation = "NO"
    document.RecognizableVisualFeatures = "NO"
    document.DocumentTitle = "AI bone report, verified" if filing.options.signature else "AI bone report, not verified"
    document.ConceptNameCodeSequence = []
    document.VerificationFlag = "VERIFIED" if filing.options.signature else "UNVERIFIED"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(content)
    document.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    document.SourceInstanceSequence = [filing.source_item(image) for image in filing.source.images[:1]]
    if "InstitutionName" in header:
        document.InstitutionName = header.InstitutionName
    return filing.finish(document)
