"""Density by every calibration method against simulated patients whose truth is known.

    python tests/benchmarks/run_cohort.py --out docs/benchmarks
    python tests/benchmarks/run_cohort.py --simulate          draw and scan the patients anew first (minutes)
    python tests/benchmarks/run_cohort.py --without-images    the sample level alone (a minute)

Writes ``cohort.json``, ``cohort.md`` and three plots. The simulated scans are in ``tests/benchmarks/cohort/exams``.
The comparison of two kernels in a real patient needs the real CTs ($TRABECULA_DATA or ../shared/data); where they
are missing, what was published last is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from cohort.exams import FOLDER, read_exams
from cohort.images import Reading, read_volumes
from cohort.markdown import as_markdown
from cohort.methods import Tools, load_tools
from cohort.patients import TEST
from cohort.plots import draw_plots
from cohort.results import evaluate
from cohort.series import PAIR, compare_kernels
from cohort.simulate import main as simulate
from cohort.statistics import agreement

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = replace(TEST, seed=TEST.seed + 1, count=12)
"""Patients as volumes: not those of the sample level."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--simulate", action="store_true", help="draw and scan the patients anew")
    parser.add_argument("--without-images", action="store_true", help="keep the published figures of volumes")
    options = parser.parse_args()
    if options.simulate:
        simulate()
    tools = load_tools(REPOSITORY)
    published = _published(options.out)
    results = evaluate(*(read_exams(FOLDER / f"{name}.jsonl") for name in ("test", "development", "repeats")), tools)
    results["images"] = published.get("images") if options.without_images else _images(tools)
    results["series"] = _series() or published.get("series")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cohort.json").write_text(_json(results), encoding="utf-8")
    (options.out / "cohort.md").write_text(as_markdown(results), encoding="utf-8")
    draw_plots(results, options.out)
    sys.stdout.write(as_markdown(results))


def _published(folder: Path) -> dict[str, Any]:
    file = folder / "cohort.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _images(tools: Tools) -> dict[str, Any]:
    readings = list(read_volumes(IMAGES, tools))
    counted = [r for r in readings if r.reported_mg_cm3 is not None and not r.excluded]
    groups = {
        "usual scans": [r for r in counted if r.phase == "none"],
        "enhanced": [r for r in counted if r.phase != "none"],
        "sharp kernel": [r for r in counted if r.kernel == "sharp"],
        "3 and 5 mm": [r for r in counted if r.slice_mm >= 3.0],
    }
    return {
        "patients": len({r.patient for r in readings}),
        "vertebrae": len(readings),
        "left_out": sum(bool(r.excluded) for r in readings),
        "refused": len({r.patient for r in readings if r.refused}),
        "agreement": _agreement(counted),
        "groups": {name: _agreement(chosen) for name, chosen in groups.items()},
        "readings": [asdict(r) for r in readings],
    }


def _agreement(readings: Sequence[Reading]) -> dict[str, Any] | None:
    errors = np.array([r.reported_mg_cm3 - r.vbmd_mg_cm3 for r in readings])
    stated = np.array([r.standard_uncertainty_mg_cm3 for r in readings], dtype=float)
    result = agreement(errors, stated)
    return None if result is None else asdict(result)


def _series() -> dict[str, Any] | None:
    data = Path(os.environ.get("TRABECULA_DATA", REPOSITORY.parent / "shared" / "data"))
    if not all((data / "ct" / name).is_dir() for name in PAIR):
        sys.stderr.write("REAL CT DATA MISSING: the published comparison of two kernels is kept\n")
        return None
    return compare_kernels(data)


def _json(results: dict[str, Any]) -> str:
    """Figures indented, the patients' points one a line."""
    points = results["points"]
    text = json.dumps({**results, "points": []}, indent=1)
    lines = ",\n".join("  " + json.dumps(point) for point in points)
    return text.replace('"points": []', f'"points": [\n{lines}\n ]') + "\n"


if __name__ == "__main__":
    main()
