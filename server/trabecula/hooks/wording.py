"""The words of a card. A range is no diagnosis, a density is no T-score, and nothing is ruled out."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from trabecula.assessment.assessment import Category
from trabecula.hooks.cards import SUMMARY_LIMIT
from trabecula.hooks.chart import DxaDone, Problems
from trabecula.hooks.policy import CardPolicy
from trabecula.hooks.results import ShownResult

NOT_A_T_SCORE: Final = "Not a DXA T-score and not comparable to one."
NOT_FOR_RULE_OUT: Final = "Cannot be used to rule out low bone density."
INTENDED_USE: Final = "Research use; not a medical device."
PRELIMINARY: Final = "Preliminary: made by a program, not reviewed by a radiologist."
_SIGNED: Final = "Made by a program and signed off by a radiologist."
_LEVELS_SHOWN: Final = 4
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]#|~!])")
_RANGES: Final = {
    Category.SEVERE_RANGE_SUSPECTED: "is in the osteoporosis range",
    Category.OSTEOPOROSIS_RANGE: "is in the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "is in the low range",
    Category.INDETERMINATE: "is indeterminate between two ranges",
}


def summary(result: ShownResult) -> str:
    """One line, shorter than :data:`SUMMARY_LIMIT`: what was found, on which CT, and the next step."""
    found = []
    range_words = None if result.category is None else _RANGES.get(result.category)
    if range_words:
        found.append(f"bone density{_short_value(result)} {range_words}")
    if result.fracture_levels:
        found.append(f"vertebral fracture suspected ({_levels(result.fracture_levels)})")
    step = "confirm by DXA" if range_words else "needs a radiologist's reading"
    if result.category is Category.INDETERMINATE and range_words:
        step = "DXA can decide"
    text = f"{ct(result)}: {', '.join(found)}; {step}"
    return text if len(text) < SUMMARY_LIMIT else text[: SUMMARY_LIMIT - 2] + "…"


def ct(result: ShownResult) -> str:
    """``CT 2026-03-14``"""
    return "CT" if result.acquired_on is None else f"CT {result.acquired_on.isoformat()}"


def detail(result: ShownResult, remarks: tuple[str, ...] = ()) -> str:
    """The numbers with scale and uncertainty, the limits of use, and the rules, in Markdown."""
    lines = [f"**{_SIGNED if result.signed else PRELIMINARY}**", "", *_facts(result), ""]
    if result.statement:
        lines += [escaped(result.statement), ""]
    lines += [f"- **{NOT_A_T_SCORE} {NOT_FOR_RULE_OUT} {INTENDED_USE}**", *(f"- {each}" for each in remarks)]
    lines += [f"- {escaped(due.text)} *{escaped(due.citation)}*" for due in result.due]
    return "\n".join(lines)


def density(result: ShownResult) -> str | None:
    """``71 ± 6 mg/cm3 (K2HPO4)``; None when there is none."""
    if result.density_mg_cm3 is None:
        return None
    error = "" if result.standard_uncertainty_mg_cm3 is None else f" ± {result.standard_uncertainty_mg_cm3:.0f}"
    scale = "" if result.scale is None else f" ({result.scale})"
    return f"{result.density_mg_cm3:.0f}{error} mg/cm3{scale}"


def reason_text(result: ShownResult) -> str:
    """Why a DXA is ordered, for the order itself."""
    value = density(result)
    parts = [f"Opportunistic {ct(result)}"]
    if value is not None:
        parts.append(f"trabecular bone density, lumbar equivalent, {value}")
    if result.fracture_levels:
        parts.append(f"vertebral fracture suspected at {_levels(result.fracture_levels)}")
    state = "signed off by a radiologist" if result.signed else "preliminary, not reviewed by a radiologist"
    return f"{', '.join(parts)}; {state}. {NOT_A_T_SCORE}"


def duplicate_summary(done: DxaDone | None) -> str:
    """One line for a DXA that is on file, or ordered."""
    if done is None:
        return "A DXA is already ordered for this patient"
    return f"A DXA of {_day(done.on)} is already on file for this patient"


def duplicate_detail(done: DxaDone | None, orders: int, policy: CardPolicy) -> str:
    """What was found in the chart."""
    lines = []
    if done is not None:
        months = policy.recent_months
        lines.append(f"- DXA on file: {_day(done.on)}. Within {months} months it is not repeated as a rule.")
    if orders:
        lines.append(f"- Other DXA orders that are active or draft: {orders}.")
    return "\n".join(lines)


def chart_remarks(
    problems: Problems | None, undated_dxa: bool, unread: tuple[str, ...], months: int
) -> tuple[str, ...]:
    """What was looked up in the chart, and what could not be."""
    remarks = []
    if problems is not None and problems.osteopenia:
        remarks.append("On the problem list: osteopenia.")
    if undated_dxa:
        remarks.append("A DXA without a date is on file: look up when it was done.")
    if unread:
        remarks.append(f"Not looked up, because this EHR does not give it: {', '.join(unread)}.")
    else:
        remarks.append(f"The chart has no DXA of the last {months} months, no DXA order and no osteoporosis.")
    return tuple(remarks)


def escaped(text: str) -> str:
    """Text as Markdown that shows it: no markup, no HTML, one line. Radiologists' words go through here."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", plain)


def _facts(result: ShownResult) -> list[str]:
    value = density(result)
    rows = []
    if value is not None:
        rows.append(("Trabecular bone density, lumbar equivalent, ± standard uncertainty", value))
    if result.fracture_levels:
        rows.append(("Vertebral fracture suspected", _levels(result.fracture_levels)))
    rows.append(("Scan", ct(result)))
    return [
        "| Measured on a CT made for another reason | |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in rows),
    ]


def _short_value(result: ShownResult) -> str:
    value = density(result)
    return "" if value is None else f" {value.partition(' (')[0]}"


def _levels(levels: tuple[str, ...]) -> str:
    more = len(levels) - _LEVELS_SHOWN
    return ", ".join(levels[:_LEVELS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _day(day: date | None) -> str:
    return "unknown date" if day is None else day.isoformat()
