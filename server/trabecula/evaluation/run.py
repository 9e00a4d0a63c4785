"""All cases of a folder, one after the other, with results on disk after each."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from trabecula import __version__
from trabecula.errors import InvalidCase
from trabecula.evaluation.case import Case, CaseInfo, find_case_folders, open_case
from trabecula.evaluation.models import Judged
from trabecula.evaluation.pictures import draw_case
from trabecula.evaluation.results import (
    RESULTS_VERSION,
    CaseResult,
    EvaluationResults,
    Machine,
    Outcome,
    from_json,
    to_json,
)
from trabecula.evaluation.score import Scored, evaluate_case, failed
from trabecula.progress import ProgressListener

RESULTS_FILE: Final = "results.json"
PICTURES_FOLDER: Final = "pictures"

CaseListener = Callable[[int, int, str], ProgressListener]
"""Called at the start of each case with its number from 1, their count and its name; gives the listener of its
segmentation."""
DoneListener = Callable[[CaseResult, bool], None]
"""Called with each result, and whether it was kept from an earlier run."""


def evaluate(
    root: Path,
    judged: Judged,
    out: Path | None,
    started: CaseListener,
    done: DoneListener,
    *,
    limit: int | None = None,
    resume: bool = False,
) -> EvaluationResults:
    """Evaluate every case below ``root`` in the order of their folders' names.

    Args:
        root: folder of case folders.
        judged: the loaded chain.
        out: where ``results.json`` (written anew after each case) and ``pictures/`` go; None writes nothing.
        started, done: told about each case.
        limit: no more cases than this.
        resume: keep results in ``out`` that came from the same models, software and clinical data and whose case is
            unchanged; failed ones are tried again.

    Raises:
        NoCasesFound: if there is no case.
        InvalidReport: if ``resume`` is asked for and ``results.json`` cannot be read.
        OSError: if ``out`` does not take the files.
    """
    folders = find_case_folders(root)[:limit]
    results = _empty(judged)
    kept = _earlier(out, results) if resume and out is not None else {}
    if out is not None:
        (out / PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)
    for number, folder in enumerate(folders, start=1):
        listener = started(number, len(folders), folder.name)
        result = _case(folder, judged, out, kept, listener)
        results = replace(results, cases=(*results.cases, result), created_at=_now())
        if out is not None:
            _write(results, out)
        done(result, result is kept.get(folder.name))
    return results


def _case(
    folder: Path, judged: Judged, out: Path | None, kept: dict[str, CaseResult], listener: ProgressListener
) -> CaseResult:
    try:
        case = open_case(folder)
    except InvalidCase as error:
        return failed(Case(folder, CaseInfo()), error)
    before = kept.get(folder.name)
    if before is not None and before.fingerprint == case.fingerprint():
        return before
    scored = evaluate_case(case, judged, listener)
    return scored.result if out is None else _with_pictures(scored, out)


def _with_pictures(scored: Scored, out: Path) -> CaseResult:
    pictures = draw_case(scored, out / PICTURES_FOLDER, scored.result.folder)
    return replace(scored.result, pictures=pictures)


def _earlier(out: Path, now: EvaluationResults) -> dict[str, CaseResult]:
    """Results of an earlier run that may be kept, by the case's folder."""
    path = out / RESULTS_FILE
    if not path.is_file():
        return {}
    before = from_json(path.read_bytes())
    if _identity(before) != _identity(now):
        return {}
    return {
        case.folder: case
        for case in before.cases
        if case.outcome is not Outcome.FAILED and all((out / picture.file).is_file() for picture in case.pictures)
    }


def _identity(results: EvaluationResults) -> tuple[object, ...]:
    """What must be the same for results to go into one file."""
    models = sorted((model.purpose, model.sha256, model.provider) for model in results.models)
    versions = (results.schema_version, results.software_version, results.clinical_data_version)
    return (*versions, round(results.flag_below, 4), models)


def _empty(judged: Judged) -> EvaluationResults:
    return EvaluationResults(
        schema_version=RESULTS_VERSION,
        software_version=__version__,
        clinical_data_version=judged.constants.version,
        created_at=_now(),
        models=(*judged.uses, judged.calibration.use),
        machine=Machine(f"{platform.system()} {platform.machine()}", os.cpu_count() or 1, judged.runtime.threads),
        flag_below=judged.flag_below,
        cases=(),
    )


def _write(results: EvaluationResults, out: Path) -> None:
    path = out / RESULTS_FILE
    partial = path.with_name(path.name + ".part")
    partial.write_text(to_json(results), encoding="utf-8")
    partial.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
