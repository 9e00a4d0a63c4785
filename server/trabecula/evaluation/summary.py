"""From single cases to the figures that are published, each with how many scans and vertebrae it rests on."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trabecula.anatomy import Level
from trabecula.evaluation.case import ReferenceKind
from trabecula.evaluation.results import CaseResult, EvaluationResults, Measured, Outcome, Overlap, VertebraScore
from trabecula.evaluation.statistics import bootstrap_mean, wilson

TARGET_LEVELS: Final = (Level.T11, Level.T12, Level.L1, Level.L2)
TARGET_DICE: Final = 0.92
TARGET_LEVELS_RIGHT: Final = 0.97
TARGET_HU: Final = 3.0
"""Targets of the project, set for real CT that no model has seen."""
LEAST_STRUCTURE_ML: Final = 1.0
"""A smaller scrap of a structure at the edge of the images says nothing of it; left out of the means."""
CONFIDENCE_EDGES: Final = (0.0, 0.5, 0.7, 0.8, 0.9, 0.97, 1.0)
GROUPS: Final = {
    "Real CT": (ReferenceKind.MANUAL, ReferenceKind.PSEUDO),
    "Rendered CT": (ReferenceKind.RENDERED,),
    "Digital phantom": (ReferenceKind.PHANTOM,),
}


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % interval, and what it rests on."""

    value: float | None
    interval: tuple[float, float] | None
    vertebrae: int
    scans: int


@dataclass(frozen=True)
class Target:
    """A figure against the project's aim."""

    name: str
    aim: str
    figure: Figure
    unit: str
    reached: bool | None
    """None: nothing to judge by."""
    short_by: float | None
    """How far it misses; None where it is reached or cannot be judged."""
    detail: str


@dataclass(frozen=True)
class ConfidenceBin:
    """Vertebrae whose level confidence lies in one stretch: how sure, and how often right."""

    low: float
    high: float
    vertebrae: int
    scans: int
    mean_confidence: float
    right: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Naming:
    """Level identification over the vertebrae that are whole in the reference, T1 to L5."""

    right: int
    off_by: dict[int, int]
    """Wrong ones by how many levels (negative: towards the head)."""
    wrong_flagged: int
    right_flagged: int
    missed: int
    extra: int
    scans_right: int
    """Scans in which every vertebra found has the right name."""
    scans: int
    bins: tuple[ConfidenceBin, ...]
    calibration_error: float | None
    """Expected calibration error: mean over vertebrae of |confidence - share right| of their bin."""

    @property
    def wrong(self) -> int:
        return sum(self.off_by.values())

    @property
    def found(self) -> int:
        return self.right + self.wrong


@dataclass(frozen=True)
class Difference:
    """Differences caused by segmentation, predicted minus reference, over single vertebrae."""

    mean_absolute: Figure
    bias: float | None
    percentile_95: float | None
    largest: float | None
    share_within: float | None
    """Share of vertebrae within the target; None without one."""
    lost: int
    """Vertebrae that count with the reference's anatomy and not with the predicted one (missed ones too)."""
    gained: int
    """Vertebrae that count with the predicted anatomy alone."""


@dataclass(frozen=True)
class LevelRow:
    level: Level
    scans: int
    whole_dice: float | None
    body_dice: float | None
    surface_mean_mm: float | None
    hu_absolute: float | None
    vbmd_absolute_mg_cm3: float | None
    roi_dice: float | None


@dataclass(frozen=True)
class StructureRow:
    structure: str
    scans: int
    dice: float
    dice_lowest: float
    surface_mean_mm: float | None
    surface_95_mm: float | None


@dataclass(frozen=True)
class AreaRow:
    tissue: str
    pairs: int
    mean_absolute_cm2: float
    mean_absolute_percent: float
    bias_cm2: float


@dataclass(frozen=True)
class GroupSummary:
    """All figures of one group of cases."""

    name: str
    cases: int
    scored: int
    refused: dict[str, int]
    """Refusals by code, those after segmentation included."""
    failed: int
    references: dict[str, int]
    targets: tuple[Target, ...]
    naming: Naming
    hu: Difference
    vbmd: Difference
    levels: tuple[LevelRow, ...]
    structures: tuple[StructureRow, ...]
    areas: tuple[AreaRow, ...]
    scan_vbmd: Figure
    """Mean absolute difference of the scan's mean density, by each anatomy's own names."""
    segmentation_s: tuple[float, float] | None
    """Median and longest wall time."""
    segmentation_cpu_s: float | None
    """Median processor time."""
    peak_memory_mib: float | None
    caution: str


def summarise(results: EvaluationResults) -> tuple[GroupSummary, ...]:
    """One summary for each group that has cases: real CT, rendered CT, digital phantom."""
    return tuple(
        _group(name, [case for case in results.cases if case.reference in kinds])
        for name, kinds in GROUPS.items()
        if any(case.reference in kinds for case in results.cases)
    )


def _group(name: str, cases: Sequence[CaseResult]) -> GroupSummary:
    scored = [case for case in cases if case.outcome is Outcome.SCORED]
    naming = _naming(scored)
    hu = _difference(scored, lambda measured: measured.hu_difference, TARGET_HU)
    vbmd = _difference(scored, lambda measured: measured.vbmd_difference_mg_cm3, None)
    times = [case.segmentation_s for case in cases if case.segmentation_s is not None]
    processor = _some(case.segmentation_cpu_s for case in cases)
    memory = [case.peak_memory_mib for case in cases if case.peak_memory_mib is not None]
    scan = [abs(c.scan.vbmd_mean_mg_cm3) for c in scored if c.scan and c.scan.vbmd_mean_mg_cm3 is not None]
    return GroupSummary(
        name=name,
        cases=len(cases),
        scored=len(scored),
        refused=dict(Counter(refusal.code for case in cases for refusal in case.refusals)),
        failed=sum(case.outcome is Outcome.FAILED for case in cases),
        references=dict(Counter(case.reference.value for case in cases)),
        targets=(_dice_target(scored), _level_target(naming), _hu_target(hu)),
        naming=naming,
        hu=hu,
        vbmd=vbmd,
        levels=_level_rows(scored),
        structures=_structure_rows(scored),
        areas=_area_rows(scored),
        scan_vbmd=Figure(_mean(scan), bootstrap_mean([[value] for value in scan]), 0, len(scan)),
        segmentation_s=(float(np.median(times)), max(times)) if times else None,
        segmentation_cpu_s=float(np.median(processor)) if processor else None,
        peak_memory_mib=max(memory, default=None),
        caution=_caution(name, cases, scored),
    )


def _target_vertebrae(case: CaseResult) -> list[VertebraScore]:
    return [v for v in case.vertebrae if v.level in TARGET_LEVELS and v.whole_in_view]


def whole_dice(vertebra: VertebraScore) -> float:
    """Dice of a whole vertebra, 0 where it was not found."""
    return 0.0 if vertebra.whole is None else vertebra.whole.dice


def _dice_target(scored: Sequence[CaseResult]) -> Target:
    by_scan = [[whole_dice(v) for v in _target_vertebrae(case)] for case in scored]
    figure = _figure(by_scan)
    bodies = [v.body.dice for case in scored for v in _target_vertebrae(case) if v.body]
    lowest = min((value for values in by_scan for value in values), default=None)
    detail = f"bodies alone {_mean(bodies):.3f}, lowest vertebra {lowest:.3f}" if bodies and lowest is not None else ""
    return _judge("Dice of T11 to L2, whole vertebrae", f"at least {TARGET_DICE}", figure, "", TARGET_DICE, 1, detail)


def _level_target(naming: Naming) -> Target:
    value = naming.right / naming.found if naming.found else None
    figure = Figure(value, wilson(naming.scans_right, naming.scans), naming.found, naming.scans)
    unflagged = naming.wrong - naming.wrong_flagged
    wrong = f"{naming.wrong} wrong, {unflagged} of them not flagged" if naming.wrong else "none wrong"
    detail = f"{wrong}; {naming.scans_right} of {naming.scans} scans right throughout (the interval is that of scans)"
    aim = f"{TARGET_LEVELS_RIGHT:.0%} right, every wrong one flagged"
    target = _judge("Levels named right", aim, figure, "", TARGET_LEVELS_RIGHT, 1, detail)
    if target.reached and unflagged:
        return Target(target.name, aim, figure, "", False, None, detail)
    return target


def _hu_target(hu: Difference) -> Target:
    detail = ""
    if hu.largest is not None and hu.share_within is not None and hu.bias is not None:
        detail = f"bias {hu.bias:+.1f}, largest {hu.largest:.1f} HU; {hu.share_within:.0%} within {TARGET_HU:g}"
        detail += f"; {hu.lost} left out with the predicted anatomy alone" if hu.lost else ""
    name = "Trabecular HU error caused by segmentation, T11 to L2"
    return _judge(name, f"mean under {TARGET_HU:g} HU", hu.mean_absolute, "HU", TARGET_HU, -1, detail)


def _judge(name: str, aim: str, figure: Figure, unit: str, limit: float, sign: int, detail: str) -> Target:
    """``sign`` 1: at least the limit; -1: under it."""
    if figure.value is None:
        return Target(name, aim, figure, unit, None, None, detail)
    reached = figure.value >= limit if sign > 0 else figure.value < limit
    return Target(name, aim, figure, unit, reached, None if reached else abs(figure.value - limit), detail)


def _figure(by_scan: Sequence[Sequence[float]]) -> Figure:
    values = [value for scan in by_scan for value in scan]
    return Figure(_mean(values), bootstrap_mean(by_scan), len(values), sum(bool(scan) for scan in by_scan))


def _naming(scored: Sequence[CaseResult]) -> Naming:
    judged = [(number, v) for number, case in enumerate(scored) for v in case.vertebrae if _counts_for_level(v)]
    found = [(number, v) for number, v in judged if v.found]
    wrong = [v for _, v in found if v.off_by]
    scans = {number for number, _ in found}
    scans_wrong = {number for number, v in found if v.off_by}
    bins = _bins(found)
    weighted = sum(b.vertebrae * abs(b.mean_confidence - b.right) for b in bins)
    return Naming(
        right=len(found) - len(wrong),
        off_by=dict(sorted(Counter(v.off_by for v in wrong if v.off_by is not None).items())),
        wrong_flagged=sum(bool(v.flagged) for v in wrong),
        right_flagged=sum(bool(v.flagged) for _, v in found if not v.off_by),
        missed=len(judged) - len(found),
        extra=sum(len(case.extra) for case in scored),
        scans_right=len(scans - scans_wrong),
        scans=len(scans),
        bins=bins,
        calibration_error=weighted / len(found) if found else None,
    )


def _counts_for_level(vertebra: VertebraScore) -> bool:
    return vertebra.whole_in_view and (vertebra.level.is_thoracic or vertebra.level.is_lumbar)


def _bins(found: Sequence[tuple[int, VertebraScore]]) -> tuple[ConfidenceBin, ...]:
    out = []
    for low, high in itertools.pairwise(CONFIDENCE_EDGES):
        inside = [(number, v) for number, v in found if _lies_in(v.level_confidence, low, high)]
        if not inside:
            continue
        right = sum(v.off_by == 0 for _, v in inside)
        interval = wilson(right, len(inside))
        assert interval is not None  # noqa: S101 - there are trials
        mean = float(np.mean([v.level_confidence for _, v in inside if v.level_confidence is not None]))
        scans = len({number for number, _ in inside})
        out.append(ConfidenceBin(low, high, len(inside), scans, mean, right / len(inside), interval))
    return tuple(out)


def _lies_in(confidence: float | None, low: float, high: float) -> bool:
    """Half-open, except that the last stretch holds its end."""
    return confidence is not None and (low <= confidence < high or confidence == high == CONFIDENCE_EDGES[-1])


def _difference(
    scored: Sequence[CaseResult], of: Callable[[Measured], float | None], within: float | None
) -> Difference:
    """Over T11 to L2, those that count in the measurement with the predicted anatomy: they make the result."""
    measured = [[v.measured for v in _target_vertebrae(case) if v.measured] for case in scored]
    by_scan = [[value for m in scan if not m.excluded_predicted and (value := of(m)) is not None] for scan in measured]
    lost = sum(bool(m.excluded_predicted) and not m.excluded_reference for scan in measured for m in scan)
    gained = sum(bool(m.excluded_reference) and not m.excluded_predicted for scan in measured for m in scan)
    values = np.array([value for scan in by_scan for value in scan])
    figure = _figure([[abs(value) for value in scan] for scan in by_scan])
    if not len(values):
        return Difference(figure, None, None, None, None, lost, gained)
    size = np.abs(values)
    return Difference(
        figure,
        float(values.mean()),
        float(np.percentile(size, 95)),
        float(size.max()),
        None if within is None else float((size < within).mean()),
        lost,
        gained,
    )


def _level_rows(scored: Sequence[CaseResult]) -> tuple[LevelRow, ...]:
    rows = []
    for level in Level:
        here = [v for case in scored for v in case.vertebrae if v.level is level and v.whole_in_view]
        if not here:
            continue
        measured = [v.measured for v in here if v.found and v.measured]
        rows.append(
            LevelRow(
                level,
                len(here),
                _mean([whole_dice(v) for v in here]),
                _mean([v.body.dice for v in here if v.body]),
                _mean(_some(v.whole.surface_mean_mm for v in here if v.whole)),
                _mean([abs(value) for value in _some(m.hu_difference for m in measured)]),
                _mean([abs(value) for value in _some(m.vbmd_difference_mg_cm3 for m in measured)]),
                _mean([m.roi.dice for m in measured if m.roi]),
            )
        )
    return tuple(rows)


def _structure_rows(scored: Sequence[CaseResult]) -> tuple[StructureRow, ...]:
    found: dict[str, list[Overlap]] = {}
    for case in scored:
        for score in case.structures:
            if score.overlap.reference_ml < LEAST_STRUCTURE_ML:
                continue
            found.setdefault(score.structure, []).append(score.overlap)
    return tuple(
        StructureRow(
            name,
            len(overlaps),
            float(np.mean([each.dice for each in overlaps])),
            min(each.dice for each in overlaps),
            _mean(_some(each.surface_mean_mm for each in overlaps)),
            _mean(_some(each.surface_95_mm for each in overlaps)),
        )
        for name, overlaps in found.items()
    )


def _area_rows(scored: Sequence[CaseResult]) -> tuple[AreaRow, ...]:
    pairs: dict[str, list[tuple[float, float]]] = {}
    for case in scored:
        for at_level in case.composition:
            for area in at_level.areas:
                if area.difference_cm2 is not None and area.reference_cm2:
                    pairs.setdefault(area.tissue, []).append((area.difference_cm2, area.reference_cm2))
    return tuple(
        AreaRow(
            tissue,
            len(values),
            float(np.mean([abs(difference) for difference, _ in values])),
            float(np.mean([100 * abs(difference) / whole for difference, whole in values])),
            float(np.mean([difference for difference, _ in values])),
        )
        for tissue, values in pairs.items()
    )


def _caution(name: str, cases: Sequence[CaseResult], scored: Sequence[CaseResult]) -> str:
    texts = []
    if len(scored) == 1:
        texts.append("One scan: these figures describe that scan and no other.")
    elif len(scored) < 5:
        texts.append(f"{len(scored)} scans: too few for intervals of means.")
    pseudo = sum(case.reference is ReferenceKind.PSEUDO for case in cases)
    if name == "Real CT" and pseudo:
        which = "The reference is" if pseudo == len(cases) else f"{pseudo} of {len(cases)} references are"
        texts.append(f"{which} another model's output, not manual truth: the figures say how near that model we are.")
    if name != "Real CT":
        texts.append("Made CT: the targets are set for real CT, and figures here do not carry over to it.")
    return " ".join(texts)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _some(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
