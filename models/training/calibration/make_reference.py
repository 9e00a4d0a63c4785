"""Reference histograms of the reference tissues for the drift evaluator, into the calibration model's manifest.

    python -m models.training.calibration.make_reference

How far each reference tissue lies from what the calibration expects of it, in the simulated patients of
``tests/benchmarks/cohort`` (people, scanners and beams drawn at random; no real scan is among them). What such a cohort
cannot stand for (tube voltages, protocols, ages, densities of a site) gets no histogram.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests" / "benchmarks"))
MANIFEST = REPOSITORY / "models" / "calibration-phantomless-v1" / "manifest.json"
POPULATION = (
    "{count} simulated scans of simulated patients (people, scanners and beams drawn at random), not real ones: "
    "distance of each reference tissue from what the calibration expects; muscle and blood without contrast medium"
)
SOURCE = "tests/benchmarks/cohort (exams development and test), read by the calibration of this model"


def main() -> None:
    from cohort.exams import FOLDER, read_exams
    from cohort.methods import calibration_of, load_tools

    from trabecula.calibration.profile import DEFAULT_PROFILE
    from trabecula.clinical import load_constants
    from trabecula.drift.evaluate import DriftRules
    from trabecula.drift.features import FEATURES
    from trabecula.drift.reference import MANIFEST_FIELD, freeze
    from trabecula.drift.schema import TISSUE_COLUMNS
    from trabecula.outcome import Refusal

    tools, rules = load_tools(REPOSITORY), DriftRules.of(load_constants())
    rows: list[dict[str, Any]] = []
    for exam in (*read_exams(FOLDER / "development.jsonl"), *read_exams(FOLDER / "test.jsonl")):
        calibration = calibration_of(exam, tools, DEFAULT_PROFILE)
        if isinstance(calibration, Refusal):
            continue
        row: dict[str, Any] = dict.fromkeys(each.name for each in FEATURES)
        row["contrast_enhanced"] = calibration.contrast_enhanced
        for each in calibration.references:
            if each.tissue in TISSUE_COLUMNS:
                row[f"{TISSUE_COLUMNS[each.tissue]}_deviation_hu"] = each.hu_measured - each.hu_nominal
        rows.append(row)
    made = freeze(
        rows, POPULATION.format(count=len(rows)), SOURCE, least=rules.least_series, bins=rules.bins
    ).model_dump(mode="json")
    made["features"] = {name: each for name, each in made["features"].items() if name.endswith("_deviation_hu")}
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    manifest[MANIFEST_FIELD] = made
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
