"""Stored bytes of one frame to stored values.

Decoders and their licences: pylibjpeg-rle, pylibjpeg-openjpeg and pyjpegls (all MIT) for RLE, JPEG 2000 and JPEG-LS;
python-gdcm (Apache-2.0, GDCM itself BSD) for JPEG baseline, extended and lossless, 8 and 12 bit, and for the retired
processes 6/8 and 10/12. pylibjpeg-libjpeg would decode JPEG too, but it is GPL-3.0 and therefore never a part of this
project. GDCM is called directly because pydicom does not offer it for 12-bit JPEG.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import gdcm
import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from trabecula.errors import CorruptInstance, UnsupportedTransferSyntax
from trabecula.imaging.instance import PixelFormat
from trabecula.imaging.jpeg_stream import check_jpeg

StoredArray = npt.NDArray[Any]

NATIVE: Final = frozenset(
    map(
        str,
        (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    )
)
_PLUGIN: Final[dict[str, str]] = {
    str(RLELossless): "pylibjpeg",
    str(JPEGLSLossless): "pyjpegls",
    str(JPEGLSNearLossless): "pyjpegls",
    str(JPEG2000Lossless): "pylibjpeg",
    str(JPEG2000): "pylibjpeg",
    str(HTJ2KLossless): "pylibjpeg",
    str(HTJ2KLosslessRPCL): "pylibjpeg",
    str(HTJ2K): "pylibjpeg",
}
"""Which of pydicom's plugins decodes a syntax."""
_GDCM: Final = frozenset(
    {
        str(JPEGBaseline8Bit),
        str(JPEGExtended12Bit),
        "1.2.840.10008.1.2.4.53",  # processes 6 and 8, retired
        "1.2.840.10008.1.2.4.55",  # processes 10 and 12, retired
        str(JPEGLossless),
        str(JPEGLosslessSV1),
    }
)

gdcm.Trace.WarningOff()  # GDCM tries 8 bit first and would say so on standard error for every 12-bit frame
gdcm.Trace.ErrorOff()


_JP2_HEAD_BYTES = 256
_END_OF_IMAGE = b"\xff\xd9"
_RLE_HEADER_BYTES = 64


def check_supported(pixels: PixelFormat) -> None:
    """Raises UnsupportedTransferSyntax, or CorruptInstance where the sample size is none that DICOM knows."""
    syntax = pixels.transfer_syntax
    if syntax not in NATIVE and syntax not in _PLUGIN and syntax not in _GDCM:
        raise UnsupportedTransferSyntax(transfer_syntax=UID(syntax).name if UID(syntax).is_valid else "invalid")
    if pixels.bits_allocated not in (8, 16, 32) or pixels.bits_stored < 1:
        raise CorruptInstance("sample size")


def decode_frame(stored: bytes, pixels: PixelFormat) -> StoredArray:
    """Stored values (rows, columns) of one frame, unused bits cleared, sign applied.

    Raises CorruptInstance where the bytes cannot be decoded to the announced size.
    """
    if pixels.transfer_syntax in NATIVE:
        return _native(stored, pixels)
    if pixels.transfer_syntax == RLELossless:
        _check_rle_header(stored, pixels)
    elif codestream_size(stored) != (pixels.rows, pixels.columns):
        raise CorruptInstance("compressed frame of another size than the header says")
    if pixels.transfer_syntax in _GDCM:
        check_jpeg(stored, pixels)
    if pixels.transfer_syntax in JPEGLSTransferSyntaxes:
        stored += _END_OF_IMAGE  # CharLS hunts for seconds, beyond the buffer, for the end of a stream that is cut
    try:
        if pixels.transfer_syntax in _GDCM:
            return _gdcm(stored, pixels)
        decoder = get_decoder(UID(pixels.transfer_syntax))
        options: dict[str, Any] = {
            "rows": pixels.rows,
            "columns": pixels.columns,
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "pixel_representation": int(pixels.signed),
            "bits_stored": pixels.bits_stored,
            "bits_allocated": pixels.bits_allocated,
            "pixel_keyword": "PixelData",
            "decoding_plugin": _PLUGIN[pixels.transfer_syntax],
        }
        values, _ = decoder.as_array(_encapsulated(stored), raw=True, index=0, **options)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # Codecs raise RuntimeError, ValueError and their own kinds, the one in Rust a BaseException (a panic).
        raise CorruptInstance(f"decoder: {type(error).__name__}") from None
    if values.shape != (pixels.rows, pixels.columns):
        raise CorruptInstance("decoded frame of another size than the header says")
    return values


def codestream_size(stored: bytes) -> tuple[int, int] | None:
    """Rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream states itself; None where it has no such head.

    Asked before decoding: a decoder would allocate what the codestream says (ISO 10918-1 B.2.2, 14495-1 C.2.2,
    15444-1 A.5.1), not what DICOM says.
    """
    start = stored[:_JP2_HEAD_BYTES].find(b"\xff\x4f\xff\x51")  # SOC, SIZ; first, unless in a JP2 box
    if start >= 0 and len(stored) >= start + 24:
        x1, y1, x0, y0 = struct.unpack_from(">4I", stored, start + 8)
        return y1 - y0, x1 - x0
    if stored[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(stored) and stored[at] == 0xFF:
        marker, length = stored[at + 1], int.from_bytes(stored[at + 2 : at + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # SOF, SOF55
            rows, columns = struct.unpack(">HH", stored[at + 5 : at + 9])
            return rows, columns
        at += 2 + length
    return None


def _check_rle_header(stored: bytes, pixels: PixelFormat) -> None:
    """As many segments as bytes in a sample, one after another (PS3.5 G.5); the decoder panics if not."""
    if len(stored) < _RLE_HEADER_BYTES:
        raise CorruptInstance("RLE header")
    count, *offsets = struct.unpack_from("<16I", stored)
    used = [*offsets[:count], len(stored)]
    if count != pixels.bits_allocated // 8 or used[0] != _RLE_HEADER_BYTES or used != sorted(used):
        raise CorruptInstance("RLE header")


def _native(stored: bytes, pixels: PixelFormat) -> StoredArray:
    count = pixels.rows * pixels.columns
    order = ">" if pixels.transfer_syntax == ExplicitVRBigEndian else "<"
    kind = "i" if pixels.signed else "u"
    item_bytes = pixels.bits_allocated // 8
    if len(stored) < count * item_bytes:
        raise CorruptInstance("pixel data end early")
    values: StoredArray = np.frombuffer(stored, f"{order}{kind}{item_bytes}", count)
    values = values.astype(values.dtype.newbyteorder("="), copy=False).reshape(pixels.rows, pixels.columns)
    unused = pixels.bits_allocated - pixels.bits_stored
    return (values << unused) >> unused if unused else values


def _gdcm(stored: bytes, pixels: PixelFormat) -> StoredArray:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stored)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((pixels.columns, pixels.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(pixels.transfer_syntax)))
    # GDCM ends the process where a byte has unused bits.
    stored_bits = pixels.bits_stored if pixels.bits_allocated == 16 else pixels.bits_allocated
    image.SetPixelFormat(gdcm.PixelFormat(1, pixels.bits_allocated, stored_bits, stored_bits - 1, int(pixels.signed)))
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands char* over as str
    kind = "i" if pixels.signed else "u"
    values: StoredArray = np.frombuffer(decoded, f"<{kind}{pixels.bits_allocated // 8}")
    return values.reshape(pixels.rows, pixels.columns)


def _encapsulated(frame: bytes) -> bytes:
    """One frame as an encapsulated value: empty offset table, one fragment (PS3.5 A.4)."""
    padded = frame + b"\0" * (len(frame) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(padded)) + padded
