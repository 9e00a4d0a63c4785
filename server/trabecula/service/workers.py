"""Which runner the settings ask for."""

from __future__ import annotations

import multiprocessing
from functools import partial

from trabecula.config import Settings
from trabecula.service.library_logs import route_library_logs
from trabecula.service.logs import configure_logs
from trabecula.work.process_runner import ProcessRunner
from trabecula.work.runner import Perform, Runner, ThreadRunner


def make_runner(settings: Settings) -> Runner:
    """Workers with the real engine; the models are loaded when the runner starts, in its own processes or threads."""
    make_perform = partial(_load_perform, settings)
    if settings.worker_kind == "thread":
        return ThreadRunner(make_perform, settings.workers)
    return ProcessRunner(make_perform, settings.workers, settings.worker_memory_bytes or None)


def _load_perform(settings: Settings) -> Perform:
    if multiprocessing.parent_process() is not None:  # a child starts with Python's own logs
        configure_logs(settings.log_level)
        route_library_logs(settings.log_level)
    # Imported here: with worker processes the service itself needs neither models nor onnxruntime.
    from trabecula.service.engine import load_perform

    return load_perform(settings)
