"""Sound synthetic studies that fuzzing starts from: small, one in every way of storing that is decoded here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import gdcm
import numpy as np
from fuzz_elements import BIG_ENDIAN, DEFLATED, IMPLICIT, PIXEL_DATA, Part10, parsed
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, JPEG2000Lossless, JPEGLSLossless, RLELossless
from synthetic_ct import HuArray, SeriesSpec, instance_of

from trabecula.anatomy import Level
from trabecula.phantom import PhantomSpec, write_phantom

SLICES, SIDE = 14, 32
SPACING_MM = (5.0, 0.8, 0.7)
LONG_SLICES = 56
"""So many that slices at an end may be left out."""
_GDCM = {
    "jpeg-lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "jpeg-lossless-14": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "jpeg-extended": gdcm.TransferSyntax.JPEGExtendedProcess2_4,
    "jpeg-baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
}
_PYDICOM = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "jpeg-2000": JPEG2000Lossless}
_UNCOMPRESSED = {"implicit": IMPLICIT, "big-endian": BIG_ENDIAN, "deflated": DEFLATED}
NAMES = ("explicit", "long", "tilted", *_UNCOMPRESSED, *_PYDICOM, *_GDCM, "enhanced", "enhanced-rle", "enhanced-j2k")


@dataclass(frozen=True)
class Seed:
    """A sound study."""

    name: str
    instances: tuple[Part10, ...]
    hu: HuArray | None
    """What decoding must give where nothing is wrong; None where the storing is lossy or the grid is resampled."""


def body(slices: int = SLICES) -> HuArray:
    """A small volume of air around noisy tissue; every slice is told apart from the others."""
    random = np.random.default_rng(11)
    hu = random.integers(-150, 200, size=(slices, SIDE, SIDE)).astype(np.int16)
    hu[:, :4] = -1000
    hu[:, :, :3] = -990
    hu[slices // 3 : slices // 2, 10:16, 9:15] = 900
    hu[:, 0, 0] = np.arange(slices) + 100
    hu.setflags(write=False)
    return hu


@cache
def seed(name: str) -> Seed:
    """The sound study of that name."""
    if name.startswith("enhanced"):
        hu = body()
        whole = enhanced(hu)
        if name != "enhanced":
            whole.compress(RLELossless if name == "enhanced-rle" else JPEG2000Lossless, generate_instance_uid=False)
        return Seed(name, (parsed(_saved(whole)),), hu)
    hu = body(LONG_SLICES if name == "long" else SLICES)
    eight = name in ("jpeg-baseline", "jpeg-extended")
    tags = {"BitsStored": 12, "HighBit": 11} if eight else {}
    spec = SeriesSpec(
        hu, SPACING_MM, tags=tags, signed=not eight, tilt_rows=0.7 if name == "tilted" else 0.0, series_uid="1.2.3.4.5"
    )
    datasets = [instance_of(spec, k, k + 1) for k in range(len(hu))]
    if name == "jpeg-baseline":
        for each in datasets:
            _to_eight_bits(each)
    if name in _PYDICOM:
        for each in datasets:
            each.compress(_PYDICOM[name], generate_instance_uid=False)
    parts = [parsed(_saved(each)) for each in datasets]
    for part, dataset in zip(parts, datasets, strict=True):
        part.syntax = _UNCOMPRESSED.get(name, part.syntax)
        if name in _GDCM:
            _take_pixels(part, parsed(_by_gdcm(dataset, _GDCM[name])))
    return Seed(name, tuple(parts), None if eight or name == "tilted" else hu)


@cache
def phantom_seed(name: str) -> tuple[Part10, ...]:
    """Instances of a phantom: ``report`` is one that can be measured, ``short`` shows too little of the body."""
    spec = {
        "report": PhantomSpec(top=Level.T11, bottom=Level.L1, matrix=128, slice_mm=5.0, seed=3),
        "short": PhantomSpec(top=Level.T12, bottom=Level.T12, matrix=64, slice_mm=10.0, seed=3),
    }[name]
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(spec, Path(folder, "phantom"))
        return tuple(parsed(path.read_bytes()) for path in sorted(Path(folder, "phantom", "dicom").iterdir()))


def enhanced(hu: HuArray) -> FileDataset:
    """The whole volume in one instance with functional groups (PS3.3 C.7.6.16)."""
    spec = SeriesSpec(hu, SPACING_MM)
    planes = [instance_of(spec, k, 1) for k in range(len(hu))]
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
    shared.PixelMeasuresSequence = _group(PixelSpacing=planes[0].PixelSpacing, SliceThickness=SPACING_MM[0])
    shared.PixelValueTransformationSequence = _group(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
    shared.CTImageFrameTypeSequence = _group(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    shared.CTReconstructionSequence = _group(ConvolutionKernel="Br40d", ReconstructionDiameter=350)
    shared.CTXRayDetailsSequence = _group(KVP=120)
    whole.SharedFunctionalGroupsSequence = Sequence([shared])
    per_frame = []
    for index, plane in enumerate(planes, start=1):
        item = Dataset()
        item.PlanePositionSequence = _group(ImagePositionPatient=plane.ImagePositionPatient)
        item.FrameContentSequence = _group(StackID="1", InStackPositionNumber=index)
        per_frame.append(item)
    whole.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    return whole


def _group(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _saved(dataset: FileDataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _to_eight_bits(dataset: FileDataset) -> None:
    values = np.frombuffer(dataset.PixelData, "<u2")
    dataset.PixelData = (values >> 4).astype("u1").tobytes()
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.RescaleSlope = 16
    dataset["PixelData"].VR = "OB"


def _take_pixels(part: Part10, packed: Part10) -> None:
    """Only the compressed frame: GDCM gives what it writes a new identity every time."""
    mine, theirs = part.find(PIXEL_DATA), packed.find(PIXEL_DATA)
    if mine is None or theirs is None or theirs.fragments is None:
        raise RuntimeError("GDCM wrote no frame")
    part.syntax, mine.vr, mine.value, mine.fragments = packed.syntax, b"OB", b"", theirs.fragments


def _by_gdcm(dataset: FileDataset, syntax: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        plain.write_bytes(_saved(dataset))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        if not reader.Read():
            raise RuntimeError("GDCM cannot read its own kind")
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError("GDCM cannot compress")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError("GDCM cannot write")
        return packed.read_bytes()
