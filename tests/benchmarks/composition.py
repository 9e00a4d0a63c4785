"""Reported muscle and fat against what the digital phantom holds, over many kinds of scan.

    python tests/benchmarks/composition.py --out docs/benchmarks

Writes ``composition.json`` and ``composition.md``. Each phantom goes through the whole chain from DICOM on; truth is
counted on noise-free pictures of 0.6 mm pixels, so that what resolution and slab thickness cost is in the error.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from trabecula.anatomy import Level
from trabecula.assets import models_dir
from trabecula.imaging.limits import ImagingLimits
from trabecula.phantom import ContrastPhase, Kernel, PhantomSpec, write_phantom
from trabecula.screening import load_engine, screen
from trabecula.segmentation import RuntimeSettings

CASES: dict[str, dict[str, Any]] = {
    "28 cm": {},
    "22 cm": {"size_cm": 22.0},
    "34 cm": {"size_cm": 34.0, "noise_hu": 20.0},
    "man, 31 cm": {"sex": "M", "size_cm": 31.0},
    "5 mm slices": {"slice_mm": 5.0},
    "sharp kernel, noise 40 HU": {"kernel": Kernel.SHARP, "noise_hu": 40.0, "slice_mm": 1.25},
    "80 kVp, 24 cm": {"kvp": 80.0, "size_cm": 24.0},
    "portal venous phase": {"contrast": ContrastPhase.PORTAL},
    "scanner gain 1.02, offset -6 HU": {"scanner_gain": 1.02, "scanner_offset_hu": -6.0},
}
COLUMNS: dict[str, tuple[str, str, str]] = {
    "muscle area": ("muscle_area_cm2", "muscle_area_cm2", "cm2"),
    "paraspinal area": ("paraspinal_muscle_area_cm2", "paraspinal_area_cm2", "cm2"),
    "subcutaneous fat": ("sat_area_cm2", "subcutaneous_fat_area_cm2", "cm2"),
    "visceral fat": ("vat_area_cm2", "visceral_fat_area_cm2", "cm2"),
    "fat in muscle, by window": ("imat_area_cm2", "intermuscular_fat_area_cm2", "cm2"),
    "fat in muscle, by share": ("muscle_fat_by_share_cm2", "fat_in_muscle_by_share_cm2", "cm2"),
    "muscle attenuation, by window": ("muscle_attenuation_hu", "muscle_hu", "HU"),
    "attenuation of lean muscle": ("lean_muscle_attenuation_hu", "pure_muscle_hu", "HU"),
}
"""Name of the quantity: field reported, field of the truth, unit."""


def run_case(name: str, seed: int) -> dict[str, Any]:
    """One phantom through the whole chain."""
    engine = load_engine(models_dir(), RuntimeSettings(threads=1), ImagingLimits())
    asked = {"seed": seed, "slice_mm": 2.5, "top": Level.T6, "bottom": Level.L2, **CASES[name]}
    with tempfile.TemporaryDirectory() as folder:
        truth = write_phantom(PhantomSpec(**asked), Path(folder))
        report = screen([Path(folder)], engine).report
    found = {level.level.value: level for level in report.composition}
    rows = []
    for true in truth.composition:
        if true.level not in found:
            continue
        pairs = {
            quantity: [getattr(found[true.level], reported), getattr(true, exact)]
            for quantity, (reported, exact, _) in COLUMNS.items()
        }
        rows.append({"level": true.level, "reported_and_true": pairs})
    return {"case": name, "seed": seed, "status": str(report.status), "levels": rows}


def as_markdown(results: list[dict[str, Any]]) -> str:
    levels = [row["reported_and_true"] for result in results for row in result["levels"]]
    lines = [
        "# Muscle and fat on phantoms",
        "",
        f"Made by `python tests/benchmarks/composition.py`: {len(results)} phantoms of 512 x 512 pixels, 2.5 mm slices"
        f" unless said, seeds {results[0]['seed']} to {results[-1]['seed']}, through the whole chain with the built-in"
        f" models; {len(levels)} slices at T11, T12 and L1.",
        "",
        "| quantity | true, mean | mean error | RMSE | largest error |",
        "|---|---|---|---|---|",
    ]
    for quantity, (_, _, unit) in COLUMNS.items():
        pairs = [pairs[quantity] for pairs in levels if pairs[quantity][0] is not None]
        lines.append(f"| {quantity} | {_row(pairs, unit)} |")
    lines += ["", *_by_case(results), "", *NOTES]
    return "\n".join(lines) + "\n"


def _row(pairs: list[list[float]], unit: str) -> str:
    errors = [reported - true for reported, true in pairs]
    rmse = statistics.fmean(error**2 for error in errors) ** 0.5
    mean = statistics.fmean(true for _, true in pairs)
    return f"{mean:.1f} {unit} | {statistics.fmean(errors):+.1f} | {rmse:.1f} | {max(errors, key=abs):+.1f}"


def _by_case(results: list[dict[str, Any]]) -> list[str]:
    shown = ("muscle area", "subcutaneous fat", "visceral fat", "fat in muscle, by window", "fat in muscle, by share")
    lines = ["Mean over the levels of each scan, reported (true), cm2:", "", "| scan | " + " | ".join(shown) + " |"]
    lines.append("|---" * (len(shown) + 1) + "|")
    for result in results:
        if not result["levels"]:
            lines.append(f"| {result['case']} | {result['status']} |" + " |" * (len(shown) - 1))
            continue
        cells = []
        for quantity in shown:
            pairs = [row["reported_and_true"][quantity] for row in result["levels"]]
            known = [pair for pair in pairs if pair[0] is not None]
            cells.append(_mean_cell(known))
        lines.append(f"| {result['case']} | " + " | ".join(cells) + " |")
    return lines


def _mean_cell(pairs: list[list[float]]) -> str:
    if not pairs:
        return "-"
    mean: Callable[[int], float] = lambda place: statistics.fmean(pair[place] for pair in pairs)  # noqa: E731
    return f"{mean(0):.1f} ({mean(1):.1f})"


NOTES = (
    "Planes of fat between muscles are thinner than a pixel and much thinner than the 5 mm slab that areas are read"
    " in. A count of pixels in fat's window, which is how the published cut-offs were read, therefore finds less than"
    " half of the fat that the picture of 0.6 mm shows, and the window's muscle reads 7 to 10 HU lower than it is"
    " there. Both are reported as they are, because the cut-offs hold for them; beside them stand the fat counted by"
    " share and the attenuation of lean muscle, which come nearer to the truth and have no cut-off.",
    "",
    "What is true of a phantom: fat with no muscle layer of 2 mm or more between it and the skin is subcutaneous;"
    " bone's rim is no muscle.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--seed", type=int, default=500, help="of the first phantom; the others count up")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        results = list(pool.map(run_case, CASES, range(options.seed, options.seed + len(CASES))))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "composition.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / "composition.md").write_text(as_markdown(results), encoding="utf-8")
    sys.stdout.write(as_markdown(results))


if __name__ == "__main__":
    main()
