"""Ctrl-C and ``kill``: a command on the way ends soon, with the shell's exit code, and leaves nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from trabecula.outcome import Stage
from trabecula.progress import ProgressListener

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
GRACE_S: Final = 1.0
"""What the work has to end by itself. It cannot while native code computes: then the process ends without it."""
_SHOW_CURSOR: Final = "\x1b[?25h"


class Interruption:
    """What a signal asked for, and what has to be whole before it is done."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._held = False
        self._whole = threading.Lock()
        self._ended = threading.Event()
        self._partial: set[Path] = set()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """End here; the next signal ends the process at once."""
        self._asked = number
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        if not self._held:
            self.check()

    def check(self) -> None:
        """End when it was asked for: an exception raised in a destructor or a callback goes no further.

        Raises:
            SystemExit: with 130 for SIGINT and 143 for SIGTERM, as shells count.
        """
        if self._asked is not None:
            raise SystemExit(128 + self._asked)

    def between(self, listener: ProgressListener) -> ProgressListener:
        """The listener, asked between stages and tiles."""

        def tell(stage: Stage, fraction: float) -> None:
            self.check()
            listener(stage, fraction)

        return tell

    @contextmanager
    def whole_files(self, folder: Path) -> Iterator[Path]:
        """A folder to write into, whose files come into ``folder`` together at the end of the block, or not at all.

        Files of the same names are replaced. The folder is made when it is not there, and taken away again when the
        block fails.
        """
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        self._partial |= {partial, folder} if made else {partial}
        try:
            yield partial
            with self._undisturbed():
                for path in sorted(partial.iterdir()):
                    os.replace(path, folder / path.name)
                self._partial -= {partial, folder}
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if made:
                with suppress(OSError):
                    folder.rmdir()
            raise
        partial.rmdir()
        self.check()

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        with self._whole:
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def end(self) -> None:
        """The work has ended: nobody need end it."""
        self._ended.set()

    def watch(self, pipe: int) -> None:
        """End the process when the work does not: for a thread that reads the numbers of signals from a pipe."""
        while number := os.read(pipe, 1):
            if number[0] in STOPPING and not self._ended.wait(GRACE_S):
                with self._whole:
                    for folder in self._partial:
                        shutil.rmtree(folder, ignore_errors=True)
                    if sys.stderr.isatty():
                        sys.stderr.write(_SHOW_CURSOR)
                        sys.stderr.flush()
                    os._exit(128 + number[0])


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """SIGINT and SIGTERM end the block, also where SIGINT was inherited as ignored (a job in a script's background).

    Outside the main thread nothing changes: signals are not its own.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    wakes_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=interruption.watch, args=(reading,), name="interrupts", daemon=True)
    watcher.start()
    before = {each: signal.signal(each, interruption.handle) for each in STOPPING}
    try:
        yield interruption
        interruption.check()
    finally:
        interruption.end()
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(wakes_before)
        os.close(writing)  # the watcher reads to the end
        watcher.join()
        os.close(reading)
