"""Painting of the organs laid out in :mod:`trabecula.phantom.organs`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trabecula.anatomy import Level, Structure
from trabecula.phantom.canvas import (
    Canvas,
    Field,
    View,
    ellipsoid,
    segment_distance,
    smooth_max,
    smooth_min,
    tube_distance,
    wobble,
)
from trabecula.phantom.organs import Draft, Organs, Pipe
from trabecula.phantom.texture import Texture
from trabecula.phantom.tissues import Tissue
from trabecula.phantom.wall import Regions

L = Level

_ABDOMINAL = frozenset({Tissue.FLUID, Tissue.BOWEL, Tissue.PANCREAS})


class OrganPainter:
    """Paints one slab's organs."""

    def __init__(
        self, canvas: Canvas, organs: Organs, regions: Regions, hu: Mapping[Tissue, float], grain: Texture
    ) -> None:
        self.canvas, self.organs, self.regions, self.hu, self.grain = canvas, organs, regions, hu, grain
        self.phase = 0.9 * organs.trunk.shape.seed

    def paint(self) -> None:
        """Abdomen, then heart and vessels, then airways."""
        self._liver()
        self._spleen()
        self._kidneys()
        for pipe in self.organs.gut:
            self._pipe(pipe)
        for pipe in self.organs.muscles:
            self._pipe(pipe)
        self._mesentery()
        self._heart()
        for pipe in (*self.organs.vessels, *self.organs.airways):
            self._pipe(pipe)
        self._plaques()

    def _inside(self, view: View, depth_mm: float) -> Field:
        return self.regions.inside[view.box] + np.float32(depth_mm)

    def _paint(self, view: View, distance: Field, tissue: Tissue, label: Structure | None = None) -> None:
        value = self.hu[tissue] + self.grain.sample(view)
        self.canvas.paint(view, self.canvas.coverage(distance), value, label)

    def _pipe(self, pipe: Pipe) -> None:
        found = tube_distance(self.canvas, pipe.tube, 5.0)
        if found is None:
            return
        view, distance = found
        if pipe.filling in _ABDOMINAL:
            distance = np.maximum(distance + wobble(view, 2.4, 31.0, self.phase), self._inside(view, 3.0))
        if pipe.margin_mm:
            around = self.canvas.coverage(distance - np.float32(pipe.margin_mm)) * self.regions.lung[view.box]
            self.canvas.paint(view, around, self.hu[Tissue.FAT], Structure.CAVITY)
            self.regions.lung[view.box] -= around
        if pipe.wall is None:
            self._paint(view, distance, pipe.filling, pipe.label)
            return
        self._paint(
            view, distance - (0.0 if pipe.filling is not Tissue.AIR else pipe.wall_mm), pipe.wall, Structure.CAVITY
        )
        inner = distance + (pipe.wall_mm if pipe.filling is not Tissue.AIR else 0.0)
        self._paint(view, inner.astype(np.float32), pipe.filling, pipe.label)
        if pipe.filling is not Tissue.AIR:
            self._gas(view, inner, pipe)

    def _mesentery(self) -> None:
        """Thin vessels in visceral fat."""
        for start, end, radius in self.organs.mesentery:
            view = self.canvas.view(np.minimum(start, end) - radius, np.maximum(start, end) + radius)
            if view is None:
                continue
            in_fat = (self.canvas.hu[view.box] < -60.0) & (self._inside(view, 4.0) < 0)
            distance = segment_distance(view.x, view.y, view.z, start, end, radius, 0.7 * radius)
            self.canvas.paint(view, self.canvas.coverage(distance) * in_fat, self.hu[Tissue.VENOUS_BLOOD])

    def _plaques(self) -> None:
        """Calcified spots in the aortic wall."""
        for centre in self.organs.plaques:
            view = self.canvas.view(np.subtract(centre, 4.5), np.add(centre, 4.5), 0.0)
            if view is not None:
                distance = ellipsoid(view, centre, (2.6, 1.1, 3.4), 1.7 * float(centre[2]))
                self.canvas.paint(view, 0.6 * self.canvas.coverage(distance), self.hu[Tissue.CORTEX])

    def _gas(self, view: View, inner: Field, pipe: Pipe) -> None:
        """Gas lies in front of a level; stool has bubbles."""
        low, high = pipe.tube.points.min(axis=0), pipe.tube.points.max(axis=0)
        level = np.float32(low[1] + 0.22 * (high[1] - low[1]) - 6.0)
        share = self.canvas.coverage(np.maximum(inner, view.y - level).astype(np.float32))
        if pipe.filling is Tissue.BOWEL:
            bubbles = np.clip((self.grain.sample(view) - 3.5) / 3.0, 0.0, 1.0)
            share = np.maximum(share, bubbles * self.canvas.coverage(inner + 1.0))
        self.canvas.paint(view, share.astype(np.float32), self.hu[Tissue.AIR])

    def _heart(self) -> None:
        blobs = self.organs.heart
        reach = max(max(b.radii) for b in blobs)
        low = np.min([np.subtract(b.centre, reach) for b in blobs], axis=0)
        high = np.max([np.add(b.centre, reach) for b in blobs], axis=0)
        view = self.canvas.view(low, high, 10.0)
        if view is None:
            return
        distance = ellipsoid(view, blobs[0].centre, blobs[0].radii, blobs[0].yaw_rad)
        chambers = distance + 10.0
        for blob in blobs[1:]:
            part = ellipsoid(view, blob.centre, blob.radii, blob.yaw_rad)
            distance = smooth_min(distance, part, 9.0)
            chambers = np.minimum(chambers, part + 4.0)
        dome = np.maximum(self.regions.dome.left_z, self.regions.dome.right_z)[view.box[1:]]
        floor = (dome + np.float32(-14.0) - view.z) / self.regions.dome.steepness[view.box[1:]]
        distance = distance + wobble(view, 1.8, 62.0, self.phase)
        sac = np.maximum(smooth_max(distance, self._inside(view, 4.0), 6.0), floor - 6.0)
        outside = self.canvas.coverage(sac - 4.2)
        self.canvas.paint(view, outside, self.hu[Tissue.MUSCLE], Structure.CAVITY)
        self.canvas.paint(view, self.canvas.coverage(sac - 3.4), self.hu[Tissue.FAT], Structure.CAVITY)
        self.regions.lung[view.box] *= 1.0 - outside
        myocardium = np.maximum(np.maximum(distance, self._inside(view, 6.0)), floor - 2.0)
        self._paint(view, myocardium, Tissue.HEART, Structure.HEART)
        self._paint(view, np.maximum(chambers, myocardium + 3.0), Tissue.BLOOD, Structure.HEART)

    def _liver(self) -> None:
        trunk, s = self.organs.trunk, self.organs.trunk.shape.scale
        low_z, high_z = trunk.z_of(L.L3, -5.0), trunk.z_of(L.T9, 14.0)
        view = self.canvas.view([-170.0 * s, -190.0 * s, low_z], [85.0 * s, 60.0, high_z])
        if view is None:
            return
        dome = self.regions.dome
        x = view.x / np.float32(s)
        y = (view.y - np.float32(trunk.spine_y(trunk.z_of(L.T12)))) / np.float32(s)
        top = np.where(view.x > 12.0, dome.left_z[view.box[1:]] - 8.0, dome.right_z[view.box[1:]])
        roof = (view.z - top) / dome.steepness[view.box[1:]] + 3.0
        # The visceral surface rises from the right flank to the left lobe's edge, and over the kidney.
        rise = np.clip((x + 118.0) / 178.0, 0.0, 1.3)
        floor_z = trunk.z_of(L.L2, -16.0) + 112.0 * rise**1.25 + 22.0 * np.clip((y + 40.0) / 60.0, 0.0, 1.0) * (x > -95)
        floor_z = floor_z + 62.0 * np.clip((y + 118.0) / 90.0, 0.0, 1.0) * np.clip(1.6 * (rise - 0.45), 0.0, 1.0)
        floor = (floor_z.astype(np.float32) - view.z) * np.float32(0.75)
        hilum = 25.0 - np.hypot(x - 2.0, (y + 6.0) * 0.75)
        fissure = 3.0 - np.hypot(np.abs(x + 22.0 + 0.25 * (y + 90.0)), np.maximum(y + 92.0, 0.0))
        fissure = np.where(view.z < trunk.z_of(L.T12, 10.0), fissure, -9.0)
        distance = smooth_max(roof.astype(np.float32), floor, 10.0)
        distance = smooth_max(distance, np.broadcast_to(self._inside(view, 2.5), view.shape), 5.0)
        distance = smooth_max(distance, np.broadcast_to(hilum, view.shape).astype(np.float32), 8.0)
        distance = np.maximum(distance, fissure)
        right = self.organs.kidneys[1][0]
        bed = ellipsoid(view, np.add(right.centre, (-2.0, 16.0, 0.0)), (36.0, 44.0, 62.0))
        distance = smooth_max(distance.astype(np.float32), -bed, 5.0) + wobble(view, 1.3, 57.0, self.phase)
        self._paint(view, distance.astype(np.float32), Tissue.LIVER, Structure.LIVER)
        self._liver_veins(distance.astype(np.float32), view)
        blob = self.organs.gallbladder
        bile = self.canvas.view(np.subtract(blob.centre, 30.0), np.add(blob.centre, 30.0))
        if bile is not None:
            self._paint(bile, ellipsoid(bile, blob.centre, blob.radii, blob.yaw_rad), Tissue.FLUID, Structure.CAVITY)

    def _liver_veins(self, liver: Field, view: View) -> None:
        d = Draft(self.organs.trunk)
        for knots in (
            ((-26, -44, L.T10, 6, 5), (-60, -40, L.T10, -8, 3.5), (-95, -30, L.T11, -4, 2)),
            ((-27, -48, L.T10, 6, 5), (-48, -78, L.T10, -4, 3.5), (-66, -104, L.T11, 0, 2)),
            ((-24, -48, L.T10, 6, 4), (2, -72, L.T10, 0, 3), (26, -90, L.T10, -4, 2)),
            ((-46, -62, L.T11, -2, 5), (-72, -54, L.T11, 2, 4), (-100, -52, L.T12, 6, 2)),
            ((-46, -62, L.T11, 0, 5), (-62, -82, L.T11, 8, 3), (-90, -96, L.T11, 8, 2)),
        ):
            found = tube_distance(self.canvas, d.tube(*knots))
            if found is None:
                continue
            part, distance = found
            inside = np.full(part.shape, 9.0, dtype=np.float32)
            overlap = [
                slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part.box, view.box, strict=True)
            ]
            if any(o.start >= o.stop for o in overlap):
                continue
            target = tuple(slice(o.start - a.start, o.stop - a.start) for o, a in zip(overlap, part.box, strict=True))
            source = tuple(slice(o.start - b.start, o.stop - b.start) for o, b in zip(overlap, view.box, strict=True))
            inside[target] = liver[source]
            self._paint(part, np.maximum(distance, inside + 2.0), Tissue.VENOUS_BLOOD)

    def _spleen(self) -> None:
        trunk, z0 = self.organs.trunk, self.organs.spleen_z
        s = trunk.shape.scale
        view = self.canvas.view([15.0 * s, -110.0 * s, z0 - 52.0], [180.0 * s, 60.0, z0 + 52.0])
        if view is None:
            return
        depth = -self._inside(view, 3.0)
        along = np.arctan2(view.x, view.y + 45.0) - 1.12
        rho2 = np.square(along / 0.56) + np.square((view.z - z0) / 46.0)
        thick = 38.0 * s * np.sqrt(np.clip(1.0 - rho2, 0.0, 1.0))
        notch = 4.0 * np.sin(5.0 * along + view.z / 14.0)
        distance = np.maximum(-depth, depth - thick - notch * (thick > 12.0))
        height = np.maximum(self.regions.dome.left_z[view.box[1:]], -1e3)
        roof = (view.z - height) / self.regions.dome.steepness[view.box[1:]] + 4.0
        distance = np.where(rho2 < 1.0, np.maximum(distance, roof), 9.0)
        distance = distance + wobble(view, 1.6, 48.0, self.phase)
        self._paint(view, distance.astype(np.float32), Tissue.SPLEEN, Structure.SPLEEN)

    def _kidneys(self) -> None:
        for kidney, sinus in self.organs.kidneys:
            view = self.canvas.view(
                np.subtract(kidney.centre, (40.0, 40.0, 60.0)), np.add(kidney.centre, (40.0, 40.0, 60.0))
            )
            if view is None:
                continue
            outer = ellipsoid(view, kidney.centre, kidney.radii, kidney.yaw_rad) + wobble(view, 1.0, 33.0, self.phase)
            hollow = ellipsoid(view, sinus.centre, sinus.radii, sinus.yaw_rad)
            self.canvas.paint(view, self.canvas.coverage(outer - 5.0), self.hu[Tissue.FAT], Structure.CAVITY)
            self._paint(view, outer, Tissue.KIDNEY, Structure.KIDNEY)
            inside = self.canvas.coverage(np.maximum(hollow, outer + 5.0))
            self.canvas.paint(view, inside, self.hu[Tissue.FAT], Structure.KIDNEY)
