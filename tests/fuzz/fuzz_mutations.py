"""What can be wrong with a DICOM instance: mutations that understand its structure, and some that do not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

from fuzz_elements import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    PIXEL_DATA,
    UNDEFINED,
    Element,
    Part10,
    padded,
    written,
)

Mutation = Callable[[Part10, Random], None]
MUTATIONS: dict[str, tuple[float, Mutation]] = {}
"""By name, with how often it is chosen."""

VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS S"
    b"T SV TM UC UI UL UN UR US UT UV ZZ \0\0 \xff\xff"
).split(b" ")
LENGTHS = (0, 1, 2, 3, 7, 13, 255, 4095, 65534, 65535, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, UNDEFINED)
NUMBERS = (
    b"0", b"-0", b"1", b"-1", b"NaN", b"inf", b"-inf", b"1e308", b"-1e308", b"1e309", b"1e-308", b"5e-324", b"0x10",
    b"1,5", b"1_0", b"", b" ", b"1e", b"--1", b"99999999999999999999", b"2147483648", b"0.0000001", b"3.4028236e38",
    b"\xd9\xa1", b"1\\2\\3", b"32767", b"-32768", b"65536", b"1e9", b"1.5", b"\0", b"1e5000",
)  # fmt: skip
SHORTS = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 64, 128, 255, 256, 2047, 2048, 2049, 32767, 32768, 65535)
SYNTAXES = (
    IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.64", "1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.8.1",
    "1.2.840.10008.5.1.4.1.1.2", "", "1", ".", "1..2", "../../etc/passwd", "1.2.840.10008.1.2.1\0\0\0", "\x00",
    "1." * 200, "not-a-uid", "1.2.840.10008.1.2.1 ",
)  # fmt: skip
CHARSETS = (
    b"ISO_IR 100", b"ISO_IR 192", b"GB18030", b"GBK", b"ISO 2022 IR 87", b"ISO 2022 IR 149", b"ISO_IR 166", b"latin-1",
    b"ISO 2022 IR 6\\ISO 2022 IR 87\\ISO 2022 IR 13\\ISO 2022 IR 159\\ISO 2022 IR 149\\ISO 2022 IR 58", b"UTF-8",
    b"ISO-IR 100", b"ISO_IR_100", b"\\" * 200, b"rot13", b"zlib", b"punycode", b"idna", b"hex", b"unicode_escape",
    b"undefined", b"utf_16", b"ISO 2022 IR 999", b"ISO_IR 192\\ISO_IR 100", b"\xff\xfe", b"",
)  # fmt: skip
TEXTS = (
    b"", b" ", b"\0", b"\\", b"^" * 64, b"\x1b$B" * 20, b"\x1b$)C\x1b", b"\x1b(", b"\xff" * 64, b"\xed\xa0\x80",
    b"A" * 65534,
    b"../../../../etc/passwd", b"<script>alert(1)</script>", b"' OR 1=1 --", b"%s%n%x", b"{0.__class__}",
    b"\r\n\r\nX: y",
    b"\xe2\x80\xae", b"NULL", b"\x7f\x00\x01\x02\x03", b"\\\\\\\\", b"a\nb\tc", b"=" * 3, b"(" * 60,
    b"\xf0\x9f\x98\x80",
    b"1.2.3", b"1." * 60, b"20250101", b"99999999", b"00000000", b"-001Y", b"999Y", b"0000", b"250000",
    b"246060.999999",
    b"ORIGINAL\\PRIMARY\\LOCALIZER", b"DERIVED\\SECONDARY", b"\\".join([b"A"] * 1000), b"TOP" * 40,
    b"MONO_E" + b"a" * 50,
    b"w/o" * 500, b"with without " * 200, b" " * 5000, b"C+ C- " * 300,
)  # fmt: skip
PHOTOMETRIC = (
    b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"YBR_FULL", b"YBR_FULL_422", b"YBR_ICT", b"YBR_RCT", b"PALETTE COLOR", b"",
    b"ARGB", b"MONOCHROME", b"\0\0",
)  # fmt: skip
GEOMETRY = (0x00200032, 0x00200037, 0x00280030, 0x00180050, 0x00281052, 0x00281053)
SIZES = (0x00280010, 0x00280011, 0x00280002, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00280121)
IDENTITY = (
    0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080022, 0x0008002A, 0x00080030, 0x00080032,
    0x00080050, 0x00080060, 0x00080070, 0x00081030, 0x0008103E, 0x00081090, 0x00082111, 0x00100010, 0x00100020,
    0x00100021, 0x00100030, 0x00100040, 0x00101010, 0x00101020, 0x00101030, 0x00180010, 0x00180012, 0x00180060,
    0x00181000, 0x00181030, 0x00181040, 0x00181100, 0x00181150, 0x00181151, 0x00181152, 0x00181160, 0x00181210,
    0x00187050, 0x0020000D, 0x0020000E, 0x00200011, 0x00200012, 0x00200013, 0x00200052, 0x00200100, 0x00280004,
    0x00280008, 0x00281054, 0x00282110,
)  # fmt: skip
_MOST_BYTES = 1 << 20


def mutation(weight: float = 1.0) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        MUTATIONS[function.__name__] = (weight, function)
        return function

    return register


def mutate(part: Part10, random: Random, most: int = 4) -> Part10:
    """A copy with one to several things wrong; their names are in ``notes``."""
    made = part.copy()
    names = list(MUTATIONS)
    weights = [MUTATIONS[name][0] for name in names]
    for name in random.choices(names, weights, k=random.choice((1, 1, 1, 2, 3, most))):
        apply(name, made, random)
    return made


def apply(name: str, part: Part10, random: Random) -> None:
    """One mutation by name, on the instance itself."""
    MUTATIONS[name][1](part, random)
    part.notes.append(name)


def _any_place(part: Part10, random: Random) -> tuple[list[Element], int] | None:
    places = list(part.walk())
    return random.choice(places) if places else None


def _pixels(part: Part10) -> Element | None:
    return part.find(PIXEL_DATA)


def _number(random: Random) -> bytes:
    if random.random() < 0.3:
        return f"{random.choice((1, -1)) * 10 ** random.uniform(-12, 12):.10g}".encode()
    return random.choice(NUMBERS)


# Elements


@mutation(2)
def delete_element(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        del place[0][place[1]]


@mutation()
def duplicate_element(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        elements, index = place
        for _ in range(random.choice((1, 1, 2, 50))):
            elements.insert(random.choice((index, len(elements))), elements[index])


@mutation()
def reorder_elements(part: Part10, random: Random) -> None:
    if random.random() < 0.5:
        random.shuffle(part.body)
    elif len(part.body) > 1:
        part.body.insert(random.randrange(len(part.body)), part.body.pop(random.randrange(len(part.body))))


@mutation(2)
def change_vr(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        place[0][place[1]].vr = random.choice(VRS)


@mutation(3)
def lie_about_length(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        element = place[0][place[1]]
        near = len(element.value) + random.randint(-4, 4)
        element.length = max(0, random.choice((*LENGTHS, near, near, random.getrandbits(16), random.getrandbits(32))))


@mutation()
def change_tag(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        element = place[0][place[1]]
        element.tag = random.choice(
            (*GEOMETRY, *SIZES, *IDENTITY, PIXEL_DATA, 0x7FE00008, 0x7FE00009, 0x7FE00001, 0xFFFEE000, 0xFFFEE00D,
             0xFFFEE0DD, 0, 0xFFFFFFFF, 0x00020010, element.tag ^ 1 << random.randrange(32), 0x52009229, 0x52009230)
        )  # fmt: skip


@mutation()
def empty_element(part: Part10, random: Random) -> None:
    if place := _any_place(part, random):
        element = place[0][place[1]]
        element.value, element.items, element.fragments = b"", None, None


@mutation()
def private_elements(part: Part10, random: Random) -> None:
    group = random.choice((0x0009, 0x0019, 0x0029, 0x7FE1, 0x0001, 0xFFFF))
    for number in range(random.choice((1, 3, 300))):
        size = random.choice((0, 8, 1000, 60_000 if number == 0 else 4))
        part.body.append(Element(group << 16 | 0x1000 + number, random.choice(VRS), random.randbytes(size)))
    if random.random() < 0.7:
        part.body.sort(key=lambda each: each.tag)


@mutation()
def lie_about_group_length(part: Part10, random: Random) -> None:
    value = struct.pack("<I", random.choice((*LENGTHS, random.getrandbits(32))))
    if part.meta and random.random() < 0.4:
        part.meta[0].value = value
    else:
        group = random.choice((0x00080000, 0x00100000, 0x00280000, 0x7FE00000))
        part.set(group, b"UL", value)


@mutation()
def nest_sequences(part: Part10, random: Random) -> None:
    """One sequence in the other, closed properly or not at all."""
    tag = random.choice((0x00081111, 0x00081140, 0x52009229, 0x52009230, 0x00091010, 0x00180012))
    depth = random.choice((2, 20, 200, 400, 900, 1500, 10_000))
    order = ">" if part.syntax == BIG_ENDIAN else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    head += struct.pack(f"{order}I", UNDEFINED) if part.syntax == IMPLICIT else b"SQ\0\0\xff\xff\xff\xff"
    opening = head + struct.pack(f"{order}HHI", 0xFFFE, 0xE000, UNDEFINED)
    closing = struct.pack(f"{order}HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    before = [each for each in part.body if each.tag < tag]
    after = [each for each in part.body if each.tag >= tag]
    whole = random.random() < 0.6
    _become_raw(
        part,
        written(before, part.syntax)
        + opening * depth
        + (closing * depth if whole else b"")
        + written(after, part.syntax),
    )


def _become_raw(part: Part10, content: bytes) -> None:
    if part.raw is not None:
        return
    part.raw = _deflated(content) if part.syntax == DEFLATED else content


def _deflated(content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


@mutation()
def break_sequence(part: Part10, random: Random) -> None:
    """Functional groups, or any other sequence: items gone, doubled, empty, without an end."""
    found = [each for elements, index in part.walk() if (each := elements[index]).items is not None]
    if not found:
        part.set(
            random.choice((0x52009229, 0x52009230)), b"SQ", random.choice((b"", b"\xfe\xff\x00\xe0\0\0\0\0", b"abc"))
        )
        return
    element = random.choice(found)
    items = element.items or []
    choice = random.randrange(6)
    if choice == 0:
        items.clear()
    elif choice == 1 and items:
        items.extend([items[0]] * random.choice((1, 40)))
    elif choice == 2 and items:
        items[random.randrange(len(items))] = []
    elif choice == 3:
        element.bare = True
    elif choice == 4 and items:
        del items[random.randrange(len(items))]
    else:
        random.shuffle(items)


# Values


@mutation(4)
def odd_geometry(part: Part10, random: Random) -> None:
    tag = random.choice(GEOMETRY)
    found = next((e for es, i in part.walk() if (e := es[i]).tag == tag and e.items is None), None)
    if found is None or random.random() < 0.15:
        count = random.choice((0, 1, 2, 3, 5, 6, 7, 64))
        value = b"\\".join(_number(random) for _ in range(count))
    else:
        numbers = found.value.split(b"\\")
        for _ in range(random.choice((1, 1, len(numbers)))):
            numbers[random.randrange(len(numbers))] = _number(random)
        value = b"\\".join(numbers)
    if found is None:
        part.set(tag, b"DS", padded(value))
    else:
        found.value = padded(value)


@mutation()
def odd_orientation(part: Part10, random: Random) -> None:
    choices = (
        b"0\\0\\0\\0\\0\\0", b"1\\0\\0\\1\\0\\0", b"1\\0\\0\\-1\\0\\0", b"1\\1\\0\\0\\1\\0", b"2\\0\\0\\0\\2\\0",
        b"0\\1\\0\\1\\0\\0",
        b"0\\1\\0\\0\\0\\-1", b"-1\\0\\0\\0\\-1\\0", b"1\\0\\0\\0\\0.7071\\0.7071",
        b"0.7071\\0.7071\\0\\-0.7071\\0.7071\\0",
        b"1e-200\\0\\0\\0\\1e-200\\0", b"1e200\\0\\0\\0\\1e200\\0", b"1\\0\\0\\0\\1", b"nan\\0\\0\\0\\1\\0",
    )  # fmt: skip
    part.set(0x00200037, b"DS", padded(random.choice(choices)))


@mutation(3)
def odd_size(part: Part10, random: Random) -> None:
    tag = random.choice(SIZES)
    vr, form = random.choice(((b"US", "<H"), (b"US", "<H"), (b"SS", "<H"), (b"UL", "<I"), (b"IS", ""), (b"FD", "<d")))
    value = random.choice(SHORTS)
    if form == "<d":
        part.set(tag, vr, struct.pack(form, random.choice((float("nan"), float("inf"), 1e300, -1.0, value))))
    else:
        part.set(tag, vr, struct.pack(form, value) if form else padded(_number(random)))


@mutation()
def odd_photometric(part: Part10, random: Random) -> None:
    part.set(0x00280004, b"CS", padded(random.choice(PHOTOMETRIC)))


@mutation()
def odd_frames(part: Part10, random: Random) -> None:
    value = random.choice(
        (b"0", b"1", b"2", b"-1", b"13", b"15", b"19999", b"20000", b"20001", b"2000000000", b"1e6", b"x")
    )
    part.set(0x00280008, b"IS", padded(value))


@mutation(3)
def odd_text(part: Part10, random: Random) -> None:
    tag = random.choice(IDENTITY)
    found = part.find(tag)
    vr = b"LO" if found is None else found.vr
    value = random.choice((*TEXTS, *NUMBERS, random.randbytes(random.choice((1, 16, 64, 2000)))))
    part.set(tag, vr, padded(value) if random.random() < 0.9 else value)


@mutation(2)
def odd_charset(part: Part10, random: Random) -> None:
    part.set(0x00080005, b"CS", padded(random.choice(CHARSETS)))
    if random.random() < 0.8:
        tag = random.choice((0x00100010, 0x00100020, 0x00080050, 0x00100021))
        part.set(tag, b"LO", padded(random.choice((*TEXTS, random.randbytes(64)))[:4096]))


@mutation()
def other_identity(part: Part10, random: Random) -> None:
    tag = random.choice(
        (0x0020000D, 0x0020000E, 0x00100020, 0x00100010, 0x00080018, 0x00080016, 0x00080060, 0x00200052)
    )
    classes = (
        b"1.2.840.10008.5.1.4.1.1.2",
        b"1.2.840.10008.5.1.4.1.1.2.1",
        b"1.2.840.10008.5.1.4.1.1.4",
        b"1.2.3",
        b"",
        b"MR",
    )
    part.set(tag, b"UI", padded(random.choice(classes), b"\0"))


# Pixels


@mutation(3)
def odd_pixels(part: Part10, random: Random) -> None:
    element = _pixels(part)
    if element is None:
        return
    if element.fragments is not None:
        _odd_fragments(element, random)
        return
    size = len(element.value)
    choice = random.randrange(7)
    if choice == 0:
        element.value = element.value[: random.randrange(size + 1)]
    elif choice == 1:
        element.value += random.randbytes(random.choice((1, 2, size)))
    elif choice == 2:
        element.value = random.choice((b"", b"\0", random.randbytes(size)))
    elif choice == 3:
        element.value = bytes([random.choice((0, 0x7F, 0x80, 0xFF))]) * size
    elif choice == 4:
        element.length = random.choice((size // 2, size * 2, size + 1, size - 1, UNDEFINED, 0, 0x7FFFFFFF))
    elif choice == 5:
        element.fragments, element.value = [b"", element.value], b""
    else:
        element.vr = random.choice((b"OB", b"OW", b"UN", b"SQ", b"OF", b"US"))


def _odd_fragments(element: Element, random: Random) -> None:
    fragments = element.fragments or []
    frames = fragments[1:]
    choice = random.randrange(11)
    if choice == 0 and frames:  # a frame in several fragments
        at = random.randrange(len(frames))
        cut = random.randrange(len(frames[at]) + 1)
        frames[at : at + 1] = [frames[at][:cut], frames[at][cut:]]
    elif choice == 1 and frames:
        at = random.randrange(len(frames))
        frames[at] = frames[at][: random.randrange(len(frames[at]) + 1)]
    elif choice == 2 and frames:
        frames.pop(random.randrange(len(frames)))
    elif choice == 3:
        frames.extend(random.choice(((b"",), (b"\xff\xd8\xff\xd9",), (random.randbytes(100),), frames[:1])))
    elif choice == 4:
        offsets = [
            random.choice((0, 4, 1 << 31, UNDEFINED, random.getrandbits(12)))
            for _ in range(random.choice((1, len(frames), 99)))
        ]
        fragments[0] = struct.pack(f"<{len(offsets)}I", *offsets)
    elif choice == 5:
        fragments[0] = random.randbytes(random.choice((1, 3, 4, 64)))
    elif choice == 6:
        element.bare = True
    elif choice == 7 and frames:
        random.shuffle(frames)
    elif choice == 8:
        frames.clear()
    elif choice == 9 and frames:
        at = random.randrange(len(frames))
        element.fragments, element.value = None, frames[at]
        return
    elif frames:
        at = random.randrange(len(frames))
        frames[at] = frames[at] + random.randbytes(random.choice((1, 100, 5000)))
    element.fragments = fragments[:1] + frames


@mutation(4)
def damaged_codestream(part: Part10, random: Random) -> None:
    """Bytes within a compressed frame: its head, its markers, its body."""
    element = _pixels(part)
    if element is None or not element.fragments or len(element.fragments) < 2:
        return
    at = random.randrange(1, len(element.fragments))
    frame = bytearray(element.fragments[at])
    if len(frame) < 4:
        return
    head = min(len(frame), random.choice((16, 64, 200, len(frame))))
    choice = random.randrange(7)
    if choice == 0:
        for _ in range(random.choice((1, 2, 8, 40))):
            frame[random.randrange(head)] = random.randrange(256)
    elif choice == 1:
        frame[random.randrange(head)] ^= 1 << random.randrange(8)
    elif choice == 2:
        start = random.randrange(head)
        frame[start : start + random.choice((1, 2, 4, 16))] = random.randbytes(random.choice((0, 1, 2, 4, 16, 64)))
    elif choice == 3:  # a marker segment that claims another length, or another kind
        marks = [i for i in range(len(frame) - 3) if frame[i] == 0xFF and frame[i + 1] >= 0xC0]
        if marks:
            mark = random.choice(marks[:12])
            if random.random() < 0.5:
                frame[mark + 2 : mark + 4] = struct.pack(
                    ">H", random.choice((0, 1, 2, 255, 65535, random.getrandbits(16)))
                )
            else:
                frame[mark + 1] = random.choice(
                    (0xD8, 0xD9, 0xDA, 0xC0, 0xC1, 0xC3, 0xC4, 0xF7, 0xF8, 0x4F, 0x51, 0x52, 0x90)
                )
    elif choice == 4:
        del frame[random.randrange(len(frame)) :]
    elif choice == 5:
        start, size = random.randrange(len(frame)), random.randrange(1, 200)
        frame[start:start] = frame[start : start + size] * random.choice((1, 20))
    else:
        start = random.randrange(head)
        frame[start : start + 4] = struct.pack(">I", random.choice((0, 1, 0x7FFFFFFF, 0x80000000, UNDEFINED, 65536)))
    element.fragments[at] = bytes(frame)


# The file


@mutation(2)
def wrong_syntax(part: Part10, random: Random) -> None:
    """The meta information names another transfer syntax than the bytes have."""
    part.claimed = random.choice(SYNTAXES)


@mutation()
def other_encoding(part: Part10, random: Random) -> None:
    part.syntax = random.choice((IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED))


@mutation()
def odd_meta(part: Part10, random: Random) -> None:
    choice = random.randrange(7)
    if choice == 0 and part.meta:
        del part.meta[random.randrange(len(part.meta))]
    elif choice == 1:
        part.meta.clear()
    elif choice == 2:
        part.preamble = random.choice(
            (b"", b"DICM", b"\0" * 128, b"\0" * 127 + b"DICM", b"\xff" * 128 + b"DICM", b"\0" * 132)
        )
    elif choice == 3 and part.meta:
        part.meta[random.randrange(len(part.meta))].length = random.choice(LENGTHS)
    elif choice == 4 and part.meta:
        part.meta[random.randrange(len(part.meta))].vr = random.choice(VRS)
    elif choice == 5:
        part.meta.append(Element(0x00020100 + random.randrange(9), random.choice(VRS), random.randbytes(20)))
    else:
        part.meta.extend(part.meta * random.choice((1, 50)))


@mutation()
def deflate_bomb(part: Part10, random: Random) -> None:
    """A little that grows to much: zeros in front of, within or behind the data set."""
    size = random.choice((1 << 18, 1 << 20, 1 << 20, 8 << 20, 48 << 20))
    tag = random.choice((0x00080001, 0x00091010, 0x7FE00010, 0xFFFCFFFC))
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"OB\0\0" + struct.pack("<I", size)
    before = written([each for each in part.body if each.tag < tag], EXPLICIT)
    after = written([each for each in part.body if each.tag >= tag], EXPLICIT)
    part.syntax = DEFLATED
    part.raw = _deflated(before + head + b"\0" * size + after)


@mutation()
def damaged_deflate(part: Part10, random: Random) -> None:
    if part.raw is not None:
        return
    packed = bytearray(_deflated(written(part.body, EXPLICIT)))
    part.syntax = DEFLATED
    for _ in range(random.choice((1, 3))):
        packed[random.randrange(len(packed))] = random.randrange(256)
    part.raw = bytes(packed[: random.choice((len(packed), random.randrange(len(packed))))])


@mutation(3)
def truncate(part: Part10, random: Random) -> None:
    _by_bytes(part, random, lambda data: data[: random.randrange(len(data) + 1)])


@mutation(3)
def damage_bytes(part: Part10, random: Random) -> None:
    def damage(data: bytes) -> bytes:
        made = bytearray(data)
        header = min(len(made), random.choice((400, 1200, len(made))))
        for _ in range(random.choice((1, 2, 5, 40))):
            if header:
                made[random.randrange(header)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        return bytes(made)

    _by_bytes(part, random, damage)


@mutation()
def splice(part: Part10, random: Random) -> None:
    """A stretch of the data set once more somewhere else, or in the place of something."""

    def spliced(data: bytes) -> bytes:
        if not data:
            return data
        start, at = random.randrange(len(data)), random.randrange(len(data))
        piece = data[start : start + random.choice((1, 2, 4, 8, 40, 400))]
        return data[:at] + piece + data[at + random.choice((0, len(piece))) :]

    _by_bytes(part, random, spliced)


@mutation(0.5)
def trailing(part: Part10, random: Random) -> None:
    part.tail += random.choice((b"\0", b"\0" * 4096, random.randbytes(300), b"\xfe\xff\xdd\xe0\0\0\0\0", b"DICM" * 50))


def _by_bytes(part: Part10, random: Random, change: Callable[[bytes], bytes]) -> None:
    if part.raw is None:
        content = written(part.body, part.syntax)
        part.raw = change(content)
        if part.syntax == DEFLATED and random.random() < 0.7:
            part.raw = _deflated(part.raw)
    elif len(part.raw) < _MOST_BYTES:
        part.raw = change(part.raw)
