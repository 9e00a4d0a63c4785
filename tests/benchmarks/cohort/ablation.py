"""Each correction switched off in turn: what that does to the scans it is there for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from cohort.exams import Exam
from cohort.methods import Estimate, Tools, by_profile, without
from cohort.statistics import Agreement, agreement

from trabecula.calibration.calibration import CorrectionName
from trabecula.calibration.profile import DEFAULT_PROFILE

Subset = tuple[CorrectionName, str, Callable[[Exam], bool]]

SUBSETS: Final[Sequence[Subset]] = (
    (CorrectionName.TUBE_VOLTAGE, "80 to 100 kVp", lambda e: e.usual and e.kvp <= 100.0 and not e.tin),
    (CorrectionName.TUBE_VOLTAGE, "140 kVp", lambda e: e.usual and e.kvp == 140.0 and not e.tin),
    (CorrectionName.TIN_FILTER, "tin", lambda e: e.usual and e.tin),
    (CorrectionName.PATIENT_SIZE, "under 24 or over 33 cm", lambda e: e.usual and not 24.0 <= e.size_cm <= 33.0),
    (CorrectionName.CONTRAST, "arterial", lambda e: e.phase == "arterial" and e.header_has_kvp),
    (CorrectionName.CONTRAST, "portal venous", lambda e: e.phase == "portal-venous" and e.header_has_kvp),
    (CorrectionName.MARROW, "80 kVp and tin", lambda e: e.usual and (e.kvp == 80.0 or e.tin)),
    (CorrectionName.KERNEL, "sharp kernel", lambda e: e.usual and e.kernel == "sharp"),
    (CorrectionName.SLICE_THICKNESS, "5 mm", lambda e: e.usual and e.slice_mm > 3.0),
)


def ablations(exams: Sequence[Exam], tools: Tools) -> list[dict[str, Any]]:
    """With and without, on the subset that the correction is for."""
    rows = []
    for name, title, who in SUBSETS:
        chosen = [exam for exam in exams if who(exam)]
        on, off = (_figures(chosen, tools, profile) for profile in (None, name))
        if on is None or off is None:
            continue
        rows.append({"correction": name.value, "subset": title, "with": asdict(on), "without": asdict(off)})
    return rows


def _figures(exams: Sequence[Exam], tools: Tools, off: CorrectionName | None) -> Agreement | None:
    estimate = by_profile(DEFAULT_PROFILE if off is None else without(off))
    pairs = [(exam, answer) for exam in exams if isinstance(answer := estimate(exam, tools), Estimate)]
    errors = np.array([answer.vbmd_mg_cm3 - exam.vbmd_mg_cm3 for exam, answer in pairs])
    return agreement(errors, np.array([answer.standard_uncertainty for _, answer in pairs], dtype=float))
