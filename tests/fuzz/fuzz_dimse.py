"""Bytes that are nearly DICOM's upper layer (PS3.8 9.3) and DIMSE (PS3.7) at the port of C-STORE.

After each a well-behaved peer must be answered, memory stays bounded, and nothing stays open.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

import psutil
from fuzz_values import mutate_bytes
from pynetdicom import AE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

HANG_S: Final = 10.0
ANSWER_S: Final = 3.0
"""How long an answer is waited for after the last byte; silence is an answer, for a while."""
MEMORY_BYTES: Final = 512 << 20
"""More than before at most."""
_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
_VERIFICATION: Final = b"1.2.840.10008.1.1"
_CT: Final = b"1.2.840.10008.5.1.4.1.1.2"
_COMMITMENT: Final = b"1.2.840.10008.1.20.1"
_SYNTAX: Final = b"1.2.840.10008.1.2"
_COMMANDS: Final = (0x0001, 0x0020, 0x0021, 0x0010, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0FFF,
                    0x8001, 0x8030, 0xFFFF, 0)  # fmt: skip


@dataclass
class DimseTally:
    """What was counted."""

    connections: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    echoes: int = 0
    """Well-behaved peers between them."""
    peak_mib: int = 0
    """Memory beyond that of the start."""


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length & 0xFFFFFFFF) + body


def item(kind: int, body: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBH", kind, 0, (len(body) if length is None else length) & 0xFFFF) + body


def request(random: Random, called: str, calling: str, *, sound: bool) -> bytes:
    """A-ASSOCIATE-RQ; items doubled, missing, nested, lied about, unless it is to be sound."""
    uids = [_VERIFICATION, _CT, _COMMITMENT]
    contexts = [(1 + 2 * number, uid, [_SYNTAX, _SYNTAX + b".1"]) for number, uid in enumerate(uids)]
    if not sound:
        strange = (b"", b"1.2.3", b"\xff" * 10, b"9" * 300, _CT + b"\0")
        contexts += [
            (random.randrange(256), random.choice((*uids, *strange)), [random.choice((_SYNTAX, *strange))])
            for _ in range(random.choice((0, 1, 5, 200)))
        ]
        random.shuffle(contexts)
    body = b"".join(
        item(0x20, bytes((number, 0, 0, 0)) + item(0x30, uid) + b"".join(item(0x40, each) for each in syntaxes))
        for number, uid, syntaxes in contexts
    )
    information = [
        item(0x51, struct.pack(">L", random.choice((16384, 16384, 0, 1, 7, 0xFFFFFFFF)))),
        item(0x52, b"1.2.3.4"),
    ]
    if not sound:
        information += random.choices(
            [
                item(0x53, struct.pack(">HH", random.randrange(65536), random.randrange(65536))),
                item(0x55, b"\xff" * 40),
                item(0x54, struct.pack(">H", 5000) + _CT + b"\1\1"),
                item(0x54, struct.pack(">H", len(_CT)) + _CT + b"\1\1"),
                item(0x56, struct.pack(">H", len(_CT)) + _CT + random.randbytes(9)), item(0x57, random.randbytes(30)),
                item(0x58, bytes((random.randrange(7), 1)) + struct.pack(">H", 4) + b"anna" + struct.pack(">H", 9999)),
                item(0x59, b""), item(0x51, b""), item(0x51, b"\0"), item(0x99, b"x" * 5000), b"\x50",
            ],
            k=random.randrange(4),
        )  # fmt: skip
    titles = [called.ljust(16).encode(), calling.ljust(16).encode()]
    if not sound and random.random() < 0.3:
        titles[random.randrange(2)] = random.choice(
            (b"\0" * 16, b"\xff" * 16, b" " * 16, b"A\\B".ljust(16), "é".encode().ljust(16))
        )
    version = 1 if sound or random.random() < 0.8 else random.choice((0, 2, 0xFFFF))
    head = struct.pack(">HH", version, 0) + titles[0] + titles[1] + b"\0" * 32
    return pdu(1, head + item(0x10, _CONTEXT) + body + item(0x50, b"".join(information)))


def data(context: int, control: int, fragment: bytes, length: int | None = None) -> bytes:
    """P-DATA-TF with one value."""
    size = len(fragment) + 2 if length is None else length
    return pdu(4, struct.pack(">LBB", size & 0xFFFFFFFF, context, control) + fragment)


def command(random: Random, *, sound: bool) -> bytes:
    """A command set (PS3.7 6.3.1), implicit little endian."""
    field_ = 0x0030 if sound else random.choice(_COMMANDS)
    uid = _VERIFICATION if sound else random.choice((_VERIFICATION, _CT, _COMMITMENT, b"", b"\xff", b"1" * 200))
    uid += b"\0" * (len(uid) % 2)
    elements = [
        (0x0002, uid), (0x0100, struct.pack("<H", field_)), (0x0110, struct.pack("<H", random.randrange(65536))),
        (0x0800, struct.pack("<H", 0x0101 if sound else random.choice((0x0101, 0, 1, 0x0102)))),
    ]  # fmt: skip
    if not sound:
        elements += random.choices(
            [
                (0x1000, b"1.2.3.4.5\0"), (0x1000, b""), (0x0700, b"\0\0"), (0x0700, b""), (0x0120, b"\1\0"),
                (0x1008, b"\1\0"),
                (0x0900, b"\0\0"), (0x1002, b"\xff\xff"), (0x0100, b"x"), (0x0110, b""), (0x0110, b"\0" * 9),
                (0x9999, b"abcd"),
                (0x0002, b"1.2\0"), (0x1001, b"1.2.3\0"), (0x1030, b"MOVE"), (0x1031, b"\0\0"), (0x0901, b"\0" * 64),
            ],
            k=random.randrange(5),
        )  # fmt: skip
        if random.random() < 0.3:
            random.shuffle(elements)
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _conversation(random: Random, called: str, calling: str) -> Iterator[bytes]:
    """What one peer says; half of them ask for an association as they should first."""
    if random.random() < 0.4:
        said = request(random, called, calling, sound=False)
        yield mutate_bytes(said, random) if random.random() < 0.6 else said
        return
    yield request(random, called, calling, sound=True)
    for _ in range(random.choice((1, 2, 4))):
        yield _after(random)
    if random.random() < 0.3:
        yield pdu(5, b"\0" * 4)


def _after(random: Random) -> bytes:
    choice, context = random.randrange(10), random.choice((1, 1, 3, 5, 0, 2, 255))
    said = command(random, sound=random.random() < 0.3)
    if choice < 2:
        return data(context, 3, said)
    if choice == 2:
        half = random.randrange(len(said) + 1)
        return data(context, 1, said[:half]) + data(random.choice((context, 3)), 3, said[half:])
    if choice == 3:
        return data(context, 3, said) + b"".join(
            data(context, control, random.randbytes(random.choice((0, 1, 500))))
            for control in (0, 0, random.choice((0, 2)))
        )
    if choice == 4:
        return data(context, random.randrange(256), said, random.choice((0, 1, 2, len(said) + 900, 0xFFFFFFFF)))
    if choice == 5:
        return pdu(random.choice((1, 2, 3, 6, 7, 0, 8, 255)), random.randbytes(random.choice((0, 4, 70))))
    if choice == 6:
        return mutate_bytes(data(context, 3, said), random)
    if choice == 7:
        return pdu(4, random.randbytes(20), random.choice((0, 1, 19, 21, 0xFFFFFFFF)))
    if choice == 8:
        return data(context, 3, mutate_bytes(said, random))
    return b"".join(data(1, 3, command(random, sound=True)) for _ in range(30))


def fuzz_dimse(
    port: int, seed: int, count: int, tally: DimseTally, called: str = "TRABECULA", calling: str = "FUZZ"
) -> None:
    """So many odd conversations, a well-behaved peer after each few."""
    random, process = Random(f"dimse {seed}"), psutil.Process()
    before = process.memory_info().rss
    for number in range(count):
        started = time.monotonic()
        pieces = list(_conversation(random, called, calling))
        tally.answers[_talk(port, pieces, random)] += 1
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - started)
        tally.connections += 1
        if number % 10 == 9:
            _check_echo(port, tally, called, calling)
        grown = process.memory_info().rss - before
        tally.peak_mib = max(tally.peak_mib, grown >> 20)
        if grown > MEMORY_BYTES:
            tally.findings["memory grows"] += 1
            return


def _check_echo(port: int, tally: DimseTally, called: str, calling: str) -> None:
    started = time.monotonic()
    answer = ""
    while (
        time.monotonic() - started < HANG_S and answer != "served"
    ):  # those just cut off may hold a place for a moment
        answer = echo(port, called, calling)
    tally.echoes += 1
    if answer != "served":
        tally.findings[f"a well-behaved peer was {answer}"] += 1


def echo(port: int, called: str = "TRABECULA", calling: str = "FUZZ") -> str:
    """What a well-behaved peer meets."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = HANG_S
    for uid in (Verification, CTImageStorage):
        entity.add_requested_context(uid)
    association = entity.associate("127.0.0.1", port, ae_title=called)
    if not association.is_established:
        return "rejected" if association.is_rejected else "aborted" if association.is_aborted else "not answered"
    status = association.send_c_echo()
    association.release()
    return "served" if status and status.Status == 0 else "not served"


def _talk(port: int, pieces: list[bytes], random: Random) -> str:
    """Say all of it, in one or in bits, and tell the kind of the last PDU of the answer."""
    kinds = {2: "accepted", 3: "rejected", 4: "answered", 6: "released", 7: "aborted"}
    received = b""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)) as connection:
        try:
            for number, piece in enumerate(pieces):
                if number == 1:
                    received += answered(connection)
                cut = random.randrange(len(piece) + 1) if random.random() < 0.3 else len(piece)
                connection.sendall(piece[:cut])
                if cut < len(piece):
                    time.sleep(0.01)
                    connection.sendall(piece[cut:])
            connection.settimeout(random.choice((0.05, 0.2, 0.5)))
            while (more := connection.recv(65536)) and len(received) < 1 << 20:
                received += more
        except TimeoutError:
            pass
        except OSError:
            return "closed"
    last = 0
    while len(received) >= 6:
        last, length = received[0], struct.unpack(">L", received[2:6])[0]
        received = received[6 + length :]
    return kinds.get(last, "silence")


def answered(connection: socket.socket, within_s: float = 1.0) -> bytes:
    """What comes for a request for an association; data that do not wait for it are none."""
    connection.settimeout(within_s)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


@contextmanager
def silent_peers(port: int, count: int, say: bytes = b"", then: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that say little, once answered a little more, and wait."""
    held = []
    try:
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", port), timeout=HANG_S))
            held[-1].sendall(say)
            if then:
                answered(held[-1], HANG_S)
                held[-1].sendall(then)
        yield held
    finally:
        for each in held:
            each.close()


def flood(port: int, tally: DimseTally) -> None:
    """What is to fill memory or places: endless PDUs and commands, many that wait, bytes one at a time."""
    before = psutil.Process().memory_info().rss
    huge = pdu(1, b"", 0xFFFFFFF0)
    sound = request(Random(1), "TRABECULA", "FUZZ", sound=True)
    for name, opening, more in (
        ("a request of 4 GiB", huge, b"\0" * 65536),
        ("a PDU of 4 GiB", sound, pdu(4, b"", 0xFFFFFFF0) + b"\0" * 65536),
        ("a command set without end", sound, data(1, 1, b"\0" * 8192)),
    ):
        sent = _pour(port, opening, more)
        grown = psutil.Process().memory_info().rss - before
        tally.connections += 1
        tally.answers[f"{name}: cut off" if sent < 256 << 20 else f"{name}: read on"] += 1
        tally.peak_mib = max(tally.peak_mib, grown >> 20)
        if sent >= 256 << 20 or grown > MEMORY_BYTES:
            tally.findings[f"{name} is read on"] += 1
    for name, say in (("say nothing", b""), ("say half a head", sound[:3]), ("say half a request", sound[:-40])):
        with silent_peers(port, 12, say):
            _check_echo(port, tally, "TRABECULA", "FUZZ")
            tally.connections += 12
            tally.answers[f"12 that {name}"] += 1


def _pour(port: int, opening: bytes, more: bytes, most: int = 256 << 20) -> int:
    """Bytes that were taken before the connection was cut, or ``most``."""
    sent = 0
    with closing(socket.create_connection(("127.0.0.1", port), timeout=HANG_S)) as connection:
        try:
            connection.sendall(opening)
            answered(connection)
            connection.settimeout(HANG_S)
            while sent < most:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            pass
    return sent


def open_threads() -> int:
    """Threads of associations and of their connections that still run in this process."""
    return sum("AcceptorThread" in each.name or isinstance(each, DULServiceProvider) for each in threading.enumerate())


def until_released(tally: DimseTally, within_s: float) -> None:
    """All that was opened has to end within the time that the service gives it."""
    deadline = time.monotonic() + within_s
    while open_threads() and time.monotonic() < deadline:
        time.sleep(0.1)
    if open_threads():
        tally.findings[f"{open_threads()} associations are open {within_s:.0f} s later"] += 1
