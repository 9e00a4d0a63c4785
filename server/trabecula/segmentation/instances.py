"""Single vertebrae: where the discs cut the column.

Neighbouring bodies may be one blob in the model's answer, or one body two, so connected components do not count
them. Instead the column is seen as a profile along its centre line, and the discs are placed by dynamic programming:
as much evidence of a disc at each cut as possible, with spacings that are those of vertebrae and change smoothly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from trabecula.geometry import FloatArray
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.bundle import DISC, VERTEBRA_BODY
from trabecula.segmentation.column import Column, disc_pattern, sample
from trabecula.segmentation.predict import Prediction
from trabecula.segmentation.resample import Grid, top_channel
from trabecula.segmentation.settings import ColumnSettings

_INNER_MM = 11.0
_BROAD_MM = 12.0
_ENDPLATE_MM = (2.0, 7.0)
_MARROW_MM = 12
_LEAST_DIP = 0.02
_LEAST_RELIEF_HU = 20.0
"""Weaker relief than this is not blown up to full evidence."""
_CLIP_HU = (-100.0, 500.0)
_VOTE_SMOOTHING_MM = 2.0
_LEAST_SPEED = 0.25
"""Votes that hardly stand still anywhere are not blown up to full evidence either."""
_CLEAR = 2.0
"""Evidence of a disc that is clear to all but the fine model."""
_COARSE_VOTES = 0.5
"""Weight of a coarse model's votes; a fine model's count in full."""


@dataclass(frozen=True, eq=False)
class Profile:
    """The column from head to foot, one value per millimetre of its centre line."""

    disc: FloatArray
    """Evidence of a disc's centre: above zero where there is some, about 1 to 2 at a clear one."""
    body: FloatArray
    """Share of the neighbourhood of the centre line that is vertebral body, 0 .. 1."""
    level: FloatArray | None
    """Level ordinal by the coarse model's spine coordinate, smoothed; None when there is none."""


@dataclass(frozen=True)
class Segment:
    """One vertebra as a stretch of the centre line."""

    head_mm: float
    foot_mm: float
    """Arc length of the disc centres (or of the column's end) above and below."""
    cut_head: bool
    cut_foot: bool
    """False where the stretch ends because the column does."""

    @property
    def centre_mm(self) -> float:
        return (self.head_mm + self.foot_mm) / 2

    @property
    def length_mm(self) -> float:
        return self.foot_mm - self.head_mm


def column_profile(volume: CtVolume, column: Column, coarse: Prediction, fine: Prediction | None) -> Profile:
    """Evidence along the column from attenuation and from the models; the fine model's too where it has looked."""
    places = column.discs(*disc_pattern(_INNER_MM))
    model, body = _model_profile(coarse, places)
    votes = _COARSE_VOTES * _vote_jumps(coarse, column, places)
    # Discs are hardly wider than a coarse voxel: attenuation, sampled on the scan itself, says more.
    model = model / 2
    if fine is not None:
        where = fine.grid.to_index(places)
        inside = ((where >= 0) & (where <= np.array(fine.grid.shape) - 1)).all(axis=-1).mean(axis=1) > 0.9
        fine_model, fine_body = _model_profile(fine, places)
        model, body = np.where(inside, fine_model, model), np.where(inside, fine_body, body)
        if fine.offset_mm is not None:
            votes = np.where(inside, _vote_jumps(fine, column, places), votes)
    hu = np.clip(sample(volume.hu, Grid.of_scan(volume.geometry), places), *_CLIP_HU).mean(axis=1)
    outlines, endplates = (0.75, 1.25) if coarse.offset_mm is None else (1.0, 1.0)
    evidence = outlines * model + endplates * _endplate_pairs(hu) + votes
    return Profile(evidence, body, _level_profile(column, coarse))


def _vote_jumps(prediction: Prediction, column: Column, places: FloatArray) -> FloatArray:
    """Where the votes for the centre of a body go over from one body to the next; clear places are 1.

    Along a body all offsets lead to one place, so the place voted for stands still; across a disc it jumps. Between
    them offsets tell discs that cannot be seen. Zeros for a model without offsets.
    """
    if prediction.offset_mm is None:
        return np.zeros(len(places))
    weight = sample(prediction.of(VERTEBRA_BODY, DISC), prediction.grid, places)
    along = np.zeros(places.shape[:2])
    for axis in range(3):
        along += sample(prediction.offset_mm[axis], prediction.grid, places) * column.superior[:, axis, None]
    total = weight.sum(axis=1)
    upwards = (along * weight).sum(axis=1) / np.maximum(total, 1e-6)
    seen = total > 0.1 * np.median(total)
    stations = np.arange(len(total), dtype=np.float64)
    voted = stations - np.interp(stations, stations[seen], upwards[seen])
    speed = np.gradient(ndimage.gaussian_filter1d(voted, _VOTE_SMOOTHING_MM, mode="nearest"))
    relief = speed - ndimage.gaussian_filter1d(speed, _BROAD_MM, mode="nearest")
    return np.where(seen, _scaled(relief, _LEAST_SPEED), 0.0)


def _model_profile(prediction: Prediction, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A model's evidence of discs, and the share of the places that it calls vertebral body."""
    dips = _peaks(-_mean_of(prediction, places, VERTEBRA_BODY))
    discs = _peaks(_mean_of(prediction, places, DISC))
    evidence = (dips + discs) / 2 if discs.any() else dips
    top = top_channel(prediction.probability) == prediction.channels.index(VERTEBRA_BODY)
    share = sample(top.astype(np.float32), prediction.grid, places).mean(axis=1)
    return evidence, np.asarray(share, dtype=np.float64)


def find_segments(profile: Profile, settings: ColumnSettings) -> tuple[Segment, ...]:
    """Vertebrae head to foot, partial ones at the ends included; empty when no disc is found."""
    cuts = place_cuts(profile.disc, expected_spacing(profile, settings), settings)
    if len(cuts) == 0:
        return ()
    segments = [Segment(float(a), float(b), True, True) for a, b in pairwise(cuts)]
    last = len(profile.disc) - 1
    typical = float(np.median(profile.body[cuts[0] : cuts[-1] + 1]))
    if _is_vertebra(profile.body[: cuts[0]], typical, settings):
        segments.insert(0, Segment(0.0, float(cuts[0]), False, True))
    if _is_vertebra(profile.body[cuts[-1] :], typical, settings):
        segments.append(Segment(float(cuts[-1]), float(last), True, False))
    return tuple(segments)


def cuts_seen(profile: Profile, segments: Sequence[Segment], settings: ColumnSettings) -> tuple[bool, ...]:
    """For each segment whether there is evidence of the disc below it; True where the column ends instead."""
    cuts = [round(segment.foot_mm) for segment in segments if segment.cut_foot]
    if not cuts:
        return (True,) * len(segments)
    # Where a fine model has looked there is more evidence than elsewhere; that makes the rest no weaker.
    least = settings.min_disc_evidence * min(_CLEAR, float(np.quantile(profile.disc[cuts], 0.75)))
    return tuple(not s.cut_foot or bool(profile.disc[round(s.foot_mm)] >= least) for s in segments)


def unsupported_share(profile: Profile, segments: Sequence[Segment], settings: ColumnSettings) -> float:
    """Share of the discs between segments that lie where there is next to no evidence of one."""
    cuts = sum(segment.cut_foot for segment in segments)
    return cuts_seen(profile, segments, settings).count(False) / cuts if cuts else 0.0


def expected_spacing(profile: Profile, settings: ColumnSettings) -> FloatArray:
    """Disc-to-disc distance of an adult expected at each place, mm.

    By the level that the spine coordinate says; its slope would say more, but is the first thing to go wrong in a
    model, and being off by two levels hardly matters here.
    """
    if profile.level is None:
        return np.full(len(profile.disc), settings.spacing_typical_mm)
    levels, spacings = zip(*settings.spacing_by_level_mm, strict=True)
    return np.asarray(np.interp(profile.level, levels, spacings))


def place_cuts(evidence: FloatArray, spacing_mm: FloatArray, settings: ColumnSettings) -> tuple[int, ...]:
    """Places of the disc centres with the best total score, head to foot, for the best size of the person.

    Spacings of an adult are tried for several sizes, each with its own probability.
    """
    found = [
        (score - 0.5 * (np.log(size) / settings.person_log_sd) ** 2, cuts)
        for size in settings.person_sizes
        for score, cuts in [_place_cuts(evidence, spacing_mm * size, settings)]
    ]
    return max(found)[1]


def _place_cuts(
    evidence: FloatArray, spacing_mm: FloatArray, settings: ColumnSettings
) -> tuple[float, tuple[int, ...]]:
    """Best total score and its places, for one size of the person.

    Score of a cut: its evidence less a fixed cost, less the squared deviation of the spacing from what is expected
    there, less the squared change of spacing from one vertebra to the next (both of ln(spacing), in standard
    deviations, halved). What remains above the first and below the last cut may be short, but not long.
    """
    count = len(evidence)
    gain = evidence - settings.cut_cost
    low, high = (round(mm) for mm in settings.spacing_range_mm)
    spacings = np.arange(low, high + 1)
    log_spacing = np.log(spacings)
    change = 0.5 * ((log_spacing[:, None] - log_spacing[None, :]) / settings.spacing_change_log_sd) ** 2
    rest = _rest_misfit(spacing_mm, settings.spacing_log_sd)
    best = np.full((count, len(spacings)), -np.inf)
    before = np.full((count, len(spacings)), -1, dtype=np.int64)
    for place in range(low, count):
        rows = np.arange(min(high, place) - low + 1)
        previous = place - spacings[rows]
        middle = (previous + place) // 2
        misfit = 0.5 * ((log_spacing[rows] - np.log(spacing_mm[middle])) / settings.spacing_log_sd) ** 2
        chains = best[previous] - change[rows]
        best_row = chains.argmax(axis=1)
        chain = chains[rows, best_row]
        start = np.where(previous <= high, gain[previous] - rest[previous], -np.inf)
        before[place, rows] = np.where(chain >= start, best_row, -1)
        best[place, rows] = np.maximum(chain, start) + gain[place] - misfit
    if count <= low:
        return -np.inf, ()
    left_over = _rest_misfit(spacing_mm[::-1], settings.spacing_log_sd)[::-1]
    final = (best - left_over[:, None])[max(0, count - 1 - high) :]
    if not np.isfinite(final).any():
        return -np.inf, ()
    last, row = divmod(int(final.argmax()), final.shape[1])
    return float(final.max()), _trace(last + max(0, count - 1 - high), row, low, before)


def _rest_misfit(spacing_mm: FloatArray, log_sd: float) -> FloatArray:
    """Penalty for the stretch from the column's beginning to each place, where it is longer than a vertebra."""
    length = np.maximum(np.arange(len(spacing_mm)), 1.0)
    expected = spacing_mm[np.arange(len(spacing_mm)) // 2]
    return np.asarray(0.5 * (np.maximum(0.0, np.log(length / expected)) / log_sd) ** 2)


def _trace(place: int, row: int, low: int, before: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> tuple[int, ...]:
    cuts = [place]
    while row >= 0:
        previous, row = place - (low + row), int(before[place, row])
        cuts.append(previous)
        place = previous
    return tuple(reversed(cuts))


def _mean_of(prediction: Prediction, places: FloatArray, name: str) -> FloatArray:
    if name not in prediction.channels:
        return np.zeros(len(places))
    return np.asarray(sample(prediction.of(name), prediction.grid, places).mean(axis=1), dtype=np.float64)


def _peaks(values: FloatArray) -> FloatArray:
    """Local peaks against the neighbourhood of a vertebra's length, scaled so that clear ones are 1."""
    sharp = ndimage.gaussian_filter1d(values, 1.5, mode="nearest")
    return _scaled(sharp - ndimage.gaussian_filter1d(values, _BROAD_MM / 2, mode="nearest"), _LEAST_DIP)


def _endplate_pairs(hu: FloatArray) -> FloatArray:
    """Places with a bright endplate shortly above and shortly below, and darker bone beyond; clear ones are 1.

    The disc itself says little: it is darker than dense bone and brighter than osteoporotic bone.
    """
    smooth = ndimage.gaussian_filter1d(hu, 1.0, mode="nearest")
    near, far = (round(mm) for mm in _ENDPLATE_MM)
    above = np.max([_shifted(smooth, -mm) for mm in range(near, far + 1)], axis=0)
    below = np.max([_shifted(smooth, mm) for mm in range(near, far + 1)], axis=0)
    beyond = (_shifted(smooth, -_MARROW_MM) + _shifted(smooth, _MARROW_MM)) / 2
    return _scaled(ndimage.gaussian_filter1d((above + below) / 2 - beyond, 1.0, mode="nearest"), _LEAST_RELIEF_HU)


def _shifted(values: FloatArray, by: int) -> FloatArray:
    """``values[n + by]``, the ends going on."""
    return np.asarray(values[np.clip(np.arange(len(values)) + by, 0, len(values) - 1)])


def _scaled(relief: FloatArray, least: float) -> FloatArray:
    """Relief in units of its own clear peaks, or of ``least`` where those are lower than that."""
    scale = max(least, float(np.quantile(np.maximum(relief, 0.0), 0.93)))
    return np.asarray(np.clip(relief / scale, -1.0, 1.3))


def _level_profile(column: Column, coarse: Prediction) -> FloatArray | None:
    """Spine coordinate along the column, averaged over body, disc and canal and smoothed."""
    if coarse.coordinate is None:
        return None
    weight = coarse.of(VERTEBRA_BODY, DISC, "spinal_canal")
    places = column.discs(*disc_pattern(16.0, 4.0))
    found = sample(coarse.coordinate * weight, coarse.grid, places).sum(axis=1)
    total = sample(weight, coarse.grid, places).sum(axis=1)
    seen = total > 0.1 * np.median(total)
    stations = np.arange(len(total))
    filled = np.interp(stations, stations[seen], found[seen] / total[seen])
    return np.asarray(ndimage.gaussian_filter1d(filled, 4.0, mode="nearest"))


def _is_vertebra(body: FloatArray, typical: float, settings: ColumnSettings) -> bool:
    return bool((body > 0.5 * typical).sum() >= settings.min_partial_mm)
