"""DICOM results at rest: deflated in the content store, in Explicit VR Little Endian for whoever asks for them.

A Segmentation has a bit for each pixel of each frame and is mostly zeros: deflated it takes about a hundredth. Every
archive and viewer reads Explicit VR Little Endian; Deflated Explicit VR Little Endian (PS3.5 A.5) not all do (DCMTK
and pydicom, but not dicom3tools), and binary frames are compressed in no other way that is in use. So the store alone
has the deflated form, which is a DICOM file as well, and the bytes that leave are those that were made.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from trabecula.errors import ContentDamaged
from trabecula.work.content import ContentStore, read_all
from trabecula.work.records import MEDIA_TYPES, ContentRef, DocumentKind

MOST_UNPACKED_BYTES: Final = 2 * 1024**3
"""No result grows beyond it; what claims to is damaged."""

_PREAMBLE_BYTES: Final = 128
_GROUP_LENGTH: Final = b"DICM" + b"\x02\x00\x00\x00UL\x04\x00"
_META_BEGINS: Final = _PREAMBLE_BYTES + len(_GROUP_LENGTH) + 4
_SYNTAX: Final = b"\x02\x00\x10\x00UI"


def packed(file: bytes) -> bytes:
    """A DICOM file in Explicit VR Little Endian, deflated; any other file as it is."""
    meta, rest = _parted(file)
    explicit, deflated = _syntax(ExplicitVRLittleEndian), _syntax(DeflatedExplicitVRLittleEndian)
    if explicit not in meta:
        return file
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = squeezer.compress(rest) + squeezer.flush()
    return _file(file, meta.replace(explicit, deflated), body + b"\0" * (len(body) % 2))


def unpacked(file: bytes) -> bytes:
    """The file that :func:`packed` was given; any other file as it is.

    Raises:
        ContentDamaged: if the deflated bytes are none, or are cut short.
    """
    meta, rest = _parted(file)
    explicit, deflated = _syntax(ExplicitVRLittleEndian), _syntax(DeflatedExplicitVRLittleEndian)
    if deflated not in meta:
        return file
    opener = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        body = opener.decompress(rest, MOST_UNPACKED_BYTES)
    except zlib.error:
        raise ContentDamaged(why="not a deflated data set") from None
    if not opener.eof:
        raise ContentDamaged(why="a deflated data set without its end")
    return _file(file, meta.replace(deflated, explicit), body)


async def read_document(content: ContentStore, kind: DocumentKind, ref: ContentRef) -> bytes:
    """A document as it was made, whatever form it is kept in.

    Raises:
        ContentMissing, ContentDamaged: as the content store does.
    """
    kept = await read_all(content, ref)
    return await asyncio.to_thread(unpacked, kept) if is_dicom(kind) else kept


def is_dicom(kind: DocumentKind) -> bool:
    """Whether a document is a DICOM file."""
    return MEDIA_TYPES[kind] == "application/dicom"


def _parted(file: bytes) -> tuple[bytes, bytes]:
    """File meta information without its length, and the data set; nothing and the file when it has none."""
    if file[_PREAMBLE_BYTES : _META_BEGINS - 4] != _GROUP_LENGTH:
        return b"", file
    ends = _META_BEGINS + int.from_bytes(file[_META_BEGINS - 4 : _META_BEGINS], "little")
    return file[_META_BEGINS:ends], file[ends:]


def _file(like: bytes, meta: bytes, rest: bytes) -> bytes:
    return b"".join([like[:_PREAMBLE_BYTES], _GROUP_LENGTH, len(meta).to_bytes(4, "little"), meta, rest])


def _syntax(uid: str) -> bytes:
    """Transfer Syntax UID as an element of the meta information."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return _SYNTAX + len(value).to_bytes(2, "little") + value
