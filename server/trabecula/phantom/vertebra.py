"""Painting of vertebrae, discs and the spinal canal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trabecula.anatomy import Level, Structure, VertebraPart, vertebra_label
from trabecula.phantom.canvas import (
    Canvas,
    Field,
    Tube,
    View,
    curve,
    scaled_distance,
    segment_distance,
    smooth_max,
    smooth_min,
    tube_distance,
)
from trabecula.phantom.spine import VertebraFrame
from trabecula.phantom.texture import Texture

ENDPLATE_MM = 0.6
ARCH_CORTEX_MM = 0.85


@dataclass(frozen=True)
class BoneHu:
    """CT numbers that bone is painted with."""

    cortex: float
    trabecular: float
    vein: float
    arch: float
    wall_mm: float
    """Thickness of the body's cortex."""


def local_coordinates(view: View, frame: VertebraFrame) -> tuple[Field, Field, Field]:
    """(left u, forward v, up w) of every voxel of a view."""
    x, y, z = (axis - np.float32(c) for axis, c in zip((view.x, view.y, view.z), frame.centre, strict=True))
    shape = view.shape
    axes = (frame.left, frame.anterior, frame.superior)
    u, v, w = (np.broadcast_to(np.float32(a[0]) * x + np.float32(a[1]) * y + np.float32(a[2]) * z, shape) for a in axes)
    return u, v, w


def body_distances(u: Field, v: Field, w: Field, frame: VertebraFrame) -> tuple[Field, Field]:
    """Signed distances to the side wall and to the endplates of a vertebral body."""
    level_w = np.clip(w / np.float32(frame.half_height_mm), -1.0, 1.0)
    waist = np.float32(0.92) + np.float32(0.08) * level_w * level_w
    a, b = np.float32(frame.half_width_mm), np.float32(frame.half_depth_mm)
    # The back is flat with a shallow hollow towards the canal, the front round.
    hollow = np.float32(2.4) * np.exp(-np.square(u / np.float32(0.5 * frame.half_width_mm)))
    back = v < 0
    un = u / (a * waist)
    vn = np.where(back, (v - hollow * (v < -0.5 * b)) / b, v / (b * waist))
    un2, vn2 = un * un, vn * vn
    round_r = np.sqrt(un2 + vn2)
    square_r = np.sqrt(np.sqrt(un2 * un2 + vn2 * vn2))
    r = np.where(back, np.float32(0.45) * round_r + np.float32(0.55) * square_r, 0.75 * round_r + 0.25 * square_r)
    scale = np.sqrt(un2 / (a * a) + vn2 / (b * b)) / np.maximum(round_r, np.float32(1e-3))
    wall = (r - 1.0) / np.maximum(scale, np.float32(1e-3))
    lean = np.float32(0.5 * (frame.front_mm - frame.back_mm)) * np.clip(vn, -1.0, 1.0)
    rim = np.float32(0.5 * (frame.front_mm + frame.back_mm)) + lean
    hollow_depth = np.float32(0.5 * (frame.front_mm + frame.back_mm) - frame.middle_mm)
    height = rim - hollow_depth * np.clip(1.0 - r * r, 0.0, 1.0) ** np.float32(0.7)
    return wall.astype(np.float32), (np.abs(w) - 0.5 * height).astype(np.float32)


def paint_body(canvas: Canvas, frame: VertebraFrame, hu: BoneHu, texture: Texture) -> None:
    """Cortex, endplates, trabecular space with its texture, basivertebral vein."""
    reach = float(np.hypot(frame.half_width_mm, frame.half_height_mm)) + 3.0
    view = canvas.view(frame.centre - reach, frame.centre + reach)
    if view is None:
        return
    u, v, w = local_coordinates(view, frame)
    wall, plate = body_distances(u, v, w, frame)
    outer = smooth_max(wall, plate, 2.5)
    pixel, thick = canvas.grid.pixel_mm, max(canvas.grid.slice_mm, canvas.grid.pixel_mm)
    inner = np.minimum(
        canvas.coverage(wall + np.float32(hu.wall_mm), pixel),
        canvas.coverage(plate + np.float32(ENDPLATE_MM), thick),
    )
    shell = np.minimum(canvas.coverage(outer, pixel), canvas.coverage(plate, thick))
    canvas.paint(view, shell, hu.cortex, vertebra_label(frame.level, VertebraPart.BODY))
    half = frame.half_depth_mm
    vein = segment_distance(u, v, 1.3 * w, (0.0, -half - 2.0, 0.0), (0.0, -0.25 * half, 0.0), 2.2, 1.0)
    vein_share = np.clip(0.5 - vein / 1.5, 0.0, 1.0)
    inside = hu.trabecular + texture.sample(view) + vein_share * np.float32(hu.vein - hu.trabecular)
    canvas.paint(view, np.maximum(inner, vein_share * shell), inside)


def arch_distance(u: Field, v: Field, w: Field, frame: VertebraFrame) -> Field:
    """Signed distance of pedicles, articular pillars, laminae, transverse and spinous processes."""
    au = np.abs(u)
    height = frame.half_height_mm * 2.0
    canal_back = -(frame.half_depth_mm + 2.0 * frame.canal_half_depth_mm)
    pillar_u = frame.canal_half_width_mm + 3.2
    pillar_v = -(frame.half_depth_mm + 6.0)
    lumbar = frame.level.is_lumbar or frame.level is Level.T12
    pedicle = segment_distance(
        au, v, w / 1.55 - 0.2 * height / 1.55 * 1.0,
        (min(pillar_u, 0.8 * frame.half_width_mm), -0.75 * frame.half_depth_mm, 0.0),
        (pillar_u, pillar_v, 0.0), 4.2 if lumbar else 2.9, 4.2 if lumbar else 3.1,
    )  # fmt: skip
    pillar = segment_distance(
        au, v, w,
        (pillar_u + (1.5 if lumbar else 0.0), pillar_v - 1.0, 0.62 * height),
        (pillar_u, pillar_v - 5.5, -0.55 * height), 4.2 if lumbar else 3.4, 4.0 if lumbar else 3.2,
    )  # fmt: skip
    lamina = segment_distance(
        au, v, (w + 0.12 * height) / 2.3,
        (pillar_u - 0.5, pillar_v - 4.5, 0.0), (1.0, canal_back - 3.2, 0.0), 3.0, 2.9,
    )  # fmt: skip
    arch = smooth_min(smooth_min(pedicle, pillar, 3.0), lamina, 3.0)
    arch = smooth_min(arch, _transverse(au, v, w, frame, pillar_u, pillar_v, height), 3.0)
    return smooth_min(arch, _spinous(u, v, w, frame, canal_back, height), 3.0)


def _transverse(
    au: Field, v: Field, w: Field, frame: VertebraFrame, pillar_u: float, pillar_v: float, height: float
) -> Field:
    reach = frame.transverse_reach_mm
    back = 2.0 if frame.level.is_lumbar else 9.0
    radius = 2.4 if frame.level.is_lumbar else 3.6
    tip = (reach - radius, pillar_v - 4.0 - back, 0.16 * height)
    shaft = segment_distance(au, v, w, (pillar_u, pillar_v - 3.5, 0.1 * height), tip, radius, 0.9 * radius)
    if frame.level.is_lumbar:
        return shaft
    knob = scaled_distance(au - np.float32(tip[0]), v - np.float32(tip[1]), w - np.float32(tip[2]), (4.6, 4.4, 5.4))
    return smooth_min(shaft, knob, 3.0)


def _spinous(u: Field, v: Field, w: Field, frame: VertebraFrame, canal_back: float, height: float) -> Field:
    tall = 3.4 if frame.spinous_drop_mm < 13.0 else 2.0
    root_v, root_w = canal_back - 3.5, -0.18 * height
    tip_v = canal_back - 3.5 - frame.spinous_length_mm + 4.0
    tip_w = root_w - frame.spinous_drop_mm
    return segment_distance(
        u, v, w / tall, (0.0, root_v, root_w / tall), (0.0, tip_v, tip_w / tall), 2.5, 3.1 if tall > 3 else 2.7
    )


def paint_arch(canvas: Canvas, frame: VertebraFrame, hu: BoneHu, texture: Texture) -> None:
    """The posterior elements: compact shell, cancellous core."""
    tip = frame.half_depth_mm + 2 * frame.canal_half_depth_mm + frame.spinous_length_mm
    side = frame.transverse_reach_mm + 4.0
    corners = np.array(
        [
            frame.world(s * side, v, w)
            for s in (-1, 1)
            for v in (-0.3 * frame.half_depth_mm, -tip - 4.0)
            for w in (-0.9 * frame.half_height_mm * 2 - frame.spinous_drop_mm, 0.9 * frame.half_height_mm * 2)
        ]
    )
    view = canvas.view(corners.min(axis=0), corners.max(axis=0), 0.0)
    if view is None:
        return
    u, v, w = local_coordinates(view, frame)
    distance = arch_distance(u, v, w, frame)
    # Leave the body as it is: the arch begins at the pedicles' roots, and never fills the canal.
    canal = scaled_distance(
        u, v - np.float32(frame.canal_centre_v_mm), np.zeros_like(w),
        (frame.canal_half_width_mm, frame.canal_half_depth_mm, 1.0),
    )  # fmt: skip
    distance = np.maximum(distance, -canal)
    wall, plate = body_distances(u, v, w, frame)
    distance = np.maximum(distance, np.float32(0.3) - np.maximum(wall, plate))
    shell = canvas.coverage(distance)
    core = canvas.coverage(distance + np.float32(ARCH_CORTEX_MM))
    label = vertebra_label(frame.level, VertebraPart.POSTERIOR)
    canvas.paint(view, shell, hu.cortex * 0.8, label)
    canvas.paint(view, core, hu.arch + texture.sample(view))


def paint_disc(canvas: Canvas, above: VertebraFrame, below: VertebraFrame, disc_hu: float) -> None:
    """The disc between two bodies; the bodies are painted over it."""
    centre = 0.5 * (above.world(0, 0, -0.5 * above.middle_mm) + below.world(0, 0, 0.5 * below.middle_mm))
    axis = above.superior + below.superior
    axis = axis / np.linalg.norm(axis)
    a = 0.5 * (above.half_width_mm + below.half_width_mm) + 0.6
    b = 0.5 * (above.half_depth_mm + below.half_depth_mm) + 0.6
    view = canvas.view(centre - a - 2, centre + a + 2)
    if view is None:
        return
    x, y, z = view.x - np.float32(centre[0]), view.y - np.float32(centre[1]), view.z - np.float32(centre[2])
    w = np.float32(axis[1]) * y + np.float32(axis[2]) * z
    v = -np.float32(axis[2]) * y + np.float32(axis[1]) * z
    u = np.broadcast_to(x, view.shape)
    un, vn = u / np.float32(a), np.broadcast_to(v, view.shape) / np.float32(b)
    r = np.where(vn < 0, np.sqrt(np.sqrt(un**4 + vn**4)), np.sqrt(un * un + vn * vn))
    wall = (r - 1.0) * np.float32(b)
    half = 0.25 * (above.middle_mm + below.middle_mm)
    distance = np.maximum(wall, np.abs(w) - np.float32(half * 0.8)).astype(np.float32)
    canvas.paint(view, canvas.coverage(distance), disc_hu, Structure.INTERVERTEBRAL_DISC)


@dataclass(frozen=True, eq=False)
class Canal:
    """Dural sac and cord, with the epidural fat around them."""

    space: Tube
    sac: Tube
    cord: Tube


def build_canal(frames: dict[Level, VertebraFrame]) -> Canal:
    """Tubes through the canal centres; the cord ends at L1."""
    ordered = sorted(frames.values(), key=lambda f: f.level.ordinal)
    centres = [frame.world(0.0, frame.canal_centre_v_mm, 0.0) for frame in ordered]
    path = curve([c.tolist() for c in centres], 6.0)
    cord_path = curve(
        [c.tolist() for c, f in zip(centres, ordered, strict=True) if f.level.ordinal <= Level.L1.ordinal]
    )
    side = np.tile([0.0, -1.0, 0.0], (len(path), 1))
    cord_side = np.tile([0.0, -1.0, 0.0], (len(cord_path), 1))
    radii = np.interp(path[:, 2], [c[2] for c in centres[::-1]], [_sac_radius(f) for f in ordered[::-1]])
    cord_radii = np.full(len(cord_path), 3.4)
    cord_radii[-6:] = np.linspace(3.4, 1.0, 6)
    return Canal(
        Tube(path, radii, side, 1.2),
        Tube(path, radii - 1.2, side, 1.2),
        Tube(cord_path, cord_radii, cord_side, 1.3),
    )


def _sac_radius(frame: VertebraFrame) -> float:
    return min(frame.canal_half_depth_mm - 0.3, frame.canal_half_width_mm / 1.2 - 0.2)


def paint_canal(canvas: Canvas, canal: Canal, fat_hu: float, csf_hu: float, cord_hu: float) -> None:
    """Epidural fat, dural sac, cord; all of it is labelled spinal canal."""
    for tube, hu in ((canal.space, fat_hu), (canal.sac, csf_hu), (canal.cord, cord_hu)):
        found = tube_distance(canvas, tube)
        if found is not None:
            view, distance = found
            canvas.paint(view, canvas.coverage(distance), hu, Structure.SPINAL_CANAL)
