"""Which vertebra is which: names for the whole column at once.

Vertebrae form an ordered sequence, counted from C1. What is seen along it (the model's spine coordinate, the highest
and lowest rib, the ends of the lungs, the sacrum, the sizes) is put together over every way a person may be built
(11 or 13 pairs of ribs, a cervical rib, a sacralised L5, a lumbarised S1) and over miscounts. The posterior is the
confidence. A level that the scan cannot tell is said to be not sure, with what else it may be and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from trabecula.anatomy import Level
from trabecula.geometry import FloatArray
from trabecula.segmentation.landmarks import Landmarks
from trabecula.segmentation.level_evidence import ORDINALS, Sign, SignKind, VertebraEvidence, find_signs
from trabecula.segmentation.level_words import Alternative, describe
from trabecula.segmentation.sequence import Posterior, chain_posterior
from trabecula.segmentation.settings import LevelSettings
from trabecula.segmentation.variants import Variant

_LAST = len(Level)
_LANDMARK_KINDS = frozenset({SignKind.LOWEST_RIB, SignKind.HIGHEST_RIB})


@dataclass(frozen=True)
class Naming:
    """Names for the vertebrae, in the order of the evidence."""

    ordinals: tuple[int, ...]
    """May run past the last lumbar vertebra (24) when the sacrum is in view."""
    confidence: tuple[float, ...]
    """Probability that each name is right."""
    sentences: tuple[str, ...]
    consistent: bool
    """False when the coordinates do not rise by about one a vertebra and no rib tells the level either."""
    alternatives: tuple[Alternative, ...] = ()
    """What the vertebra nearest to T12 may be instead, likeliest first."""


def name_levels(
    vertebrae: Sequence[VertebraEvidence], settings: LevelSettings, landmarks: Landmarks | None = None
) -> Naming:
    """Name a column of at least one vertebra."""
    landmarks = landmarks or Landmarks()
    variants, prior = zip(*settings.variants.table(), strict=True)
    signs = find_signs(vertebrae, landmarks, variants, settings)
    emission = np.zeros((len(variants), len(vertebrae), len(ORDINALS)))
    for sign in signs:
        emission[:, sign.index] += settings.evidence_weight * sign.log_likelihood
    found = chain_posterior(np.log(prior), emission, step_probability(vertebrae, settings))
    top = _best_top(found, settings)
    count = len(vertebrae)
    ordinals = tuple(top + n for n in range(count))
    fit = _local_fit(vertebrae, ordinals, settings)
    confidence = tuple(float(found.marginal[n, top + n - 1] * fit[n]) for n in range(count))
    centre = int(np.argmin(np.abs(np.array(ordinals) - Level.T12.ordinal)))
    alternatives = _alternatives(found, signs, variants, ordinals, centre, settings)
    sentences = describe(ordinals, confidence, centre, signs, _unusual(found, variants, signs, settings), alternatives)
    residual, slope = _residuals(vertebrae, ordinals, settings)
    consistent = bool(_LANDMARK_KINDS & {s.kind for s in signs}) or _is_consistent(vertebrae, residual, slope, settings)
    return Naming(ordinals, confidence, sentences, consistent, alternatives)


def step_probability(vertebrae: Sequence[VertebraEvidence], settings: LevelSettings) -> FloatArray:
    """(N - 1, 3) probability that the ordinal rises by 0, 1 or 2 below each vertebra.

    A vertebra as long as two of its neighbours may hold two, two that are together as long as one may be one; a disc
    that is not seen makes the latter likelier. Jumps of the coordinate say the same, weakly.
    """
    count = len(vertebrae)
    out = np.empty((max(0, count - 1), 3))
    jumps = _coordinate_jumps(vertebrae)
    for n in range(count - 1):
        missed = doubled = settings.miscount
        here, below = vertebrae[n].length_mm, vertebrae[n + 1].length_mm
        near = [
            v.length_mm for v in (*vertebrae[max(0, n - 2) : n], *vertebrae[n + 2 : n + 4]) if v.length_mm is not None
        ]
        if here is not None and len(near) >= 2:
            typical = float(np.median(near))
            missed *= _ratio(np.log(here / typical), np.log(2.0), settings.miscount_log_sd)
            if below is not None:
                doubled *= _ratio(
                    np.log((here + below) / typical) - np.log(2.0), -np.log(2.0), settings.miscount_log_sd
                )
        if not vertebrae[n].cut_seen:
            doubled *= settings.unseen_disc_factor
            missed *= settings.unseen_disc_factor
        missed *= _bounded(np.exp(settings.jump_weight * (jumps[n] - 0.5)))
        doubled *= _bounded(np.exp(settings.jump_weight * (-jumps[n] - 0.5)))
        missed, doubled = (p / (1 + p) for p in (missed, doubled))
        regular = 1 - 0.5 * (missed + doubled)
        total = missed + doubled + regular
        out[n] = doubled / total, regular / total, missed / total
    return out


def _ratio(seen: float, shifted: float, sd: float) -> float:
    """How much likelier a value is about ``shifted`` than about zero, within bounds."""
    return float(np.exp(np.clip((seen**2 - (seen - shifted) ** 2) / (2 * sd**2), -3.0, 6.0)))


def _bounded(factor: float) -> float:
    return float(np.clip(factor, 0.3, 5.0))


def _coordinate_jumps(vertebrae: Sequence[VertebraEvidence]) -> FloatArray:
    """Rise of the coordinate below each vertebra beyond the column's own usual rise, in vertebrae; 0 where unknown."""
    out = np.zeros(max(0, len(vertebrae) - 1))
    steps = [
        None if a.coordinate is None or b.coordinate is None else b.coordinate - a.coordinate
        for a, b in pairwise(vertebrae)
    ]
    known = [step for step in steps if step is not None]
    if len(known) < 3:
        return out
    usual = max(0.5, float(np.median(known)))
    for n, step in enumerate(steps):
        if step is not None:
            out[n] = step / usual - 1.0
    return out


def _local_fit(vertebrae: Sequence[VertebraEvidence], ordinals: Sequence[int], settings: LevelSettings) -> FloatArray:
    """1 where the coordinate of a vertebra differs from its name by about as much as that of the others does, less
    where it differs by levels more: vertebrae were missed or doubled between there and the rest."""
    errors = {n: v.coordinate - ordinals[n] for n, v in enumerate(vertebrae) if v.coordinate is not None}
    out = np.ones(len(vertebrae))
    if errors:
        known = list(errors)
        wanted = {level.ordinal for level in settings.counted_levels}
        near = [errors[n] for n in known if ordinals[n] in wanted] or list(errors.values())
        rest = np.abs(np.array(list(errors.values())) - np.median(near))
        out[known] = np.exp(-np.maximum(0.0, rest - settings.local_misfit))
    return out


def _best_top(found: Posterior, settings: LevelSettings) -> int:
    """Ordinal of the topmost vertebra with which most vertebrae are named right; those of interest count more."""
    count = len(found.marginal)
    wanted = np.isin(ORDINALS, [level.ordinal for level in settings.counted_levels])
    weight = 1.0 + settings.counted_weight * found.marginal[:, wanted].sum(axis=1)
    rows = np.arange(count)
    score = [
        float((weight * found.marginal[rows, np.minimum(top - 1 + rows, len(ORDINALS) - 1)]).sum())
        if top - 1 + count <= len(ORDINALS)
        else -1.0
        for top in range(1, _LAST + 1)
    ]
    return int(np.argmax(score)) + 1


def _builds(share: FloatArray, variants: Sequence[Variant], signs: Sequence[Sign]) -> dict[str, float]:
    """Probability of each way to be built out of the ordinary, by its words; the sacrum only where it was seen."""
    sacrum = any(sign.kind is SignKind.SACRUM for sign in signs)
    out: dict[str, float] = {}
    for variant, probability in zip(variants, share, strict=True):
        words = (variant if sacrum else replace(variant, first_sacral=Variant.first_sacral)).words
        if words:
            out[words] = out.get(words, 0.0) + float(probability)
    return out


def _unusual(
    found: Posterior, variants: Sequence[Variant], signs: Sequence[Sign], settings: LevelSettings
) -> tuple[str, float] | None:
    """How the patient is built if more likely than not in some way out of the ordinary."""
    builds = _builds(found.joint[:, 0].sum(axis=1), variants, signs)
    words = max(builds, key=lambda name: builds[name])
    return (words, builds[words]) if builds[words] >= settings.unusual_probability else None


def _alternatives(
    found: Posterior,
    signs: Sequence[Sign],
    variants: Sequence[Variant],
    ordinals: Sequence[int],
    centre: int,
    settings: LevelSettings,
) -> tuple[Alternative, ...]:
    """Other names of the vertebra at ``centre``, with what the patient would be like and what fits them better."""
    out = []
    share = found.joint[:, 0].sum(axis=1)
    for column in np.argsort(-found.marginal[centre]):
        probability, ordinal = float(found.marginal[centre, column]), int(ORDINALS[column])
        if probability < settings.alternative_probability:
            break
        if ordinal == ordinals[centre]:
            continue
        here = found.joint[:, centre, column] / found.joint[:, centre, column].sum()
        builds = _builds(here, variants, signs)
        likely = max(builds, key=lambda name: builds[name])
        words = likely if builds[likely] >= settings.unusual_reason else ""
        shift = ordinal - ordinals[centre]
        better = tuple(s.kind for s in signs if _fits_better(s, ordinals[s.index], shift, share, here))
        out.append(Alternative(ordinal, probability, words, better))
    return tuple(out)


def _fits_better(sign: Sign, ordinal: int, shift: int, share: FloatArray, share_if: FloatArray) -> bool:
    """Whether a sign is markedly likelier in a numbering shifted by some levels, each with its own variants."""
    if not 1 <= ordinal + shift <= len(ORDINALS):
        return False
    likelihood = np.exp(np.broadcast_to(sign.log_likelihood, (len(share), len(ORDINALS))))
    taken, other = share @ likelihood[:, ordinal - 1], share_if @ likelihood[:, ordinal + shift - 1]
    return bool(other > 1.5 * taken)


def _residuals(
    vertebrae: Sequence[VertebraEvidence], ordinals: Sequence[int], settings: LevelSettings
) -> tuple[FloatArray, float]:
    """Each vertebra's coordinate against a straight line through the column's, in levels (0 where it has none), and
    the line's slope.

    Line by median slope (Theil, Sen); what is taken off is kept near a slope of one.
    """
    known = [n for n, v in enumerate(vertebrae) if v.coordinate is not None]
    out = np.zeros(len(vertebrae))
    if len(known) < 2:
        return out, 1.0
    x = np.array([ordinals[n] for n in known], dtype=np.float64)
    y = np.array([vertebrae[n].coordinate for n in known], dtype=np.float64)
    first, second = np.triu_indices(len(known), 1)
    slope = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    rest = y - float(np.clip(slope, *settings.slope_range)) * x
    out[known] = rest - np.median(rest)
    return out, slope


def _is_consistent(
    vertebrae: Sequence[VertebraEvidence], residual: FloatArray, slope: float, settings: LevelSettings
) -> bool:
    """Whether coordinates rise by about one a vertebra.

    A vertebra missed or doubled shifts all those beyond it by a whole level; partial ones at the ends are not held
    against the column.
    """
    inner = np.array([v.whole and v.coordinate is not None for v in vertebrae])
    if inner.sum() < 4:
        return True
    misfit = np.abs(residual[inner]) > settings.max_residual
    low, high = settings.slope_range
    return bool(low <= slope <= high and misfit.mean() <= settings.max_misfit_fraction)
