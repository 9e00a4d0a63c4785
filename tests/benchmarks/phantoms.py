"""Reported density and levels against what the digital phantom was made with, over many kinds of scan.

    python tests/benchmarks/phantoms.py --out docs/benchmarks

Writes ``phantoms.json`` and ``phantoms.md``. The phantom shares the project's X-ray physics, so this proves the chain,
not the accuracy on patients.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from trabecula.anatomy import Level
from trabecula.assets import models_dir
from trabecula.imaging.limits import ImagingLimits
from trabecula.phantom import ContrastPhase, Filter, Kernel, PhantomSpec, Rods, parse_fractures, write_phantom
from trabecula.report import VertebraResult
from trabecula.screening import load_engine, screen
from trabecula.segmentation import RuntimeSettings

TARGETS = ("T11", "T12", "L1", "L2")
LOW = {Level.T11: 62.0, Level.T12: 58.0, Level.L1: 55.0, Level.L2: 51.0}
HIGH = {Level.T11: 172.0, Level.T12: 165.0, Level.L1: 158.0, Level.L2: 151.0}
CASES: dict[str, dict[str, Any]] = {
    "120 kVp, 28 cm": {},
    "low density": {"vbmd_mg_cm3": LOW},
    "high density": {"vbmd_mg_cm3": HIGH},
    "80 kVp, 24 cm": {"kvp": 80.0, "size_cm": 24.0},
    "100 kVp, 21 cm, 1 mm": {"kvp": 100.0, "size_cm": 21.0, "slice_mm": 1.0},
    "140 kVp, 34 cm, 3 mm": {"kvp": 140.0, "size_cm": 34.0, "slice_mm": 3.0},
    "120 kVp, 40 cm, noise 25 HU": {"size_cm": 40.0, "noise_hu": 25.0},
    "Sn100, 30 cm, noise 25 HU": {"kvp": 100.0, "spectral_filter": Filter.TIN, "size_cm": 30.0, "noise_hu": 25.0},
    "sharp kernel, noise 45 HU": {"kernel": Kernel.SHARP, "noise_hu": 45.0, "slice_mm": 1.25},
    "5 mm slices": {"slice_mm": 5.0},
    "arterial phase": {"contrast": ContrastPhase.ARTERIAL},
    "portal venous phase": {"contrast": ContrastPhase.PORTAL, "sex": "M"},
    "marrow 75 % fat": {"marrow_fat_fraction": 0.75},
    "rods under the body": {"rods": Rods.MINDWAYS3},
    "L1 wedge, grade 2": {"fractures": parse_fractures(["L1=grade2"])},
    "screws at L1, L2": {"hardware": (Level.L1, Level.L2)},
    "T6 to L1 in view": {"top": Level.T6, "bottom": Level.L1},
    "T1 to T12 in view": {"bottom": Level.T12},
    "scanner gain 1.02, offset -6 HU": {"scanner_gain": 1.02, "scanner_offset_hu": -6.0},
}


def run_case(name: str, seed: int) -> dict[str, Any]:
    """One phantom through the whole chain."""
    engine = load_engine(models_dir(), RuntimeSettings(threads=1), ImagingLimits())
    spec = PhantomSpec(**{"seed": seed, "slice_mm": 2.0, **CASES[name]})
    with tempfile.TemporaryDirectory() as folder:
        truth = write_phantom(spec, Path(folder))
        report = screen([Path(folder)], engine).report
    places = {vertebra.level: vertebra.centroid_lps_mm for vertebra in truth.vertebrae}
    rows = []
    for vertebra in report.vertebrae:
        if vertebra.level not in TARGETS or vertebra.roi is None or vertebra.vbmd_mg_cm3 is None:
            continue
        centre = vertebra.roi.centre_lps_mm
        lies_in = min(places, key=lambda level: math.dist(places[level], centre))
        rows.append(_row(vertebra, str(lies_in), spec.density(vertebra.level)))
    return {"case": name, "seed": seed, "status": str(report.status), "vertebrae": rows}


def _row(vertebra: VertebraResult, lies_in: str, asked_mg_cm3: float) -> dict[str, Any]:
    return {
        "level": str(vertebra.level),
        "lies_in": lies_in,
        "level_confidence": vertebra.level_confidence,
        "asked_mg_cm3": asked_mg_cm3,
        "reported_mg_cm3": vertebra.vbmd_mg_cm3,
        "standard_uncertainty_mg_cm3": vertebra.vbmd_standard_uncertainty_mg_cm3,
        "excluded": [str(reason) for reason in vertebra.excluded],
    }


def as_markdown(results: list[dict[str, Any]]) -> str:
    counted = [row for result in results for row in result["vertebrae"] if not row["excluded"]]
    errors = [row["reported_mg_cm3"] - row["asked_mg_cm3"] for row in counted]
    wrong = [row for row in counted if row["lies_in"] != row["level"]]
    seeds = f"seeds {results[0]['seed']} to {results[-1]['seed']}"
    lines = [
        "# Phantoms",
        "",
        f"Made by `python tests/benchmarks/phantoms.py`: {len(results)} phantoms of 512 x 512 pixels, 2 mm slices"
        f" unless said, {seeds}; T11, T12, L1 and L2 against the density asked for, mg/cm3 (K2HPO4)."
        " The phantom shares the project's X-ray physics: this proves the chain, not the accuracy on patients.",
        "",
        f"{len(counted)} vertebrae counted: mean error {statistics.fmean(errors):+.1f}, RMSE"
        f" {math.sqrt(statistics.fmean(error**2 for error in errors)):.1f}, largest"
        f" {max(errors, key=abs):+.1f} mg/cm3; {len(wrong)} named a wrong level, of these"
        f" {sum(row['level_confidence'] >= 0.8 for row in wrong)} without a low-confidence flag.",
        "",
        "| scan | level certainty | " + " | ".join(TARGETS) + " |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = {row["level"]: _cell(row) for row in result["vertebrae"]}
        sure = [row["level_confidence"] for row in result["vertebrae"]]
        certainty = f"{min(sure):.2f}" if sure else result["status"]
        lines.append(f"| {result['case']} | {certainty} | " + " | ".join(cells.get(t, "-") for t in TARGETS) + " |")
    lines += [
        "",
        "Each cell: reported ± standard uncertainty (asked). Struck out: left out of the mean by the program.",
    ]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any]) -> str:
    text = f"{row['reported_mg_cm3']:.0f} ± {row['standard_uncertainty_mg_cm3']:.0f} ({row['asked_mg_cm3']:.0f})"
    if row["lies_in"] != row["level"]:
        text += f" **is {row['lies_in']}**"
    return f"~~{text}~~" if row["excluded"] else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--seed", type=int, default=300, help="of the first phantom; the others count up")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        results = list(pool.map(run_case, CASES, range(options.seed, options.seed + len(CASES))))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "phantoms.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / "phantoms.md").write_text(as_markdown(results), encoding="utf-8")
    sys.stdout.write(as_markdown(results))


if __name__ == "__main__":
    main()
