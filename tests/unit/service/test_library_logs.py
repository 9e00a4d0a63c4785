"""Lines of libraries: origin, severity, type of fault; never a value."""

from __future__ import annotations

import ast
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from trabecula.service.error_stream import as_event
from trabecula.service.library_logs import ASYNCIO, CONSTANT_TEMPLATES, Flood, LibraryHandler

CANARY = "CANARY^PATIENT"


@pytest.fixture
def handler() -> Iterator[LibraryHandler]:
    made = LibraryHandler()
    root = logging.getLogger()
    root.addHandler(made)
    yield made
    root.removeHandler(made)


@pytest.mark.usefixtures("handler")
def test_a_foreign_message_is_not_written() -> None:
    with capture_logs() as said:
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("some.library").exception(f"cannot read {CANARY}: %s", CANARY)
    assert CANARY not in json.dumps(said)
    assert said[0]["logger"] == "some.library"
    assert said[0]["log_level"] == "error"
    assert said[0]["fault"].startswith("ValueError test_library_logs.py:")


@pytest.mark.usefixtures("handler")
def test_a_constant_template_is_written_without_its_arguments() -> None:
    with capture_logs() as said:
        logging.getLogger("psycopg").warning("error ignored in rollback on %s: %s", CANARY, CANARY)
    assert said[0]["message"] == "error ignored in rollback on %s: %s"
    assert CANARY not in json.dumps(said)


@pytest.mark.usefixtures("handler")
def test_of_asyncio_only_known_first_lines_are_written() -> None:
    with capture_logs() as said:
        logging.getLogger("asyncio").error(f"{next(iter(ASYNCIO))}\nfuture: <Task {CANARY}>")
        logging.getLogger("asyncio").error(f"Exception in callback f({CANARY!r})")
    assert said[0]["message"] in ASYNCIO
    assert "message" not in said[1]
    assert CANARY not in json.dumps(said)


@pytest.mark.usefixtures("handler")
def test_a_flood_of_one_line_is_held_back_and_counted() -> None:
    with capture_logs() as said:
        for _ in range(100):
            logging.getLogger("flooding").warning("again")
    assert len(said) == 20


def test_the_next_window_tells_how_many_were_held_back() -> None:
    flood = Flood(most=2, window_s=0.0)
    assert flood.passes("a") == 0
    flood = Flood(most=2, window_s=1e9)
    assert [flood.passes("a") for _ in range(4)] == [0, 0, None, None]
    flood._window_s = 0.0
    assert flood.passes("a") == 2


def test_loggers_whose_templates_are_kept_build_none_from_values() -> None:
    """Reads the installed libraries: a new version that formats values into its messages fails here."""
    for library in sorted({name.partition(".")[0] for name in CONSTANT_TEMPLATES} | {"psycopg_pool"}):
        spec = find_spec(library)
        if spec is None or not spec.submodule_search_locations:
            continue
        for path in Path(spec.submodule_search_locations[0]).rglob("*.py"):
            if library == "uvicorn" and "protocols" not in path.parts and path.name != "server.py":
                continue  # its own command line and supervisors, which are not used
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and _is_log_call(call):
                    made = call.args[0]
                    joined = isinstance(made, ast.BinOp) and isinstance(made.op, ast.Mod)
                    assert not joined, f"{path}:{call.lineno}"
                    assert not isinstance(made, ast.JoinedStr | ast.Call), f"{path}:{call.lineno}"


def _is_log_call(call: ast.Call) -> bool:
    name = call.func
    levels = ("warning", "error", "exception", "critical")
    return isinstance(name, ast.Attribute) and name.attr in levels and "logger" in ast.unparse(name.value).lower()


@pytest.mark.parametrize(
    ("line", "logger", "level", "where"),
    [
        (b"E0000 00:00:1763860852.038791   24 security.cc:1884] x", "grpc", "error", "security.cc:1884"),
        (b"2026-11-23 01:02:03.4 [W:onnxruntime:, graph.cc:12 Func] x", "onnxruntime", "warning", "graph.cc:12"),
        (b"free(): invalid pointer", "stderr", "warning", None),
        (b'{"PatientName": "x"}', "stderr", "warning", None),
        (b"{not json", "stderr", "warning", None),
        (b"\xff\xfe\x00 bytes", "stderr", "warning", None),
    ],
)  # fmt: skip
def test_a_native_line_tells_its_origin(line: bytes, logger: str, level: str, where: str | None) -> None:
    made = as_event(line + CANARY.encode() + b"\n", Flood())
    assert made is not None
    event = json.loads(made)
    assert (event["logger"], event["level"], event.get("where")) == (logger, level, where)
    assert CANARY.encode() not in made


def test_our_own_event_passes_as_it_is() -> None:
    line = b'{"event": "x", "level": "info", "timestamp": "2026-11-23T00:00:00Z", "n": 1}\n'
    assert as_event(line, Flood()) == line
    assert as_event(b"\n", Flood()) is None


def test_what_descriptor_2_gets_from_anybody_is_json() -> None:
    """A child, raw writes, a traceback of a thread, and an end by an exception."""
    program = f"""
import os, sys, subprocess, threading, warnings
from trabecula.service.error_stream import json_lines_only
from trabecula.service.logs import configure_logs
from trabecula.service.library_logs import route_library_logs
with json_lines_only() as stream:
    configure_logs("info", stream)
    route_library_logs("info")
    os.write(2, b"native {CANARY}\\n")
    print("printed {CANARY}", file=sys.stderr)
    subprocess.run([sys.executable, "-c", "1/0 # {CANARY}"])
    warnings.warn("about {CANARY}")
    thread = threading.Thread(target=lambda: int("{CANARY}"))
    thread.start()
    thread.join()
    class Final:
        def __del__(self):
            raise ValueError("{CANARY}")
    Final()
    raise KeyError("{CANARY}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert CANARY not in done.stderr
    assert done.returncode == 1
    assert {each.get("place") for each in found} >= {"thread", "finaliser", "process"}
    assert "UserWarning" in {each.get("logger") for each in found}
    assert sum(each.get("logger") == "stderr" for each in found) >= 3


def test_somebody_elses_json_does_not_pass() -> None:
    made = as_event(json.dumps({"PatientName": CANARY}).encode() + b"\n", Flood())
    assert made is not None
    assert CANARY.encode() not in made
    assert json.loads(made)["logger"] == "stderr"
