"""The phantom's slices as CT Image Storage instances (PS3.3 A.3)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

import trabecula
from trabecula.phantom.render import ScanGrid
from trabecula.phantom.scanner import KERNELS
from trabecula.phantom.spec import Filter, PhantomSpec
from trabecula.phantom.tissues import ContrastPhase

RESCALE_INTERCEPT: Final = -8192
"""Extended CT scale, so that nothing below -1024 HU is cut off and noise in air keeps its mean."""
_TIME: Final = "083000"


def spec_fingerprint(spec: PhantomSpec) -> str:
    """The spec as one canonical string; equal specs give equal UIDs and equal files."""
    return json.dumps(asdict(spec), sort_keys=True, default=str)


class SeriesWriter:
    """Writes the instances of one phantom scan into a folder."""

    def __init__(self, spec: PhantomSpec, grid: ScanGrid, folder: Path) -> None:
        self._spec, self._grid, self._folder = spec, grid, folder
        self._fingerprint = spec_fingerprint(spec)
        self.study_uid = self._uid("study")
        self.series_uid = self._uid("series")
        folder.mkdir(parents=True, exist_ok=True)

    def _uid(self, *what: str) -> UID:
        return generate_uid(entropy_srcs=["trabecula phantom", self._fingerprint, *what])

    def write(self, k: int, hu: npt.NDArray[np.int16]) -> Path:
        """Write slice ``k`` (0 is the most caudal); instance numbers run from head to foot.

        Args:
            hu: (J, I) CT numbers.
        """
        number = len(self._grid.z_mm) - k
        sop_uid = self._uid("instance", str(number))
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = sop_uid
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = self._folder / f"{number:04d}.dcm"
        ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, sop_uid
        self._patient_and_study(ds)
        self._series_and_equipment(ds)
        self._acquisition(ds)
        self._image(ds, k, number, hu)
        ds.save_as(path, enforce_file_format=True)
        return path

    def _patient_and_study(self, ds: Dataset) -> None:
        spec = self._spec
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName = "PHANTOM^TRABECULA"
        ds.PatientID = f"PHANTOM-{spec.seed:04d}"
        ds.PatientBirthDate = f"{int(spec.study_date[:4]) - spec.age_years:04d}0101"
        ds.PatientSex = spec.sex
        ds.PatientAge = f"{spec.age_years:03d}Y"
        ds.PatientSize = f"{spec.height_cm / 100.0:.3f}"
        ds.PatientWeight = f"{spec.weight_kg:.1f}"
        ds.PatientIdentityRemoved = "YES"
        ds.DeidentificationMethod = "Digital phantom, no patient"
        ds.StudyInstanceUID = self.study_uid
        ds.StudyDate, ds.StudyTime = spec.study_date, _TIME
        ds.StudyID = "1"
        ds.AccessionNumber = f"P{spec.seed:06d}"
        ds.ReferringPhysicianName = ""
        ds.StudyDescription = "Digital chest phantom"

    def _series_and_equipment(self, ds: Dataset) -> None:
        spec = self._spec
        kernel = KERNELS[spec.kernel].name
        ds.Modality = "CT"
        ds.SeriesInstanceUID = self.series_uid
        ds.SeriesNumber = 2
        ds.SeriesDate, ds.SeriesTime = spec.study_date, _TIME
        ds.SeriesDescription = f"Chest {spec.slice_mm:g} mm {kernel}"
        ds.ProtocolName = "Thorax"
        ds.BodyPartExamined = "CHEST"
        ds.PatientPosition = "HFS"
        ds.FrameOfReferenceUID = self._uid("frame of reference")
        ds.PositionReferenceIndicator = ""
        ds.Manufacturer = "Trabecula"
        ds.ManufacturerModelName = "Digital chest phantom"
        ds.DeviceSerialNumber = "PHANTOM-1"
        ds.StationName = "PHANTOM"
        ds.InstitutionName = "Trabecula"
        ds.SoftwareVersions = trabecula.__version__

    def _acquisition(self, ds: Dataset) -> None:
        spec, grid = self._spec, self._grid
        ds.AcquisitionNumber = 1
        ds.AcquisitionDate, ds.AcquisitionTime = spec.study_date, _TIME
        ds.ContentDate, ds.ContentTime = spec.study_date, _TIME
        ds.ScanOptions = "HELIX"
        ds.KVP = f"{spec.kvp:g}"
        ds.XRayTubeCurrent = 180
        ds.ExposureTime = 500
        ds.Exposure = 90
        tin = spec.spectral_filter is Filter.TIN
        ds.FilterType = "SN" if tin else "FLAT"
        ds.FilterMaterial = ["ALUMINUM", "TIN"] if tin else "ALUMINUM"
        ds.ConvolutionKernel = KERNELS[spec.kernel].name
        ds.DataCollectionDiameter = "500"
        ds.ReconstructionDiameter = f"{grid.pixel_mm * len(grid.x_mm):.4f}"
        ds.GantryDetectorTilt = "0"
        ds.TableHeight = "150"
        ds.RotationDirection = "CW"
        ds.SliceThickness = f"{spec.slice_mm:g}"
        ds.SpacingBetweenSlices = f"{spec.slice_mm:g}"
        if spec.contrast is not ContrastPhase.NONE:
            ds.ContrastBolusAgent = "Iohexol 300"
            ds.ContrastBolusRoute = "IV"
            ds.ContrastBolusIngredient = "IODINE"

    def _image(self, ds: Dataset, k: int, number: int, hu: npt.NDArray[np.int16]) -> None:
        grid = self._grid
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber = number
        position = (grid.x_mm[0], grid.y_mm[0], grid.z_mm[k])
        ds.ImagePositionPatient = [f"{float(value):.6f}"[:16] for value in position]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.SliceLocation = f"{float(grid.z_mm[k]):.6f}"[:16]
        ds.PixelSpacing = [f"{grid.pixel_mm:.9f}"] * 2
        ds.SamplesPerPixel = 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.Rows, ds.Columns = hu.shape
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(RESCALE_INTERCEPT), "1", "HU"
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.BurnedInAnnotation = "NO"
        ds.LossyImageCompression = "00"
        stored = (hu.astype(np.int32) - RESCALE_INTERCEPT).astype("<u2")
        ds.PixelData = stored.tobytes()
