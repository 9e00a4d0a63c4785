"""The same real scan in two kernels, through the program's own stages: how far density differs.

The chest CT reaches down to T10 or T11 only, in 5 mm slices: a report would flag or refuse it. The stages measure what
is in view all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from cohort.statistics import rms_cv_percent

from trabecula.anatomy import Anatomy
from trabecula.assets import models_dir
from trabecula.bone.measure import measure_vertebrae
from trabecula.calibration.calibrate import calibrate
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density import measure_density
from trabecula.calibration.density_result import VertebraResult
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy
from trabecula.progress import no_progress
from trabecula.screening import Engine, load_engine
from trabecula.segmentation import RuntimeSettings, segment

PAIR: Final = ("lung-dx-a0001/kernel-b", "lung-dx-a0001/kernel-l")
_WHAT: Final = (
    "Lung-PET-CT-Dx A0001 (TCIA, CC BY 4.0), Philips Brilliance 16, 120 kVp, 5 mm slices, unenhanced, "
    "T1 to T10 or T11 in view."
)
_SAME_PLACE_MM: Final = 8.0


def compare_kernels(data: Path) -> dict[str, Any]:
    """Each series read and segmented by itself, vertebrae matched by place; and both with the soft series' labels."""
    engine = load_engine(models_dir(), RuntimeSettings(threads=1), ImagingLimits())
    soft, sharp = (_study(data / "ct" / name) for name in PAIR)
    labels = _anatomy(soft, engine)
    first = _measure(soft, labels, engine)
    second = _measure(sharp, _anatomy(sharp, engine), engine)
    shared = _measure(sharp, replace(labels, geometry=sharp.volume.geometry), engine)
    rows = _matched(first, second)
    same = [(a.vbmd_mg_cm3, b.vbmd_mg_cm3) for a, b in _couples(first, shared)]
    pairs = [(row["first"]["vbmd"], row["second"]["vbmd"]) for row in rows]
    return {
        "what": _WHAT,
        "kernels": [str(study.acquisition.kernel) for study in (soft, sharp)],
        "vertebrae": rows,
        **_summary(pairs),
        "same_labels": _summary(same),
        "remark": _remark(_summary(same)),
    }


def _remark(same: dict[str, Any]) -> str:
    return (
        f"With the labels of the soft series on both: mean {same['mean_difference']:+.1f}, RMS"
        f" {same['rms_difference']:.1f} mg/cm³, RMS CV {same['rms_cv_percent']:.1f} %."
        " Bodden and others 2024 (Eur Radiol Exp 8:86) found RMS 3.0 mg/cm³ and RMS CV 1.3 % between kernels."
    )


def _summary(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    differences = np.array([b - a for a, b in pairs])
    return {
        "count": len(pairs),
        "mean_difference": float(differences.mean()),
        "rms_difference": float(np.sqrt((differences**2).mean())),
        "rms_cv_percent": rms_cv_percent(pairs),
    }


def _study(folder: Path) -> CtStudy:
    study = read_study([folder], ImagingLimits())
    if not isinstance(study, CtStudy):
        raise SystemExit(f"{folder.name} was refused")
    return study


def _anatomy(study: CtStudy, engine: Engine) -> Anatomy:
    anatomy = segment(study.volume, engine.segmentation, no_progress)
    if not isinstance(anatomy, Anatomy):
        raise SystemExit(f"segmentation refused: {anatomy.message}")
    return anatomy


def _measure(study: CtStudy, anatomy: Anatomy, engine: Engine) -> Sequence[VertebraResult]:
    measured = measure_vertebrae(study.volume, anatomy, engine.constants, study.acquisition)
    calibration = calibrate(study.volume, anatomy, study.acquisition, engine.calibration, engine.constants)
    if not isinstance(measured, tuple) or not isinstance(calibration, Calibration):
        raise SystemExit("bone or calibration refused")
    results, _ = measure_density(measured, calibration, engine.constants)
    return [r for r in results if r.vbmd_mg_cm3 is not None and r.roi is not None and not r.excluded]


def _couples(
    first: Sequence[VertebraResult], second: Sequence[VertebraResult]
) -> list[tuple[VertebraResult, VertebraResult]]:
    """Vertebrae at the same place, whatever they were named."""

    def apart(a: VertebraResult, b: VertebraResult) -> float:
        assert a.roi is not None
        assert b.roi is not None
        return math.dist(a.roi.centre_lps_mm, b.roi.centre_lps_mm)

    nearest = [(a, min(second, key=lambda b, a=a: apart(a, b))) for a in first]
    return [(a, b) for a, b in nearest if apart(a, b) < _SAME_PLACE_MM]


def _matched(first: Sequence[VertebraResult], second: Sequence[VertebraResult]) -> list[dict[str, Any]]:
    def figures(r: VertebraResult) -> dict[str, Any]:
        u = r.vbmd_standard_uncertainty_mg_cm3
        return {"level": r.level.value, "vbmd": r.vbmd_mg_cm3, "u": u, "hu": r.hu_mean}

    return [
        {
            "level": a.level.value if a.level is b.level else f"{a.level.value} / {b.level.value}",
            "first": figures(a),
            "second": figures(b),
        }
        for a, b in _couples(first, second)
    ]
