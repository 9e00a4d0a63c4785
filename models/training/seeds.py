"""Seed anatomies: public label maps brought to one grid, one label table, and completed for rendering.

Arrays are (k foot->head, j anterior->posterior, i patient right->left), 1.5 mm isotropic, padded at
the sides so that a body can be grown around what the map labels. The map's own vertebra masks are
split into body and posterior elements by the canal's front wall, discs are grown into the gaps between
neighbouring bodies, and the canal is grown from the cord.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage as ndi
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

SPACING_MM = 1.5
PAD_MM = 60.0

LUNG, TRACHEA, HEART, AORTA, VEIN, ARTERY, PORTAL, LIVER, SPLEEN, KIDNEY = range(1, 11)
SOFT, STOMACH, BOWEL, FLUID, PARASPINAL, MUSCLE, RIB, OTHER_BONE, S1 = range(11, 20)
CARTILAGE, CANAL, CANAL_RIM, DISC = 20, 21, 22, 23
OUT, WALL, SAT, CAVITY_FILL = 41, 45, 46, 47
"""Only in seeds that bring a CT of their own: outside, skeletal muscle, subcutaneous fat, cavity with no finer name."""
BODY_BASE, POSTERIOR_BASE = 64, 96
"""Internal label of the body / posterior elements of the vertebra with ordinal n (C1 = 1 .. L5 = 24) is base + n."""
T1, T12, L5 = 8, 19, 24

TOTALSEG_GROUPS: dict[int, tuple[str, ...]] = {
    LUNG: ("lung_",),
    TRACHEA: ("trachea",),
    HEART: ("heart", "atrial_appendage"),
    AORTA: ("aorta",),
    VEIN: ("superior_vena_cava", "inferior_vena_cava", "brachiocephalic_vein", "pulmonary_vein", "iliac_vena"),
    ARTERY: ("brachiocephalic_trunk", "common_carotid", "subclavian", "iliac_artery"),
    PORTAL: ("portal_vein",),
    LIVER: ("liver",),
    SPLEEN: ("spleen",),
    KIDNEY: ("kidney_left", "kidney_right"),
    SOFT: ("adrenal", "pancreas", "duodenum", "esophagus", "thyroid", "prostate", "brain"),
    STOMACH: ("stomach",),
    BOWEL: ("colon", "small_bowel"),
    FLUID: ("gallbladder", "urinary_bladder", "kidney_cyst"),
    PARASPINAL: ("autochthon",),
    MUSCLE: ("iliopsoas", "gluteus"),
    RIB: ("rib_",),
    OTHER_BONE: ("sternum", "clavicula", "scapula", "humerus", "hip", "sacrum", "femur", "skull"),
    S1: ("vertebrae_S1",),
    CARTILAGE: ("costal_cartilages",),
    CANAL: ("spinal_cord",),
}
SPL_GROUPS: dict[int, tuple[int, ...]] = {
    AORTA: (7,),
    VEIN: (8, 81, 82, 83, 84, 85, 86, 128, 129),
    ARTERY: (16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 29, 71, 72, 73, 74, 75, 76, 126, 127, 227),
    PORTAL: (11, 12, 117, 151, 152, 153),
    LIVER: (3,),
    SPLEEN: (4,),
    KIDNEY: (51, 52, 145, 146),
    SOFT: (6, 111, 112, 141, 142),
    STOMACH: (13,),
    BOWEL: (9,),
    FLUID: (10,),
    PARASPINAL: (137, 237),
    MUSCLE: (32, 131, 133, 135, 136, 138, 139, 140, 143, 231, 233, 235, 236, 238, 239, 240, 241),
    RIB: tuple(range(681, 693)),
    OTHER_BONE: (2, 299, 600, 700),
    DISC: tuple(range(551, 560)),
}
SPL_SPACING_MM = (3.0, 1.35, 1.35)
"""The file says 1.5 x 0.94 x 0.94 mm, which makes an L1 of 12 cm3; these give a vertebra of adult size."""


@dataclass(frozen=True, eq=False)
class Seed:
    """One completed anatomy. All arrays share one (K, J, I) grid of 1.5 mm."""

    name: str
    labels: np.ndarray
    """uint8 internal labels."""
    cavity: np.ndarray
    """bool: inside the thoracic and abdominal wall."""
    bone_depth: np.ndarray
    """uint8, 0.1 mm: depth below the surface of the bone the voxel belongs to."""
    hull_mm: np.ndarray
    """float16: signed distance to the hull of everything labelled, negative inside."""
    level: np.ndarray
    """float16 spine coordinate near the column (C1 = 1 .. L5 = 24), NaN elsewhere."""
    centreline: np.ndarray
    """(n, 4): ordinal, k, j, i of the centres of the vertebral bodies, head to foot."""
    rib: np.ndarray
    """uint8: number of the rib (1 .. 12) at RIB voxels, 0 elsewhere and where the map does not number them."""
    hu: np.ndarray | None = None
    """int16: the CT itself where there is one that may be trained on; None where it is to be rendered."""

    @staticmethod
    def load(path: Path) -> Seed:
        with np.load(path) as z:
            arrays = {name: z[name] for name in z.files}
        return Seed(name=path.stem, **arrays)


def bone_mask(labels: np.ndarray) -> np.ndarray:
    return ((labels >= RIB) & (labels <= S1)) | (labels >= BODY_BASE)


def split_vertebra(mask: np.ndarray, canal: np.ndarray) -> np.ndarray:
    """Vertebral body inside ``mask`` (one vertebra, bool, K J I): what lies in front of the canal's front wall.

    The front wall is a line fitted through the foremost canal voxels over the vertebra's height, seen along
    the local axis of the canal. Without canal voxels beside the vertebra nothing is body.
    """
    points = np.argwhere(mask).astype(float)
    low, high = np.percentile(points[:, 0], (2, 98))
    margin = 6
    slab = np.argwhere(canal[max(0, int(low) - margin) : int(high) + margin]).astype(float)
    if len(slab) < 20 or len(points) < 20:
        return np.zeros_like(mask)
    slab[:, 0] += max(0, int(low) - margin)
    origin = slab.mean(0)
    ks = np.unique(slab[:, 0])
    centres = np.array([slab[slab[:, 0] == k].mean(0) for k in ks])
    slope = np.polyfit(centres[:, 0] - origin[0], centres[:, 1:] - origin[1:], 1)[0] if len(ks) > 2 else np.zeros(2)
    up = np.array([1.0, *slope])
    up /= np.linalg.norm(up)
    front_points = points[points[:, 1] < origin[1]]
    forward = (front_points.mean(0) if len(front_points) else origin - [0, 1, 0]) - origin
    forward -= forward @ up * up
    forward /= np.linalg.norm(forward)
    height, ahead = (slab - origin) @ up, (slab - origin) @ forward
    bins = np.round(height / 2)
    walls = np.array([(2 * b, np.percentile(ahead[bins == b], 96)) for b in np.unique(bins)])
    wall = np.polyfit(walls[:, 0], walls[:, 1], 1 if len(walls) > 3 else 0)
    rel = points - origin
    in_front = rel @ forward > np.polyval(wall, np.clip(rel @ up, walls[0, 0], walls[-1, 0])) + 0.5
    body = np.zeros_like(mask)
    body[tuple(points[in_front].astype(int).T)] = True
    parts, count = ndi.label(body)
    if count > 1:
        body = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    return body


def grow_discs(labels: np.ndarray, ordinals: list[int], max_gap_mm: float = 13.0) -> None:
    """Write DISC between neighbouring bodies, in place, where nothing is labelled yet."""
    for upper in ordinals:
        pair = [labels == BODY_BASE + upper, labels == BODY_BASE + upper + 1]
        if not (pair[0].any() and pair[1].any()):
            continue
        where = np.argwhere(pair[0] | pair[1])
        box = tuple(slice(max(0, a - 3), b + 4) for a, b in zip(where.min(0), where.max(0), strict=True))
        far = [ndi.distance_transform_edt(~p[box]) * SPACING_MM for p in pair]
        union = np.pad(pair[0][box] | pair[1][box], 8)
        near = ndi.distance_transform_edt(~union) <= 5
        closed = (ndi.distance_transform_edt(near) > 5)[8:-8, 8:-8, 8:-8]
        gap = closed & (far[0] + far[1] < max_gap_mm) & (labels[box] == 0)
        labels[box][ndi.binary_opening(gap) | (gap & (far[0] + far[1] < 5))] = DISC


def _canal_from_arches(labels: np.ndarray) -> np.ndarray:
    """Canal where a map has none: holes of the arches slice by slice, a tube interpolated where they are open."""
    bone = (labels >= BODY_BASE) | (labels == DISC)
    found: dict[int, np.ndarray] = {}
    for k in range(labels.shape[0]):
        plane = ndi.binary_closing(bone[k], iterations=3)
        hole, count = ndi.label(ndi.binary_fill_holes(plane) & ~plane)
        if count:
            sizes = np.bincount(hole.ravel())[1:]
            if sizes.max() > 30:
                found[k] = np.argwhere(hole == 1 + np.argmax(sizes)).mean(0)
    ks = np.array(sorted(found))
    centre = np.array([found[k] for k in ks])
    keep = np.abs(centre - ndi.median_filter(centre, (9, 1))).max(1) < 6
    span = np.arange(ks.min(), ks.max() + 1)
    path = np.stack([np.interp(span, ks[keep], centre[keep, a]) for a in range(2)], 1)
    path = ndi.gaussian_filter1d(path, 4, axis=0)
    canal = np.zeros(labels.shape, bool)
    jj, ii = np.mgrid[: labels.shape[1], : labels.shape[2]]
    for k, (j, i) in zip(span, path, strict=True):
        canal[k] = ((jj - j) / 5.0) ** 2 + ((ii - i) / 6.5) ** 2 < 1
    return canal & (labels == 0)


def _closing(mask: np.ndarray, radius: float) -> np.ndarray:
    pad = int(radius) + 2
    mask = np.pad(mask, ((pad, pad), (pad, pad), (pad, pad)), mode="edge")
    near = ndi.distance_transform_edt(~mask) <= radius
    return (ndi.distance_transform_edt(near) > radius)[pad:-pad, pad:-pad, pad:-pad]


def _round_out(mask: np.ndarray, radius: float = 55) -> np.ndarray:
    """Closing of each slice: fills the hollows between sternum, clavicles and arms where no label marks the muscle."""
    pad = int(radius) + 2
    out = np.empty_like(mask)
    for k, plane in enumerate(np.pad(mask, ((0, 0), (pad, pad), (pad, pad)))):
        near = ndi.distance_transform_edt(~plane) <= radius
        out[k] = (ndi.distance_transform_edt(near) > radius)[pad:-pad, pad:-pad]
    return out | mask


def _upsample(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    idx = [np.minimum(np.arange(n) // 2, m - 1) for n, m in zip(shape, a.shape, strict=True)]
    return a[np.ix_(*idx)]


def body_centres(labels: np.ndarray) -> np.ndarray:
    """(n, 4): ordinal, k, j, i of the centre of each vertebral body that the view does not cut, head to foot."""
    centres = []
    for n in range(1, 25):
        at = np.argwhere(labels == BODY_BASE + n)
        cut = len(at) == 0 or at[:, 0].max() >= labels.shape[0] - 2 or at[:, 0].min() <= 1
        if not cut:
            centres.append((n, *at.mean(0)))
    return np.array(centres)


def spine_coordinate(labels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """float16: at and near the column, the ordinal of the nearest point of a spline through the bodies' centres."""
    spline = CubicSpline(line[:, 0], line[:, 1:])
    dense = np.arange(line[0, 0] - 1.5, line[-1, 0] + 1.5, 0.02)
    ends = np.clip(dense, line[0, 0], line[-1, 0])
    path = spline(ends) + (dense - ends)[:, None] * spline(ends, 1)
    spine = ((labels >= CANAL) & (labels <= DISC)) | (labels >= BODY_BASE)
    spine = ndi.binary_dilation(spine, iterations=2)
    at = np.argwhere(spine)
    level = np.full(labels.shape, np.nan, np.float16)
    level[tuple(at.T)] = dense[cKDTree(path).query(at, workers=1)[1]]
    return level


def bone_depth(labels: np.ndarray) -> np.ndarray:
    """uint8, 0.1 mm: depth below the surface of the bone the voxel belongs to."""
    instances = np.where(labels >= POSTERIOR_BASE, labels - 32, labels)
    same = bone_mask(labels)
    for axis in range(3):
        step = np.diff(instances.astype(np.int16), axis=axis) != 0
        edge = [slice(None)] * 3
        for part in (slice(None, -1), slice(1, None)):
            edge[axis] = part
            view = same[tuple(edge)]
            view &= ~step
    depth = ndi.distance_transform_edt(same) * SPACING_MM + 0.5 * SPACING_MM
    return np.clip(np.where(bone_mask(labels), depth, 0) * 10, 0, 255).astype(np.uint8)


def complete(name: str, labels: np.ndarray, vertebrae: dict[int, np.ndarray], rib: np.ndarray) -> dict[str, np.ndarray]:
    """Everything a renderer needs from a remapped map (uint8, no vertebrae), vertebra masks by ordinal, rib numbers."""
    ordinals = sorted(vertebrae)
    for n in ordinals:
        labels[vertebrae[n]] = POSTERIOR_BASE + n
    if (labels == CANAL).any():
        cord = labels == CANAL
        rim = (ndi.distance_transform_edt(~cord) <= 2.0) & (labels == 0)
        labels[rim] = CANAL_RIM
    else:
        labels[_canal_from_arches(labels)] = CANAL
    canal = (labels == CANAL) | (labels == CANAL_RIM)
    for n in ordinals:
        labels[split_vertebra(vertebrae[n], canal)] = BODY_BASE + n
    sacral = labels == S1
    labels[sacral] = BODY_BASE + L5 + 1  # for the disc between L5 and it
    grow_discs(labels, ordinals)
    labels[sacral] = S1
    line = body_centres(labels)
    level = spine_coordinate(labels, line)
    depth = bone_depth(labels)

    small = labels[::2, ::2, ::2]
    cavity = _closing((small >= LUNG) & (small <= FLUID), 7)
    hull = _round_out(_closing(small > 0, 15) | cavity)
    hull_mm = (ndi.distance_transform_edt(~hull) - ndi.distance_transform_edt(hull)) * 2 * SPACING_MM
    cavity = _upsample(cavity, labels.shape) & (labels < PARASPINAL)
    print(name, labels.shape, "levels", line[:, 0].astype(int).tolist(), flush=True)
    return {
        "labels": labels,
        "cavity": cavity,
        "bone_depth": depth,
        "hull_mm": _upsample(hull_mm.astype(np.float16), labels.shape),
        "level": level,
        "centreline": line,
        "rib": rib,
    }


def _read(path: Path, spacing: tuple[float, float, float] | None = None) -> np.ndarray:
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    a = sitk.GetArrayFromImage(image)
    steps = spacing or image.GetSpacing()[::-1]
    index = [
        np.clip(np.round(np.arange(int(n * s / SPACING_MM)) * SPACING_MM / s).astype(int), 0, n - 1)
        for n, s in zip(a.shape, steps, strict=True)
    ]
    a = a[np.ix_(*index)]
    pad = int(PAD_MM / SPACING_MM)
    return np.pad(a, ((0, 0), (pad, pad), (pad, pad)))


def from_totalseg(path: Path, names: dict[str, int]) -> dict[str, np.ndarray]:
    raw = _read(path)
    sacrum = np.argwhere((raw == names["sacrum"]).any((1, 2)))
    raw = raw[int(sacrum.max()) - 40 :]
    lut = np.zeros(256, np.uint8)
    for group, prefixes in TOTALSEG_GROUPS.items():
        for name, value in names.items():
            if name.startswith(prefixes):
                lut[value] = group
    levels = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]
    masks = {o: raw == names[f"vertebrae_{level}"] for o, level in enumerate(levels, 1)}
    ribs = np.zeros(256, np.uint8)
    for number in range(1, 13):
        ribs[[names[f"rib_{side}_{number}"] for side in ("left", "right")]] = number
    return complete(path.name.split(".")[0], lut[raw], {o: m for o, m in masks.items() if m.any()}, ribs[raw])


def from_spl(path: Path) -> dict[str, np.ndarray]:
    raw = _read(path, SPL_SPACING_MM)
    lut = np.zeros(1024, np.uint8)
    for group, values in SPL_GROUPS.items():
        lut[list(values)] = group
    masks = {o: raw == (400 + o - 7 if o <= T12 else 500 + o - T12) for o in range(T1, L5 + 1)}
    ribs = np.zeros(1024, np.uint8)
    ribs[681:693] = np.arange(1, 13)
    return complete(path.stem, lut[raw], {o: m for o, m in masks.items() if m.any()}, ribs[raw])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=Path, default=Path("../shared/data/labels"), help="folder of the label maps")
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = json.loads((args.labels / "totalseg-names.json").read_text())
    for name in ("s0327", "s0328"):
        np.savez(args.out / f"{name}.npz", **from_totalseg(args.labels / f"totalseg-{name}.nii.gz", names))
    np.savez(args.out / "spl.npz", **from_spl(args.labels / "spl-abdominal-atlas.nrrd"))


if __name__ == "__main__":
    main()
