"""From simulated scans to the figures that are published: one plain dictionary, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from cohort.ablation import ablations
from cohort.exams import Exam
from cohort.materials import FloatArray
from cohort.methods import DEFAULT, METHODS, Answer, Estimate, Tools, answers, hu_only
from cohort.repeats import BASE, CHANGES
from cohort.statistics import agreement, compare, line_to_truth, rms_cv_percent

Group = tuple[str, str, Callable[[Exam], bool]]
"""Heading, name, who belongs to it."""

_SIZES: Final = ((20.0, 25.0), (25.0, 30.0), (30.0, 35.0), (35.0, 40.5))
_FAT: Final = ((0.20, 0.35), (0.35, 0.50), (0.50, 0.65), (0.65, 0.81))
_NOISE: Final = ((0.0, 15.0), (15.0, 30.0), (30.0, 91.0))
_DENSITY: Final = ((0.0, 80.0), (80.0, 120.0), (120.0, 400.0))
_LEAST_FOR_CV: Final = 40.0
"""mg/cm3; below it a coefficient of variation says little."""


def _everyone(_: Exam) -> bool:
    return True


def _usual(exam: Exam) -> bool:
    return exam.usual


WHOLE: Final = (
    ("everyone", _everyone),
    ("usual", _usual),
)


def groups() -> list[Group]:
    """Strata. All but the last are of usual scans: unenhanced, voltage in the header, body in view."""
    beams = ("80", "90", "100", "110", "120", "130", "140", "Sn100", "Sn140")
    return [
        *(("kVp", beam, lambda e, b=beam: e.usual and e.beam == b) for beam in beams),
        *(
            ("size", f"{low:.0f} to {min(high, 40.0):.0f} cm", lambda e, a=low, z=high: e.usual and a <= e.size_cm < z)
            for low, high in _SIZES
        ),
        *(("kernel", kernel, lambda e, k=kernel: e.usual and e.kernel == k) for kernel in ("soft", "medium", "sharp")),
        *(
            ("noise", f"{low:.0f} to {min(high, 90.0):.0f} HU",
             lambda e, a=low, z=high: e.usual and a <= e.noise_hu < z)
            for low, high in _NOISE
        ),
        ("slices", "up to 1.5 mm", lambda e: e.usual and e.slice_mm <= 1.5),
        ("slices", "2 and 3 mm", lambda e: e.usual and 1.5 < e.slice_mm <= 3.0),
        ("slices", "5 mm", lambda e: e.usual and e.slice_mm > 3.0),
        *(
            ("marrow fat", f"{100 * low:.0f} to {100 * min(high, 0.80):.0f} %",
             lambda e, a=low, z=high: e.usual and a <= e.marrow_fat < z)
            for low, high in _FAT
        ),
        *(
            ("density", f"{low:.0f} to {high:.0f}" if high < 400 else f"above {low:.0f}",
             lambda e, a=low, z=high: e.usual and a <= e.vbmd_mg_cm3 < z)
            for low, high in _DENSITY
        ),
        ("phase", "unenhanced", lambda e: e.phase == "none" and e.header_has_kvp),
        ("phase", "arterial", lambda e: e.phase == "arterial" and e.header_has_kvp),
        ("phase", "portal venous", lambda e: e.phase == "portal-venous" and e.header_has_kvp),
        ("header", "no tube voltage", lambda e: not e.header_has_kvp),
        ("field of view", "cuts the body", lambda e: e.cut_field),
    ]  # fmt: skip


def evaluate(
    test: Sequence[Exam], development: Sequence[Exam], repeats: Sequence[Exam], tools: Tools
) -> dict[str, Any]:
    """Every figure about the sample level."""
    given = {method.name: answers(method, test, tools) for method in METHODS}
    truth = np.array([exam.vbmd_mg_cm3 for exam in test])
    return {
        "patients": len(test),
        "methods": [
            {
                "name": method.name,
                "title": method.title,
                "source": method.source,
                "published_phantomless": method.published_phantomless,
                "no_density": sum(not isinstance(answer, Estimate) for answer in given[method.name]),
                **{name: _agreement(test, given[method.name], who) for name, who in WHOLE},
                "against_mineral": _agreement(test, given[method.name], WHOLE[1][1], of=lambda e: e.mineral_mg_cm3),
            }
            for method in METHODS
        ],
        "strata": [
            {
                "group": group,
                "name": name,
                "methods": {m.name: _agreement(test, given[m.name], who) for m in METHODS},
            }
            for group, name, who in groups()
        ],
        "comparisons": _comparisons(test, development, given, tools),
        "hu_only": _hu_only(test, truth, tools),
        "repeats": _repeats(repeats, tools),
        "ablations": ablations(test, tools),
        "points": [
            {
                "truth": round(exam.vbmd_mg_cm3, 2),
                "kvp": exam.beam,
                "size_cm": round(exam.size_cm, 2),
                "phase": exam.phase,
                "usual": exam.usual,
                **{
                    name: round(answer.vbmd_mg_cm3, 2) if isinstance(answer := given[name][n], Estimate) else None
                    for name in given
                },
            }
            for n, exam in enumerate(test)
        ],
    }


def _pairs(exams: Sequence[Exam], given: Sequence[Answer], who: Callable[[Exam], bool]) -> list[tuple[Exam, Estimate]]:
    return [
        (exam, answer) for exam, answer in zip(exams, given, strict=True) if isinstance(answer, Estimate) and who(exam)
    ]


def _agreement(
    exams: Sequence[Exam],
    given: Sequence[Answer],
    who: Callable[[Exam], bool],
    of: Callable[[Exam], float] = lambda exam: exam.vbmd_mg_cm3,
) -> dict[str, Any] | None:
    pairs = _pairs(exams, given, who)
    errors = np.array([answer.vbmd_mg_cm3 - of(exam) for exam, answer in pairs])
    stated = [answer.standard_uncertainty for _, answer in pairs]
    known = None if any(value is None for value in stated) else np.array(stated, dtype=float)
    result = agreement(errors, known)
    return None if result is None else asdict(result)


def _comparisons(
    test: Sequence[Exam], development: Sequence[Exam], given: Mapping[str, Sequence[Answer]], tools: Tools
) -> list[dict[str, Any]]:
    """The default against each published phantomless method: as published, and after a straight line to the truth was
    fitted to that method on the development cohort, which it would have after a precalibration of its own."""
    rows = []
    for method in METHODS:
        if not method.published_phantomless:
            continue
        fitted = _fitted_line(method.name, development, tools)
        rows.append(
            {
                "name": method.name,
                "title": method.title,
                "line": fitted,
                "everyone": _paired(test, given, method.name, WHOLE[0][1], None),
                "usual": _paired(test, given, method.name, WHOLE[1][1], None),
                "usual_fitted": _paired(test, given, method.name, WHOLE[1][1], fitted),
                "strata": [
                    {"group": group, "name": name, **paired}
                    for group, name, who in groups()
                    if (paired := _paired(test, given, method.name, who, None)) is not None
                ],
            }
        )
    return rows


def _fitted_line(name: str, development: Sequence[Exam], tools: Tools) -> tuple[float, float]:
    method = next(m for m in METHODS if m.name == name)
    usual = [exam for exam in development if exam.usual]
    pairs = _pairs(usual, answers(method, usual, tools), _usual)
    return line_to_truth(
        np.array([answer.vbmd_mg_cm3 for _, answer in pairs]), np.array([exam.vbmd_mg_cm3 for exam, _ in pairs])
    )


def _paired(
    test: Sequence[Exam],
    given: Mapping[str, Sequence[Answer]],
    name: str,
    who: Callable[[Exam], bool],
    line: tuple[float, float] | None,
) -> dict[str, Any] | None:
    slope, intercept = line or (1.0, 0.0)
    both = [
        (ours.vbmd_mg_cm3 - exam.vbmd_mg_cm3, slope * theirs.vbmd_mg_cm3 + intercept - exam.vbmd_mg_cm3)
        for exam, ours, theirs in zip(test, given[DEFAULT.name], given[name], strict=True)
        if who(exam) and isinstance(ours, Estimate) and isinstance(theirs, Estimate)
    ]
    columns: FloatArray = np.array(both).reshape(-1, 2)
    result = compare(columns[:, 0], columns[:, 1])
    return None if result is None else asdict(result)


def _hu_only(test: Sequence[Exam], truth: FloatArray, tools: Tools) -> dict[str, float]:
    """Attenuation alone: how far it orders patients as their density does."""
    read = [(hu_only(exam, tools), value) for exam, value in zip(test, truth, strict=True) if exam.usual]
    hu = np.array([pair[0] for pair in read if pair[0] is not None])
    density = np.array([pair[1] for pair in read if pair[0] is not None])
    ranks = [np.argsort(np.argsort(values)) for values in (hu, density)]
    return {"patients": len(hu), "rank_correlation": float(np.corrcoef(*ranks)[0, 1])}


def _repeats(repeats: Sequence[Exam], tools: Tools) -> list[dict[str, Any]]:
    """RMS CV between a first scan and one with one thing changed, for the default."""
    first = {e.patient: e for e in repeats if e.repeat == BASE and e.vbmd_mg_cm3 >= _LEAST_FOR_CV}
    rows = []
    for change in CHANGES:
        pairs = []
        for exam in repeats:
            if exam.repeat != change or exam.patient not in first:
                continue
            a, b = (DEFAULT.estimate(e, tools) for e in (first[exam.patient], exam))
            if isinstance(a, Estimate) and isinstance(b, Estimate):
                pairs.append((a.vbmd_mg_cm3, b.vbmd_mg_cm3))
        differences = np.array([b - a for a, b in pairs])
        rows.append(
            {
                "change": change,
                "patients": len(pairs),
                "rms_cv_percent": rms_cv_percent(pairs),
                "bias_mg_cm3": float(differences.mean()),
                "rmse_mg_cm3": float(np.sqrt((differences**2).mean())),
            }
        )
    return rows
