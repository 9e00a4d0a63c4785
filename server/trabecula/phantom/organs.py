"""Heart, great vessels, airways, oesophagus and the organs of the upper abdomen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trabecula.anatomy import Level, Structure
from trabecula.phantom.canvas import Points, Tube, curve
from trabecula.phantom.spine import VertebraFrame
from trabecula.phantom.tissues import Tissue
from trabecula.phantom.trunk import Trunk

L = Level


@dataclass(frozen=True, eq=False)
class Pipe:
    """A tube with a wall and a filling."""

    tube: Tube
    filling: Tissue
    label: Structure | None = None
    wall: Tissue | None = None
    wall_mm: float = 0.0
    margin_mm: float = 0.0
    """Fat laid around it first, so that lung does not touch the vessel."""


@dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid of one tissue."""

    centre: Sequence[float]
    radii: Sequence[float]
    yaw_rad: float = 0.0


@dataclass(frozen=True, eq=False)
class Organs:
    vessels: tuple[Pipe, ...]
    airways: tuple[Pipe, ...]
    gut: tuple[Pipe, ...]
    muscles: tuple[Pipe, ...]
    heart: tuple[Blob, ...]
    kidneys: tuple[tuple[Blob, Blob], ...]
    """Kidney and its sinus."""
    gallbladder: Blob
    spleen_z: float
    mesentery: tuple[tuple[Points, Points, float], ...]
    """Start, end, radius of vessels in visceral fat."""
    plaques: tuple[Points, ...]
    """Centres of calcifications in the aortic wall."""
    trunk: Trunk


class Draft:
    """Writes paths as (x, y relative to the level's body centre, level, mm up)."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk

    def tube(self, *knots: tuple[float, float, Level, float, float]) -> Tube:
        """Knots are (x, y, level, up, radius)."""
        path = [[*self.at(x, y, level, up), radius] for x, y, level, up, radius in knots]
        sampled = curve(path, 5.0)
        return Tube(sampled[:, :3], np.maximum(sampled[:, 3], 0.5))

    def at(self, x: float, y: float, level: Level, up: float) -> list[float]:
        z = self.trunk.z_of(level, up)
        s = self.trunk.shape.scale
        return [x * s, float(self.trunk.spine_y(z)) + y * (0.35 + 0.65 * s if abs(x) < 30 and y > -35 else s), z]


def build_organs(frames: Mapping[Level, VertebraFrame], trunk: Trunk) -> Organs:
    """Place everything soft inside the trunk."""
    d = Draft(trunk)
    s = trunk.shape.scale
    heart = tuple(
        Blob(d.at(x, y, level, up), [r * s for r in radii], yaw)
        for x, y, level, up, radii, yaw in (
            (34.0, -84.0, L.T9, 6.0, (44.0, 29.0, 36.0), -0.65),
            (6.0, -104.0, L.T9, 8.0, (40.0, 25.0, 36.0), -0.3),
            (-30.0, -82.0, L.T8, 8.0, (24.0, 29.0, 36.0), 0.0),
            (6.0, -52.0, L.T8, 10.0, (37.0, 20.0, 24.0), 0.1),
            (8.0, -102.0, L.T7, 8.0, (22.0, 17.0, 26.0), 0.0),
        )
    )
    kidneys = tuple(
        (
            Blob(
                d.at(side * 64.0, 5.0, L.L1 if side > 0 else L.L2, -6.0 if side > 0 else 10.0),
                (27.0, 25.0, 54.0),
                side * 0.5,
            ),
            Blob(
                d.at(side * 52.0, -5.0, L.L1 if side > 0 else L.L2, -6.0 if side > 0 else 10.0),
                (15.0, 10.0, 28.0),
                side * 0.5,
            ),
        )
        for side in (1, -1)
    )
    gallbladder = Blob(d.at(-58.0, -86.0, L.L1, 0.0), (14.0, 17.0, 26.0), 0.3)
    vessels = _vessels(d)
    return Organs(
        vessels,
        _airways(d),
        _gut(d),
        _deep_muscles(frames),
        heart,
        kidneys,
        gallbladder,
        trunk.z_of(L.T11, -4.0),
        _mesentery(d),
        _plaques(vessels, trunk.shape.seed),
        trunk,
    )


def _vessels(d: Draft) -> tuple[Pipe, ...]:
    blood, venous = Tissue.BLOOD, Tissue.VENOUS_BLOOD

    def artery(*knots: tuple[float, float, Level, float, float]) -> Pipe:
        return Pipe(d.tube(*knots), blood, Structure.CAVITY, margin_mm=1.5)

    def vein(*knots: tuple[float, float, Level, float, float]) -> Pipe:
        return Pipe(d.tube(*knots), venous, Structure.CAVITY, margin_mm=1.5)

    aorta = d.tube(
        (-4, -78, L.T7, -6, 15), (-18, -80, L.T6, 4, 16), (-17, -72, L.T5, 4, 16), (-6, -58, L.T4, 4, 15),
        (14, -36, L.T4, -2, 13.5), (25, -20, L.T5, 4, 13), (26, -12, L.T6, 6, 12.5), (24, -12, L.T8, 0, 12),
        (20, -17, L.T10, 0, 11.5), (12, -25, L.T11, 0, 11), (6, -27, L.T12, 0, 10.5), (5, -27.5, L.L2, 0, 9.5),
        (4, -28, L.L4, 0, 9),
    )  # fmt: skip
    return (
        vein((-21, -28, L.L4, 0, 10), (-22, -28, L.L2, 0, 10.5), (-23, -30, L.T12, 0, 11), (-27, -42, L.T10, 4, 12),
             (-28, -60, L.T9, 0, 13)),
        vein((-30, -72, L.T7, -8, 10), (-31, -68, L.T5, 0, 9.5), (-27, -66, L.T3, 0, 8.5), (-20, -52, L.T1, 0, 7)),
        vein((-29, -68, L.T4, 8, 8), (0, -78, L.T3, 4, 6.5), (32, -62, L.T2, 4, 6.5), (48, -50, L.T1, 10, 6)),
        Pipe(aorta, blood, Structure.AORTA, margin_mm=2.0),
        artery((-12, -62, L.T4, 14, 6.5), (-18, -48, L.T2, 0, 6), (-30, -36, L.T1, 6, 4.5), (-60, -28, L.T1, 12, 4)),
        artery((3, -52, L.T4, 14, 4.5), (14, -38, L.T2, 0, 4), (18, -26, L.C6, 0, 3.5)),
        artery((14, -42, L.T4, 12, 5.5), (22, -28, L.T2, 0, 5), (40, -28, L.T1, 4, 4.5), (66, -30, L.T1, 10, 4)),
        artery((16, -100, L.T7, 12, 14), (17, -86, L.T6, 4, 14), (12, -66, L.T6, 8, 12.5),
               (-8, -50, L.T6, 2, 11.5), (-42, -44, L.T6, -8, 9)),
        artery((16, -68, L.T6, 10, 12), (34, -44, L.T6, 10, 10.5), (44, -34, L.T7, 10, 8)),
        vein((12, -46, L.T8, 14, 9), (34, -44, L.T7, 0, 7.5), (48, -50, L.T7, 4, 6)),
        vein((-8, -48, L.T8, 14, 9), (-34, -48, L.T7, -2, 7.5), (-46, -54, L.T7, 2, 6)),
        vein((-11, -19, L.L1, 0, 3), (-9, -17, L.T9, 0, 3.5), (-9, -18, L.T6, 0, 4), (-16, -30, L.T5, 10, 4),
             (-27, -58, L.T5, 6, 4)),
        vein((13, -14, L.T12, 0, 2), (13, -13, L.T9, 0, 2.2), (4, -15, L.T8, 0, 2.2)),
        artery((5, -30, L.T12, -8, 4.5), (3, -52, L.T12, -12, 4), (-22, -62, L.T12, -12, 3)),
        artery((5, -32, L.L1, 0, 4.5), (4, -46, L.L1, -14, 4), (3, -50, L.L3, 0, 3.5)),
        vein((-14, -58, L.L3, 0, 6), (-12, -58, L.L1, -4, 7), (-30, -62, L.T12, -4, 7), (-48, -64, L.T11, -2, 6)),
        vein((-12, -58, L.L1, -2, 5), (30, -46, L.L1, 4, 4.5), (70, -18, L.T12, 0, 4)),
        artery((5, -28, L.L1, -10, 3.2), (30, -12, L.L1, -8, 3), (44, 0, L.L1, -6, 3)),
        artery((5, -28, L.L1, -12, 3.2), (-30, -12, L.L2, 10, 3), (-44, 0, L.L2, 8, 3)),
        vein((-22, -30, L.L1, -2, 4.5), (14, -40, L.L1, -4, 4), (44, -4, L.L1, -8, 4)),
    )  # fmt: skip


def _airways(d: Draft) -> tuple[Pipe, ...]:
    def airway(*knots: tuple[float, float, Level, float, float]) -> Pipe:
        return Pipe(d.tube(*knots), Tissue.AIR, Structure.TRACHEA, Tissue.MUSCLE, 1.5, 1.0)

    oesophagus = d.tube(
        (3, -18, L.C6, 0, 7), (4, -19, L.T2, 0, 7), (6, -22, L.T5, 0, 7.5), (5, -28, L.T7, 0, 8), 
        (6, -36, L.T9, 0, 8.5), (12, -48, L.T10, 0, 9), (24, -58, L.T11, 4, 10),
    )  # fmt: skip
    lumen = Tube(oesophagus.points + np.array([1.0, -1.0, 0.0]), np.full(len(oesophagus.points), 1.6))
    return (
        Pipe(oesophagus, Tissue.BOWEL, Structure.CAVITY, margin_mm=1.5),
        Pipe(lumen, Tissue.AIR),
        airway((0, -28, L.C6, 0, 8.5), (-1, -30, L.T2, 0, 9), (-3, -33, L.T4, 0, 9.2), (-2, -36, L.T5, 0, 9.5)),
        airway((-2, -36, L.T5, 2, 8.5), (-18, -38, L.T6, 10, 7.5), (-36, -38, L.T6, -4, 6)),
        airway((-36, -38, L.T6, -4, 4.5), (-50, -44, L.T6, 12, 3.2)),
        airway((-34, -37, L.T6, -2, 5), (-42, -36, L.T7, -2, 4.2), (-52, -30, L.T8, 4, 3)),
        airway((-2, -36, L.T5, 2, 8), (18, -36, L.T6, 6, 6.8), (36, -36, L.T7, 14, 6)),
        airway((36, -36, L.T7, 14, 4.5), (52, -46, L.T6, 8, 3.2)),
        airway((35, -36, L.T7, 14, 5), (42, -34, L.T7, -6, 4), (52, -28, L.T8, 0, 3)),
    )


def _gut(d: Draft) -> tuple[Pipe, ...]:
    wall = Tissue.BOWEL
    stomach = d.tube(
        (62, -34, L.T11, 8, 24), (60, -48, L.T11, -6, 29), (58, -68, L.T12, 4, 28), (54, -86, L.L1, 8, 23),
        (28, -96, L.L1, -8, 18), (-2, -90, L.L1, -4, 15), (-24, -80, L.L1, 2, 12),
    )  # fmt: skip
    pancreas = d.tube(
        (-32, -54, L.L1, -16, 13),
        (-16, -62, L.L1, -6, 12),
        (12, -62, L.L1, 4, 9),
        (40, -46, L.L1, 10, 9.5),
        (72, -20, L.T12, 4, 8),
    )
    duodenum = d.tube(
        (-28, -78, L.L1, 2, 12),
        (-44, -56, L.L1, -6, 12),
        (-44, -48, L.L2, -6, 12),
        (-32, -46, L.L3, 4, 11),
        (6, -46, L.L3, 0, 10),
    )
    colon = _haustra(
        d.tube(
            (-92, -18, L.L4, 0, 24), (-94, -30, L.L3, 0, 23), (-86, -72, L.L2, -10, 21), (-40, -104, L.L3, 8, 19),
            (16, -106, L.L3, 8, 18), (64, -96, L.L2, 0, 18), (96, -58, L.L1, 6, 19), (104, -24, L.T12, -6, 18),
            (104, -6, L.L1, -10, 16), (102, 2, L.L3, 0, 15), (100, 0, L.L4, 0, 15),
        )
    )  # fmt: skip
    return (
        Pipe(pancreas, Tissue.PANCREAS),
        Pipe(duodenum, Tissue.FLUID, None, wall, 2.5),
        *_jejunum(d),
        Pipe(stomach, Tissue.FLUID, None, wall, 4.0),
        Pipe(colon, Tissue.BOWEL, None, wall, 2.0),
        Pipe(d.tube((46, -16, L.T12, 8, 2.5), (34, -14, L.T12, 0, 3), (44, -6, L.T12, -14, 2.2)), Tissue.PANCREAS),
        Pipe(d.tube((-32, -12, L.T12, 10, 2.6), (-38, -2, L.T12, -8, 2.2)), Tissue.PANCREAS),
    )


def _jejunum(d: Draft) -> tuple[Pipe, ...]:
    """Loops of small bowel below the stomach, drawn from the seed."""
    rng = np.random.default_rng([d.trunk.shape.seed, 61])
    pipes = []
    for _ in range(26):
        x, y, up = rng.uniform((-50.0, -104.0, -44.0), (88.0, -40.0, 46.0))
        knots = [(x, y, L.L3, up, rng.uniform(8.0, 12.0))]
        for _ in range(3):
            dx, dy, dz = rng.uniform(-24.0, 24.0, size=3)
            knots.append(
                (knots[-1][0] + dx, knots[-1][1] + 0.7 * dy, L.L3, knots[-1][3] + 0.6 * dz, rng.uniform(8.0, 12.0))
            )
        tissue = Tissue.FLUID if rng.random() < 0.5 else Tissue.PANCREAS
        pipes.append(Pipe(d.tube(*knots), tissue, None, Tissue.BOWEL, 2.2))
    return tuple(pipes)


def _mesentery(d: Draft) -> tuple[tuple[Points, Points, float], ...]:
    rng = np.random.default_rng([d.trunk.shape.seed, 62])
    twigs = []
    for _ in range(170):
        x, y, up = rng.uniform((-80.0, -115.0, -60.0), (95.0, -15.0, 95.0))
        start = np.array(d.at(x, y, L.L2, up))
        heading = rng.normal(0.0, 1.0, size=3)
        end = start + heading / np.linalg.norm(heading) * rng.uniform(8.0, 26.0)
        twigs.append((start, end, float(rng.uniform(0.6, 1.5))))
    return tuple(twigs)


def _plaques(vessels: tuple[Pipe, ...], seed: int) -> tuple[Points, ...]:
    rng = np.random.default_rng([seed, 63])
    aorta = next(pipe.tube for pipe in vessels if pipe.label is Structure.AORTA)
    spots = []
    for _ in range(9):
        n = int(rng.integers(len(aorta.points) // 4, len(aorta.points)))
        angle = rng.uniform(0.0, 2 * np.pi)
        spots.append(aorta.points[n] + (aorta.radii[n] - 0.4) * np.array([np.cos(angle), np.sin(angle), 0.0]))
    return tuple(spots)


def _haustra(tube: Tube) -> Tube:
    along = np.arange(len(tube.points)) * 5.0
    return Tube(tube.points, tube.radii * (1.0 + 0.16 * np.sin(along / 5.2)))


def _deep_muscles(frames: Mapping[Level, VertebraFrame]) -> tuple[Pipe, ...]:
    """Psoas, quadratus lumborum and the crura of the diaphragm."""
    pipes = []
    for side in (1, -1):
        psoas, quadratus = [], []
        for level, size in ((L.T12, 0.3), (L.L1, 0.55), (L.L2, 0.8), (L.L3, 1.0), (L.L4, 1.15)):
            f = frames[level]
            psoas.append(
                [
                    *f.world(side * (f.half_width_mm + 3.0 + 11.0 * size), -0.7 * f.half_depth_mm - 2.0, 0.0),
                    4.0 + 13.0 * size,
                ]
            )
            quadratus.append(
                [
                    *f.world(side * (f.half_width_mm + 26.0 + 12.0 * size), -f.half_depth_mm - 14.0, 0.0),
                    5.0 + 4.0 * size,
                ]
            )
        for knots in (psoas, quadratus):
            path = curve(knots, 5.0)
            pipes.append(Pipe(Tube(path[:, :3], path[:, 3]), Tissue.MUSCLE, Structure.SKELETAL_MUSCLE))
        pipes.append(_crus(frames, side))
    return tuple(pipes)


def _crus(frames: Mapping[Level, VertebraFrame], side: int) -> Pipe:
    """A band beside the aorta, from the hiatus at T10 down to L2 or L3."""
    knots = []
    for level, forward, radius in (
        (L.T10, 24.0, 1.6),
        (L.T11, 19.0, 2.2),
        (L.T12, 13.0, 2.7),
        (L.L1, 8.0, 2.6),
        (L.L2, 5.0, 1.8),
    ):
        frame = frames[level]
        knots.append([*frame.world(side * 14.5 + 4.0, frame.half_depth_mm + forward - 4.0, 0.0), radius])
    path = curve(knots, 5.0)
    normals = np.tile([1.0, 0.0, 0.0], (len(path), 1))
    return Pipe(Tube(path[:, :3], path[:, 3], normals, 4.5), Tissue.MUSCLE, Structure.CAVITY)
