"""DICOM data sets as plain elements that may lie: what a mutation changes, and how it is written as bytes.

pydicom would mend or refuse what a fuzzer wants to say, so instances are taken apart and put together here (PS3.5 7).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})
_UNIT = {b"US": 2, b"SS": 2, b"OW": 2, b"AT": 2, b"UL": 4, b"SL": 4, b"FL": 4, b"OF": 4, b"FD": 8, b"OD": 8}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


@dataclass
class Element:
    """One element; ``items`` for a sequence, ``fragments`` for compressed pixels, else ``value``."""

    tag: int
    vr: bytes
    value: bytes = b""
    items: list[list[Element]] | None = None
    fragments: list[bytes] | None = None
    """The first one is the basic offset table."""
    length: int | None = None
    """What the element claims to be long, where that is not the truth."""
    bare: bool = False
    """Fragments or items without the delimiter at their end."""

    def copy(self) -> Element:
        items = None if self.items is None else [[each.copy() for each in item] for item in self.items]
        fragments = None if self.fragments is None else list(self.fragments)
        return Element(self.tag, self.vr, self.value, items, fragments, self.length, self.bare)


@dataclass
class Part10:
    """One instance: meta information and data set."""

    syntax: str
    """How the data set is written."""
    meta: list[Element]
    body: list[Element]
    preamble: bytes = b"\0" * 128 + b"DICM"
    tail: bytes = b""
    """Bytes behind the last element."""
    raw: bytes | None = None
    """The whole data set, where it is not built of elements any more."""
    claimed: str | None = None
    """Transfer syntax in the meta information, where that is another one."""
    notes: list[str] = field(default_factory=list)
    """Names of the mutations that were applied."""

    def copy(self) -> Part10:
        meta, body = ([each.copy() for each in elements] for elements in (self.meta, self.body))
        return replace(self, meta=meta, body=body, notes=list(self.notes))

    def find(self, tag: int) -> Element | None:
        return next((each for each in self.body if each.tag == tag), None)

    def set(self, tag: int, vr: bytes, value: bytes) -> None:
        """Give an element another value; it is added in its place where there was none."""
        found = self.find(tag)
        if found is None:
            at = next((index for index, each in enumerate(self.body) if each.tag > tag), len(self.body))
            self.body.insert(at, Element(tag, vr, value))
        else:
            found.vr, found.value, found.items, found.fragments, found.length = vr, value, None, None, None

    def walk(self) -> Iterator[tuple[list[Element], int]]:
        """Every element, also of sequences, as its list and its place there."""
        waiting = [self.body]
        while waiting:
            elements = waiting.pop()
            for index, element in enumerate(elements):
                yield elements, index
                waiting.extend(element.items or ())

    def to_bytes(self) -> bytes:
        body = written(self.body, self.syntax) if self.raw is None else self.raw
        if self.syntax == DEFLATED and self.raw is None:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            body = deflater.compress(body) + deflater.flush()
            body += b"\0" * (len(body) % 2)
        return self.preamble + written(self._meta(), EXPLICIT) + body + self.tail

    def _meta(self) -> list[Element]:
        meta = [each.copy() for each in self.meta]
        for element in meta:
            if element.tag == 0x00020010:
                element.value = padded((self.claimed or self.syntax).encode("latin-1"), b"\0")
        if meta and meta[0].tag == 0x00020000 and meta[0].length is None and meta[0].value == b"":
            meta[0].value = struct.pack("<I", len(written(meta[1:], EXPLICIT)))
        return meta


def padded(value: bytes, by: bytes = b" ") -> bytes:
    return value + by * (len(value) % 2)


def written(elements: list[Element], syntax: str) -> bytes:
    """Elements as bytes, one after the other, with whatever lengths they claim."""
    return b"".join(piece for element in elements for piece in _element(element, syntax))


def _element(element: Element, syntax: str) -> Iterator[bytes]:
    order = ">" if syntax == BIG_ENDIAN else "<"
    if element.fragments is not None:
        content, length = _fragments(element, order), UNDEFINED
    elif element.items is not None:
        content, length = _items(element, syntax, order), UNDEFINED
    else:
        content = _swapped(element) if syntax == BIG_ENDIAN else element.value
        length = len(content)
    claimed = length if element.length is None else element.length
    yield struct.pack(f"{order}HH", element.tag >> 16, element.tag & 0xFFFF)
    if syntax == IMPLICIT:
        yield struct.pack(f"{order}I", claimed & UNDEFINED)
    elif element.vr in _LONG:
        yield element.vr + b"\0\0" + struct.pack(f"{order}I", claimed & UNDEFINED)
    else:
        yield element.vr + struct.pack(f"{order}H", claimed & 0xFFFF)
    yield content


def _swapped(element: Element) -> bytes:
    unit = _UNIT.get(element.vr, 1)
    value = element.value
    if unit == 1 or len(value) % unit:
        return value
    return b"".join(value[at : at + unit][::-1] for at in range(0, len(value), unit))


def _mark(tag: int, length: int, order: str) -> bytes:
    return struct.pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, length)


def _fragments(element: Element, order: str) -> bytes:
    pieces = [_mark(_ITEM, len(each), order) + each for each in element.fragments or ()]
    return b"".join(pieces) + (b"" if element.bare else _mark(_SEQUENCE_END, 0, order))


def _items(element: Element, syntax: str, order: str) -> bytes:
    pieces = [
        _mark(_ITEM, UNDEFINED, order) + written(each, syntax) + _mark(_ITEM_END, 0, order)
        for each in element.items or ()
    ]
    return b"".join(pieces) + (b"" if element.bare else _mark(_SEQUENCE_END, 0, order))


def parsed(data: bytes) -> Part10:
    """A sound instance in Explicit VR Little Endian (or one of the compressed syntaxes) taken apart."""
    meta, at = _read(data, 132, len(data), group=2)
    syntax = next(each.value for each in meta if each.tag == 0x00020010).decode().strip("\0 ")
    for element in meta:
        if element.tag == 0x00020000:
            element.value = b""
    body, _ = _read(data, at, len(data))
    return Part10(syntax, meta, body, data[:132])


def _read(data: bytes, at: int, end: int, group: int | None = None) -> tuple[list[Element], int]:
    found: list[Element] = []
    while at + 8 <= end:
        high, low = struct.unpack_from("<HH", data, at)
        tag = high << 16 | low
        if tag in (_ITEM_END, _SEQUENCE_END) or (group is not None and high != group):
            return found, at
        vr = data[at + 4 : at + 6]
        if vr in _LONG:
            (length,), start = struct.unpack_from("<I", data, at + 8), at + 12
        else:
            (length,), start = struct.unpack_from("<H", data, at + 6), at + 8
        if vr == b"SQ":
            items, at = _read_items(data, start, end if length == UNDEFINED else start + length)
            found.append(Element(tag, vr, items=items))
        elif length == UNDEFINED:
            fragments, at = _read_fragments(data, start)
            found.append(Element(tag, vr, fragments=fragments))
        else:
            found.append(Element(tag, vr, data[start : start + length]))
            at = start + length
    return found, at


def _read_items(data: bytes, at: int, end: int) -> tuple[list[list[Element]], int]:
    items: list[list[Element]] = []
    while at + 8 <= end:
        high, low, length = struct.unpack_from("<HHI", data, at)
        at += 8
        if high << 16 | low == _SEQUENCE_END:
            return items, at
        item, at = _read(data, at, end if length == UNDEFINED else at + length)
        items.append(item)
        at += 8 if length == UNDEFINED else 0
    return items, at


def _read_fragments(data: bytes, at: int) -> tuple[list[bytes], int]:
    fragments: list[bytes] = []
    while True:
        high, low, length = struct.unpack_from("<HHI", data, at)
        at += 8
        if high << 16 | low == _SEQUENCE_END:
            return fragments, at
        fragments.append(data[at : at + length])
        at += length
