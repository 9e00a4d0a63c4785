"""Both endplates of one vertebral body as smooth surfaces, fitted robustly to the bone's edge.

Along the body's own height axis every column of the resampled box crosses an endplate as marrow, a thin bright plate,
then disc, all blurred by the scanner. A column's edge is found by fitting exactly that: a step between the two tissues
plus a plate of known thickness under a Gaussian point spread, linear in the three attenuations for each trial place
(variable projection, Golub and Pereyra 1973). Polynomials of degree four over the outline then join the edges; edges
that do not lie on such a surface (Schmorl nodes, osteophytes, a neighbour's plate) lose their weight (Tukey's
biweight) and are handed on as pits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage as ndi
from scipy.special import ndtr

from trabecula.bone.frame import STEP_MM, FloatVolume, axis_mm
from trabecula.bone.rules import EndplateRules
from trabecula.bone.shape import BodyShape, BoolArray
from trabecula.geometry import FloatArray

_FRACTIONS: Final = 4
"""Trial places per step along a column."""
_STRIDE: Final = 2
"""Every second column of the box along both directions is used."""
_COLUMN_MM: Final = _STRIDE * STEP_MM
_DEGREE: Final = 4
_TUKEY: Final = 4.685
"""Biweight constant with 95 % efficiency under normal errors (Holland and Welsch 1977)."""
_MAD_TO_SD: Final = 1.4826
_MIN_SCALE_MM: Final = 0.2


@dataclass(frozen=True)
class Pit:
    """A place where bone ends well inside the smooth endplate: a Schmorl node."""

    centre_mm: tuple[float, float, float]
    """(s, a, l) of its deepest point in the frame."""
    depth_mm: float
    area_mm2: float
    plate_fraction: float
    """Of the endplate's area."""


@dataclass(frozen=True, eq=False)
class Endplate:
    """One endplate: height ``s`` over the plane (a, l) of the body."""

    centre_mm: tuple[float, float]
    half_mm: tuple[float, float]
    """Half extents along (a, l) by which coordinates are scaled."""
    coefficients: FloatArray
    """(15,) mm, of the monomials up to degree four."""
    covariance: FloatArray
    """(15, 15) mm2, correlation between neighbouring columns allowed for."""
    residual_mm: float
    """Robust scatter of the edges about the surface."""
    support: float
    """Share of columns whose edge was found in the attenuation, 0 .. 1."""
    pits: tuple[Pit, ...]

    def height_mm(self, a_mm: npt.ArrayLike, l_mm: npt.ArrayLike) -> FloatArray:
        """``s`` in mm at points (a, l)."""
        height: FloatArray = self._terms(a_mm, l_mm) @ self.coefficients
        return height

    def variance_mm2(self, a_mm: npt.ArrayLike, l_mm: npt.ArrayLike) -> float:
        """Variance of the mean height over these points."""
        terms = self._terms(a_mm, l_mm).reshape(-1, self.coefficients.size).mean(axis=0)
        return float(terms @ self.covariance @ terms)

    def _terms(self, a_mm: npt.ArrayLike, l_mm: npt.ArrayLike) -> FloatArray:
        a = (np.asarray(a_mm, dtype=np.float64) - self.centre_mm[0]) / self.half_mm[0]
        b = (np.asarray(l_mm, dtype=np.float64) - self.centre_mm[1]) / self.half_mm[1]
        return _monomials(a, b)


@dataclass(frozen=True, eq=False)
class Endplates:
    top: Endplate
    bottom: Endplate
    label_top: Endplate
    label_bottom: Endplate
    """The same surfaces through the label's own edges: a second opinion on deformity."""


def fit_endplates(
    hu: FloatVolume, mask: BoolArray, shape: BodyShape, blur_mm: float, rules: EndplateRules
) -> Endplates | None:
    """Fit both endplates.

    Args:
        hu: (S, A, L) attenuation in the vertebra's frame.
        mask: the same box, True where the segmentation says this body is.
        shape: the body's outline and the endplates in its middle.
        blur_mm: standard deviation of the scan's point spread along the body's height.
        rules: search distances and weights.

    Returns:
        The surfaces, or None when the label covers too little of the outline.
    """
    thin = (slice(None), slice(None, None, _STRIDE), slice(None, None, _STRIDE))
    columns = (_columns(shape, rules.margin_mm) & (mask.sum(axis=0) * STEP_MM >= rules.min_column_mm))[thin[1:]]
    if columns.sum() * _COLUMN_MM**2 < rules.min_area_mm2:
        return None
    smooth = ndi.gaussian_filter1d(hu, rules.lateral_smoothing_mm / STEP_MM, axis=1, truncate=2.0)
    smooth = ndi.gaussian_filter1d(smooth[:, thin[1]], rules.lateral_smoothing_mm / STEP_MM, axis=2, truncate=2.0)
    profiles = smooth[:, :, thin[2]][:, columns].T
    inside = mask[thin][:, columns].T
    a, b = (grid[thin[1:]][columns] for grid in np.meshgrid(axis_mm(1), axis_mm(2), indexing="ij"))
    centre, half = _extent(a, b)
    terms = _monomials((a - centre[0]) / half[0], (b - centre[1]) / half[1])
    plates = []
    for up in (True, False):
        # Going down is going up in the mirrored column.
        profile, label = (profiles, inside) if up else (profiles[:, ::-1], inside[:, ::-1])
        end = axis_mm(0)[label.shape[1] - 1 - np.argmax(label[:, ::-1], axis=1)] + STEP_MM / 2
        centre_end = shape.top_mm if up else -shape.bottom_mm
        found = _fit_plate(profile, end, centre_end, terms, blur_mm, rules)
        sign = 1.0 if up else -1.0
        for coefficients, covariance, scatter, support, edges in (found, _fit_label(end, terms, rules)):
            pits = _pits(
                edges,
                terms @ coefficients,
                (a, b),
                sign,
                columns,
                max(rules.pit_depth_mm, rules.pit_blurs * blur_mm),
                rules,
            )
            plates.append(Endplate(centre, half, sign * coefficients, covariance, scatter, support, pits))
    top, label_top, bottom, label_bottom = plates
    return Endplates(top, bottom, label_top, label_bottom)


_Fit = tuple[FloatArray, FloatArray, float, float, FloatArray]
"""Coefficients, covariance, scatter, support, edges (outwards positive)."""


def _fit_plate(
    profiles: FloatVolume, label_end: FloatArray, centre_end: float, terms: FloatArray, blur_mm: float, r: EndplateRules
) -> _Fit:
    """Edges, surface; then edges once more near that surface, and the surface through them."""
    places, strength = _edge_strength(profiles, blur_mm, r)
    # The middle of the body was found apart from the label: a label shifted along the column is shifted back.
    near = np.argsort(np.square(terms[:, 1]) + np.square(terms[:, 2]))[: max(9, len(terms) // 10)]
    shift = float(np.clip(centre_end - np.median(label_end[near]), -r.search_mm, r.search_mm))
    # How far attenuation is to be believed beside the label, which thick slices leave as the better witness.
    edge_variance, label_variance = (r.edge_error_of_blur * blur_mm) ** 2, r.label_error_mm**2
    expected = label_end + shift * label_variance / (label_variance + edge_variance)
    edges, sure = _pick(places, strength, expected, r.search_mm, r)
    low_order = terms[:, :6]
    coefficients, _, _ = _robust_fit(low_order, edges, np.where(sure, 1.0, r.unseen_weight), r)
    # Between the two: a smooth first guess that still follows a label bent by a deformity.
    second = 0.5 * (low_order @ coefficients + _smoothed(expected, terms, r))
    edges, sure = _pick(places, strength, second, r.second_search_mm, r)
    weights = np.concatenate(
        [np.where(sure, 1.0, r.unseen_weight), np.full(len(edges), edge_variance / label_variance)]
    )
    coefficients, covariance, scatter = _robust_fit(
        np.concatenate([terms, terms]), np.concatenate([edges, expected]), weights, r
    )
    # Once more about the finished surface, far enough to reach the floor of a pit.
    surface = terms @ coefficients
    floors, shown = _pick(places, strength, surface, r.search_mm, r)
    return coefficients, covariance, scatter, float(sure.mean()), np.where(shown, floors, surface)


def _smoothed(expected: FloatArray, terms: FloatArray, r: EndplateRules) -> FloatArray:
    """The label's ends as a smooth surface."""
    coefficients, _, _ = _robust_fit(terms, expected, np.ones(len(expected)), r)
    smooth: FloatArray = terms @ coefficients
    return smooth


def _fit_label(label_end: FloatArray, terms: FloatArray, r: EndplateRules) -> _Fit:
    coefficients, covariance, scatter = _robust_fit(terms, label_end, np.ones(len(label_end)), r)
    return coefficients, covariance, scatter, 1.0, terms @ coefficients


def _edge_strength(profiles: FloatVolume, blur_mm: float, r: EndplateRules) -> tuple[FloatArray, FloatArray]:
    """Trial places (P,) in mm and how much each looks like this body's edge (N, P), HU.

    Strength is the fitted height of the bright plate plus half of the fall from marrow to disc, times the share of
    the window's variance that the model explains.
    """
    inner, outer = round(r.window_inner_mm / STEP_MM), round(r.window_outer_mm / STEP_MM)
    windows = np.ascontiguousarray(sliding_window_view(profiles, inner + outer + 1, axis=1))
    windows -= windows.mean(axis=2, keepdims=True)
    total = np.square(windows).sum(axis=2) + 1.0
    places, strengths = [], []
    for fraction in range(_FRACTIONS):
        offset = fraction / _FRACTIONS * STEP_MM
        solve, basis = _edge_model(inner, outer, offset, blur_mm, r.plate_mm)
        fitted = windows @ solve.T
        explained = np.square(windows @ basis).sum(axis=2) / total
        ridge = fitted[..., 2] / (blur_mm * np.sqrt(2 * np.pi))
        fall = fitted[..., 0] - fitted[..., 1]
        strength = np.minimum(
            ridge + np.where(fall > 0.0, 0.5 * fall, np.maximum(fall, -ridge)), r.max_strength_hu
        ) * np.clip(explained, 0, 1)
        places.append(axis_mm(0)[inner : inner + windows.shape[1]] + offset)
        strengths.append(strength)
    order = np.argsort(np.concatenate(places), kind="stable")
    return np.concatenate(places)[order], np.concatenate(strengths, axis=1)[:, order]


@lru_cache(maxsize=256)
def _edge_model(
    inner: int, outer: int, offset_mm: float, blur_mm: float, plate_mm: float
) -> tuple[FloatVolume, FloatVolume]:
    """((3, W) least-squares solution for marrow, disc and plate mass in HU mm; (W, 3) basis of what it explains)."""
    x = (np.arange(-inner, outer + 1) * STEP_MM - offset_mm) / blur_mm
    beyond = ndtr(x)
    plate = np.exp(-0.5 * np.square(x + 0.5 * plate_mm / blur_mm)) / (blur_mm * np.sqrt(2 * np.pi))
    design = np.stack([1.0 - beyond, beyond, plate], axis=1)
    return np.linalg.pinv(design).astype(np.float32), np.linalg.qr(design)[0].astype(np.float32)


def _pick(
    places: FloatArray, strength: FloatArray, expected: FloatArray, reach_mm: float, r: EndplateRules
) -> tuple[FloatArray, BoolArray]:
    """Each column's edge near where it is expected, and whether attenuation shows it; else the expectation."""
    away = (places[None, :] - expected[:, None]) / reach_mm
    score = strength - r.distance_penalty_hu * np.square(away)
    score[np.abs(away) > 1.0] = -np.inf
    best = np.argmax(score, axis=1)
    rows = np.arange(len(expected))
    sure = score[rows, best] >= r.min_strength_hu
    edges: FloatArray = np.where(sure, places[best], expected)
    return edges, sure


def _robust_fit(
    terms: FloatArray, edges: FloatArray, weights: npt.NDArray[np.generic], r: EndplateRules
) -> tuple[FloatArray, FloatArray, float]:
    """Coefficients, covariance and scatter of an iteratively reweighted fit; high degrees are held back a little."""
    prior = np.where(np.arange(terms.shape[1]) >= 6, r.stiffness * len(edges), 1e-6)
    base = np.asarray(weights, dtype=np.float64)
    w = base
    coefficients = np.zeros(terms.shape[1])
    scale = 1.0
    for _ in range(r.iterations):
        normal = (terms * w[:, None]).T @ terms + np.diag(prior)
        coefficients = np.linalg.solve(normal, terms.T @ (w * edges))
        residual = edges - terms @ coefficients
        scale = max(_MIN_SCALE_MM, _MAD_TO_SD * float(np.median(np.abs(residual[base > 0.5 * base.max()]))))
        w = base * np.square(np.clip(1.0 - np.square(residual / (_TUKEY * scale)), 0.0, None))
    inverse = np.linalg.inv((terms * w[:, None]).T @ terms + np.diag(prior))
    covariance = inverse * scale**2 * r.correlated_columns
    return coefficients, covariance, scale


def _pits(
    edges: FloatArray,
    surface: FloatArray,
    at_mm: tuple[FloatArray, FloatArray],
    sign: float,
    columns: BoolArray,
    least_mm: float,
    r: EndplateRules,
) -> tuple[Pit, ...]:
    """Connected places where the edge lies well inside the surface."""
    depth = np.zeros(columns.shape)
    depth[columns] = surface - edges
    pieces, count = ndi.label(depth >= least_mm)
    found = []
    for piece in range(1, count + 1):
        here = pieces[columns] == piece
        area = float(here.sum()) * _COLUMN_MM**2
        if area < r.pit_area_mm2:
            continue
        deepest = int(np.argmax(np.where(here, depth[columns], -np.inf)))
        centre = (sign * float(edges[deepest]), float(at_mm[0][here].mean()), float(at_mm[1][here].mean()))
        found.append(Pit(centre, float(depth[columns][deepest]), area, float(here.mean())))
    return tuple(found)


def _columns(shape: BodyShape, margin_mm: float) -> BoolArray:
    """(A, L) columns inside the outline moved ``margin_mm`` inwards."""
    a, b = np.meshgrid(axis_mm(1) - shape.centre_mm[0], axis_mm(2) - shape.centre_mm[1], indexing="ij")
    radius = np.interp(np.arctan2(b, a), shape.angles, shape.radii_mm, period=2 * np.pi)
    return np.asarray(np.hypot(a, b) <= radius - margin_mm)


def _extent(a: FloatArray, b: FloatArray) -> tuple[tuple[float, float], tuple[float, float]]:
    centre = ((float(a.max()) + float(a.min())) / 2, (float(b.max()) + float(b.min())) / 2)
    half = (max(float(a.max()) - centre[0], 1.0), max(float(b.max()) - centre[1], 1.0))
    return centre, half


def _monomials(a: FloatArray, b: FloatArray) -> FloatArray:
    """Terms a^i b^j of total degree up to four, lowest degrees first: (..., 15)."""
    of_a, of_b = [np.ones_like(a)], [np.ones_like(b)]
    for _ in range(_DEGREE):
        of_a.append(of_a[-1] * a)
        of_b.append(of_b[-1] * b)
    return np.stack([of_a[n - m] * of_b[m] for n in range(_DEGREE + 1) for m in range(n + 1)], axis=-1)
