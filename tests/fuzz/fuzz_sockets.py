"""The HTTP and gRPC ports below the request: frames of HTTP/2 that fit nowhere, requests that stop half-way, many that
wait. After each a well-behaved client must be answered, and a connection that says nothing more must end."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

import grpc
import httpx
import psutil
from fuzz_values import mutate_bytes
from grpc_health.v1 import health_pb2, health_pb2_grpc

HANG_S: Final = 10.0
MEMORY_BYTES: Final = 512 << 20
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SUBMIT: Final = b"/trabecula.v1.ScreeningService/SubmitStudy"


@dataclass
class SocketTally:
    """What was counted."""

    connections: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    served: int = 0
    """Well-behaved clients between them."""
    peak_mib: int = 0


def frame(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    """RFC 9113, 4.1."""
    size = (len(payload) if length is None else length) & 0xFFFFFF
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind & 255, flags & 255, stream & 0xFFFFFFFF) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that is not indexed (RFC 7541, 6.2.2); lengths below 127."""
    return b"\0" + bytes((len(name),)) + name + bytes((min(len(value), 126),)) + value[:126]


def _headers(random: Random) -> bytes:
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", _SUBMIT), (b":authority", b"x"),
              (b"te", b"trailers"), (b"content-type", b"application/grpc")]  # fmt: skip
    odd = [(b"grpc-timeout", b"9" * 20), (b"grpc-timeout", b"-1S"), (b":path", b"/"), (b"x", b"y" * 126), (b"", b""),
           (b"grpc-encoding", b"gzip"), (b"content-length", b"5"), (b"Upper", b"x"), (b"authorization", b"Bearer \xff"),
           (b"connection", b"close"), (b":status", b"200"), (b"grpc-message-type", b"\0")]  # fmt: skip
    fields += random.choices(odd, k=random.choice((0, 0, 1, 3)))
    if random.random() < 0.2:
        random.shuffle(fields)
    return b"".join(_literal(*each) for each in fields)


def _http2(random: Random) -> Iterator[bytes]:
    """One client's bytes: mostly a preface, settings and a call, then what fits nowhere."""
    yield PREFACE if random.random() < 0.9 else mutate_bytes(PREFACE, random)
    yield frame(4, 0, 0, b"" if random.random() < 0.7 else random.randbytes(random.choice((5, 6, 12))))
    if random.random() < 0.8:
        yield frame(1, 4, 1, _headers(random))
    for _ in range(random.choice((1, 2, 5))):
        yield _odd_frame(random)


def _odd_frame(random: Random) -> bytes:
    stream = random.choice((0, 1, 1, 2, 3, 0x7FFFFFFF, 0xFFFFFFFF))
    message = random.choice((b"\0\0\0\0\5hello", b"\0\xff\xff\xff\xff", b"\1\0\0\0\1x", b"\0\0\0", b"\7" * 9, b""))
    return random.choice((
        frame(0, random.choice((0, 1, 8)), stream, message), frame(0, 8, 1, b"\xff" + message),
        frame(1, 4, 3, random.randbytes(20)), frame(1, 0, stream, b"\0" * 20), frame(9, 4, stream, b"\0" * 9),
        frame(4, 0, 0, struct.pack(">HI", random.randrange(9), 2**32 - 1)), frame(4, 1, 0, b"x"),
        frame(6, 0, random.choice((0, 1)), b"\0" * random.choice((8, 7))), frame(8, 0, stream, struct.pack(">I", 0)),
        frame(8, 0, 0, struct.pack(">I", 2**31 - 1)), frame(3, 0, stream, b"\0" * random.choice((4, 3))),
        frame(7, 0, 0, b"\0" * 8), frame(5, 4, 1, b"\0\0\0\2"), frame(2, 0, 1, b"\0\0\0\1\0"),
        frame(random.randrange(256), random.randrange(256), stream, random.randbytes(30)),
        frame(0, 0, 1, b"x" * 100, random.choice((0, 99, 0xFFFFFF))),
        b"".join(frame(6, 0, 0, b"\0" * 8) for _ in range(300)),
        b"".join(frame(1, 4, 2 * n + 5, _headers(random)) + frame(3, 0, 2 * n + 5, b"\0\0\0\x08") for n in range(150)),
        frame(1, 0, 1, b"") + b"".join(frame(9, 0, 1, b"\0" * 900) for _ in range(80)),
    ))  # fmt: skip


def _http1(random: Random) -> Iterator[bytes]:
    """Requests one behind the other, in chunks that lie, cut, or followed by what is none."""
    head = b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
    chunks = (b"5;a=b\r\n{\"a\":\r\n", b"1\r\n1\r\n", b"1\r\n}\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n",
              b"ffffffffff\r\n", b"-1\r\n",
              b"5 \r\nhello\r\n", b"0x5\r\nhello\r\n", b"5;" + b"e" * 20_000 + b"\r\nhello\r\n", b"\r\n",
              b"5\nhello\n")  # fmt: skip
    for _ in range(random.choice((1, 1, 2, 30))):
        choice = random.randrange(6)
        if choice == 0:
            yield (
                head
                + b"Transfer-Encoding: chunked\r\n\r\n"
                + b"".join(random.choices(chunks, k=random.randrange(1, 6)))
            )
        elif choice == 1:
            yield head + b"Content-Length: 100\r\n\r\n" + b"{" * random.choice((0, 5, 100, 200))
        elif choice == 2:
            yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * random.choice((1, 20))
        elif choice == 3:
            yield head + b"Transfer-Encoding: chunked, identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        elif choice == 4:
            yield b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * random.choice((1, 90, 5000)) + b"\r\n"
        else:
            yield mutate_bytes(head + b"Content-Length: 2\r\n\r\n{}", random)


def fuzz_sockets(http: tuple[str, int], rpc: tuple[str, int], seed: int, count: int, tally: SocketTally) -> None:
    """So many connections to each port, a well-behaved client after each few."""
    before = psutil.Process().memory_info().rss
    for name, place, say, check in (("http", http, _http1, _http_served), ("grpc", rpc, _http2, _grpc_served)):
        random = Random(f"sockets {name} {seed}")
        for number in range(count):
            started = time.monotonic()
            tally.answers[f"{name} {_talk(place, list(say(random)), random)}"] += 1
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - started)
            tally.connections += 1
            if number % 20 == 19:
                _check(name, place, check, tally)
            tally.peak_mib = max(tally.peak_mib, (psutil.Process().memory_info().rss - before) >> 20)
    if tally.peak_mib > MEMORY_BYTES >> 20:
        tally.findings["memory grows"] += 1


def _check(name: str, place: tuple[str, int], check: Callable[[tuple[str, int]], bool], tally: SocketTally) -> None:
    tally.served += 1
    if not check(place):
        tally.findings[f"{name}: a well-behaved client was not answered"] += 1


def _http_served(place: tuple[str, int]) -> bool:
    try:
        return httpx.get(f"http://{place[0]}:{place[1]}/healthz", timeout=HANG_S).status_code == 200
    except httpx.HTTPError:
        return False


def _grpc_served(place: tuple[str, int]) -> bool:
    with grpc.insecure_channel(f"{place[0]}:{place[1]}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=HANG_S)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _talk(place: tuple[str, int], pieces: list[bytes], random: Random) -> str:
    received = b""
    with closing(socket.create_connection(place, timeout=HANG_S)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                if random.random() < 0.1:
                    time.sleep(0.005)
            connection.settimeout(random.choice((0.02, 0.1)))
            while (more := connection.recv(65536)) and len(received) < 1 << 20:
                received += more
        except TimeoutError:
            return "answered" if received else "silence"
        except OSError:
            return "cut off"
    return "answered and closed" if received else "closed"


def waiting_clients(http: tuple[str, int], rpc: tuple[str, int], tally: SocketTally, within_s: float = 60.0) -> None:
    """Many that stop half-way: others are served, and these are let go."""
    half = b"POST /fhir HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
    openings = {
        "http": (http, _http_served, (b"", b"GET /hea", half)),
        "grpc": (rpc, _grpc_served, (b"", PREFACE[:9])),
    }
    for name, (place, check, said) in openings.items():
        with ExitStack() as stack:
            held = []
            for say in said * 20:
                held.append(stack.enter_context(socket.create_connection(place, timeout=HANG_S)))
                held[-1].sendall(say)
            _check(name, place, check, tally)
            deadline = time.monotonic() + within_s
            left = sum(not _ended(each, deadline) for each in held)
            tally.connections += len(held)
            tally.answers[f"{name} half a request, let go"] += len(held) - left
            if left:
                tally.findings[f"{name}: {left} that say no more are open after {within_s:.0f} s"] += 1


def _ended(connection: socket.socket, deadline_s: float) -> bool:
    connection.settimeout(max(0.05, deadline_s - time.monotonic()))
    with suppress(ConnectionError):
        try:
            while connection.recv(65536):
                pass
        except TimeoutError:
            return False
    return True
