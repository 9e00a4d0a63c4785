"""Enhanced CT: many frames in one instance, described by functional groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, JPEGLSLossless, RLELossless
from synthetic_ct import HuArray, SeriesSpec, instance_of

from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import ContrastTag, CtStudy, KernelClass, SpectralFilter


def _group(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _enhanced(body: HuArray, order: list[int]) -> FileDataset:
    spec = SeriesSpec(body)
    planes = [instance_of(spec, k, 1) for k in order]
    whole = instance_of(spec, 0, 1)
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
        "RescaleIntercept", "RescaleType", "ConvolutionKernel", "KVP",
    ):  # fmt: skip
        delattr(whole, keyword)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    whole.NumberOfFrames = len(planes)
    whole.PixelData = b"".join(plane.PixelData for plane in planes)
    shared = Dataset()
    shared.PlaneOrientationSequence = _group(ImageOrientationPatient=planes[0].ImageOrientationPatient)
    shared.PixelMeasuresSequence = _group(PixelSpacing=planes[0].PixelSpacing, SliceThickness=2.0)
    shared.PixelValueTransformationSequence = _group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    shared.CTImageFrameTypeSequence = _group(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    shared.CTReconstructionSequence = _group(ConvolutionKernel="Br40d", ReconstructionDiameter=350)
    shared.CTXRayDetailsSequence = _group(KVP=100, FilterMaterial="TIN")
    shared.CTExposureSequence = _group(ExposureInmAs=77.0, CTDIvol=3.5)
    shared.ContrastBolusUsageSequence = _group(ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="NO")
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    per_frame = []
    for index, plane in enumerate(planes, start=1):
        item = Dataset()
        item.PlanePositionSequence = _group(ImagePositionPatient=plane.ImagePositionPatient)
        item.FrameContentSequence = _group(StackID="1", InStackPositionNumber=index)
        per_frame.append(item)
    whole.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    return whole


@pytest.mark.parametrize("syntax", [None, RLELossless, JPEGLSLossless], ids=str)
def test_frames_become_one_volume_with_their_facts(
    body: HuArray, tmp_path: Path, small: ImagingLimits, syntax: str | None
) -> None:
    order = list(np.random.default_rng(1).permutation(12))
    dataset = _enhanced(body, order)
    if syntax:
        dataset.compress(syntax)
    dataset.save_as(tmp_path / "enhanced", enforce_file_format=True)
    study = read_study([tmp_path], small)
    assert isinstance(study, CtStudy)
    np.testing.assert_array_equal(study.volume.hu, body)
    acquisition = study.acquisition
    assert (acquisition.kvp, acquisition.exposure_mas, acquisition.ctdi_vol_mgy) == (100, 77.0, 3.5)
    assert acquisition.kernel_class is KernelClass.SOFT
    assert acquisition.reconstruction_diameter_mm == 350
    assert acquisition.spectral_filter is SpectralFilter.TIN
    assert acquisition.contrast is ContrastTag.NOT_GIVEN
    assert acquisition.slice_thickness_mm == 2.0
    assert study.candidates[0].instances == 12


def test_time_points_at_the_same_positions_are_told_apart(body: HuArray, tmp_path: Path, small: ImagingLimits) -> None:
    dataset = _enhanced(np.concatenate([body, body[::-1]]), list(range(24)))
    for index, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item.FrameContentSequence[0].TemporalPositionIndex = 1 + index // 12
        position = dataset.PerFrameFunctionalGroupsSequence[index % 12].PlanePositionSequence
        item.PlanePositionSequence = position
    dataset.save_as(tmp_path / "enhanced", enforce_file_format=True)
    study = read_study([tmp_path], small)
    assert isinstance(study, CtStudy)
    assert [candidate.instances for candidate in study.candidates] == [12, 12]
    np.testing.assert_array_equal(study.volume.hu, body)
