"""One study from reference to result row, in a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trabecula.archive.fetch import Fetch
from trabecula.archive.pseudonyms import Pseudonyms
from trabecula.archive.reference import Reference
from trabecula.archive.results import StudyResult, Versions, study_result
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.runner import ScreenFunction

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"
"""proc(5): resets VmHWM."""


@dataclass(frozen=True)
class ReadStudy:
    """What a worker does with a reference; loaded once in each worker process."""

    screen: ScreenFunction
    fetch: Fetch
    versions: Versions
    pseudonyms: Pseudonyms
    models: tuple[ModelLoaded, ...] = ()

    def __call__(self, reference: Reference, progress: ProgressListener) -> StudyResult:
        reset_peak()
        with self.fetch.files(reference) as paths:
            screening = self.screen(paths, PatientContext(), progress, keep_anatomy=False)
        return study_result(screening.report, reference, self.versions, self.pseudonyms, peak_bytes())


MakeReadStudy = Callable[[], ReadStudy]
"""Loads the models; picklable, as it is called in each worker process."""


def reset_peak() -> None:
    """Forget the largest resident size so far, where the system can."""
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return


def peak_bytes() -> int | None:
    """The largest resident size of this process since :func:`reset_peak`; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else int(found) * 1024
