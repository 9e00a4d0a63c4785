"""Which vertebra is which: names for the whole column at once.

Vertebrae form an unbroken sequence, so one number, the ordinal of the topmost vertebra, names them all. Each value
of it is scored by independent evidence: the model's spine coordinate, the lowest and the highest attached rib. The
posterior over that number is the confidence. Ribs are counted where they attach, not by length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trabecula.anatomy import Level
from trabecula.geometry import FloatArray
from trabecula.segmentation.settings import LevelSettings

_T1, _T12 = Level.T1.ordinal, Level.T12.ordinal
_FIRST, _LAST = 1, len(Level)


@dataclass(frozen=True)
class VertebraEvidence:
    """What is known of one vertebra before it has a name; the list runs head to foot."""

    coordinate: float | None
    """Level ordinal by the model's spine coordinate."""
    rib_volume_mm3: tuple[float, float]
    """Rib beside the body, on the patient's right and left."""
    whole: bool
    """Both discs are in view."""


@dataclass(frozen=True)
class Naming:
    """Names for the vertebrae, in the order of the evidence."""

    ordinals: tuple[int, ...]
    """May run past the last lumbar vertebra (24) when the sacrum is in view."""
    confidence: tuple[float, ...]
    sentences: tuple[str, ...]
    consistent: bool
    """False when the coordinates do not rise by about one a vertebra and no rib tells the level either."""


def name_levels(vertebrae: Sequence[VertebraEvidence], settings: LevelSettings) -> Naming:
    """Name a column of at least one vertebra."""
    count = len(vertebrae)
    tops = np.arange(_FIRST, _LAST + 1, dtype=np.float64)
    coordinate, notes = _coordinate_evidence(vertebrae, tops, settings)
    ribs, rib_notes = _rib_evidence(vertebrae, tops, settings)
    total = coordinate + ribs
    weight = np.exp(total - total.max())
    posterior = weight / weight.sum()
    best = int(posterior.argmax())
    ordinals = tuple(int(tops[best]) + n for n in range(count))
    residual, slope = _residuals(vertebrae, ordinals, settings)
    local = np.exp(-np.maximum(0.0, np.abs(residual) - settings.max_residual))
    confidence = tuple(float(posterior[best] * factor) for factor in local)
    named = [_name(n) for n in ordinals]
    sentences = [
        f"{count} vertebrae in sequence, {named[0]} to {named[-1]}; probability of this numbering "
        f"{posterior[best]:.2f}.",
        *notes,
        *(f"{note} ({named[index]} in this numbering)." for index, note in rib_notes),
    ]
    consistent = bool(rib_notes) or _is_consistent(vertebrae, residual, slope, settings)
    return Naming(ordinals, confidence, tuple(sentences), consistent)


def _name(ordinal: int) -> str:
    return Level.from_ordinal(ordinal).value if ordinal <= _LAST else "sacrum"


def _coordinate_evidence(
    vertebrae: Sequence[VertebraEvidence], tops: FloatArray, settings: LevelSettings
) -> tuple[FloatArray, list[str]]:
    """Log likelihood of each numbering. Errors of neighbours share a part (the bias of the scan), so more
    vertebrae make the mean better only down to that bias."""
    starts = [v.coordinate - n for n, v in enumerate(vertebrae) if v.coordinate is not None]
    if not starts:
        return np.zeros(len(tops)), ["The model gives no spine coordinate."]
    middle = float(np.median(starts))
    spread = 1.4826 * float(np.median(np.abs(np.array(starts) - middle)))
    # What the vertebrae disagree by is no independent noise: a model that is wrong is wrong over long stretches.
    variance = settings.coordinate_bias_sd**2 + settings.coordinate_noise_sd**2 / len(starts) + spread**2
    density = np.exp(-0.5 * (tops - middle) ** 2 / variance)
    density /= max(float(density.sum()), 1e-12)
    likelihood = (1 - settings.coordinate_outlier) * density + settings.coordinate_outlier / len(tops)
    note = (
        f"Spine coordinate of {len(starts)} vertebrae: {abs(middle - round(middle)):.2f} levels from the nearest "
        f"numbering, {spread:.2f} levels of spread among them."
    )
    return np.log(likelihood), [note]


def attached_ribs(vertebra: VertebraEvidence, settings: LevelSettings) -> bool:
    """Whether a rib is attached, on one side or both."""
    return sum(vertebra.rib_volume_mm3) >= settings.rib_volume_mm3


def _rib_evidence(
    vertebrae: Sequence[VertebraEvidence], tops: FloatArray, settings: LevelSettings
) -> tuple[FloatArray, list[tuple[int, str]]]:
    """Log likelihood of each numbering by the lowest and the highest vertebra with ribs, where one without is next."""
    ribs = [attached_ribs(v, settings) for v in vertebrae]
    score = np.zeros(len(tops))
    notes: list[tuple[int, str]] = []
    lowest = _lowest(ribs)
    if lowest is not None and lowest + 1 < len(ribs) and vertebrae[lowest + 1].whole:
        both = min(vertebrae[lowest].rib_volume_mm3) >= settings.rib_side_volume_mm3
        score += _log_near(tops + lowest - _T12, settings.lowest_rib if both else settings.lowest_rib_one_side)
        notes.append((lowest, f"Lowest attached rib ({'both sides' if both else 'one side'})"))
    highest = _lowest(ribs[::-1])
    if highest is not None and highest + 1 < len(ribs) and vertebrae[len(ribs) - 2 - highest].whole:
        index = len(ribs) - 1 - highest
        score += _log_near(tops + index - _T1, settings.highest_rib)
        notes.append((index, "Highest attached rib"))
    return score, notes


def _lowest(ribs: Sequence[bool]) -> int | None:
    """Last of the ribbed vertebrae; a single one cut off from the others by two bare ones does not count."""
    indices = [n for n, rib in enumerate(ribs) if rib]
    while len(indices) >= 2 and indices[-1] - indices[-2] > 2:
        indices.pop()
    return indices[-1] if len(indices) >= 2 else None


def _log_near(error: FloatArray, probability: tuple[float, float, float]) -> FloatArray:
    """Log probability that a sign is seen ``error`` levels below where it belongs; a small rest everywhere else."""
    rest = max(1e-3, (1 - sum(probability)) / 4)
    out = np.full(error.shape, rest)
    for offset, value in zip((-1, 0, 1), probability, strict=True):
        out[error == offset] = value
    return np.asarray(np.log(out))


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
