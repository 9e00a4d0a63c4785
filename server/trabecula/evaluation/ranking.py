"""Worst first: what a person should look at before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trabecula.evaluation.results import CaseResult, Outcome, VertebraScore
from trabecula.evaluation.summary import TARGET_DICE, TARGET_HU, TARGET_LEVELS, whole_dice

_UNFLAGGED: Final = 100.0
_MISSED: Final = 60.0
_FLAGGED: Final = 30.0
_MOST_FOR_HU: Final = 25.0
_PER_TARGET_HU: Final = 3.0
_PER_DICE: Final = 8.0
_FOR_TARGET_LEVELS: Final = 1.5


def badness(vertebra: VertebraScore) -> float:
    """Orders vertebrae for looking at; no figure of the evaluation.

    A wrong name without a warning comes first, then a missed vertebra, then a wrong name with a warning; then
    attenuation off by multiples of the target, and overlap short of it, both with more weight at T11 to L2.
    """
    value = 0.0
    if not vertebra.found:
        value += _MISSED
    elif vertebra.off_by:
        value += _FLAGGED if vertebra.flagged else _UNFLAGGED
    measured, fine = vertebra.measured, 0.0
    if measured and measured.hu_difference is not None and not measured.excluded_predicted:
        fine += min(_MOST_FOR_HU, _PER_TARGET_HU * abs(measured.hu_difference) / TARGET_HU)
    if vertebra.found:
        fine += _PER_DICE * max(0.0, TARGET_DICE - whole_dice(vertebra))
    return value + fine * (_FOR_TARGET_LEVELS if vertebra.level in TARGET_LEVELS else 1.0)


def worst_vertebrae(vertebrae: Sequence[VertebraScore]) -> tuple[VertebraScore, ...]:
    """Thoracic and lumbar vertebrae that are whole in the reference, worst first."""
    judged = [v for v in vertebrae if v.whole_in_view and (v.level.is_thoracic or v.level.is_lumbar)]
    return tuple(sorted(judged, key=badness, reverse=True))


def describe_vertebra(vertebra: VertebraScore) -> str:
    """What is wrong with it, in words."""
    if not vertebra.found:
        return "Not found."
    words = []
    if vertebra.off_by:
        sure = f"{vertebra.level_confidence:.0%} sure" if vertebra.level_confidence is not None else "sureness unknown"
        flag = "flagged" if vertebra.flagged else "not flagged"
        words.append(f"Named {vertebra.named} ({sure}, {flag}).")
    if vertebra.whole is not None:
        distance = vertebra.whole.surface_mean_mm
        words.append(f"Dice {vertebra.whole.dice:.3f}" + (f", surfaces {distance:.1f} mm apart." if distance else "."))
    measured = vertebra.measured
    if measured is not None and measured.hu_difference is not None and measured.hu_reference is not None:
        words.append(f"{measured.hu_difference:+.1f} HU on {measured.hu_reference:.0f}.")
    if measured is not None and measured.excluded_predicted:
        words.append(f"Left out of the result: {', '.join(measured.excluded_predicted)}.")
    return " ".join(words)


def describe_case(case: CaseResult) -> str:
    """How a case ended, in one line."""
    if case.outcome is Outcome.FAILED:
        return f"failed: {case.fault}"
    if case.outcome is Outcome.REFUSED:
        return "refused: " + "; ".join(f"{each.code} ({each.message})" for each in case.refusals)
    judged = worst_vertebrae(case.vertebrae)
    right = sum(v.off_by == 0 for v in judged)
    words = [f"{right} of {len(judged)} levels right"]
    wrong = [v for v in judged if v.off_by]
    if wrong:
        words.append(f"{len(wrong)} wrong ({sum(bool(v.flagged) for v in wrong)} flagged)")
    missed = sum(not v.found for v in judged)
    if missed:
        words.append(f"{missed} missed")
    dice = [whole_dice(v) for v in judged]
    if dice:
        words.append(f"vertebra Dice {sum(dice) / len(dice):.3f}")
    counted = [v.measured for v in judged if v.measured and not v.measured.excluded_predicted]
    hu = [abs(m.hu_difference) for m in counted if m.hu_difference is not None]
    if hu:
        words.append(f"HU error mean {sum(hu) / len(hu):.1f}, largest {max(hu):.1f}")
    if case.refusals:
        words.append("then refused: " + ", ".join(each.code for each in case.refusals))
    if case.segmentation_s is not None:
        words.append(f"{case.segmentation_s:.1f} s")
    return ", ".join(words)
