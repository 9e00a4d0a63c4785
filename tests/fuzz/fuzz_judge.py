"""What reading a mutated study may come to. Runs in the worker process, on the product's own functions."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_seeds import SIDE, seed

from trabecula.errors import TrabeculaError
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, StudyRefused
from trabecula.progress import ProgressListener
from trabecula.report import ReportStatus
from trabecula.service.dimse.reception import read_instance
from trabecula.work.documents import DicomSource, write_documents
from trabecula.work.records import Job, Source
from trabecula.work.runner import Completion, Perform

VERDICT, QUESTION = "verdict.json", "question.json"
LIMITS = ImagingLimits(threads=1)
_TOLD = frozenset(
    {
        "instances-dropped", "slices-damaged", "end-slices-dropped", "duplicate-positions", "duplicate-instances",
        "other-objects-ignored", "series-not-decodable",
    }
)  # fmt: skip
"""Notices that say that something of the study is not in the volume."""


@dataclass
class Verdict:
    """What became of one study."""

    outcome: str = ""
    doors: dict[str, int] = field(default_factory=dict)
    """Answers of the check at the door (C-STORE, STOW), by code."""
    breaches: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    """Processor time of this process."""
    peak_bytes: int = 0


def make_perform(quiet: bool = True) -> Perform:
    """What the campaign's worker does: doors, reading, and documents where asked for."""
    if quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg writes there whatever one asks of it
    import report_samples  # noqa: F401 - with what writes documents, so that no study is charged for the import

    import trabecula.outputs.dicom
    import trabecula.outputs.page
    import trabecula.outputs.r4  # noqa: F401

    return _perform


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} in a document")


def _perform(job: Job, progress: ProgressListener) -> Completion:
    question = json.loads((job.results / QUESTION).read_text())
    verdict, mutated = Verdict(), set(question["mutated"])
    started = time.process_time()
    try:
        for index in sorted(mutated):
            code = _at_the_door(job.instances[index])
            verdict.doors[code] = verdict.doors.get(code, 0) + 1
        found = read_study(job.instances, LIMITS, progress)
        verdict.outcome = "volume" if isinstance(found, CtStudy) else f"refused: {found.refusals[0].code}"
        verdict.breaches += breaches(found, question["base"], mutated, len(job.instances))
        if question["documents"]:
            _write(found, job)
    finally:
        _end(verdict, job, started)
    return Completion(ReportStatus.REPORTED, (), None)  # type: ignore[arg-type]


def _end(verdict: Verdict, job: Job, started: float) -> None:
    verdict.slowest_s = time.process_time() - started
    verdict.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (job.results / VERDICT).write_text(json.dumps(asdict(verdict)))


def _at_the_door(path: Path) -> str:
    """The check that C-STORE and STOW make of an instance."""
    try:
        read_instance(path.read_bytes(), Source.DIMSE, LIMITS)
    except TrabeculaError as error:
        return error.code
    return "taken"


def breaches(found: CtStudy | StudyRefused, base: str, mutated: set[int], files: int) -> list[str]:
    """In words, what is half or wrong about a result: pixels that are nobody's, slices that went without a word, values
    that cannot be written."""
    wrong = [] if _is_plain(found) else ["a value is not finite, or no text"]
    if isinstance(found, StudyRefused):
        return wrong + ([] if found.refusals else ["refused without a reason"])
    hu, geometry = found.volume.hu, found.volume.geometry
    if hu.shape != geometry.shape or hu.dtype != np.int16 or hu.flags.writeable:
        wrong.append("volume and geometry do not fit")
    if not np.isfinite(geometry.affine).all() or min(geometry.spacing_mm) <= 0:
        wrong.append("geometry without a size")
    told = any(notice.code in _TOLD for notice in found.notices) or len(found.candidates) > 1
    truth = seed(base).hu
    if base.startswith("enhanced") or truth is None or hu.shape[1:] != (SIDE, SIDE):
        return wrong
    if len(hu) < files and not told:
        wrong.append(f"{files - len(hu)} instance(s) vanished without a word")
    known = {plane.tobytes(): k for k, plane in enumerate(truth)}
    places = [known.get(plane.tobytes()) for plane in hu]
    strange = sum(place is None for place in places)
    if strange > len(mutated):
        wrong.append(f"{strange} slices have other pixels, and {len(mutated)} instances were mutated")
    intact = [place for place in places if place is not None and place not in mutated]
    if intact != sorted(intact):
        wrong.append("sound slices are out of order")
    return wrong


def _is_plain(value: Any) -> bool:
    """Whether a result can be written as JSON in UTF-8 without NaN."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, tuple | list):
        return all(_is_plain(each) for each in value)
    if hasattr(value, "__dataclass_fields__"):
        return all(_is_plain(getattr(value, name)) for name in value.__dataclass_fields__)
    return True


def _write(found: CtStudy | StudyRefused, job: Job) -> None:
    """Every document, with what the headers said; anatomy and measurements are those of a sample."""
    import report_samples as samples

    from trabecula.assembly import with_identity
    from trabecula.outputs.dicom import DicomOptions
    from trabecula.outputs.r4 import FhirOptions

    if isinstance(found, StudyRefused):
        report = replace(samples.refused(), study=found.identity, refusals=found.refusals)
    else:
        patient = with_identity(job.patient, found.identity)
        report = replace(samples.reported(), study=found.identity, patient=patient, acquisition=found.acquisition)
    report = replace(report, series=found.candidates, notices=found.notices)
    screening = samples.screening(report)
    options: Callable[..., Any] = FhirOptions
    write_documents(screening, job.results, options())
    for path in job.results.glob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    refused = replace(screening, evidence=replace(screening.evidence, anatomy=None))
    write_documents(refused, job.results, options(), dicom=DicomSource(job.instances, DicomOptions(), LIMITS))
