"""Mutated messages and odd streams to every RPC of a live server."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import grpc
from fuzz_values import mutate_bytes
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from trabecula.v1 import admin_pb2, screening_pb2

HANG_S: Final = 10.0
LONG_S: Final = {"BackupDatabase": 60.0}
"""It waits for PostgreSQL's own program, which starts anew each time."""
NEVER: Final = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
LEFT_OUT: Final = frozenset({"RestoreDatabase", "UpgradeDatabase"})
"""They are for a service that does not run; their refusal has tests of its own."""
_TEXTS: Final = (
    "", "x", "\x00", "é😀\u202e", "a" * 200, "a" * 70_000, "00000000-0000-0000-0000-000000000000",
    "../../etc/passwd", "%00",
    "' OR 1=1 --", "019a0000-0000-7000-8000-000000000000", "\r\n", "\u0000" * 5, "{}", "-1", "e30.e30.e30",
    "backup.tar",
)  # fmt: skip
_NUMBERS: Final = (
    0,
    1,
    2,
    3,
    5,
    50,
    200,
    201,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    -1,
    -(2**31),
    -(2**63),
    2**64 - 1,
)
_FLOATS: Final = (0.0, -1.0, 70.0, 1e308, -1e308, float("nan"), float("inf"), 5e-324)


@dataclass
class WireTally:
    """What was counted."""

    calls: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def add(self, what: str, code: grpc.StatusCode, seconds: float, detail: str = "") -> None:
        self.calls += 1
        self.codes[f"{what} {code.name}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        if code in NEVER:
            self.findings[f"{what}: {code.name} {detail[:80]}"] += 1
        limit_s = LONG_S.get(what, HANG_S)
        if seconds > limit_s:
            self.findings[f"{what}: no answer in {limit_s:.0f} s"] += 1


def methods(*modules: Any) -> list[MethodDescriptor]:
    """Every RPC."""
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    return [method for service in services for method in service.methods if method.name not in LEFT_OUT]


def random_message(kind: type[Message], random: Random, known: Iterable[str] = (), depth: int = 0) -> Message:
    """A message with odd values in some of its fields."""
    message = kind()
    for each in message.DESCRIPTOR.fields:
        if random.random() < 0.4 or depth > 4:
            continue
        count = random.choice((1, 1, 2, 300)) if each.is_repeated else 1
        values = [_value(each, random, known, depth) for _ in range(count)]
        try:
            if each.message_type is not None and each.message_type.GetOptions().map_entry:
                continue
            if each.is_repeated:
                getattr(message, each.name).extend(values)
            elif each.message_type is not None:
                getattr(message, each.name).CopyFrom(values[0])
            else:
                setattr(message, each.name, values[0])
        except (ValueError, TypeError, OverflowError, UnicodeEncodeError):
            continue
    return message


def _value(each: FieldDescriptor, random: Random, known: Iterable[str], depth: int) -> Any:
    if each.message_type is not None:
        return random_message(GetMessageClass(each.message_type), random, known, depth + 1)
    if each.type == FieldDescriptor.TYPE_STRING:
        return random.choice((*_TEXTS, *known, *known))
    if each.type == FieldDescriptor.TYPE_BYTES:
        return random.randbytes(random.choice((0, 1, 32, 5000)))
    if each.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return random.choice(_FLOATS)
    if each.type == FieldDescriptor.TYPE_BOOL:
        return random.random() < 0.5
    return random.choice(_NUMBERS) if random.random() < 0.6 else random.randrange(9)


async def fuzz_rpcs(address: str, admin_address: str, seed: int, calls: int) -> WireTally:
    """Odd messages to every RPC, then streams of uploads out of order."""
    tally, random = WireTally(), Random(f"grpc {seed}")
    known: list[str] = []
    async with grpc.aio.insecure_channel(address) as channel, grpc.aio.insecure_channel(admin_address) as admin:
        places = [(channel, each) for each in methods(screening_pb2)] + [(admin, each) for each in methods(admin_pb2)]
        for number in range(calls):
            if number % 3 == 0:
                await _upload(channel, random, tally, known)
            else:
                await _call(*random.choice(places), random, tally, known)
    return tally


async def _call(channel: Any, method: MethodDescriptor, random: Random, tally: WireTally, known: list[str]) -> None:
    data = random_message(GetMessageClass(method.input_type), random, known[-20:]).SerializeToString()
    if random.random() < 0.35:
        data = mutate_bytes(data, random)
    path = f"/{method.containing_service.full_name}/{method.name}"
    kind = "stream" if method.client_streaming else "unary"
    answer = "stream" if method.server_streaming else "unary"
    stub = getattr(channel, f"{kind}_{answer}")(path)
    started = time.monotonic()
    request: Any = _pieces([data] * random.choice((0, 1, 2))) if method.client_streaming else data
    metadata = _metadata(random)
    call = stub(request, timeout=LONG_S.get(method.name, HANG_S) + 5, metadata=metadata)
    await _finish(call, method.server_streaming, method.name, tally, started, random)


def _metadata(random: Random) -> list[tuple[str, str | bytes]]:
    """Headers: mostly none, else odd ones."""
    if random.random() < 0.8:
        return []
    return [
        random.choice((
            ("authorization", "Bearer " + "a" * 3000), ("authorization", "Basic YTpi"), ("x-odd-bin", b"\x00\xff" * 50),
            ("traceparent", "00-zz-zz-01"), ("x-request-id", "a" * 5000), ("grpc-tags-bin", b"\xff"), ("user-agent",
            "odd/1"),
        ))
    ]  # fmt: skip


async def _pieces(data: list[bytes], pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for each in data:
        yield each
        if pause_s:
            await asyncio.sleep(pause_s)


async def _finish(call: Any, streams: bool, what: str, tally: WireTally, started: float, random: Random) -> Any:
    found, seen = None, 0
    try:
        if streams:
            async for _ in call:
                seen += 1
                if seen > 200 or random.random() < 0.02:
                    call.cancel()
        else:
            found = await call
        code, detail = await call.code(), ""
    except grpc.aio.AioRpcError as error:
        code, detail = error.code(), error.details() or ""
    except asyncio.CancelledError:
        code, detail = grpc.StatusCode.CANCELLED, ""
    except grpc.aio.UsageError:
        code, detail = grpc.StatusCode.ABORTED, ""
    tally.add(what, code, time.monotonic() - started, detail)
    return found if code is grpc.StatusCode.OK else None


async def _upload(channel: Any, random: Random, tally: WireTally, known: list[str]) -> None:
    """A study whose stream is wrong in one way or another, or right."""
    stream = _study(random)
    how = random.randrange(12)
    header, chunks = stream[0], stream[1:]
    if how == 0:
        stream = [*chunks, header]
    elif how == 1:
        stream = [header, header, *chunks]
    elif how == 2 and chunks:
        stream = [header, *chunks, chunks[-1]]
    elif how == 3:
        stream = [header, *random.sample(chunks, len(chunks))]
    elif how == 4:
        stream = stream[: random.randrange(len(stream) + 1)]
    elif how == 5:
        stream = [header, screening_pb2.SubmitStudyRequest(), *chunks]
    elif how == 6:
        odd = random_message(screening_pb2.SubmitStudyRequest, random, known[-5:])
        stream.insert(random.randrange(len(stream) + 1), odd)
    elif how == 7:
        for each in random.sample(chunks, min(2, len(chunks))):
            each.chunk.CopyFrom(random_message(screening_pb2.InstanceChunk, random))
    elif how == 8:
        header.header.CopyFrom(random_message(screening_pb2.StudyHeader, random, known[-5:]))
    data = [each.SerializeToString() for each in stream]
    if how == 9 and data:
        at = random.randrange(len(data))
        data[at] = mutate_bytes(data[at], random)
    stub = channel.stream_unary(f"/{screening_pb2.DESCRIPTOR.package}.ScreeningService/SubmitStudy")
    started = time.monotonic()
    call = stub(_pieces(data, 0.002 if how == 10 else 0.0), timeout=HANG_S + 5)
    if how == 10:
        asyncio.get_running_loop().call_later(random.uniform(0, 0.02), call.cancel)
    answer = await _finish(call, False, "SubmitStudy", tally, started, random)
    if isinstance(answer, bytes):
        known.append(screening_pb2.SubmitStudyResponse.FromString(answer).screening_id)


def _study(random: Random) -> list[screening_pb2.SubmitStudyRequest]:
    """A small study as its messages; what the stand-in does with it is in its first line."""
    order = random.choice((b"report", b"report", b"refuse", b"text", b"bug"))
    files = [
        (order + b"\n" + random.randbytes(8)).ljust(random.choice((40, 400, 5000)), b".")
        if random.random() < 0.95
        else b""
        for _ in range(random.choice((1, 1, 2, 5)))
    ]
    header = screening_pb2.SubmitStudyRequest()
    header.header.idempotency_key = random.choice(("", "again", f"key-{random.getrandbits(40)}", "k" * 128))
    header.header.expected_instances = len(files)
    header.header.total_bytes = sum(map(len, files))
    header.header.want_masks = random.random() < 0.3
    messages = [header]
    for index, content in enumerate(files):
        cut = random.randrange(len(content) + 1)
        for start, piece in ((0, content[:cut]), (cut, content[cut:])):
            message = screening_pb2.SubmitStudyRequest()
            chunk = message.chunk
            chunk.instance_index, chunk.offset, chunk.data = index, start, piece
            if start == cut and (cut or piece is not content[:cut]):
                chunk.last = True
                chunk.sha256 = hashlib.sha256(content).digest()
            messages.append(message)
    return messages
