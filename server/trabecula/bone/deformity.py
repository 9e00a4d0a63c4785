"""Genant grade and kind of each body's deformity, against its own posterior height and its neighbours.

Grades by loss of height: 1 from 20 %, 2 from 25 %, 3 over 40 % (Genant 1993). Morphometry alone over-calls
(Wang 2019), so lost height must also stand out from the neighbours' shape, be more than its own error, show in the
label as well, and for grade 1 go with an endplate that is pushed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from trabecula.anatomy import Level
from trabecula.bone.heights import BodyProfile
from trabecula.bone.rules import DeformityRules
from trabecula.bone.vertebra import Deformity, DeformityKind, DeformityStatus, ShapeVariant

_REACH: Final = 3
"""Neighbours above and below that a body is compared with."""
NOT_ASSESSED: Final = Deformity(
    DeformityStatus.NOT_ASSESSED, None, 0, None, None, None, None, None, None, None, (), ("endplates not found",)
)


@dataclass(frozen=True)
class _Expected:
    """What the neighbours make expect of one body."""

    posterior_mm: float
    posterior_uncertainty_mm: float
    anterior_mm: float
    middle_mm: float
    anterior_ratio: float
    middle_ratio: float
    depression_mm: float
    """Usual depth of an endplate beside it."""


@dataclass(frozen=True)
class _Loss:
    kind: DeformityKind
    fraction: float
    uncertainty: float
    label_fraction: float
    stands_out: float
    """How much lower the height is than the neighbours make expect, and its ratio than theirs: the lesser of both."""


def assess_deformities(
    levels: Sequence[Level], profiles: Sequence[BodyProfile | None], rules: DeformityRules
) -> tuple[Deformity, ...]:
    """Deformity of each body of a column, head to foot; bodies without a profile are not assessed.

    Runs twice: what the first round suspects is no model for its neighbours in the second.
    """
    sound = [profile is not None for profile in profiles]
    first = _round(levels, profiles, sound, rules)
    flagged = (DeformityStatus.POSSIBLE, DeformityStatus.SUSPECTED)
    # A shape that all share is no reason to have no model left.
    second = [
        ok and (found.status not in flagged or ShapeVariant.SHARED_SHAPE in found.variants)
        for ok, found in zip(sound, first, strict=True)
    ]
    return _round(levels, profiles, second, rules)


def _round(
    levels: Sequence[Level], profiles: Sequence[BodyProfile | None], sound: Sequence[bool], rules: DeformityRules
) -> tuple[Deformity, ...]:
    found = []
    for index, (level, profile) in enumerate(zip(levels, profiles, strict=True)):
        if profile is None:
            found.append(NOT_ASSESSED)
            continue
        beside = [
            (levels[n].ordinal - level.ordinal, other)
            for n, other in enumerate(profiles)
            if n != index and other is not None and sound[n] and abs(levels[n].ordinal - level.ordinal) <= _REACH
        ]
        found.append(_assess(level, profile, _expected(beside, rules), rules))
    return tuple(found)


def _expected(beside: Sequence[tuple[int, BodyProfile]], rules: DeformityRules) -> _Expected | None:
    """From at least two neighbours, carried along by the usual growth of heights down the column."""
    if len(beside) < 2:
        return None
    heights = [profile.heights for _, profile in beside]
    growth = np.array([rules.growth_per_level**-step for step, _ in beside])
    carried = np.array([(h.anterior_mm, h.middle_mm, h.posterior_mm) for h in heights]) * growth[:, None]
    anterior, middle, posterior = (float(value) for value in np.median(carried, axis=0))
    scatter = float(np.median(np.abs(carried[:, 2] - posterior))) * 1.4826
    own_error = float(np.median([h.rim_uncertainty_mm for h in heights]))
    return _Expected(
        posterior_mm=posterior,
        posterior_uncertainty_mm=max(scatter, own_error) / float(len(beside)) ** 0.5,
        anterior_mm=anterior,
        middle_mm=middle,
        anterior_ratio=float(np.median([h.anterior_mm / h.posterior_mm for h in heights])),
        middle_ratio=float(np.median([h.middle_mm / h.posterior_mm for h in heights])),
        depression_mm=float(
            np.median([d for _, p in beside for d in (p.superior_depression_mm, p.inferior_depression_mm)])
        ),
    )


def _assess(level: Level, profile: BodyProfile, expected: _Expected | None, rules: DeformityRules) -> Deformity:
    loss = _largest_loss(profile, expected, rules)
    grade = _grade(loss.fraction, rules)
    probability = float(ndtr((loss.fraction - rules.grade_losses[0]) / loss.uncertainty))
    usual = rules.usual_depression_mm if expected is None else expected.depression_mm
    deepest = max(profile.superior_depression_mm, profile.inferior_depression_mm)
    pushed_in = deepest >= usual + rules.depression_mm
    status, variants, why = _status(level, grade, loss, probability, pushed_in, rules)
    reasons = [_height_words(loss, grade), *why] if grade else []
    if grade and pushed_in:
        reasons.append(f"endplate {deepest:.1f} mm deep, {usual:.1f} mm in the neighbours")
    if profile.pit_depths_mm:
        variants = (*variants, ShapeVariant.SCHMORL_NODE)
        reasons.append(f"pit in an endplate, {max(profile.pit_depths_mm):.1f} mm deep (Schmorl node)")
    if profile.cupids_bow and level.is_lumbar:
        variants = (*variants, ShapeVariant.CUPIDS_BOW)
        reasons.append("paired hollows at the back of the inferior endplate (Cupid's bow)")
    h = profile.heights
    return Deformity(
        status=status,
        kind=None if status is DeformityStatus.NONE else loss.kind,
        grade=0 if status is DeformityStatus.NONE else grade,
        probability=probability,
        height_loss=loss.fraction,
        anterior_to_posterior=h.anterior_mm / h.posterior_mm,
        middle_to_posterior=h.middle_mm / h.posterior_mm,
        posterior_to_neighbours=None if expected is None else h.posterior_mm / expected.posterior_mm,
        superior_depression_mm=profile.superior_depression_mm,
        inferior_depression_mm=profile.inferior_depression_mm,
        variants=variants,
        reasons=tuple(reasons),
    )


def _largest_loss(profile: BodyProfile, expected: _Expected | None, rules: DeformityRules) -> _Loss:
    """The height that has lost most, against the body's own posterior height or the one expected of it."""
    h, label = profile.heights, profile.label_heights
    reference, u_reference = h.posterior_mm, h.rim_uncertainty_mm
    posterior = 0.0
    if expected is not None:
        posterior = 1.0 - h.posterior_mm / expected.posterior_mm
        if expected.posterior_mm > reference:
            ceiling = rules.most_of_own_posterior * reference
            lost = posterior >= rules.grade_losses[0]
            reference = expected.posterior_mm if lost else min(expected.posterior_mm, ceiling)
            u_reference = expected.posterior_uncertainty_mm
    if posterior >= rules.grade_losses[0]:
        u = _ratio_error(h.posterior_mm, h.rim_uncertainty_mm, reference, u_reference)
        lowest = max(posterior, 1.0 - min(h.anterior_mm, h.middle_mm) / reference)
        # The back wall has given way too: crush, graded by what is lost most.
        return _Loss(DeformityKind.CRUSH, lowest, u, 1.0 - label.posterior_mm / reference, posterior)
    anterior, middle = 1.0 - h.anterior_mm / reference, 1.0 - h.middle_mm / reference
    if middle > anterior:
        u = _ratio_error(h.middle_mm, h.middle_uncertainty_mm, reference, u_reference)
        out = middle
        if expected is not None:
            out = min(expected.middle_ratio - h.middle_mm / reference, 1.0 - h.middle_mm / expected.middle_mm)
        return _Loss(DeformityKind.BICONCAVE, middle, u, 1.0 - label.middle_mm / reference, out)
    u = _ratio_error(h.anterior_mm, h.rim_uncertainty_mm, reference, u_reference)
    out = anterior
    if expected is not None:
        out = min(expected.anterior_ratio - h.anterior_mm / reference, 1.0 - h.anterior_mm / expected.anterior_mm)
    return _Loss(DeformityKind.WEDGE, anterior, u, 1.0 - label.anterior_mm / reference, out)


def _status(
    level: Level, grade: int, loss: _Loss, probability: float, pushed_in: bool, rules: DeformityRules
) -> tuple[DeformityStatus, tuple[ShapeVariant, ...], tuple[str, ...]]:
    """What the loss speaks for, which variants explain it, and why."""
    if grade == 0:
        return DeformityStatus.NONE, (), ()
    if loss.label_fraction < rules.label_share * loss.fraction:
        return DeformityStatus.VARIANT, (), ("the segmentation does not show the loss",)
    if probability < rules.possible_probability:
        return DeformityStatus.NONE, (), ("no more than the heights' error in this scan",)
    shared = loss.stands_out < rules.stands_out
    if grade == 1:
        where = level.value in rules.wedging_levels and loss.kind is DeformityKind.WEDGE
        needed = rules.stands_out_at_wedging_levels if where else rules.stands_out_grade1
        if pushed_in or loss.stands_out >= needed:
            return DeformityStatus.POSSIBLE, (), ("mild: may be a normal variant",)
        if where:
            return DeformityStatus.VARIANT, (ShapeVariant.MILD_WEDGING,), ("mild wedging is usual at this level",)
        kind = ShapeVariant.SHARED_SHAPE if shared else ShapeVariant.SHORT_HEIGHT
        return DeformityStatus.VARIANT, (kind,), ("no endplate is pushed in",)
    if shared and not pushed_in:
        return DeformityStatus.POSSIBLE, (ShapeVariant.SHARED_SHAPE,), ("the neighbours have the same shape",)
    if loss.stands_out < rules.stands_out_marked:
        return DeformityStatus.POSSIBLE, (), (f"only {100 * loss.stands_out:.0f} % lower than the neighbours",)
    if probability < rules.suspected_probability:
        return DeformityStatus.POSSIBLE, (), ("the heights are too uncertain in this scan to say more",)
    return DeformityStatus.SUSPECTED, (), ("stands out from the neighbours",)


def _height_words(loss: _Loss, grade: int) -> str:
    error = 100 * loss.uncertainty
    return f"{loss.kind.value} shape, height loss {100 * loss.fraction:.0f} % ± {error:.0f} %, Genant grade {grade}"


def _grade(loss: float, rules: DeformityRules) -> int:
    return sum(loss >= limit for limit in rules.grade_losses)


def _ratio_error(value: float, u_value: float, reference: float, u_reference: float) -> float:
    return float(np.hypot(u_value / reference, value * u_reference / reference**2))
