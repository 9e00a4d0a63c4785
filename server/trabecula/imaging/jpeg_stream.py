"""The marker segments of a JPEG codestream (ISO 10918-1 Annex B), looked at before a decoder is.

GDCM ends the whole process on some streams that break these rules, and makes up what a cut one lacks.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from trabecula.errors import CorruptInstance
from trabecula.imaging.instance import PixelFormat

_SOI, _EOI, _SOS, _DHT, _DQT = 0xD8, 0xD9, 0xDA, 0xC4, 0xDB
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
"""Start of frame: baseline, extended, progressive, lossless; all with Huffman coding, as DICOM's syntaxes are."""
_PROGRESSIVE, _LOSSLESS = 0xC2, 0xC3
_HARMLESS: Final = frozenset({0xDD, *range(0xE0, 0xF0), 0xFE})
"""Restart interval, application data, comment."""
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""Within coded data: no stuffed byte, no restart."""


def check_jpeg(stored: bytes, pixels: PixelFormat) -> None:
    """Raises CorruptInstance where the stream is not one grey frame of the announced size from its first marker to its
    last."""
    if stored[:2] != bytes((0xFF, _SOI)) or pixels.bits_allocated > 16:
        raise CorruptInstance("JPEG: start")
    at, frame, scans = 2, -1, 0
    component = b""
    while True:
        marker, at = _marker(stored, at)
        if marker == _EOI:
            if not scans:
                raise CorruptInstance("JPEG: no scan")
            return
        segment = _segment(stored, at)
        at += 2 + len(segment)
        if marker in _FRAMES and frame < 0:
            frame, component = marker, _frame(segment, pixels)
        elif marker == _SOS and frame >= 0 and (scans == 0 or frame == _PROGRESSIVE):
            _scan(segment, component, lossless=frame == _LOSSLESS)
            scans += 1
            found = _MARKER.search(stored, at)
            at = len(stored) if found is None else found.start()
        elif marker == _DHT:
            _huffman(segment)
        elif marker == _DQT:
            _quantization(segment)
        elif marker not in _HARMLESS:
            raise CorruptInstance("JPEG: marker out of place")


def _marker(stored: bytes, at: int) -> tuple[int, int]:
    """The marker there, and what lies behind it; it may be preceded by fill bytes (B.1.1.2)."""
    start = at
    while at < len(stored) and stored[at] == 0xFF:
        at += 1
    if at == start or at >= len(stored):
        raise CorruptInstance("JPEG: marker")
    return stored[at], at + 1


def _segment(stored: bytes, at: int) -> bytes:
    length = int.from_bytes(stored[at : at + 2], "big")
    if length < 2 or at + length > len(stored):
        raise CorruptInstance("JPEG: segment")
    return stored[at + 2 : at + length]


def _frame(segment: bytes, pixels: PixelFormat) -> bytes:
    """Identifier of the one component (B.2.2)."""
    if len(segment) != 9:
        raise CorruptInstance("JPEG: components")
    precision, rows, columns, _count, component, sampling, table = struct.unpack(">BHHBcBB", segment)
    if (rows, columns) != (pixels.rows, pixels.columns) or segment[5] != 1:
        raise CorruptInstance("JPEG: size")
    sound = 2 <= precision <= 16 and precision <= pixels.bits_allocated and table <= 3
    if not sound or not 1 <= sampling >> 4 <= 4 or not 1 <= sampling & 15 <= 4:
        raise CorruptInstance("JPEG: frame")
    return bytes(component)


def _scan(segment: bytes, component: bytes, *, lossless: bool) -> None:
    """B.2.3; for lossless coding the first number is the predictor, the last the point transform."""
    if len(segment) != 6 or segment[0] != 1 or segment[1:2] != component:
        raise CorruptInstance("JPEG: scan")
    tables, first, last, approximation = segment[2:]
    if tables >> 4 > 3 or tables & 15 > 3:
        raise CorruptInstance("JPEG: scan")
    sound = 1 <= first <= 7 and last == 0 if lossless else first <= last <= 63
    if not sound or approximation >> 4 > 13 or approximation & 15 > 15:
        raise CorruptInstance("JPEG: scan")


def _huffman(segment: bytes) -> None:
    """B.2.4.2: tables one after the other, none with more codes than its lengths allow."""
    at = 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        codes = sum(counts)
        if len(counts) < 16 or segment[at] >> 4 > 1 or segment[at] & 15 > 3 or codes > 256:
            raise CorruptInstance("JPEG: Huffman table")
        if sum(count << (16 - length) for length, count in enumerate(counts, start=1)) > 1 << 16:
            raise CorruptInstance("JPEG: Huffman table")
        at += 17 + codes
    if at != len(segment) or not segment:
        raise CorruptInstance("JPEG: Huffman table")


def _quantization(segment: bytes) -> None:
    """B.2.4.1."""
    at = 0
    while at < len(segment):
        if segment[at] >> 4 > 1 or segment[at] & 15 > 3:
            raise CorruptInstance("JPEG: quantization table")
        at += 1 + 64 * (1 + (segment[at] >> 4))
    if at != len(segment) or not segment:
        raise CorruptInstance("JPEG: quantization table")
