"""Reading labels from a seed, with its ribs, transitional vertebrae and bridged discs as the sample wants them.

Numbers of ribs and of lumbar vertebrae vary in about one person of ten. The vertebrae keep their ordinals: without
a 12th rib T12 is still the 19th vertebra from the top, and L1 with a rib of its own is still the 20th.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.sampling import trilinear
from models.training.shape import Positions, Spur, around_disc, box_around, disc_frame
from scipy import ndimage as ndi

FAR = 1e6
L1 = s.T12 + 1


@dataclass(frozen=True)
class Variant:
    """What of the counted anatomy is changed. Reaches are mm from the centre of the vertebral body, (right, left)."""

    twelfth_rib_mm: tuple[float, float] = (FAR, FAR)
    """How far the 12th ribs reach; 0 takes them away."""
    lumbar_rib_mm: tuple[float, float] = (0.0, 0.0)
    """How far ribs at L1 reach; 0 for none."""
    lumbarised_s1: bool = False
    """S1 free of the sacrum, with a disc below it. Only where the seed names S1."""

    @property
    def note(self) -> str | None:
        """In words, for the case file of a validation scan; None for the usual anatomy."""
        said = []
        if max(self.twelfth_rib_mm) == 0:
            said.append("no 12th ribs (11 pairs)")
        elif min(self.twelfth_rib_mm) == 0:
            said.append("12th rib on one side only")
        elif max(self.twelfth_rib_mm) < 50:
            said.append("12th ribs are scraps")
        if max(self.lumbar_rib_mm) > 0:
            said.append("ribs at L1 (13 pairs)" if min(self.lumbar_rib_mm) > 0 else "rib at L1 on one side")
        if self.lumbarised_s1:
            said.append("lumbarised S1")
        return "; ".join(said) or None


def draw_variant(seed: s.Seed, rng: np.random.Generator) -> Variant:
    """Usual anatomy in three of four samples; short 12th ribs, 11 or 13 ribs and lumbarised S1 in the others."""
    u = rng.uniform
    kind = rng.choice(["usual", "short", "eleven", "thirteen", "s1"], p=[0.72, 0.1, 0.07, 0.07, 0.04])
    if kind == "usual" or seed.hu is not None:
        return Variant()
    if kind == "s1":
        return Variant(lumbarised_s1=bool((seed.labels == s.S1).any()))
    if not seed.rib.any():
        return Variant()
    if kind == "short":
        return Variant(twelfth_rib_mm=(u(45, 90), u(45, 90)))
    if kind == "eleven":
        gone = [(0.0, 0.0), (u(38, 52), u(38, 52)), (0.0, FAR), (FAR, 0.0)]
        return Variant(twelfth_rib_mm=gone[rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])])
    there = [(u(45, 90), u(45, 90)), (u(45, 80), 0.0), (0.0, u(45, 80))]
    return Variant(lumbar_rib_mm=there[rng.choice(3, p=[0.6, 0.2, 0.2])])


@dataclass(frozen=True, eq=False)
class Reading:
    """What the seed holds at some positions; volumes of the positions' shape."""

    labels: np.ndarray
    """uint8 internal labels; 0 where the map is free."""
    flat: np.ndarray
    """int32 index into the seed's arrays."""
    inside: np.ndarray
    """bool: within the seed's height. Outside it the end slice is repeated."""
    depth: np.ndarray | None
    """float32 mm below the bone's surface, where asked for."""


def read(
    seed: s.Seed, p: Positions, variant: Variant, spurs: tuple[Spur, ...], jitter: np.ndarray | None = None,
    depth: bool = False,
) -> Reading:  # fmt: skip
    """The nearest voxel of the seed at every position.

    Args:
        jitter: values within -0.5 .. 0.5 voxels added before rounding: makes the seed's staircases into partial
            volume once several drawn voxels are averaged.
    """
    flat, inside = _indices(seed.labels.shape, p, jitter)
    labels = seed.labels.ravel()[flat]
    deep = None
    if depth and jitter is not None:
        deep = seed.bone_depth.ravel()[flat] * np.float32(0.1)
    elif depth:
        # with one drawn voxel to an output voxel there is nothing to average: endplates would show the map's steps
        deep = np.zeros(labels.shape, np.float32)
        at = np.flatnonzero(s.bone_mask(labels))
        deep.ravel()[at] = trilinear(seed.bone_depth, [q.ravel()[at] for q in p]) * np.float32(0.1)
    for spur in spurs:
        if spur.bridging:
            _bridge(seed, p, labels, deep, spur)
    _twelfth_rib(seed, p, flat, labels, variant)
    for side, reach in zip((-1, 1), variant.lumbar_rib_mm, strict=True):
        if reach > 0:
            _lumbar_rib(seed, p, labels, deep, side, reach)
    if variant.lumbarised_s1:
        _free_s1(seed, p, labels)
    else:
        labels[labels == s.S1] = s.OTHER_BONE
    return Reading(labels, flat, inside, deep)


def _indices(shape: tuple[int, ...], p: Positions, jitter: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    flat = np.zeros(p[0].shape, np.int32)
    for axis, (q, n) in enumerate(zip(p, shape, strict=True)):
        at = q + np.float32(0.5)
        if jitter is not None:
            at += np.roll(jitter, 7 * axis, 2)
        np.clip(at, 0, n - 0.5, out=at)
        flat *= n
        flat += at.astype(np.int32)
    return flat, (p[0] > -0.5) & (p[0] < shape[0] - 0.5)


def _aside(p: Positions, box: tuple[slice, ...], centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """mm from a body's centre in the plane, and which side (right negative)."""
    j, i = (p[a][box] - np.float32(centre[a]) for a in (1, 2))
    return np.sqrt(np.square(j) + np.square(i)) * np.float32(s.SPACING_MM), i


def _centre(seed: s.Seed, ordinal: int) -> np.ndarray | None:
    found = seed.centreline[seed.centreline[:, 0] == ordinal]
    return found[0, 1:] if len(found) else None


def _twelfth_rib(seed: s.Seed, p: Positions, flat: np.ndarray, labels: np.ndarray, variant: Variant) -> None:
    centre = _centre(seed, s.T12)
    if min(variant.twelfth_rib_mm) >= FAR or centre is None:
        return
    at = np.flatnonzero(labels == s.RIB)
    at = at[seed.rib.ravel()[flat.ravel()[at]] == 12]
    j, i = (p[a].ravel()[at] - np.float32(centre[a]) for a in (1, 2))
    reach = np.where(i < 0, *(np.float32(r) for r in variant.twelfth_rib_mm))
    labels.ravel()[at[np.hypot(j, i) * np.float32(s.SPACING_MM) > reach]] = 0


def _lumbar_rib(
    seed: s.Seed, p: Positions, labels: np.ndarray, depth: np.ndarray | None, side: int, reach: float
) -> None:
    """The 12th rib once more, a vertebra lower, as far as ``reach``; over muscle and what is free only."""
    here, above = _centre(seed, L1), _centre(seed, s.T12)
    if here is None or above is None:
        return
    box = box_around(p, here, reach + 25)
    if box is None:
        return
    far, i = _aside(p, box, here)
    shifted = [q[box] + np.float32(a - h) for q, a, h in zip(p, above, here, strict=True)]
    flat, _ = _indices(seed.labels.shape, shifted, None)
    rib = (seed.rib.ravel()[flat] == 12) & (i * side > 0) & (far < reach)
    rib &= np.isin(labels[box], (0, s.PARASPINAL, s.MUSCLE, s.CARTILAGE))
    labels[box][rib] = s.RIB
    if depth is not None:
        depth[box][rib] = seed.bone_depth.ravel()[flat[rib]] * np.float32(0.1)


def _bridge(seed: s.Seed, p: Positions, labels: np.ndarray, depth: np.ndarray | None, spur: Spur) -> None:
    """Turn the outer 3 mm of a disc to bone on the spur's side: a syndesmophyte."""
    frame = disc_frame(seed, spur.ordinal)
    box = box_around(p, frame[0], 42) if frame else None
    if frame is None or box is None:
        return
    z, r, window, radial = around_disc(p, box, frame[0], frame[1], spur)
    outer = [q[box] + d * (np.float32(2.2) / r) for q, d in zip(p, radial, strict=True)]
    flat, _ = _indices(seed.labels.shape, outer, None)
    beyond = seed.labels.ravel()[flat]
    body = (beyond >= s.BODY_BASE) & (beyond < s.POSTERIOR_BASE)
    edge = (labels[box] == s.DISC) & (window > 0.4) & (beyond != s.DISC) & ~body
    edge &= np.abs(z) < 0.35 * frame[2]  # not the discs above and below it
    labels[box][edge] = s.BODY_BASE + spur.ordinal
    if depth is not None:
        depth[box][edge] = 1.0


def _s1_frame(seed: s.Seed) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Centre of S1's body, unit axis from S2 to it, and mm (negative) along the axis to where S2 begins.

    The sacrum is tilted far out of the column's line, so the axis comes from where S1 touches what is below it.
    """
    at = np.argwhere(seed.labels == s.S1)
    fifth = _centre(seed, s.L5)
    if len(at) == 0 or fifth is None:
        return None
    middle = at[np.abs(at[:, 2] - fifth[2]) < 10]
    centre = middle.mean(0)
    box = tuple(slice(max(0, a - 3), b + 4) for a, b in zip(at.min(0), at.max(0), strict=True))
    near = ndi.binary_dilation(seed.labels[box] == s.S1, iterations=2) & (seed.labels[box] == s.OTHER_BONE)
    touch = np.argwhere(near) + [a.start for a in box]
    # the alae touch it, too; and behind the canal its arch meets the sacral crest
    touch = touch[(np.abs(touch[:, 2] - centre[2]) < 8) & (touch[:, 1] < np.percentile(middle[:, 1], 90))]
    if len(touch) < 5:
        return None
    axis = centre - touch.mean(0)
    axis[2] = 0
    length = float(np.linalg.norm(axis))
    return centre, axis / length, -length * s.SPACING_MM


def _free_s1(seed: s.Seed, p: Positions, labels: np.ndarray) -> None:
    """Give S1 the look of a sixth lumbar vertebra: a disc below it, its alae cut to transverse processes."""
    frame = _s1_frame(seed)
    rows = np.flatnonzero(p[0].min((1, 2)) < frame[0][0] + 40) if frame else ()
    if frame is None or len(rows) == 0:
        labels[labels == s.S1] = s.OTHER_BONE
        return
    centre, axis, low = frame
    box = (slice(0, int(rows[-1]) + 1), slice(None), slice(None))
    z, y, x = ((q[box] - np.float32(c)) * np.float32(s.SPACING_MM) for q, c in zip(p, centre, strict=True))
    height = z * np.float32(axis[0]) + y * np.float32(axis[1])
    behind = y * np.float32(axis[0]) - z * np.float32(axis[1])
    view = labels[box]
    own, aside = view == s.S1, np.abs(x)
    view[own] = np.where(behind[own] < 17, s.BODY_BASE + 25, s.POSTERIOR_BASE + 25)
    sacral = (view == s.OTHER_BONE) & (aside < 62) & (height > low - 3) & (height < 30)
    view[sacral & (aside > 32)] = 0
    disc = (own | sacral) & (np.abs(height - low) < 3.2) & (aside < 26) & (behind < 17)
    view[own & (height < low)] = s.OTHER_BONE
    view[disc] = s.DISC
