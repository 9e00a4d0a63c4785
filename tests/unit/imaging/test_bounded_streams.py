"""Streams that give no more than a limit allows, and JPEG streams looked at before a decoder is."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace

import pytest

from trabecula.errors import CorruptInstance, ImplausibleSize, LimitExceeded
from trabecula.imaging.instance import PixelFormat
from trabecula.imaging.jpeg_stream import check_jpeg
from trabecula.imaging.streams import Inflating, bounded

GREY = PixelFormat("1.2.840.10008.1.2.4.50", 2, 3, 1, "MONOCHROME2", 8, 8, False, None)
SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DQT = b"\xff\xdb\x00\x43\x00" + b"\x01" * 64
SOF = b"\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00"
DHT = b"\xff\xc4\x00\x15\x00\x02" + b"\x00" * 15 + b"\x00\x01"
SOS = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
SOUND = SOI + DQT + SOF + DHT + SOS + b"\x12\xff\x00\x34\xff\xd0\x56" + EOI


def deflated(data: bytes, behind: bytes = b"") -> io.BytesIO:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return io.BytesIO(deflater.compress(data) + deflater.flush() + behind)


@pytest.mark.parametrize("behind", [b"", b"\0", b"abc" * 100_000])
def test_bytes_behind_the_deflated_data_are_left_alone(behind: bytes) -> None:
    data = bytes(range(256)) * 1000
    stream = io.BufferedReader(Inflating(deflated(data, behind), 1 << 20))
    assert stream.read(5) == data[:5]
    assert stream.seek(-3, io.SEEK_CUR) == 2
    assert stream.read() == data[2:]
    assert stream.seek(0, io.SEEK_END) == len(data)
    assert stream.read(1) == b""


def test_no_more_is_inflated_than_asked_for_and_never_beyond_the_limit() -> None:
    bomb = deflated(b"\0" * 50_000_000)
    stream = Inflating(bomb, 1 << 20)
    assert len(stream.read(10)) == 10
    assert bomb.tell() < 200_000
    assert stream.grow_to(100_000) < 300_000
    with pytest.raises(ImplausibleSize):
        stream.seek(0, io.SEEK_END)


def test_damaged_deflate_is_a_coded_fault() -> None:
    with pytest.raises(CorruptInstance):
        Inflating(io.BytesIO(b"\xff" * 100), 1 << 20).read(10)


def test_reads_are_counted_and_lengths_that_lie_take_no_memory() -> None:
    file = bounded(io.BytesIO(b"a" * 100), 3)
    assert file.read(10) == b"a" * 10
    assert file.read(1 << 50) == b"a" * 90
    assert file.read(1) == b""
    with pytest.raises(LimitExceeded):
        file.read(1)


def test_a_sound_jpeg_stream_passes() -> None:
    check_jpeg(SOUND, GREY)
    check_jpeg(SOUND + b"\0", GREY)


@pytest.mark.parametrize(
    "stream",
    [
        b"", SOI, SOUND[2:], SOUND[:-2], SOI + EOI, SOI + SOF + EOI, SOUND.replace(SOF, SOF + SOF),
        SOUND.replace(SOF, b""), SOUND.replace(EOI, SOS + EOI), SOUND.replace(DHT, SOI + DHT),
        SOUND.replace(b"\x00\x02\x00\x03\x01", b"\x00\x02\x00\x04\x01"),
        SOUND.replace(SOF, SOF[:9] + b"\x03" + SOF[10:]),
        SOUND.replace(SOS, SOS[:5] + b"\x02" + SOS[6:]), SOUND.replace(SOS, SOS[:7] + b"\x40" + SOS[8:]),
        SOUND.replace(DHT, DHT[:5] + b"\xff" + DHT[6:]), SOUND.replace(DHT, DHT[:4] + b"\x55" + DHT[5:]),
        SOUND.replace(DQT, DQT[:4] + b"\x10" + DQT[5:]), SOUND.replace(DHT, b"\xff\xc4\x00\x02"),
        SOUND.replace(SOF, SOF[:4] + b"\x0c" + SOF[5:]), SOUND.replace(b"\x12\xff\x00", b"\x12\xff\xda"),
        SOUND.replace(DHT, b"\xff\xc4\xff\xff" + DHT[4:]),
        SOUND.replace(DHT, b"\xff\xc4\x00\x16\x00\x03" + b"\x00" * 15 + b"\x00\x01\x02"),
    ],
    ids=range(22),
)  # fmt: skip
def test_a_jpeg_stream_that_breaks_the_rules_is_told(stream: bytes) -> None:
    with pytest.raises(CorruptInstance):
        check_jpeg(stream, GREY)


def test_no_jpeg_stream_holds_32_bit_samples() -> None:
    with pytest.raises(CorruptInstance):
        check_jpeg(SOUND, replace(GREY, bits_allocated=32))
