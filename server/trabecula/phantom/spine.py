"""The column C6 .. L4: where each vertebra stands, how big it is, how it leans.

Sizes are rounded adult means in the range of published CT morphometry (Panjabi 1991/1992, Masharawi 2004);
they are a plausible person, not reference values. x = 0 is the midline, y = 0 the centre of T8's body,
z = 0 the centre of T12's body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.anatomy import Level
from trabecula.phantom.canvas import Points
from trabecula.phantom.spec import Fracture, FractureShape, PhantomSpec

# height, width, depth of the body; disc below; tilt in degrees (positive: the upper end leans forward);
# reach of the transverse process from the midline; length and drop of the spinous process (mm)
_SIZES: Final[Mapping[Level, tuple[float, ...]]] = {
    Level.C6: (13.0, 27.0, 16.0, 5.0, 14.0, 26.0, 24.0, 8.0),
    Level.C7: (14.5, 29.0, 16.5, 4.5, 22.0, 31.0, 32.0, 12.0),
    Level.T1: (16.5, 30.0, 17.0, 4.0, 25.0, 36.0, 34.0, 14.0),
    Level.T2: (17.8, 28.5, 18.0, 3.5, 23.0, 34.0, 31.0, 18.0),
    Level.T3: (18.3, 27.0, 19.5, 3.5, 19.0, 32.5, 28.0, 22.0),
    Level.T4: (18.9, 26.5, 21.5, 3.5, 15.0, 32.0, 26.0, 25.0),
    Level.T5: (19.4, 27.0, 23.5, 3.7, 11.0, 32.0, 25.0, 28.0),
    Level.T6: (20.0, 28.0, 25.0, 4.0, 7.0, 32.0, 24.0, 30.0),
    Level.T7: (20.6, 29.0, 26.5, 4.4, 3.0, 32.0, 24.0, 30.0),
    Level.T8: (21.2, 30.5, 27.5, 4.6, -1.0, 31.5, 24.0, 28.0),
    Level.T9: (21.9, 32.5, 28.5, 4.8, -5.0, 30.5, 24.0, 24.0),
    Level.T10: (23.0, 35.0, 29.5, 5.2, -8.0, 28.5, 24.0, 18.0),
    Level.T11: (24.0, 38.0, 30.5, 5.8, -10.5, 24.0, 24.0, 12.0),
    Level.T12: (25.4, 41.0, 31.0, 6.6, -11.5, 20.0, 25.0, 8.0),
    Level.L1: (27.0, 43.0, 31.5, 8.0, -10.5, 33.0, 28.0, 6.0),
    Level.L2: (27.8, 44.5, 32.5, 9.2, -7.0, 37.0, 30.0, 6.0),
    Level.L3: (28.0, 46.5, 33.5, 10.0, -2.0, 41.0, 31.0, 6.0),
    Level.L4: (28.0, 48.0, 34.0, 10.5, 5.0, 39.0, 29.0, 6.0),
}
SPINE_LEVELS: Final = tuple(_SIZES)
_BICONCAVE_SHARE: Final = 0.9


@dataclass(frozen=True, eq=False)
class VertebraFrame:
    """One vertebra: its frame in LPS and its sizes. Local coordinates are (left u, forward v, up w)."""

    level: Level
    centre: Points
    left: Points
    anterior: Points
    superior: Points
    half_width_mm: float
    half_depth_mm: float
    front_mm: float
    middle_mm: float
    back_mm: float
    """Outer heights of the body at its anterior edge, in the middle and at its posterior edge."""
    canal_half_width_mm: float
    canal_half_depth_mm: float
    transverse_reach_mm: float
    spinous_length_mm: float
    spinous_drop_mm: float
    disc_below_mm: float

    @property
    def half_height_mm(self) -> float:
        return 0.5 * max(self.front_mm, self.back_mm)

    def world(self, u: float, v: float, w: float) -> Points:
        """LPS of local coordinates."""
        point: Points = self.centre + u * self.left + v * self.anterior + w * self.superior
        return point

    @property
    def canal_centre_v_mm(self) -> float:
        return -(self.half_depth_mm + self.canal_half_depth_mm - 0.5)


def _heights(height: float, fracture: Fracture | None, is_lumbar: bool) -> tuple[float, float, float]:
    """Front, middle, back. Endplates are hollow, so the middle of a sound body is a little lower."""
    front, middle, back = 0.985 * height, (0.93 if is_lumbar else 0.94) * height, height
    if fracture is None:
        return front, middle, back
    left = 1.0 - fracture.grade.height_loss
    if fracture.shape is FractureShape.WEDGE:
        return left * height, min(middle, (0.45 + 0.52 * left) * height), back
    if fracture.shape is FractureShape.BICONCAVE:
        return _BICONCAVE_SHARE * front, left * height, back
    return left * front, left * middle, left * back


def _canal(level: Level) -> tuple[float, float]:
    """Half width and half depth of the spinal canal."""
    if level.is_lumbar or level is Level.T12:
        return 11.5, 8.8
    if level.ordinal <= Level.T1.ordinal:
        return 11.5, 7.8
    return (10.2, 8.1) if level is Level.T11 else (9.3, 7.8)


def build_spine(spec: PhantomSpec) -> dict[Level, VertebraFrame]:
    """Frames of C6 .. L4, head to foot, with T12's body centred on z = 0."""
    rng = np.random.default_rng([spec.seed, 11])
    sway = rng.uniform(-1.0, 1.0, size=2)
    frames: dict[Level, VertebraFrame] = {}
    position = np.zeros(3)
    previous: VertebraFrame | None = None
    for n, level in enumerate(SPINE_LEVELS):
        height, width, depth, disc, tilt, *processes = _SIZES[level]
        front, middle, back = _heights(height, spec.fractures.get(level), level.is_lumbar)
        lean = np.deg2rad(tilt + rng.normal(0.0, 0.6))
        superior = np.array([0.0, -np.sin(lean), np.cos(lean)])
        anterior = np.array([0.0, -np.cos(lean), -np.sin(lean)])
        if previous is not None:
            gap = 0.5 * (previous.front_mm + previous.back_mm) / 2 + previous.disc_below_mm
            gap += 0.25 * (front + back)
            direction = superior + previous.superior
            position = position - gap * direction / np.linalg.norm(direction)
        position = np.array([1.6 * sway[0] * np.sin(n / 3.1) + 0.8 * sway[1], position[1], position[2]])
        frame = VertebraFrame(
            level,
            position,
            np.array([1.0, 0.0, 0.0]),
            anterior,
            superior,
            0.5 * width,
            0.5 * depth,
            front,
            middle,
            back,
            *_canal(level),
            processes[0],
            processes[1],
            processes[2],
            disc,
        )
        frames[level] = frame
        previous = frame
    return _recentred(frames)


def _recentred(frames: dict[Level, VertebraFrame]) -> dict[Level, VertebraFrame]:
    from dataclasses import replace

    shift = np.array([0.0, frames[Level.T8].centre[1], frames[Level.T12].centre[2]])
    return {level: replace(frame, centre=frame.centre - shift) for level, frame in frames.items()}
