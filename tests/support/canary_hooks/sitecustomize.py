"""Loaded through PYTHONPATH by the service that the canary test starts: lets libraries misbehave with patient data.

A study whose DICOM preamble says ``CANARY raise``, ``noise`` or ``kill`` makes the screening raise a foreign exception
that quotes the study, lets libraries complain on every channel there is, or kills the process.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

MARK = b"CANARY "
QUOTED = "QZFAMILY^QZGIVEN^QZMIDDLE 19470811 QZPID-0815"


def spoil(module: ModuleType) -> None:
    screen = module.screen

    def spoiled(paths: Sequence[Path], *arguments: Any, **options: Any) -> Any:
        order = _order(paths)
        if order == b"raise":
            try:
                raise KeyError(QUOTED)
            except KeyError as error:
                raise ValueError(f"invalid value for VR PN: {QUOTED}") from error
        if order == b"noise":
            _complain()
        if order == b"kill":
            _complain()
            os.kill(os.getpid(), signal.SIGSEGV)
        return screen(paths, *arguments, **options)

    module.screen = spoiled  # type: ignore[attr-defined]


def _complain() -> None:
    """What decoders and libraries do."""
    for name in ("pydicom", "highdicom", "a.library.nobody.thought.of"):
        logging.getLogger(name).error("cannot decode %s", QUOTED)
    warnings.warn(f"invalid value for VR PN: {QUOTED}", UserWarning, stacklevel=1)
    print(QUOTED, flush=True)
    os.write(2, f"Error: 0010,0010 {QUOTED}\n".encode())


def _order(paths: Sequence[Path]) -> bytes:
    for path in (each for given in paths for each in (given.iterdir() if given.is_dir() else (given,))):
        with path.open("rb") as stream:
            start = stream.read(64)
        if start.startswith(MARK):
            return start[len(MARK) :].partition(b"\0")[0]
    return b""


class After(importlib.abc.MetaPathFinder):
    """Calls a function on a module once it is loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != "trabecula.screening":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_spoil(module: ModuleType) -> None:
            load(module)
            spoil(module)

        spec.loader.exec_module = load_and_spoil  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, After())
