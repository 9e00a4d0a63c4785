"""What libraries have to say, as lines of our own logs: who, how serious, where, and the type of an exception.

A library's message may quote what it was given: a value of a DICOM element, a row, a header. So none is written. A few
loggers build every message from a constant template and arguments; of those the template is kept, never the arguments.
Beside :mod:`logging` there are the places where Python itself would write a traceback: threads, objects that are
finalised, the end of the process, and warnings.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, Final

import structlog

from trabecula.telemetry.faults import describe_fault

EVENT: Final = "library"
CONSTANT_TEMPLATES: Final = frozenset({"psycopg", "psycopg.pool", "uvicorn.error"})
"""Loggers whose messages are constants of the library's source, at the levels that are let through; a test reads their
sources."""
ASYNCIO: Final = frozenset(
    {
        "Task exception was never retrieved",
        "Future exception was never retrieved",
        "Task was destroyed but it is pending!",
    }
)
"""First lines of asyncio's messages that are constants; what follows them is not."""
_QUIET: Final = ("pydicom", "highdicom")
"""They warn of values in single elements, and say which; the reader's refusals and warnings tell it in codes."""
_MOST: Final = 20
_WINDOW_S: Final = 60.0


class Flood:
    """Lets so many lines of one kind through in a window of time, and counts the rest.

    A client that sends rubbish must not fill the disk with lines about it.
    """

    def __init__(self, most: int = _MOST, window_s: float = _WINDOW_S) -> None:
        self._most = most
        self._window_s = window_s
        self._lock = threading.Lock()
        self._seen: dict[object, tuple[float, int]] = {}

    def passes(self, kind: object) -> int | None:
        """How many lines of this kind were held back in the window before, when this one may pass; else None."""
        now = time.monotonic()
        with self._lock:
            since, seen = self._seen.get(kind, (now, 0))
            if now - since < self._window_s:
                self._seen[kind] = (since, seen + 1)
                return 0 if seen < self._most else None
            self._seen[kind] = (now, 1)
            return max(0, seen - self._most)


class LibraryHandler(logging.Handler):
    """Turns a record into one structlog event. structlog itself must not write through :mod:`logging`."""

    def __init__(self, flood: Flood | None = None) -> None:
        super().__init__()
        self._flood = flood or Flood()

    def emit(self, record: logging.LogRecord) -> None:
        held_back = self._flood.passes((record.name, record.pathname, record.lineno))
        if held_back is not None:
            facts = facts_of(record) | ({"held_back": held_back} if held_back else {})
            structlog.get_logger().log(max(record.levelno, logging.DEBUG), EVENT, **facts)


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """What may be written of a record; free of the values that its message quotes."""
    facts: dict[str, Any] = {"logger": record.name, "where": f"{Path(record.pathname).name}:{record.lineno}"}
    if (message := _safe_message(record)) is not None:
        facts["message"] = message
    if record.exc_info and record.exc_info[1] is not None:
        facts["fault"] = describe_fault(record.exc_info[1])
    action = getattr(record, "action", None)  # procrastinate's code for what it was doing
    if record.name.partition(".")[0] == "procrastinate" and isinstance(action, str):
        facts["action"] = action
    return facts


def _safe_message(record: logging.LogRecord) -> str | None:
    text = record.msg if isinstance(record.msg, str) else ""
    if record.name in CONSTANT_TEMPLATES:
        return text.strip()
    first = text.partition("\n")[0]
    return first if record.name == "asyncio" and first in ASYNCIO else None


def route_library_logs(level: str) -> None:
    """Everything that libraries and Python itself would write goes through structlog; once for each process.

    Args:
        level: the program's own. Libraries are heard from ``warning`` on, with ``debug`` from ``info`` on.
    """
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, LibraryHandler)]:
        root.removeHandler(old)
    root.addHandler(LibraryHandler())
    root.setLevel(logging.INFO if wanted <= logging.DEBUG else max(wanted, logging.WARNING))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.showwarning = lambda _message, category, file, line, *_: _warned(category, file, line)
    sys.excepthook = lambda _kind, error, _trace: _uncaught("process", error)
    sys.unraisablehook = lambda args: _uncaught("finaliser", args.exc_value)
    threading.excepthook = lambda args: _uncaught("thread", args.exc_value)


def _warned(category: type[Warning], filename: str, lineno: int) -> None:
    structlog.get_logger().warning(EVENT, logger=category.__name__, where=f"{Path(filename).name}:{lineno}")


def _uncaught(place: str, error: BaseException | None) -> None:
    if error is not None and not isinstance(error, SystemExit):
        structlog.get_logger().error("uncaught", place=place, fault=describe_fault(error))
