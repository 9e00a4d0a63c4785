"""What speaks for which level, each piece of evidence as a log likelihood over ordinals and variants.

Every sign is tied to one vertebra of the column and says how likely it is to be seen were that vertebra C1, C2, ..;
where a sign depends on how the person is built (ribs, sacrum) it says so for every variant. The chain in
:mod:`trabecula.segmentation.sequence` puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trabecula.anatomy import Level
from trabecula.geometry import FloatArray
from trabecula.segmentation.landmarks import Landmarks
from trabecula.segmentation.settings import LevelSettings
from trabecula.segmentation.variants import Variant

ORDINALS = np.arange(1.0, len(Level) + 4.0)
"""States of the chain: C1 = 1 .. L5 = 24, then L6 or the sacrum."""


class SignKind(StrEnum):
    """What a sign is; the value is how a sentence names it."""

    COORDINATE = "the model's own estimate of the level"
    SIZE = "the sizes of the vertebrae"
    LOWEST_RIB = "the lowest rib"
    HIGHEST_RIB = "the highest rib"
    RIBS_AT_THE_END = "ribs down to the end of the view"
    NO_RIBS = "the absence of ribs"
    LUNG_APEX = "the lung apices"
    LUNG_BASE = "the lung bases"
    SACRUM = "the sacrum"


@dataclass(frozen=True)
class VertebraEvidence:
    """What is known of one vertebra before it has a name; the list runs head to foot."""

    coordinate: float | None
    """Level ordinal by the model's spine coordinate."""
    rib_volume_mm3: tuple[float, float]
    """Rib beside the body, on the patient's right and left."""
    whole: bool
    """Both discs are in view."""
    length_mm: float | None = None
    """From disc to disc; None where one is out of view."""
    cut_seen: bool = True
    """Whether there is evidence of the disc below it; False where it was placed for even spacing only."""


@dataclass(frozen=True, eq=False)
class Sign:
    """One piece of evidence."""

    kind: SignKind
    index: int
    """The vertebra it is tied to."""
    log_likelihood: FloatArray
    """(variants, ordinals)."""
    both_sides: bool = True
    """For ribs: seen on both sides."""
    expected: float = 0.0
    """For the model's estimate, sizes and lungs: the ordinal of the vertebra that would fit best."""


def find_signs(
    vertebrae: Sequence[VertebraEvidence],
    landmarks: Landmarks,
    variants: Sequence[Variant],
    settings: LevelSettings,
) -> tuple[Sign, ...]:
    """All the evidence there is."""
    signs = [
        _coordinate_sign(vertebrae, settings),
        _size_sign(vertebrae, settings),
        *_landmark_signs(landmarks, len(vertebrae), variants, settings),
        *(_rib_signs(vertebrae, variants, settings) if landmarks.ribs_looked_for else ()),
    ]
    return tuple(sign for sign in signs if sign is not None)


def attached_ribs(vertebra: VertebraEvidence, settings: LevelSettings) -> bool:
    """Whether a rib is attached, on one side or both."""
    return sum(vertebra.rib_volume_mm3) >= settings.rib_volume_mm3


def _coordinate_sign(vertebrae: Sequence[VertebraEvidence], settings: LevelSettings) -> Sign | None:
    """The numbering that most vertebrae ask for. Errors of neighbours share a part (the bias of the scan), so more
    vertebrae make the mean better only down to that bias."""
    found = {n: v.coordinate - n for n, v in enumerate(vertebrae) if v.coordinate is not None}
    known = list(found)
    if not known:
        return None
    starts = np.array(list(found.values()))
    middle = float(np.median(starts))
    spread = 1.4826 * float(np.median(np.abs(starts - middle)))
    # What the vertebrae disagree by is no independent noise: a model that is wrong is wrong over long stretches.
    variance = settings.coordinate_bias_sd**2 + settings.coordinate_noise_sd**2 / len(known) + spread**2
    index = known[len(known) // 2]
    expected = middle + index - settings.coordinate_bias
    likelihood = _bell(expected, float(np.sqrt(variance)), settings.coordinate_outlier)
    return Sign(SignKind.COORDINATE, index, likelihood, expected=expected)


def _size_sign(vertebrae: Sequence[VertebraEvidence], settings: LevelSettings) -> Sign | None:
    """Lengths against those of an adult of unknown size: one error for the whole person, one for each vertebra."""
    found = {n: v.length_mm for n, v in enumerate(vertebrae) if v.length_mm is not None}
    known = list(found)
    if len(known) < settings.size_least_vertebrae:
        return None
    lengths = np.log(list(found.values()))
    index = known[len(known) // 2]
    levels, spacings = (np.array(column) for column in zip(*settings.length_by_level_mm, strict=True))
    ordinals = ORDINALS[:, None] + np.array(known)[None, :] - index
    rest = lengths[None, :] - np.log(np.interp(ordinals, levels, spacings))
    # Covariance a*1 + b*11': its inverse by Sherman and Morrison.
    one, shared = settings.length_log_sd**2, settings.person_log_sd**2
    mean = rest.mean(axis=1)
    count = len(known)
    misfit = ((rest - mean[:, None]) ** 2).sum(axis=1) / one + count * mean**2 / (one + count * shared)
    # Neighbours are alike in more than the model says: no more weight than a few vertebrae on their own.
    score = -0.5 * misfit * min(1.0, settings.size_least_vertebrae / count)
    density = np.exp(score - score.max())
    likelihood = _mixed(density, settings.size_outlier)
    return Sign(SignKind.SIZE, index, likelihood, expected=float(ORDINALS[density.argmax()]))


def _landmark_signs(
    landmarks: Landmarks, count: int, variants: Sequence[Variant], settings: LevelSettings
) -> list[Sign]:
    signs = []
    for kind, place, usual in (
        (SignKind.LUNG_APEX, landmarks.lung_apex, settings.lung_apex),
        (SignKind.LUNG_BASE, landmarks.lung_base, settings.lung_base),
    ):
        if place is not None:
            index = int(np.clip(round(place), 0, count - 1))
            expected = usual.ordinal + index - place
            signs.append(Sign(kind, index, _bell(expected, usual.sd, usual.outlier), expected=expected))
    if landmarks.sacrum_below:
        error = (ORDINALS[None, :] + 1) - np.array([v.first_sacral for v in variants], dtype=np.float64)[:, None]
        signs.append(Sign(SignKind.SACRUM, count - 1, _log_near(error, settings.sacrum)))
    return signs


def _rib_signs(
    vertebrae: Sequence[VertebraEvidence], variants: Sequence[Variant], settings: LevelSettings
) -> list[Sign]:
    """The lowest and the highest vertebra with ribs where a bare one is next to them; where none is, that the ribs
    reach that far."""
    ribs = [attached_ribs(v, settings) for v in vertebrae]
    last = np.array([v.last_rib for v in variants], dtype=np.float64)[:, None]
    first = np.array([v.first_rib for v in variants], dtype=np.float64)[:, None]
    signs = []
    lowest = _lowest(ribs)
    if lowest is not None and lowest + 1 < len(ribs) and vertebrae[lowest + 1].whole:
        both = min(vertebrae[lowest].rib_volume_mm3) >= settings.rib_side_volume_mm3
        table = settings.lowest_rib if both else settings.lowest_rib_one_side
        signs.append(Sign(SignKind.LOWEST_RIB, lowest, _log_near(ORDINALS - last, table), both))
    elif lowest is not None:
        signs.append(Sign(SignKind.RIBS_AT_THE_END, lowest, _log_beyond(ORDINALS - last, settings.rib_beyond)))
    whole = [n for n, v in enumerate(vertebrae) if v.whole]
    if not any(ribs) and len(whole) >= settings.bare_least_vertebrae:
        signs.append(Sign(SignKind.NO_RIBS, whole[0], _log_beyond(last + 1 - ORDINALS, settings.rib_beyond)))
    highest = _lowest(ribs[::-1])
    if highest is not None and highest + 1 < len(ribs) and vertebrae[len(ribs) - 2 - highest].whole:
        index = len(ribs) - 1 - highest
        both = min(vertebrae[index].rib_volume_mm3) >= settings.rib_side_volume_mm3
        signs.append(Sign(SignKind.HIGHEST_RIB, index, _log_near(ORDINALS - first, settings.highest_rib), both))
    return signs


def _lowest(ribs: Sequence[bool]) -> int | None:
    """Last of the ribbed vertebrae; a single one cut off from the others by two bare ones does not count."""
    indices = [n for n, rib in enumerate(ribs) if rib]
    while len(indices) >= 2 and indices[-1] - indices[-2] > 2:
        indices.pop()
    return indices[-1] if len(indices) >= 2 else None


def _bell(expected: float, sd: float, outlier: float) -> FloatArray:
    density = np.exp(-0.5 * ((ORDINALS - expected) / sd) ** 2)
    return _mixed(density, outlier)


def _mixed(density: FloatArray, outlier: float) -> FloatArray:
    """Log of a density over ordinals with a part that says nothing; (1, ordinals)."""
    density = density / max(float(density.sum()), 1e-12)
    return np.asarray(np.log((1 - outlier) * density + outlier / len(density)))[None, :]


def _log_near(error: FloatArray, probability: tuple[float, float, float]) -> FloatArray:
    """Log probability that a sign is seen ``error`` levels below where it belongs; a small rest everywhere else."""
    rest = max(1e-3, (1 - sum(probability)) / 4)
    out = np.full(error.shape, rest)
    for offset, value in zip((-1, 0, 1), probability, strict=True):
        out[error == offset] = value
    return np.asarray(np.log(out))


def _log_beyond(error: FloatArray, beyond: tuple[float, float]) -> FloatArray:
    """Log likelihood of a sign that may be seen anywhere up to a border: less likely one beyond it, and further."""
    return np.asarray(np.log(np.where(error <= 0, 1.0, np.where(error == 1, beyond[0], beyond[1]))))
