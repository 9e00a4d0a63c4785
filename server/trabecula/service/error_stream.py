"""Standard error as JSON lines, whoever writes there.

Libraries written in C (gRPC, ONNX Runtime, codecs, the C library) write to file descriptor 2 and know nothing of
Python's logs; so do the worker's children. While :func:`json_lines_only` lasts, descriptor 2 is a pipe, and a thread
turns what comes out of it into JSON lines on the real standard error: a line that is one of our own events passes as
it is, of any other only its origin and size are told, for it may quote what the library was given.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from trabecula.service.library_logs import Flood

LONGEST_LINE_BYTES: Final = 64 * 1024
PIPE_BYTES: Final = 1024 * 1024
"""Room for what is written while the thread cannot run; who finds it full waits."""
_ABSL: Final = re.compile(rb"([IWEF])\d{4} +[\d:.]+ +\d+ ([\w./-]{1,80}:\d{1,6})\] ")
"""gRPC's core: severity, date, time, thread, place (https://abseil.io/docs/cpp/guides/logging)."""
_ONNX: Final = re.compile(rb"[-\d:. ]+\[([VIWEF]):onnxruntime[^,]{0,80}, ([\w./-]{1,80}:\d{1,6}) ")
_NATIVE: Final = (("grpc", _ABSL), ("onnxruntime", _ONNX))
_LEVELS: Final = {b"V": "debug", b"I": "info", b"W": "warning", b"E": "error", b"F": "critical"}


@contextmanager
def json_lines_only() -> Iterator[TextIO]:
    """The stream for our own events; everything else that is written to standard error meanwhile becomes JSON."""
    sys.stderr.flush()
    real = os.dup(2)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.dup2(writing, 2)
    os.close(writing)
    thread = threading.Thread(target=_pump, args=(reading, real), name="standard error", daemon=True)
    thread.start()
    # Left open: what ends the process is told after the block.
    stream = os.fdopen(os.dup(real), "w", encoding="utf-8", errors="replace")
    try:
        yield stream
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)  # the pipe's last writer here; a child that still holds it is not waited for long
        thread.join(1.0)


def _pump(reading: int, real: int) -> None:
    flood = Flood()
    with os.fdopen(reading, "rb") as lines:
        while line := lines.readline(LONGEST_LINE_BYTES):
            if (event := as_event(line, flood)) is not None:
                with suppress(OSError):  # nobody reads our standard error: the service goes on
                    os.write(real, event)


def as_event(line: bytes, flood: Flood) -> bytes | None:
    """The JSON line for what somebody wrote to standard error; None for an empty one, or one of too many."""
    text = line.strip()
    if not text:
        return None
    if _is_event(text):
        return text + b"\n"
    facts = _origin(text)
    held_back = flood.passes((facts.get("logger"), facts.get("where")))
    if held_back is None:
        return None
    facts |= {"held_back": held_back} if held_back else {}
    facts["timestamp"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps(facts).encode() + b"\n"


def _is_event(text: bytes) -> bool:
    """One of our own, from a child of ours."""
    if not text.startswith(b"{"):
        return False
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return isinstance(found, dict) and {"event", "level", "timestamp"} <= found.keys()


def _origin(text: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {"event": "library", "level": "warning", "logger": "stderr", "bytes": len(text)}
    for name, pattern in _NATIVE:
        if (found := pattern.match(text)) is not None:
            where = found[2].decode().rpartition("/")[2]
            return facts | {"logger": name, "level": _LEVELS[found[1]], "where": where}
    return facts
