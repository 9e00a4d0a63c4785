"""Loaded by every Python process that a fault test starts, through PYTHONPATH; the product knows nothing of it.

* A study whose DICOM preamble says ``POISON kill``, ``hang`` or ``bloat`` does that to the process that screens it.
* ``FAULT_STEPS``: the process counts its steps (each round trip to PostgreSQL, each fsync, rename, link and removal,
  before and after) and, at the step that the file ``FAULT_STEPS/die-at`` asks for, kills itself as ``kill -9`` does.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

MARK = b"POISON "
BLOAT_BYTES = 5 << 30
CHUNK_BYTES = 64 << 20


def poison(module: ModuleType) -> None:
    """Let screening do what a poisoned study does to it."""
    screen = module.screen

    def poisoned(paths: Sequence[Path], *arguments: Any, **options: Any) -> Any:
        order = _order(paths)
        if order == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == b"hang":
            time.sleep(3600)
        if order == b"bloat":
            # The machine is spared where nobody sets a limit: the study then ends as if nothing were wrong with it.
            hoard = [bytearray(b"\1") * CHUNK_BYTES for _ in range(BLOAT_BYTES // CHUNK_BYTES)]
            hoard.clear()
        return screen(paths, *arguments, **options)

    module.screen = poisoned  # type: ignore[attr-defined]


def _order(paths: Sequence[Path]) -> bytes:
    files = (each for path in paths for each in (path.iterdir() if path.is_dir() else (path,)))
    for path in files:
        with path.open("rb") as stream:
            start = stream.read(len(MARK) + 5)
        if start.startswith(MARK):
            return start[len(MARK) :].strip(b"\0")
    return b""


class Steps:
    """Counts what a crash could fall between, in this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}"
        self._count = 0

    def step(self, what: str) -> None:
        """One more; the last one of this life if it is the one asked for. Counts from the moment it is armed."""
        try:
            die_at = int((self._folder / "die-at").read_text())
        except (FileNotFoundError, ValueError):
            return
        self._count += 1
        with (self._folder / f"steps-{self._name}").open("a") as stream:
            stream.write(f"{what}\n")
        if self._count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, module: Any, name: str, what: str) -> None:
        plain = getattr(module, name)

        def stepped(*arguments: Any, **options: Any) -> Any:
            self.step(f"before {what}")
            answer = plain(*arguments, **options)
            self.step(f"after {what}")
            return answer

        setattr(module, name, stepped)

    def around_round_trips(self, module: ModuleType) -> None:
        kind = module.AsyncConnection
        plain = kind.wait

        async def stepped(connection: Any, *arguments: Any, **options: Any) -> Any:
            self.step("before round trip")
            answer = await plain(connection, *arguments, **options)
            self.step("after round trip")
            return answer

        kind.wait = stepped


class After(importlib.abc.MetaPathFinder):
    """Calls a function on modules once they are loaded."""

    def __init__(self, wanted: dict[str, Callable[[ModuleType], None]]) -> None:
        self._wanted = wanted

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self._wanted:
            return None
        act = self._wanted.pop(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_act(module: ModuleType) -> None:
            load(module)
            act(module)

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec


_wanted: dict[str, Callable[[ModuleType], None]] = {"trabecula.screening": poison}
if "FAULT_STEPS" in os.environ and "serve" in sys.orig_argv:
    _steps = Steps(Path(os.environ["FAULT_STEPS"]))
    for _name in ("fsync", "fdatasync", "rename", "replace", "link", "unlink", "remove"):
        _steps.around(os, _name, _name)
    _wanted["psycopg.connection_async"] = _steps.around_round_trips
sys.meta_path.insert(0, After(_wanted))
