"""Are the levels right, and is their confidence honest? Views of rendered scans whose levels are known.

    python -m models.training.validation --out runs/validation-levels --count 28 --seed 7
    python tests/benchmarks/levels.py --cases runs/validation-levels --out docs/benchmarks

The coarse model sees each case once; its answer and the scan are then cut to many views along the patient, as scans
begin and end anywhere, and each view is named on its own. Writes ``levels.json`` and ``levels.md`` with a reliability
table. The weight of the evidence is fitted on every other case (``--fit``) and checked on the rest. Rendered cases
share the seed anatomies of training: they show calibration over views, builds and noise, not over people.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from trabecula.anatomy import BODY_LABEL_BASE, POSTERIOR_LABEL_BASE, Level, Structure
from trabecula.assets import models_dir
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation import RuntimeSettings, load_models
from trabecula.segmentation.body import find_body
from trabecula.segmentation.pipeline import Spine, read_spine
from trabecula.segmentation.predict import Prediction, session_predictor
from trabecula.segmentation.resample import Grid, resample_hu
from trabecula.segmentation.settings import LevelSettings, SegmentationSettings

BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0001)
WEIGHTS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15)
TARGET = range(Level.T11.ordinal, Level.L2.ordinal + 1)
LEAST_VERTEBRAE = 5


@dataclass(frozen=True, eq=False)
class Case:
    name: str
    volume: CtVolume
    labels: np.ndarray
    coarse: Prediction


@dataclass(frozen=True)
class Named:
    """One vertebra of one view."""

    case: str
    view: int
    said: int
    truth: int
    confidence: float

    @property
    def right(self) -> bool:
        return self.said == self.truth


def load_case(folder: Path, models: Path, threads: int) -> Case | None:
    image = sitk.DICOMOrient(sitk.ReadImage(str(folder / "ct.nii.gz")), "LPS")
    labels = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(folder / "labels.nii.gz")), "LPS"))
    hu = np.clip(sitk.GetArrayFromImage(image), -32768, 32767).astype(np.int16)
    x, y, z = image.GetSpacing()
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    volume = CtVolume(hu, Geometry(hu.shape, affine))
    model = session_predictor(load_models(models, RuntimeSettings(threads=threads, warm_start=False)).coarse)
    grid = Grid.of_scan(volume.geometry).covering(model.spacing_mm)
    small = resample_hu(volume, grid)
    body = find_body(small, grid, SegmentationSettings().body)
    if body is None:
        return None
    box = body.bounding_box(margin=3)
    return Case(folder.name, volume, labels, model.predict(small[box], grid.crop(box), lambda _: None))


def views(case: Case, count: int, rng: np.random.Generator) -> Iterator[Case]:
    """The whole case, then stretches of it, about as long as chest and abdomen scans and shorter."""
    yield case
    slices = case.volume.geometry.shape[0]
    step = case.volume.geometry.spacing_mm[0]
    for _ in range(count - 1):
        length = min(slices, round(float(rng.uniform(140, 420)) / step))
        start = int(rng.integers(0, slices - length + 1))
        yield cut(case, start, start + length)


def cut(case: Case, start: int, stop: int) -> Case:
    affine = case.volume.geometry.affine.copy()
    affine[:3, 3] = case.volume.geometry.index_to_lps([start, 0, 0])
    volume = CtVolume(case.volume.hu[start:stop], Geometry((stop - start, *case.volume.hu.shape[1:]), affine))
    spacing = case.volume.geometry.spacing_mm[0]
    grid = case.coarse.grid
    low, high = (start - 0.5) * spacing, (stop - 0.5) * spacing
    height = grid.start_mm[0] + np.arange(grid.shape[0]) * grid.spacing_mm[0]
    rows = np.flatnonzero((height >= low) & (height <= high))
    part = slice(int(rows[0]), int(rows[-1]) + 1)
    whole = slice(None)
    there = grid.crop((part, whole, whole))
    there = replace(there, start_mm=(there.start_mm[0] - start * spacing, *there.start_mm[1:]))
    maps = {
        name: None if (value := getattr(case.coarse, name)) is None else np.ascontiguousarray(value[..., part, :, :])
        for name in ("probability", "coordinate", "offset_mm")
    }
    return replace(case, volume=volume, labels=case.labels[start:stop], coarse=replace(case.coarse, grid=there, **maps))


def truths(case: Case, spine: Spine) -> list[int | None]:
    """Ordinal of the body around the middle of each segment; None where there is no one body (or one beyond L5)."""
    spacing = np.array(case.volume.geometry.spacing_mm)
    reach = np.ceil(6.0 / spacing).astype(int)
    out: list[int | None] = []
    for segment in spine.segments:
        middle = np.rint(spine.column.points[round(segment.centre_mm)] / spacing).astype(int)
        around = tuple(slice(max(0, m - r), m + r + 1) for m, r in zip(middle, reach, strict=True))
        values = case.labels[around]
        body = values[(values > BODY_LABEL_BASE) & (values < POSTERIOR_LABEL_BASE)] - BODY_LABEL_BASE
        beyond = int((values == Structure.OTHER_BONE).sum())
        counts = np.bincount(body, minlength=26)
        counts[25] = beyond
        out.append(int(counts.argmax()) if counts.max() > 0.5 * max(1, counts.sum()) else None)
    return out


def name_view(case: Case, number: int, settings: SegmentationSettings) -> list[Named] | None:
    """Whole vertebrae of a view with their truth; None where the column is not found, refused or too short."""
    spine = read_spine(case.volume, case.coarse, None, settings)
    if spine is None or not spine.naming.consistent or spine.unsupported > settings.column.max_unsupported_share:
        return None
    whole = [s.cut_head and s.cut_foot for s in spine.segments]
    if sum(whole) < LEAST_VERTEBRAE:
        return None
    rows = zip(whole, spine.naming.ordinals, truths(case, spine), spine.naming.confidence, strict=True)
    return [Named(case.name, number, n, t, c) for w, n, t, c in rows if w and t is not None]


def log_score(named: Sequence[Named]) -> float:
    """Mean log probability given to what turned out, a vertebra being right or not."""
    p = np.clip([n.confidence for n in named], 1e-3, 1 - 1e-3)
    right = np.array([n.right for n in named])
    return float(np.log(np.where(right, p, 1 - p)).mean())


def reliability(named: Sequence[Named]) -> list[dict[str, float]]:
    rows = []
    for low, high in pairwise(BINS):
        inside = [n for n in named if low <= n.confidence < high]
        if inside:
            mean = sum(n.confidence for n in inside) / len(inside)
            share = sum(n.right for n in inside) / len(inside)
            rows.append({"from": low, "to": min(high, 1.0), "vertebrae": len(inside), "said": mean, "right": share})
    return rows


def summary(named: Sequence[Named], flagged_below: float) -> dict[str, float]:
    wrong = [n for n in named if not n.right]
    views_seen = {(n.case, n.view) for n in named}
    wrong_views = {(n.case, n.view) for n in wrong}
    silent = [n for n in wrong if n.confidence >= flagged_below]
    error = sum(abs(row["said"] - row["right"]) * row["vertebrae"] for row in reliability(named)) / max(1, len(named))
    return {
        "vertebrae": len(named),
        "right": 1 - len(wrong) / max(1, len(named)),
        "wrong": len(wrong),
        "wrong_not_flagged": len(silent),
        "flagged": sum(n.confidence < flagged_below for n in named) / max(1, len(named)),
        "views": len(views_seen),
        "views_with_an_error": len(wrong_views),
        "views_with_a_silent_error": len({(n.case, n.view) for n in silent}),
        "brier": float(np.mean([(n.confidence - n.right) ** 2 for n in named])) if named else 0.0,
        "calibration_error": error,
        "log_score": log_score(named) if named else 0.0,
    }


def run(cases: Sequence[list[Case]], levels: LevelSettings) -> tuple[list[Named], int]:
    settings = replace(SegmentationSettings(), levels=levels)
    out: list[Named] = []
    refused = 0
    for seen in cases:
        for number, view in enumerate(seen):
            named = name_view(view, number, settings)
            refused += named is None
            out += named or []
    return out, refused


def markdown(result: dict[str, object], args: argparse.Namespace) -> str:
    lines = [
        "# Levels and their confidence",
        "",
        f"Made by `python tests/benchmarks/levels.py --cases {args.cases} --views {args.views}` with the coarse model "
        f"{result['model']}: {result['cases']} rendered scans (see `models/training/validation.py`; eleven and "
        "thirteen pairs of ribs, rib scraps, a lumbarised S1, fractures, noise, hardware and 1.5 to 5 mm slices among "
        "them), each cut to views of 140 to 420 mm along the patient, coarse model only. Whole vertebrae whose body is "
        "known count. Rendered from the seed anatomies that training uses too: this tests naming and its calibration "
        "over views and builds, not over people; for real scans see the model card.",
        "",
        f"Weight of the evidence fitted on every other case: {result['fitted_weight']}; used by the program: "
        f"{result['weight']}. A level is flagged below {result['flagged_below']:.2f}.",
        "",
        "| | vertebrae | right | wrong | of these not flagged | flagged | views | with an error | with a silent one "
        "| calibration error | Brier |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["summary"].items():  # type: ignore[attr-defined]
        lines.append(
            f"| {name} | {row['vertebrae']} | {row['right']:.1%} | {row['wrong']} | {row['wrong_not_flagged']} "
            f"| {row['flagged']:.0%} | {row['views']} | {row['views_with_an_error']} "
            f"| {row['views_with_a_silent_error']} | {row['calibration_error']:.3f} | {row['brier']:.3f} |"
        )
    lines += [
        "",
        f"Views refused, too short or without a column: {result['not_named']}.",
        "",
        "Reliability, cases that had no part in the fit:",
        "",
        "| confidence | vertebrae | said, mean | right |",
        "|---|---|---|---|",
    ]
    for row in result["reliability"]:  # type: ignore[attr-defined]
        lines.append(
            f"| {row['from']:.2f} to {row['to']:.2f} | {row['vertebrae']} | {row['said']:.2f} | {row['right']:.2f} |"
        )
    lines += ["", "By case, T11 to L2:", "", "| case | vertebrae | right | not flagged | mean confidence |"]
    lines.append("|---|---|---|---|---|")
    for name, row in result["by_case"].items():  # type: ignore[attr-defined]
        lines.append(f"| {name} | {row['vertebrae']} | {row['right']} | {row['silent']} | {row['confidence']:.2f} |")
    return "\n".join(lines) + "\n"


def by_case(named: Sequence[Named], flagged_below: float) -> dict[str, dict[str, float]]:
    out = {}
    for name in sorted({n.case for n in named}):
        mine = [n for n in named if n.case == name]
        out[name] = {
            "vertebrae": len(mine),
            "right": sum(n.right for n in mine),
            "silent": sum(not n.right and n.confidence >= flagged_below for n in mine),
            "confidence": sum(n.confidence for n in mine) / len(mine),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, help="folder made by models.training.validation")
    parser.add_argument("--models", type=Path, default=models_dir(), help="folder of model bundles")
    parser.add_argument("--views", type=int, default=8, help="views of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fit", action="store_true", help="also fit the weight of the evidence")
    parser.add_argument("--out", type=Path, help="folder for levels.json and levels.md; printed otherwise")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    cases: list[list[Case]] = []
    for folder in sorted(path.parent for path in args.cases.glob("*/ct.nii.gz")):
        case = load_case(folder, args.models, args.threads)
        if case is not None:
            cases.append(list(views(case, args.views, rng)))
        print(folder.name, file=sys.stderr, flush=True)
    levels = LevelSettings()
    fitted = None
    if args.fit:
        scores = {w: log_score(run(cases[::2], replace(levels, evidence_weight=w))[0]) for w in WEIGHTS}
        fitted = max(scores, key=lambda w: scores[w])
        print(scores, file=sys.stderr)
    fit_named, refused = run(cases[::2], levels)
    check_named, refused_too = run(cases[1::2], levels)
    everything = fit_named + check_named
    target = [n for n in everything if n.truth in TARGET or n.said in TARGET]
    result: dict[str, object] = {
        "model": load_models(args.models, RuntimeSettings(warm_start=False)).coarse.manifest.name,
        "cases": len(cases),
        "fitted_weight": fitted,
        "weight": levels.evidence_weight,
        "flagged_below": levels.low_confidence,
        "not_named": refused + refused_too,
        "summary": {
            "cases of the fit": summary(fit_named, levels.low_confidence),
            "other cases": summary(check_named, levels.low_confidence),
            "all, T11 to L2": summary(target, levels.low_confidence),
        },
        "reliability": reliability(check_named),
        "by_case": by_case(target, levels.low_confidence),
    }
    text = markdown(result, args)
    print(text)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "levels.json").write_text(json.dumps(result, indent=1) + "\n")
        (args.out / "levels.md").write_text(text)


if __name__ == "__main__":
    main()
