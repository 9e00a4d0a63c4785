"""A worker that does what the fuzzer must notice. Importable by worker processes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict

from fuzz_judge import VERDICT, Verdict

from trabecula.progress import ProgressListener
from trabecula.report import ReportStatus
from trabecula.work.records import Job
from trabecula.work.runner import Completion, Perform


def make_perform() -> Perform:
    return _perform


def _perform(job: Job, _progress: ProgressListener) -> Completion:
    order = job.instances[0].read_bytes()
    if order == b"crash":
        os.abort()
    if order == b"hang":
        time.sleep(60)
    if order == b"bug":
        raise IndexError
    (job.results / VERDICT).write_text(json.dumps(asdict(Verdict("volume"))))
    return Completion(ReportStatus.REPORTED, (), None)  # type: ignore[arg-type]
