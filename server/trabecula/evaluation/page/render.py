"""Results in, HTML text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trabecula.evaluation.card import figure_text, rests_on, target_digits, verdict
from trabecula.evaluation.drawing import PREDICTED, REFERENCE, ROI_PREDICTED, ROI_REFERENCE
from trabecula.evaluation.page.chart import reliability_chart
from trabecula.evaluation.ranking import badness, describe_case, describe_vertebra, worst_vertebrae
from trabecula.evaluation.results import CaseResult, EvaluationResults, Outcome, PictureFile, VertebraScore
from trabecula.evaluation.summary import (
    TARGET_DICE,
    TARGET_HU,
    TARGET_LEVELS,
    GroupSummary,
    summarise,
)
from trabecula.outputs.page import words
from trabecula.outputs.page.render import TEMPLATES as REPORT_TEMPLATES

TEMPLATES: Final = Path(__file__).parent / "templates"
GALLERY: Final = 12
"""Close-ups shown in the gallery, worst first."""
TISSUES: Final = {"imat": "fat inside muscle", "sat": "subcutaneous fat", "vat": "visceral fat"}


@dataclass(frozen=True)
class Failure:
    """One vertebra in the gallery."""

    case: CaseResult
    vertebra: VertebraScore
    picture: Markup


@dataclass(frozen=True)
class CasePart:
    """One case on the page."""

    result: CaseResult
    line: str
    pictures: tuple[tuple[PictureFile, Markup], ...]


def to_html(results: EvaluationResults, folder: Path) -> str:
    """The results as one HTML page with styles and pictures inside.

    Args:
        results: what was found.
        folder: where ``results.json`` lies; pictures are read from there.

    Raises:
        OSError: if a picture cannot be read.
    """
    groups = summarise(results)
    cases = sorted(results.cases, key=_case_badness, reverse=True)
    return (
        _environment()
        .get_template("evaluation.html.j2")
        .render(
            results=results,
            groups=groups,
            headline=_headline(groups),
            failures=_failures(results.cases, folder),
            cases=[_case_part(case, folder) for case in cases],
            charts={group.name: reliability_chart(group.naming.bins) for group in groups},
            colours={
                "Reference": REFERENCE,
                "Prediction": PREDICTED,
                "Region, prediction": ROI_PREDICTED,
                "Region, reference (dashed)": ROI_REFERENCE,
            },
        )
    )


def _headline(groups: Sequence[GroupSummary]) -> str:
    """Where the models stand against the targets, on real CT where there is any."""
    if not groups:
        return "Nothing was evaluated"
    group = groups[0]
    judged = [target for target in group.targets if target.reached is not None]
    if not judged:
        return f"{group.name}: nothing could be scored"
    reached = sum(bool(target.reached) for target in judged)
    scans = f"{group.scored} scan{'' if group.scored == 1 else 's'}"
    return f"{group.name}: {reached} of {len(judged)} targets reached, on {scans}"


def _failures(cases: Sequence[CaseResult], folder: Path) -> tuple[Failure, ...]:
    found = [
        (badness(vertebra), case, vertebra, picture)
        for case in cases
        for picture in case.pictures
        if picture.kind == "vertebra"
        for vertebra in case.vertebrae
        if vertebra.level is picture.level
    ]
    found.sort(key=lambda each: each[0], reverse=True)
    return tuple(Failure(case, vertebra, _svg(folder, picture)) for _, case, vertebra, picture in found[:GALLERY])


def _case_part(case: CaseResult, folder: Path) -> CasePart:
    shown = [picture for picture in case.pictures if picture.kind != "vertebra"]
    return CasePart(case, describe_case(case), tuple((picture, _svg(folder, picture)) for picture in shown))


def _case_badness(case: CaseResult) -> float:
    if case.outcome is not Outcome.SCORED:
        return 1e6
    return max((badness(vertebra) for vertebra in worst_vertebrae(case.vertebrae)), default=0.0)


def _svg(folder: Path, picture: PictureFile) -> Markup:
    """A picture that this program wrote, as markup."""
    return Markup((folder / picture.file).read_text(encoding="utf-8"))  # noqa: S704 - a picture we drew  # nosec B704


def _signed(value: float | None, digits: int = 1) -> str:
    if value is None:
        return words.DASH
    sign = "+" if round(value, digits) > 0 else ""
    return sign + words.number(value, digits)


def _tone(value: float | None, limit: float, *, low: bool = False) -> str:
    """Class of a table cell whose value misses its target."""
    if value is None:
        return ""
    return "miss" if (value < limit if low else abs(value) >= limit) else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, REPORT_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        percent=words.percent,
        signed=_signed,
        sentence=words.sentence,
        code_words=words.code_words,
        prose=words.prose,
        figure=figure_text,
        rests_on=rests_on,
        verdict=verdict,
        digits=target_digits,
        tissue=lambda name: TISSUES.get(name, name.replace("_", " ")),
        describe=describe_vertebra,
        dice_tone=lambda value: _tone(value, TARGET_DICE, low=True),
        hu_tone=lambda value: _tone(value, TARGET_HU),
    )
    environment.globals.update(TARGET_LEVELS=TARGET_LEVELS)
    return environment
