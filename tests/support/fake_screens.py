"""Stand-ins for the screening chain, so that the service can be tested without models.

What the fake does is asked for by the files it is given: their first line is an order.
Importable by worker processes too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from trabecula.errors import NoDicomFound
from trabecula.outcome import Stage
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener
from trabecula.report import Screening
from trabecula.work.records import DocumentKind, Job
from trabecula.work.runner import Completion, Perform, perform

CANARY = "CANARY^PATIENT"
"""Stands for patient data in a message that must not leak."""


def fake_screen(
    paths: Sequence[Path], patient: PatientContext, progress: ProgressListener, *, keep_anatomy: bool
) -> Screening:
    """Do what the first file says: ``report`` (default), ``refuse``, ``brief`` (a second), ``slow`` (many), ``silent``
    (many without a word), ``text``, ``bug``, ``crash``, ``greedy`` (ever more memory), ``gulp`` (much at once) or
    ``crash-once <path>``, which leaves a file there."""
    first = min(paths[0].iterdir()) if paths[0].is_dir() else paths[0]
    order = first.read_bytes().split(b"\n")[0].decode(errors="replace")
    if order == "text":
        raise NoDicomFound
    if order == "bug":
        raise ValueError(f"cannot read {CANARY}")
    if order == "crash":
        os._exit(139)
    if order == "greedy":
        taken = []
        while True:
            taken.append(os.urandom(16 << 20))
            time.sleep(0.02)
    if order == "gulp":
        return bytearray(8 << 30)  # type: ignore[return-value]
    if order.startswith("crash-once ") and not Path(order.removeprefix("crash-once ")).exists():
        Path(order.removeprefix("crash-once ")).touch()
        os._exit(139)
    if order == "silent":
        time.sleep(30)
    rounds = {"slow": 400, "brief": 25}.get(order, 2)
    for stage in (Stage.IMAGING, Stage.SEGMENTATION):
        for step in range(rounds + 1):
            progress(stage, step / rounds)
            if rounds > 2:
                time.sleep(0.02)
    import report_samples

    report = report_samples.refused() if order == "refuse" else report_samples.reported()
    screening = report_samples.screening(replace(report, patient=patient))
    evidence = screening.evidence
    return replace(screening, evidence=evidence if keep_anatomy else replace(evidence, anatomy=None))


def make_fake_perform() -> Perform:
    """What a runner loads."""
    from trabecula.outputs.r4 import FhirOptions

    return partial(perform, fake_screen, FhirOptions())


def _perform_with_an_empty_bundle(job: Job, progress: ProgressListener) -> Completion:
    screening = fake_screen(job.instances, job.patient, progress, keep_anatomy=False)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": []}
    (job.results / DocumentKind.BUNDLE_JSON.value).write_text(json.dumps(bundle))
    return Completion(screening.report.status, (DocumentKind.BUNDLE_JSON,), screening.report)


def make_light_perform() -> Perform:
    """What a worker process loads quickly."""
    return _perform_with_an_empty_bundle
