"""Streams that give no more than a limit allows: deflated data sets, and headers that never end."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from trabecula.errors import CorruptInstance, ImplausibleSize, LimitExceeded

_CHUNK_BYTES = 64 * 1024
_PIECE_BYTES = 4 << 20


class Inflating(io.RawIOBase):
    """A raw deflate stream (RFC 1951) read as what it inflates to; what was read stays in memory to be read again."""

    def __init__(self, source: BinaryIO, most_bytes: int) -> None:
        """Args:
        source: left at the first deflated byte.
        most_bytes: beyond which reading raises ImplausibleSize.
        """
        self._source = source
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._most_bytes = most_bytes
        self._grown = bytearray()
        self._waiting = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            self.grow_to(self._most_bytes + 1)
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._grown)}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        self.grow_to(self._at + len(target))
        piece = self._grown[self._at : self._at + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def grow_to(self, size_bytes: int) -> int:
        """Inflate at least so much, where there is so much; how much there is now."""
        while len(self._grown) < size_bytes and self._grow():
            pass
        return len(self._grown)

    def _grow(self) -> bool:
        """Inflate a little more; False when nothing more comes."""
        if self._inflater.eof:
            return False
        deflated = self._waiting or self._source.read(_CHUNK_BYTES)
        try:
            inflated = self._inflater.decompress(deflated, _CHUNK_BYTES) if deflated else b""
        except zlib.error:
            raise CorruptInstance("deflated data set") from None
        self._waiting = self._inflater.unconsumed_tail
        self._grown += inflated
        if len(self._grown) > self._most_bytes:
            raise ImplausibleSize(limit="max_inflated_bytes", value=self._most_bytes)
        return bool(deflated)


class _Bounded:
    """A file whose reads are counted: what parses it can be kept busy for so long and no longer."""

    def __init__(self, file: BinaryIO, most_reads: int) -> None:
        self._read: Callable[[int], bytes] = file.read
        self._left = most_reads
        self._most = most_reads
        self.seek = file.seek
        self.tell = file.tell
        self.name = ""

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise LimitExceeded(limit="max_header_elements", value=self._most)
        return self._read(size) if size <= _PIECE_BYTES else self._in_pieces(size)

    def _in_pieces(self, size: int) -> bytes:
        """A file would set aside all that is asked for, though it be gigabytes that are not there."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._read(min(size, _PIECE_BYTES))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def bounded(file: BinaryIO, most_reads: int) -> BinaryIO:
    """The file for a parser that reads once or twice for each element; the read after the last raises
    LimitExceeded."""
    return cast("BinaryIO", _Bounded(file, most_reads))
