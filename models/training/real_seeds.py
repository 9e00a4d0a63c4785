"""Seeds from a real CT without reference labels: what the present models say of it, checked levels, for self-training.

Two seeds come of a scan: ``real-NAME`` with its own CT numbers (the networks see a real scanner and a real column) and
``pseudo-NAME`` to be rendered (one more anatomy whose labels are exact for the picture drawn of it). A scan used here
is never one that is evaluated on; ``split.toml`` is the list.

    python -m models.training.real_seeds --data ../shared/data/ct --out runs/seeds
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from models.training import seeds as s
from scipy import ndimage as ndi

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, Anatomy, Structure
from trabecula.assets import models_dir
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, CtVolume
from trabecula.segmentation import RuntimeSettings, load_models, segment

SKIN = 40
FAT_HU, MUSCLE_HU = (-190, -30), (-29, 150)
STRUCTURES = {
    Structure.OUTSIDE: s.OUT, Structure.CAVITY: s.CAVITY_FILL, Structure.LUNG: s.LUNG, Structure.TRACHEA: s.TRACHEA,
    Structure.HEART: s.HEART, Structure.AORTA: s.AORTA, Structure.LIVER: s.LIVER, Structure.SPLEEN: s.SPLEEN,
    Structure.KIDNEY: s.KIDNEY, Structure.PARASPINAL_MUSCLE: s.PARASPINAL, Structure.SKELETAL_MUSCLE: s.WALL,
    Structure.SUBCUTANEOUS_FAT: s.SAT, Structure.RIB: s.RIB, Structure.OTHER_BONE: s.OTHER_BONE,
    Structure.SPINAL_CANAL: s.CANAL, Structure.INTERVERTEBRAL_DISC: s.DISC, Structure.TABLE: s.OUT,
    Structure.METAL: s.OTHER_BONE,
}  # fmt: skip


def to_seed_grid(volume: CtVolume, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CT numbers (linear) and labels (nearest) at the seeds' spacing, same axes."""
    spacing = volume.geometry.spacing_mm
    out = []
    for values, how, fill in ((volume.hu, sitk.sitkLinear, -1024), (labels, sitk.sitkNearestNeighbor, 0)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing([float(x) for x in spacing[::-1]])
        size = [int(n * x / s.SPACING_MM) for n, x in zip(values.shape[::-1], spacing[::-1], strict=True)]
        grid = sitk.Image(size, image.GetPixelID())
        grid.SetSpacing([s.SPACING_MM] * 3)
        out.append(sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), how, fill)))
    return out[0], out[1]


def seed_labels(canonical: np.ndarray, hu: np.ndarray) -> np.ndarray:
    """Seed labels from canonical ones; tissue with no finer name becomes muscle wall, subcutaneous fat or skin."""
    lut = np.zeros(256, np.uint8)
    for structure, label in STRUCTURES.items():
        lut[structure] = label
    for n in range(1, 25):
        lut[BODY_LABEL_BASE + n], lut[POSTERIOR_LABEL_BASE + n] = s.BODY_BASE + n, s.POSTERIOR_BASE + n
    labels = lut[canonical]
    body = canonical == Structure.BODY
    inside = canonical != Structure.OUTSIDE
    skin = body & (ndi.distance_transform_edt(inside) * s.SPACING_MM < 3)
    calm = ndi.uniform_filter(hu.astype(np.float32), 3)
    muscle = body & ~skin & (calm > MUSCLE_HU[0]) & (calm < MUSCLE_HU[1])
    muscle = ndi.binary_opening(muscle, iterations=1)
    inner = muscle | (inside & ~body)
    wall = np.stack([_closed(plane) for plane in inner])
    labels[body] = np.where(wall[body], s.WALL, s.SAT)
    labels[skin] = SKIN
    return labels


def _closed(plane: np.ndarray, radius: int = 5) -> np.ndarray:
    padded = np.pad(plane, radius + 1)
    near = ndi.distance_transform_edt(~padded) <= radius
    closed: np.ndarray = (ndi.distance_transform_edt(near) > radius)[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
    return closed


def real_seed(hu: np.ndarray, labels: np.ndarray, levels_known: bool) -> dict[str, np.ndarray]:
    line = s.body_centres(labels)
    level = s.spine_coordinate(labels, line)
    if not levels_known:
        level[:] = np.nan
    return {
        "labels": labels, "cavity": labels == s.CAVITY_FILL, "bone_depth": np.zeros(labels.shape, np.uint8),
        "hull_mm": np.where(labels == s.OUT, 1, -1).astype(np.float16), "level": level, "centreline": line,
        "rib": np.zeros(labels.shape, np.uint8), "hu": hu.astype(np.int16),
    }  # fmt: skip


def pseudo_seed(name: str, labels: np.ndarray) -> dict[str, np.ndarray]:
    """A seed to be rendered: vertebrae split anew by the canal's wall, body grown by the renderer."""
    grown = (labels == s.OUT) | (labels == s.WALL) | (labels == s.SAT) | (labels == s.CAVITY_FILL) | (labels == SKIN)
    bare = np.where(grown | (labels == s.DISC) | (labels >= s.BODY_BASE), 0, labels).astype(np.uint8)
    pad = int(s.PAD_MM / s.SPACING_MM)
    sides = ((0, 0), (pad, pad), (pad, pad))
    vertebrae = {}
    for n in range(1, 25):
        mask = (labels == s.BODY_BASE + n) | (labels == s.POSTERIOR_BASE + n)
        if mask.any():
            vertebrae[n] = np.pad(mask, sides)
    bare = np.pad(bare, sides)
    return s.complete(name, bare, vertebrae, np.zeros(bare.shape, np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ct"), help="folder of the real CTs")
    parser.add_argument("--split", type=Path, default=Path(__file__).parent / "split.toml")
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    args = parser.parse_args()
    models = load_models(models_dir(), RuntimeSettings())
    for scan in tomllib.loads(args.split.read_text())["self_training"]:
        study = read_study([args.data / scan["folder"]], ImagingLimits())
        if not isinstance(study, CtStudy):
            raise SystemExit(f"{scan['folder']}: not read")
        anatomy = segment(study.volume, models)
        if not isinstance(anatomy, Anatomy):
            raise SystemExit(f"{scan['folder']}: {anatomy.code}")
        named = [v.level.value for v in anatomy.vertebrae if v.complete]
        print(scan["folder"], named, flush=True)
        if scan["levels"] and (named[0], named[-1]) != tuple(scan["levels"]):
            print(f"  counted by eye: {scan['levels']}", flush=True)
        hu, canonical = to_seed_grid(study.volume, anatomy.labels)
        labels = seed_labels(canonical, hu)
        np.savez(args.out / f"real-{scan['name']}.npz", **real_seed(hu, labels, bool(scan["levels"])))
        if scan["levels"]:
            np.savez(args.out / f"pseudo-{scan['name']}.npz", **pseudo_seed(scan["name"], labels.copy()))


if __name__ == "__main__":
    main()
