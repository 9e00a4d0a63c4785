"""A wall clock that the test can let jump in one process and no other."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shift.c")


class Clock:
    """The clock of the processes that are started with :attr:`environment`."""

    def __init__(self, folder: Path) -> None:
        self._library = folder / "clock_shift.so"
        self._file = folder / "clock_shift"
        self.set_shift(0.0)
        self._file.chmod(0o644)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self._library, SOURCE], check=True)

    @staticmethod
    def possible() -> bool:
        return shutil.which("cc") is not None

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CLOCK_SHIFT_FILE": str(self._file)}

    def set_shift(self, shift_s: float) -> None:
        """How far the clock is ahead of the real one from now on."""
        mode = "r+b" if self._file.exists() else "wb"
        with self._file.open(mode) as stream:
            stream.write(struct.pack("=q", int(shift_s * 1e9)))
