"""Finding the stored bytes of each frame behind a header, without reading the header again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

from trabecula.errors import CorruptInstance, ImplausibleSize, NoPixelData
from trabecula.imaging.instance import Instance
from trabecula.imaging.streams import bounded

_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_MOST_READS = 1_000_000
"""Of the fragments of one instance."""


def check_pixel_element(instance: Instance, file: BinaryIO) -> None:
    """Compare what the header announces with what is there, from a few bytes.

    Raises NoPixelData where there are none, ImplausibleSize where the element itself says that it cannot fill
    the announced image, CorruptInstance where the file ends early.
    """
    pixels = instance.pixels
    if pixels.rows < 1 or pixels.columns < 1 or instance.available_bytes <= 8:
        raise NoPixelData()
    file.seek(instance.pixel_offset)
    length, header_bytes = _element_length(instance, file)
    present = instance.available_bytes - header_bytes
    if length == _UNDEFINED_LENGTH:
        if present <= 16:
            raise CorruptInstance("no compressed frame")
        return
    needed = pixels.frame_bytes * len(instance.frames)
    if length == 0:
        raise NoPixelData()
    if length < needed:
        raise ImplausibleSize(rows=pixels.rows, columns=pixels.columns, frames=len(instance.frames), bytes=length)
    if present < needed:
        raise CorruptInstance("pixel data end early")


def stored_frames(instance: Instance, file: BinaryIO) -> Iterator[bytes]:
    """Stored bytes of the instance's frames in order, still compressed where the syntax says so."""
    file.seek(instance.pixel_offset)
    length, _ = _element_length(instance, file)
    if length == _UNDEFINED_LENGTH:
        yield from generate_frames(bounded(file, _MOST_READS), number_of_frames=len(instance.frames))
        return
    for _ in instance.frames:
        yield file.read(instance.pixels.frame_bytes)


def is_encapsulated(instance: Instance) -> bool:
    syntax = UID(instance.pixels.transfer_syntax)
    return syntax.is_transfer_syntax and syntax.is_encapsulated


def _element_length(instance: Instance, file: BinaryIO) -> tuple[int, int]:
    """Length that the pixel data element states, and the size of its own head (PS3.5 7.1)."""
    syntax = instance.pixels.transfer_syntax
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    head = file.read(8)
    if len(head) < 8:
        raise NoPixelData()
    if struct.unpack_from(f"{order}HH", head) != _PIXEL_DATA:
        raise NoPixelData()
    if syntax == ImplicitVRLittleEndian or not head[4:6].isalpha():
        return int(struct.unpack_from(f"{order}I", head, 4)[0]), 8
    tail = file.read(4)
    if len(tail) < 4:
        raise CorruptInstance("pixel data element cut")
    return int(struct.unpack(f"{order}I", tail)[0]), 12
