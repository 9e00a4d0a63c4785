"""Ribs, costal cartilages, sternum, clavicles, shoulder blades, humeral heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.anatomy import Level, Structure
from trabecula.phantom.canvas import Canvas, Field, Points, Tube, View, curve, ellipsoid, smooth_min, tube_distance
from trabecula.phantom.spine import VertebraFrame
from trabecula.phantom.texture import Texture
from trabecula.phantom.trunk import ANGLES, AXIS_Y_MM, Trunk

RIB_CORTEX_MM: Final = 0.75
# rib: angle of its front end in degrees from the back, how far that end lies below the head (mm)
_RIBS: Final = (
    (146.0, 30.0),
    (150.0, 52.0),
    (151.0, 70.0),
    (150.0, 84.0),
    (147.0, 95.0),
    (143.0, 104.0),
    (138.0, 110.0),
    (128.0, 106.0),
    (118.0, 96.0),
    (108.0, 84.0),
    (84.0, 62.0),
    (58.0, 36.0),
)
RIB_LEVELS: Final = tuple(Level.from_ordinal(Level.T1.ordinal + n) for n in range(12))


@dataclass(frozen=True, eq=False)
class Thorax:
    """The bones around the lungs as tubes."""

    ribs: Mapping[tuple[Level, int], Tube]
    """(vertebra, side) to rib; side is +1 left, -1 right."""
    cartilages: tuple[Tube, ...]
    sternum: tuple[Tube, ...]
    clavicles: tuple[Tube, ...]
    scapulae: tuple[Tube, ...]
    """Blades, spines and necks."""
    humeri: tuple[tuple[float, float, float], ...]
    """Centres of the humeral heads."""


def build_thorax(frames: Mapping[Level, VertebraFrame], trunk: Trunk) -> Thorax:
    """Every rib begins at its own vertebra: head beside the body, tubercle at the transverse process."""
    ribs: dict[tuple[Level, int], Tube] = {}
    ends: dict[tuple[int, int], Points] = {}
    for number, level in enumerate(RIB_LEVELS, start=1):
        for side in (1, -1):
            tube = _rib(frames[level], trunk, number, side)
            ribs[level, side] = tube
            ends[number, side] = tube.points[-1]
    sternum = _sternum(trunk)
    cartilages = tuple(
        tube for side in (1, -1) for number in range(1, 11) for tube in (_cartilage(trunk, ends, number, side),)
    )
    clavicles = tuple(_clavicle(trunk, side) for side in (1, -1))
    humeri = tuple(_humeral_head(trunk, side) for side in (1, -1))
    scapulae = tuple(tube for side, head in zip((1, -1), humeri, strict=True) for tube in _scapula(trunk, side, head))
    return Thorax(ribs, cartilages, sternum, clavicles, scapulae, humeri)


def _rib(frame: VertebraFrame, trunk: Trunk, number: int, side: int) -> Tube:
    end_deg, drop = _RIBS[number - 1]
    at_disc = 2 <= number <= 9
    height = frame.half_height_mm * 2.0
    pillar_v = -(frame.half_depth_mm + 6.0)
    head = frame.world(
        side * (0.93 * frame.half_width_mm + 2.0), -0.72 * frame.half_depth_mm, (0.42 if at_disc else 0.12) * height
    )
    reach = max(frame.transverse_reach_mm, 24.0)
    tubercle = frame.world(side * (reach - 1.0), pillar_v - 8.0, 0.16 * height + 2.0)
    start = 35.0 if number < 12 else 33.0
    angles = np.deg2rad(np.arange(start, end_deg + 0.1, 4.0))
    tail_z = tubercle[2] - drop * ((angles - angles[0]) / (angles[-1] - angles[0])) ** 1.08
    # The rib leaves the transverse process a little downwards.
    tail_z = tail_z - 5.0 * np.clip((angles - angles[0]) / 0.3, 0, 1)
    radius = np.array(
        [
            trunk.cage_radius(np.array([z]), np.array([a if side > 0 else 2 * np.pi - a]))[0, 0]
            for z, a in zip(tail_z, angles, strict=True)
        ]
    )
    tail = np.stack([side * radius * np.sin(angles), AXIS_Y_MM + radius * np.cos(angles), tail_z], axis=1)
    # The floating ribs do not rest on the transverse process.
    neck = [] if number > 10 else [tubercle.tolist()]
    points = curve([head.tolist(), *neck, *tail.tolist()], 5.0)
    share = np.linspace(0.0, 1.0, len(points))
    thin = np.interp(share, [0.0, 0.06, 0.12, 0.3, 0.9, 1.0], [4.2, 3.3, 3.9, 3.3, 3.1, 3.6])
    if number in (1, 12):
        thin = thin * 0.88
    outward = points - np.array([0.0, AXIS_Y_MM, 0.0])
    outward[:, 2] = 0.0
    normals = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    if number == 1:
        normals = 0.45 * normals + np.array([0.0, -0.25, 0.9])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # Round at the head and neck, flat along the shaft.
    return Tube(points, thin, normals, 1.75)


def _cartilage(trunk: Trunk, ends: Mapping[tuple[int, int], Points], number: int, side: int) -> Tube:
    end = ends[number, side]
    if number <= 7:
        z = trunk.z_of(Level.T3, 6.0) - 19.0 * (number - 1) - (6.0 if number > 1 else 0.0)
        target = np.array([side * (22.0 if number < 7 else 14.0), trunk.front_y(z) + 1.0, z])
    else:
        upper = ends[number - 1, side]
        target = 0.45 * upper + 0.55 * np.array([side * 45.0, trunk.front_y(float(upper[2])) + 6.0, upper[2] + 8.0])
    middle = 0.5 * (end + target)
    low = min(float(end[2]), float(target[2]))
    angle = np.arctan2(abs(middle[0]), middle[1] - AXIS_Y_MM)
    height = 0.35 * float(middle[2]) + 0.65 * low
    radius = trunk.cage_radius(np.array([height]), np.array([angle if side > 0 else 2 * np.pi - angle]))[0, 0]
    middle = np.array([side * radius * np.sin(angle), AXIS_Y_MM + radius * np.cos(angle), height])
    points = curve([end.tolist(), middle.tolist(), target.tolist()])
    outward = points - np.array([0.0, AXIS_Y_MM, 0.0])
    outward[:, 2] = 0.0
    normals = outward / np.linalg.norm(outward, axis=1, keepdims=True)
    return Tube(points, np.linspace(4.2, 4.8, len(points)), normals, 1.5)


def _sternum(trunk: Trunk) -> tuple[Tube, ...]:
    def at(level: Level, up: float) -> list[float]:
        z = trunk.z_of(level, up)
        return [0.0, trunk.front_y(z), z]

    manubrium = curve([at(Level.T3, 16.0), at(Level.T4, 2.0), at(Level.T5, 6.0)])
    body = curve([at(Level.T5, 2.0), at(Level.T7, 4.0), at(Level.T9, 14.0)])
    xiphoid = curve([at(Level.T9, 12.0), at(Level.T10, 14.0)])
    return tuple(
        Tube(path, np.full(len(path), thin), np.tile([0.0, -1.0, 0.1], (len(path), 1)), flat)
        for path, thin, flat in ((manubrium, 6.0, 3.6), (body, 5.2, 3.2), (xiphoid, 3.2, 2.2))
    )


def _clavicle(trunk: Trunk, side: int) -> Tube:
    z = trunk.z_of(Level.T3, 20.0)
    front = trunk.front_y(z)
    root = trunk.shape.scale**0.5
    path = curve(
        [
            [side * 17.0, front - 3.0, z],
            [side * 50.0, front - 4.0, z + 12.0],
            [side * 90.0 * root, front + 16.0, z + 34.0],
            [side * 130.0 * root, front + 44.0, z + 52.0],
        ]
    )
    return Tube(path, np.linspace(7.5, 5.8, len(path)))


def _on_cage(trunk: Trunk, side: int, angle_deg: float, z: float, out_mm: float) -> list[float]:
    angle = np.deg2rad(angle_deg)
    radius = trunk.cage_radius(np.array([z]), np.array([angle if side > 0 else 2 * np.pi - angle]))[0, 0] + out_mm
    return [side * float(radius * np.sin(angle)), AXIS_Y_MM + float(radius * np.cos(angle)), z]


def _humeral_head(trunk: Trunk, side: int) -> tuple[float, float, float]:
    """With the arms raised the head lies level with T1, well inside the shoulder."""
    z = trunk.z_of(Level.T1, 8.0)
    quarter = ANGLES // 4 if side > 0 else 3 * ANGLES // 4
    skin = float(trunk.contours(np.array([z])).skin[0, quarter])
    return side * (skin - 44.0), AXIS_Y_MM + 4.0, z


def _scapula(trunk: Trunk, side: int, head: tuple[float, float, float]) -> tuple[Tube, ...]:
    """A thin blade on the ribs from T7 to T2, its spine, and the neck towards the humeral head."""
    spots = (
        (62.0, Level.T7, 10.0, 8.0, 0.7), (60.0, Level.T6, 6.0, 10.0, 1.1), (58.0, Level.T5, 0.0, 13.0, 1.5),
        (57.0, Level.T3, 6.0, 16.0, 1.9), (58.0, Level.T2, 0.0, 18.0, 1.7), (60.0, Level.T1, -4.0, 20.0, 1.0),
    )  # fmt: skip
    path = curve([[*_on_cage(trunk, side, angle, trunk.z_of(lv, up), out), thin] for angle, lv, up, out, thin in spots])
    outward = np.stack([path[:, 0], path[:, 1] - AXIS_Y_MM - 25.0, np.zeros(len(path))], axis=1)
    blade = Tube(path[:, :3], path[:, 3], outward / np.linalg.norm(outward, axis=1, keepdims=True), 15.0)
    spine = curve(
        [
            _on_cage(trunk, side, 44.0, trunk.z_of(Level.T3, 4.0), 18.0),
            _on_cage(trunk, side, 54.0, trunk.z_of(Level.T2, 4.0), 32.0),
            [head[0] * 0.92, head[1] + 34.0, head[2] + 4.0],
        ]
    )
    neck = curve(
        [_on_cage(trunk, side, 70.0, trunk.z_of(Level.T2, 6.0), 20.0), [head[0] - side * 27.0, head[1], head[2]]]
    )
    return (
        blade,
        Tube(spine, np.linspace(3.0, 6.5, len(spine))),
        Tube(neck, np.linspace(4.0, 11.0, len(neck))),
    )


@dataclass(frozen=True)
class SkeletonHu:
    cortex: float
    cancellous: float
    cartilage: float


def paint_thorax(canvas: Canvas, thorax: Thorax, hu: SkeletonHu, texture: Texture) -> None:
    """Cartilages first, then the bones over their ends."""
    for tube in thorax.cartilages:
        found = tube_distance(canvas, tube)
        if found is not None:
            canvas.paint(found[0], canvas.coverage(found[1]), hu.cartilage, Structure.OTHER_BONE)
    for tube in (*thorax.sternum, *thorax.clavicles, *thorax.scapulae):
        _paint_bone(canvas, tube_distance(canvas, tube), hu, texture, Structure.OTHER_BONE, 0.7)
    for tube in thorax.ribs.values():
        _paint_bone(canvas, tube_distance(canvas, tube), hu, texture, Structure.RIB, RIB_CORTEX_MM)
    for centre in thorax.humeri:
        view = canvas.view([c - 26.0 for c in centre], [c + 60.0 for c in centre])
        if view is not None:
            head = ellipsoid(view, centre, (23.0, 23.0, 22.0))
            shaft = ellipsoid(view, (centre[0] * 1.06, centre[1], centre[2] + 45.0), (15.0, 15.0, 60.0))
            _paint_bone(canvas, (view, smooth_min(head, shaft, 8.0)), hu, texture, Structure.OTHER_BONE, 1.6)


def _paint_bone(
    canvas: Canvas, found: tuple[View, Field] | None, hu: SkeletonHu, texture: Texture, label: int, cortex_mm: float
) -> None:
    if found is None:
        return
    view, distance = found
    canvas.paint(view, canvas.coverage(distance), hu.cortex * 0.8, label)
    canvas.paint(view, canvas.coverage(distance + np.float32(cortex_mm)), hu.cancellous + 1.5 * texture.sample(view))
