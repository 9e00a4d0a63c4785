"""Run the bundles on real CT and compare with a reference map; overlays for the eye, figures as JSON.

The two networks are run as the server runs them in principle (coarse over the whole scan, fine in a box around
the column), without the server's ordering logic: what is measured here is the networks.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import onnxruntime as ort
import pydicom
import SimpleITK as sitk  # noqa: N813

mpl.use("Agg")
from matplotlib import pyplot as plt

TOTALSEG_V2 = {
    "trachea": (16,), "lung": (10, 11, 12, 13, 14), "heart": (51,), "aorta": (52,), "liver": (5,), "spleen": (1,),
    "kidney": (2, 3), "paraspinal_muscle": (86, 87), "rib": tuple(range(92, 116)), "spinal_canal": (79,),
    "vertebra": tuple(range(29, 46)),
}  # fmt: skip
"""Reference map of lidc-idri-0001 (TotalSegmentator v2 output); 29 = L3 .. 45 = C6."""


@dataclass(frozen=True, eq=False)
class Bundle:
    manifest: dict
    session: ort.InferenceSession

    @staticmethod
    def load(folder: Path, threads: int) -> Bundle:
        manifest = json.loads((folder / "manifest.json").read_text())
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        return Bundle(manifest, ort.InferenceSession(str(folder / manifest["file"]), options, ["CPUExecutionProvider"]))

    @property
    def channels(self) -> list[str]:
        return self.manifest["outputs"]["logits"]["channels"]

    @property
    def spacing(self) -> float:
        return self.manifest["input"]["spacing_mm"][0]

    def run(self, hu: np.ndarray) -> list[np.ndarray]:
        """Outputs without the batch axis for a (D, H, W) HU volume at the bundle's spacing, padding cut away."""
        spec = self.manifest["input"]
        m = spec["size_multiple"]
        pad = [(0, -n % m) for n in hu.shape]
        x = np.pad(np.clip(hu, *spec["clip_hu"]), pad, constant_values=spec["pad_hu"]).astype(np.float32)
        x = (x - spec["mean_hu"]) / spec["std_hu"]
        outputs = self.session.run(None, {spec["name"]: x[None, None]})
        return [o[0][:, : hu.shape[0], : hu.shape[1], : hu.shape[2]] for o in outputs]


def read_ct(folder: Path) -> sitk.Image:
    """The CT of a folder of single-frame files, oriented LPS (so that arrays are foot-head, front-back, right-left)."""
    slices = [pydicom.dcmread(f) for f in sorted(folder.glob("*.dcm"))]
    direction = np.array(slices[0].ImageOrientationPatient, float)
    normal = np.cross(direction[:3], direction[3:])
    slices.sort(key=lambda d: float(np.dot(d.ImagePositionPatient, normal)))
    volume = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    image = sitk.GetImageFromArray(np.clip(volume, -1024, 3071).astype(np.float32))
    at = [float(np.dot(d.ImagePositionPatient, normal)) for d in slices]
    image.SetSpacing([*map(float, slices[0].PixelSpacing[::-1]), float(np.median(np.diff(at)))])
    image.SetOrigin([float(v) for v in slices[0].ImagePositionPatient])
    image.SetDirection(np.stack([direction[:3], direction[3:], normal], 1).ravel().tolist())
    return sitk.DICOMOrient(image, "LPS")


def resample(image: sitk.Image, spacing: float, labels: bool = False) -> sitk.Image:
    size = [max(1, round(n * s / spacing)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    if not labels:
        for axis, s in enumerate(image.GetSpacing()):
            if s < spacing:
                image = sitk.RecursiveGaussian(image, 0.29 * float(np.sqrt(spacing**2 - s**2)) + 1e-3, direction=axis)
    offset = [(spacing - s) / 2 for s in image.GetSpacing()]
    matrix = np.array(image.GetDirection()).reshape(3, 3)
    origin = np.array(image.GetOrigin()) + matrix @ offset
    method = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    fill = 0 if labels else -1024
    return sitk.Resample(
        image, size, sitk.Transform(), method, origin.tolist(), [spacing] * 3, image.GetDirection(), fill
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else float("nan")


def is_class(classes: np.ndarray, channels: list[str], name: str) -> np.ndarray:
    wanted = [n for n, c in enumerate(channels) if c == name or (name == "vertebra" and c.startswith("vertebra_"))]
    return np.isin(classes, wanted)


def compare(classes: np.ndarray, channels: list[str], reference: np.ndarray) -> dict[str, float]:
    found = {}
    for name, ids in TOTALSEG_V2.items():
        if any(c == name or (name == "vertebra" and c.startswith("vertebra_")) for c in channels):
            found[name] = round(dice(is_class(classes, channels, name), np.isin(reference, ids)), 3)
    return found


def coordinate_errors(level: np.ndarray, classes: np.ndarray, channels: list[str], reference: np.ndarray) -> dict:
    """Median coordinate over the predicted body voxels of each reference vertebra, minus its ordinal (L3 = 22)."""
    body = is_class(classes, channels, "vertebra_body")
    errors = {}
    for value in range(29, 46):
        here = body & (reference == value)
        if here.sum() > 20:
            errors[str(22 - (value - 29))] = round(float(np.median(level[here])) - (22 - (value - 29)), 2)
    return errors


def column_box(classes: np.ndarray, level: np.ndarray, channels: list[str], lo: float, hi: float) -> np.ndarray | None:
    """Voxel bounds (2, 3) around the body voxels whose coordinate is in ``lo`` .. ``hi``."""
    body = is_class(classes, channels, "vertebra_body") & (level > lo) & (level < hi)
    points = np.argwhere(body)
    if len(points) < 30:
        return None
    return np.stack([np.percentile(points, 1, 0), np.percentile(points, 99, 0)])


def _paint(ax: plt.Axes, hu: np.ndarray, classes: np.ndarray, lut: np.ndarray, aspect: float = 1.0) -> None:
    grey = np.clip((hu + 250) / 700, 0, 1)[..., None].repeat(3, -1)
    colour = lut[classes]
    mask = (colour.sum(-1) > 0)[..., None]
    ax.imshow(np.where(mask, 0.55 * grey + 0.45 * colour, grey), aspect=aspect)
    ax.axis("off")


def evaluate_case(
    name: str, image: sitk.Image, reference: sitk.Image | None, coarse: Bundle, fine: Bundle | None, out: Path
) -> dict:
    result: dict = {"case": name}
    small = resample(image, coarse.spacing)
    hu = sitk.GetArrayFromImage(small)
    start = time.monotonic()
    logits, coordinate = coarse.run(hu)
    result["coarse_s"] = round(time.monotonic() - start, 2)
    spec = coarse.manifest["outputs"]["spine_coordinate"]
    classes = logits.argmax(0)
    level = coordinate[0] * spec["scale"] + spec["offset"]
    if reference is not None:
        ref = sitk.GetArrayFromImage(sitk.Resample(reference, small, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
        result["coarse_dice"] = compare(classes, coarse.channels, ref)
        result["coordinate_error"] = coordinate_errors(level, classes, coarse.channels, ref)
    result["coarse_voxels"] = {c: int((classes == n).sum()) for n, c in enumerate(coarse.channels)}
    lut = np.array([(0, 0, 0), *plt.get_cmap("tab20")(np.linspace(0, 1, 20))[:, :3]])
    fig, axes = plt.subplots(2, 4, figsize=(24, 13))
    column = np.argwhere(is_class(classes, coarse.channels, "vertebra_body"))
    mid = np.median(column, axis=0).astype(int) if len(column) else np.array(hu.shape) // 2
    clut = lut[: len(coarse.channels)].copy()
    clut[1:3] *= 0.35
    _paint(axes[0, 0], hu[::-1, :, mid[2]], classes[::-1, :, mid[2]], clut)
    _paint(axes[0, 1], hu[::-1, mid[1]], classes[::-1, mid[1]], clut)
    _paint(axes[0, 2], hu[mid[0]], classes[mid[0]], clut)
    spine = np.isin(classes, [coarse.channels.index(c) for c in ("vertebra_body", "intervertebral_disc")])
    shown = np.where(spine, level, np.nan)
    axes[0, 3].imshow(hu[::-1, :, mid[2]], cmap="gray", vmin=-250, vmax=450)
    axes[0, 3].imshow(shown[::-1, :, mid[2]] % 2, cmap="hsv", alpha=0.6, vmin=0, vmax=2)
    for ordinal in range(5, 27):
        points = np.argwhere(spine & (np.abs(level - ordinal) < 0.15))
        if len(points):
            c = points.mean(0)
            text = f"T{ordinal - 7}" if ordinal <= 19 else f"L{ordinal - 19}"
            axes[0, 3].text(c[1] - 12, hu.shape[0] - c[0], text, color="yellow", fontsize=9)
    axes[0, 3].axis("off")
    box = column_box(classes, level, coarse.channels, 16.4, 21.6)
    if fine is not None and box is not None:
        big = resample(image, fine.spacing)
        corners = np.array(
            [big.TransformPhysicalPointToIndex(small.TransformContinuousIndexToPhysicalPoint(c[::-1].tolist()))[::-1]
             for c in box.astype(float)]
        )  # fmt: skip
        full = sitk.GetArrayFromImage(big)
        margin = np.array([[10, 28, 38], [10, 42, 38]])
        lo = np.maximum(corners[0] - margin[0], 0)
        hi = np.minimum(corners[1] + margin[1], full.shape)
        cut = tuple(slice(int(a), int(b)) for a, b in zip(lo, hi, strict=True))
        start = time.monotonic()
        fine_classes = fine.run(full[cut])[0].argmax(0)
        result["fine_s"] = round(time.monotonic() - start, 2)
        result["fine_shape"] = list(fine_classes.shape)
        if reference is not None:
            ref = sitk.GetArrayFromImage(sitk.Resample(reference, big, sitk.Transform(), sitk.sitkNearestNeighbor, 0))[
                cut
            ]
            result["fine_dice"] = compare(fine_classes, fine.channels, ref)
            for value, label in ((33, "T11"), (32, "T12"), (31, "L1"), (30, "L2")):
                near = ref == value
                where = np.argwhere(near)
                if len(where):
                    z = slice(where[:, 0].min(), where[:, 0].max() + 1)
                    # the share of the reference vertebra that was found; false positives count in "vertebra"
                    hit = is_class(fine_classes[z], fine.channels, "vertebra")
                    result.setdefault("fine_recall", {})[label] = round(float((hit & near[z]).sum() / near.sum()), 3)
        h = full[cut]
        flut = lut[: len(fine.channels)]
        body = np.argwhere(is_class(fine_classes, fine.channels, "vertebra_body"))
        mid = np.median(body, axis=0).astype(int) if len(body) else np.array(h.shape) // 2
        _paint(axes[1, 0], h[::-1, :, mid[2]], fine_classes[::-1, :, mid[2]], flut)
        _paint(axes[1, 1], h[::-1, mid[1]], fine_classes[::-1, mid[1]], flut)
        _paint(axes[1, 2], h[mid[0]], fine_classes[mid[0]], flut)
        at = min(h.shape[0] - 1, mid[0] + 14)
        _paint(axes[1, 3], h[at], fine_classes[at], flut)
    fig.suptitle(name)
    fig.tight_layout()
    fig.savefig(out / f"{name}.png", dpi=48)
    plt.close(fig)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coarse", type=Path, default=Path("models/coarse-v0"))
    parser.add_argument("--fine", type=Path, default=Path("models/fine-v0"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--ct", type=Path, action="append", help="a folder of DICOM files; default: all under DATA/ct")
    parser.add_argument("--out", type=Path, default=Path("runs/evaluation"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    coarse = Bundle.load(args.coarse, args.threads)
    fine = Bundle.load(args.fine, args.threads) if args.fine.exists() else None
    folders = args.ct or sorted({f.parent for f in (args.data / "ct").rglob("*.dcm")})
    results = []
    for folder in folders:
        name = folder.name if folder.parent.name == "ct" else f"{folder.parent.name}-{folder.name}"
        truth = args.data / "labels" / f"{name}.nii.gz"
        reference = sitk.DICOMOrient(sitk.ReadImage(str(truth)), "LPS") if truth.exists() else None
        results.append(evaluate_case(name, read_ct(folder), reference, coarse, fine, args.out))
        print(json.dumps(results[-1]), flush=True)
    (args.out / "results.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
