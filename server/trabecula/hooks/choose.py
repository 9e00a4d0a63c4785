"""Which of a patient's results speaks, and whether it calls for anything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

from trabecula.assessment.assessment import Category
from trabecula.hooks.results import ShownResult

_SEVERITY: Final = {
    Category.SEVERE_RANGE_SUSPECTED: 4,
    Category.OSTEOPOROSIS_RANGE: 3,
    Category.LOW_BONE_DENSITY_RANGE: 2,
    Category.INDETERMINATE: 1,
}
"""Categories that call for a next step. The others never make a card: CT rules nothing out."""
FRACTURE_SEVERITY: Final = 3
"""A suspected vertebral fracture calls for one whatever the density."""


def severity(result: ShownResult) -> int:
    """0 when nothing is to be done."""
    of_density = 0 if result.category is None else _SEVERITY.get(result.category, 0)
    return max(of_density, FRACTURE_SEVERITY if result.fracture_levels else 0)


def speaking(results: Iterable[ShownResult], withdrawn: frozenset[str] = frozenset()) -> ShownResult | None:
    """The result that a card speaks of; None when there is none that may be shown.

    Of one study the signed result speaks, else the newest. Of several studies the signed one speaks, unless a newer
    one that is not signed yet is worse.

    Args:
        results: all of the patient's.
        withdrawn: ids (``urn:uuid:...``) that the EHR marked as entered in error.
    """
    usable = [each for each in results if each.usable and each.report_urn not in withdrawn]
    by_study: dict[str, ShownResult] = {}
    for each in sorted(usable, key=lambda result: (result.signed, result.issued_at)):
        by_study[each.study_uid or each.screening_id] = each
    candidates = sorted(by_study.values(), key=_age)
    signed = [each for each in candidates if each.signed]
    if not candidates or not signed:
        return candidates[-1] if candidates else None
    best = signed[-1]
    newer = [each for each in candidates if _age(each) > _age(best) and severity(each) > severity(best)]
    return newer[-1] if newer else best


def _age(result: ShownResult) -> tuple[date, float]:
    return result.acquired_on or date.min, result.issued_at.timestamp()
