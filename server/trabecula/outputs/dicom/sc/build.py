"""The Secondary Capture object."""

from __future__ import annotations

import numpy as np
from highdicom.enum import CoordinateSystemNames
from highdicom.sc import SCImage
from pydicom.dataset import Dataset

from trabecula.outputs.dicom.filing import Filing, ObjectKind
from trabecula.outputs.dicom.sc.picture import summary_picture
from trabecula.report import Screening


def to_secondary_capture(screening: Screening, filing: Filing) -> Dataset:
    """The result on one picture."""
    pixels = np.asarray(summary_picture(screening, filing.statement))
    image = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system=CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),
        study_instance_uid=filing.source.study_uid,
        **filing.patient,
        **filing.series_of(ObjectKind.SC),
    )
    image.copy_patient_and_study_information(filing.source.reference)
    image.ConversionType = "WSD"
    image.PatientOrientation = []  # pictures of several planes beside each other
    image.BodyPartExamined = "SPINE"
    image.BurnedInAnnotation = "NO"
    image.RecognizableVisualFeatures = "NO"
    image.LossyImageCompression = "00"
    image.ImageComments = filing.statement
    image.SourceImageSequence = [filing.source_item(one) for one in filing.source.images[:1]]
    filing.finish(image)
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.SeriesDate, image.SeriesTime
    return image
