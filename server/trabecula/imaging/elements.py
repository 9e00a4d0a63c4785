"""Reading values out of headers without pydicom's conversions.

Elements are taken raw: conversion warns about every odd value, quoting it (patient data in a log),
and costs more than the reading itself. Whatever cannot be understood reads as absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TypeVar

from pydicom.charset import default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_sequence
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from trabecula.errors import LimitExceeded
from trabecula.imaging.streams import bounded

_T = TypeVar("_T")
_MOST_READS = 500_000
"""Of one sequence; see ``ImagingLimits.max_header_elements``."""
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}


def text_values(text: str) -> tuple[str, ...]:
    """The values of an element's text. Blanks and nulls at the ends are padding (PS3.5 6.2).

    A null inside shows as U+FFFD: no standard allows it, PostgreSQL and FHIR do not take it, and without it the
    identifier of one patient could become that of another.
    """
    stripped = text.strip(" \0")
    return tuple(part.strip(" \0").replace("\0", "\ufffd") for part in stripped.split("\\")) if stripped else ()


def identifier(text: str) -> str:
    """A decoded text of one value that says who or what something is, without its padding.

    What no identifier may hold (control and other unprintable characters, the backslash that parts values) shows as
    U+FFFD: left out or taken as an end, it could turn the identifier of one patient into that of another.
    """
    return "".join(each if each.isprintable() and each != "\\" else "\ufffd" for each in text.strip(" \0"))


class Elements:
    """Values of one data set by tag."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def _raw(self, tag: int) -> tuple[str, bytes, str]:
        """VR, value bytes and struct byte order; empty bytes where the tag is absent."""
        if tag not in self._dataset:
            return "", b"", "<"
        element = self._dataset.get_item(tag, keep_deferred=True)
        if not isinstance(element, RawDataElement):  # pydicom converts the character set on its own
            value = element.value if element is not None and isinstance(element.value, str | list | MultiValue) else ""
            text = value if isinstance(value, str) else "\\".join(map(str, value))
            return "", text.encode("latin-1", "replace"), "<"
        if not isinstance(element.value, bytes):
            return "", b"", "<"
        vr = element.VR
        if vr in (None, "UN"):
            vr = dictionary_VR(tag)
        return str(vr), element.value, "<" if element.is_little_endian else ">"

    def has(self, tag: int) -> bool:
        return tag in self._dataset

    def bytes(self, tag: int) -> bytes:
        return self._raw(tag)[1]

    def texts(self, tag: int) -> tuple[str, ...]:
        """Values of a text element, blanks and trailing nulls stripped; () where absent."""
        _, value, _ = self._raw(tag)
        return text_values(value.decode("latin-1"))

    def text(self, tag: int) -> str:
        """First value of a text element, or an empty string."""
        return next(iter(self.texts(tag)), "")

    def whole(self, tag: int) -> str:
        """All bytes of a text element but its padding, as Latin-1: to be compared, not to be shown."""
        return self.bytes(tag).decode("latin-1").strip(" \0")

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Values of a numeric element; () where absent or where any value is not a finite number."""
        vr, value, order = self._raw(tag)
        code = _BINARY.get(vr[:2])
        try:
            if code is not None:
                count = len(value) // struct.calcsize(code)
                numbers = tuple(float(x) for x in struct.unpack_from(f"{order}{count}{code}", value))
            else:
                numbers = tuple(float(part) for part in self.texts(tag))
        except (ValueError, struct.error):
            return ()
        return numbers if all(map(math.isfinite, numbers)) else ()

    def number(self, tag: int) -> float | None:
        return next(iter(self.numbers(tag)), None)

    def integer(self, tag: int) -> int | None:
        number = self.number(tag)
        return None if number is None else int(number)

    def items(self, tag: int) -> list[Elements]:
        """Items of a sequence; [] where absent."""
        if tag not in self._dataset:
            return []
        try:
            value = self._sequence(tag)
        except LimitExceeded:
            raise
        except Exception:  # pydicom raises almost anything on damaged sequences
            return []
        return [Elements(item) for item in value if isinstance(item, Dataset)]

    def _sequence(self, tag: int) -> Iterable[object]:
        """What a sequence holds; kept once it was taken apart, which is bounded."""
        element = self._dataset.get_item(tag, keep_deferred=True)
        if not isinstance(element, RawDataElement):
            value = element.value if element is not None else None
            return value if isinstance(value, Sequence) else []
        if not isinstance(element.value, bytes) or str(element.VR or dictionary_VR(tag)) not in ("SQ", "UN"):
            return []
        found = read_sequence(
            bounded(BytesIO(element.value), _MOST_READS),
            element.is_implicit_VR,
            element.is_little_endian,
            len(element.value),
            default_encoding,
        )
        self._dataset[tag] = DataElement(tag, "SQ", found)
        return found


class FrameElements:
    """Where the values of one frame are found: its own functional groups, the shared ones, or a classic header."""

    def __init__(self, root: Elements, groups: tuple[Elements, ...] = ()) -> None:
        self.root = root
        self._groups = groups

    def macro(self, sequence: int) -> Elements:
        """Elements of a functional group macro (PS3.3 C.7.6.16); in a classic header the data set itself."""
        for group in self._groups:
            items = group.items(sequence)
            if items:
                return items[0]
        return self.root

    def number(self, sequence: int, tag: int) -> float | None:
        return self._first(sequence, lambda elements: elements.number(tag))

    def text(self, sequence: int, tag: int) -> str:
        return self._first(sequence, lambda elements: elements.text(tag) or None) or ""

    def _first(self, sequence: int, read: Callable[[Elements], _T | None]) -> _T | None:
        """The macro's value, else the one at the root (writers differ about where they put it)."""
        value = read(self.macro(sequence))
        return read(self.root) if value is None else value
