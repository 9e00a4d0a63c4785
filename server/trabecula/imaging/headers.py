"""Reading one DICOM header: what places the frames, how pixels are stored, where they start."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from trabecula.errors import CorruptInstance, ImplausibleSize, InputError, LimitExceeded
from trabecula.imaging import tags
from trabecula.imaging.elements import Elements, FrameElements
from trabecula.imaging.instance import Frame, Instance, PixelFormat
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.streams import Inflating, bounded

_LONG_VRS = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)
_META_ELEMENTS = 256
_LONGEST_UID = 64
_LONGEST_MM = 1e6
"""A kilometre: a header that says more places nothing, and sums of its numbers overflow."""
_LARGEST_RESCALE = 1e9
_PIXEL_HEAD_BYTES = 64
_READ_AHEAD_BYTES = 256 * 1024
"""What a buffered stream may read beyond the place that it is asked for."""


def read_instance(path: Path, limits: ImagingLimits) -> Instance:
    """Header of one file, pixel data left alone.

    Raises CorruptInstance where the header cannot be parsed, ImplausibleSize or LimitExceeded where it
    announces more than the limits allow.
    """
    with path.open("rb") as file:
        dataset, syntax, source = read_header(file, tags.GEOMETRY_TAGS, limits)
        offset = source.tell()
        if offset > limits.max_header_bytes:
            raise LimitExceeded(limit="max_header_bytes", value=limits.max_header_bytes)
        instance = _instance_or_fault(path, Elements(dataset), syntax, offset, limits)
        if instance.deflated:
            needed = instance.pixels.frame_bytes * len(instance.frames) + _PIXEL_HEAD_BYTES
            available = inflating(file, limits.max_inflated_bytes).grow_to(offset + needed) - offset
        else:
            available = file.seek(0, io.SEEK_END) - offset
    if available < 0:
        raise CorruptInstance("header runs beyond the end of the file")
    return replace(instance, available_bytes=available)


def _instance_or_fault(path: Path, header: Elements, syntax: str, offset: int, limits: ImagingLimits) -> Instance:
    try:
        return _instance(path, header, syntax, offset, limits)
    except InputError:
        raise
    except Exception as error:
        # pydicom raises almost anything on damaged sequences; its words may quote the header, so they are dropped.
        raise CorruptInstance(f"header fields: {type(error).__name__}") from None


def read_header(file: BinaryIO, wanted: Sequence[int], limits: ImagingLimits) -> tuple[Dataset, str, BinaryIO]:
    """Wanted elements before the pixel data, transfer syntax, and the stream left at the pixel data element.

    The stream is the file itself or, for the deflated syntax, the data set as it is inflated. How it is stored is
    decided here and never left to pydicom, which would inflate without a limit.
    """
    try:
        syntax = _transfer_syntax(file)
        deflated = syntax == DeflatedExplicitVRLittleEndian
        most_bytes = min(limits.max_header_bytes + _READ_AHEAD_BYTES, limits.max_inflated_bytes)
        stream = io.BufferedReader(inflating(file, most_bytes)) if deflated else file
        implicit, little = _encoding(syntax, stream)
        dataset: Dataset = read_dataset(
            bounded(stream, limits.max_header_elements),
            implicit,
            little,
            stop_when=_at_pixel_data,
            specific_tags=list(wanted),
        )
        return dataset, syntax or _guessed_syntax(dataset), stream
    except InputError:
        raise
    except Exception as error:
        raise CorruptInstance(f"header: {type(error).__name__}") from None


def inflated_dataset(file: BinaryIO, limits: ImagingLimits) -> BinaryIO:
    """The data set of a deflated instance (PS3.5 A.5), inflated as far as it is read and no further than the limit.

    Reading raises ImplausibleSize beyond the limit, CorruptInstance where the bytes are damaged.
    """
    return io.BufferedReader(inflating(file, limits.max_inflated_bytes))


def inflating(file: BinaryIO, most_bytes: int) -> Inflating:
    """The same, for who asks how much there is."""
    _transfer_syntax(file)  # leaves the file just behind the meta information
    return Inflating(file, most_bytes)


def _at_pixel_data(tag: int, _vr: str | None, _length: int) -> bool:
    return tag in (0x7FE00010, 0x7FE00009, 0x7FE00008)


def _transfer_syntax(file: BinaryIO) -> str:
    """Transfer syntax of the meta information; empty where there is none. Leaves the file behind it."""
    file.seek(0)
    read_preamble(file, force=True)
    start = file.tell()
    syntax = ""
    for _ in range(_META_ELEMENTS):
        if len(head := file.read(8)) < 8:
            file.seek(start)
            return syntax
        group, element, vr, length = struct.unpack("<HH2sH", head)
        if group != 2:
            file.seek(-8, io.SEEK_CUR)
            return syntax
        if vr in _LONG_VRS:
            (length,) = struct.unpack("<I", file.read(4))
        if element == 0x0010:
            syntax = file.read(min(length, _LONGEST_UID)).decode("latin-1").strip(" \0")
            length -= min(length, _LONGEST_UID)
        file.seek(length, io.SEEK_CUR)
    raise CorruptInstance("meta information without an end")


def _encoding(syntax: str, stream: BinaryIO) -> tuple[bool, bool]:
    """Whether value representations are implicit, and whether the order of bytes is little endian.

    Without meta information the first element tells, as its group is a low number (PS3.5 7.1).
    """
    if syntax:
        return syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    head = stream.read(6)
    stream.seek(-len(head), io.SEEK_CUR)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return not explicit, not (explicit and int.from_bytes(head[:2], "little") >= 0x0400)


def _guessed_syntax(dataset: Dataset) -> str:
    """Transfer syntax of a data set without meta information."""
    implicit, _little = dataset.original_encoding
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)


def _instance(path: Path, header: Elements, syntax: str, offset: int, limits: ImagingLimits) -> Instance:
    if not header.text(tags.SOP_CLASS) and not header.text(tags.MODALITY):
        raise CorruptInstance("header names neither SOP class nor modality")
    return Instance(
        path=path,
        sop_class=header.text(tags.SOP_CLASS),
        sop_uid=header.text(tags.SOP_INSTANCE),
        modality=header.text(tags.MODALITY),
        patient_id=header.whole(tags.PATIENT_ID),
        patient_name=header.text(tags.PATIENT_NAME).upper(),
        study_uid=header.text(tags.STUDY_UID),
        series_uid=header.text(tags.SERIES_UID),
        series_number=header.integer(tags.SERIES_NUMBER),
        instance_number=header.integer(tags.INSTANCE_NUMBER) or 0,
        lossy=header.text(tags.LOSSY) == "01",
        pixels=_pixel_format(header, syntax, limits),
        pixel_offset=offset,
        available_bytes=0,
        deflated=syntax == DeflatedExplicitVRLittleEndian,
        frames=_frames(header, limits),
    )


def _pixel_format(header: Elements, syntax: str, limits: ImagingLimits) -> PixelFormat:
    rows, columns = header.integer(tags.ROWS) or 0, header.integer(tags.COLUMNS) or 0
    if max(rows, columns) > limits.max_side_pixels:
        raise ImplausibleSize(rows=rows, columns=columns, limit=limits.max_side_pixels)
    allocated = header.integer(tags.BITS_ALLOCATED) or 16
    stored = header.integer(tags.BITS_STORED) or allocated
    signed = header.integer(tags.PIXEL_REPRESENTATION) == 1
    return PixelFormat(
        transfer_syntax=syntax,
        rows=rows,
        columns=columns,
        samples=header.integer(tags.SAMPLES) or 1,
        photometric=header.text(tags.PHOTOMETRIC) or "MONOCHROME2",
        bits_allocated=allocated,
        bits_stored=min(stored, allocated),
        signed=signed,
        padding=_padding(header, signed),
    )


def _padding(header: Elements, signed: bool) -> tuple[int, int] | None:
    """Padding range in stored values. Writers mix up US and SS, so the bits count, not the VR."""
    bounds = [header.integer(tag) for tag in (tags.PADDING, tags.PADDING_LIMIT)]
    values = [value & 0xFFFF for value in bounds if value is not None]
    if not values or bounds[0] is None:
        return None
    if signed:
        values = [value - 0x10000 if value >= 0x8000 else value for value in values]
    return min(values), max(values)


def _frames(header: Elements, limits: ImagingLimits) -> tuple[Frame, ...]:
    per_frame = header.items(tags.PER_FRAME_GROUPS)
    count = header.integer(tags.FRAMES) or 1
    if count > limits.max_instances:
        raise ImplausibleSize(frames=count, limit=limits.max_instances)
    if not per_frame:
        return (_frame(0, FrameElements(header)),) if count == 1 else ()
    shared = tuple(header.items(tags.SHARED_GROUPS)[:1])
    return tuple(_frame(index, FrameElements(header, (item, *shared))) for index, item in enumerate(per_frame[:count]))


def _frame(index: int, header: FrameElements) -> Frame:
    root = header.root
    frame_type = header.macro(tags.MACRO_FRAME_TYPE).texts(tags.FRAME_TYPE)
    content = header.macro(tags.MACRO_CONTENT)
    return Frame(
        index=index,
        position=_sized(header.macro(tags.MACRO_POSITION).numbers(tags.POSITION), 3),
        orientation=_sized(header.macro(tags.MACRO_ORIENTATION).numbers(tags.ORIENTATION), 6),
        pixel_spacing=_sized(header.macro(tags.MACRO_MEASURES).numbers(tags.PIXEL_SPACING), 2),
        thickness_mm=_believed(header.number(tags.MACRO_MEASURES, tags.SLICE_THICKNESS), _LONGEST_MM),
        slope=_believed(header.number(tags.MACRO_RESCALE, tags.SLOPE), _LARGEST_RESCALE),
        intercept=_believed(header.number(tags.MACRO_RESCALE, tags.INTERCEPT), _LARGEST_RESCALE),
        rescale_type=header.text(tags.MACRO_RESCALE, tags.RESCALE_TYPE).upper(),
        image_type=tuple(word.upper() for word in frame_type or root.texts(tags.IMAGE_TYPE)),
        kernel="\\".join(header.macro(tags.MACRO_RECONSTRUCTION).texts(tags.KERNEL)),
        split_keys=(
            root.text(tags.ACQUISITION_NUMBER) or content.text(tags.FRAME_ACQUISITION_NUMBER),
            root.text(tags.TEMPORAL_POSITION),
            str(content.integer(tags.TEMPORAL_INDEX) or ""),
            content.text(tags.STACK_ID),
            root.text(tags.ACQUISITION_TIME),
            root.text(tags.CONTENT_TIME),
        ),
    )


def _sized(values: tuple[float, ...], size: int) -> tuple[float, ...]:
    """So many lengths in mm (or cosines); () where there are fewer, or where one cannot be true."""
    return values[:size] if len(values) >= size and max(map(abs, values[:size])) <= _LONGEST_MM else ()


def _believed(value: float | None, most: float) -> float | None:
    return None if value is None or abs(value) > most else value
