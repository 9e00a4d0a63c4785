"""The figures as Markdown for a model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from trabecula.evaluation.results import EvaluationResults, Outcome
from trabecula.evaluation.summary import Figure, GroupSummary, Target, summarise

DASH: Final = "–"


def to_card(results: EvaluationResults) -> str:
    """Targets, levels and structures of every group of cases, then one line for each real CT."""
    groups = summarise(results)
    models = ", ".join(f"{model.name} {model.version} (`{model.sha256[:12]}`)" for model in results.models)
    lines = [f"Measured with `trabecula models evaluate` (Trabecula {results.software_version}) on {models}.", ""]
    for group in groups:
        lines += [*_group(group), ""]
    lines += _cases(results)
    return "\n".join(lines).rstrip() + "\n"


def figure_text(figure: Figure, unit: str = "", digits: int = 3) -> str:
    """A mean with its interval and what it rests on."""
    if figure.value is None:
        return DASH
    text = f"{figure.value:.{digits}f}{f' {unit}' if unit else ''}"
    if figure.interval is not None:
        text += f" ({figure.interval[0]:.{digits}f} to {figure.interval[1]:.{digits}f})"
    return text


def target_digits(target: Target) -> int:
    return 1 if target.unit else 3


def verdict(target: Target) -> str:
    """Reached, or missed and by how much."""
    if target.reached is None:
        return "not measured"
    if target.reached:
        return "reached"
    if target.short_by is None:
        return "missed: not every wrong level is flagged"
    unit = f" {target.unit}" if target.unit else ""
    return f"missed by {target.short_by:.{target_digits(target)}f}{unit}"


def rests_on(figure: Figure) -> str:
    """How many vertebrae and scans."""
    scans = f"{figure.scans} scan{'' if figure.scans == 1 else 's'}"
    if not figure.vertebrae:
        return scans
    return f"{figure.vertebrae} vertebra{'' if figure.vertebrae == 1 else 'e'}, {scans}"


def _group(group: GroupSummary) -> Iterator[str]:
    counts = [f"{group.cases} case{'' if group.cases == 1 else 's'}"]
    counts += [f"{number} refused ({code})" for code, number in group.refused.items()]
    counts += [f"{group.failed} failed"] if group.failed else []
    yield f"### {group.name}: {', '.join(counts)}"
    if group.caution:
        yield f"\n{group.caution}"
    yield "\n| | target | measured (95 % interval) | from | |\n|---|---|---|---|---|"
    for target in group.targets:
        value = figure_text(target.figure, target.unit, target_digits(target))
        detail = f"; {target.detail}" if target.detail else ""
        yield f"| {target.name} | {target.aim} | {value} | {rests_on(target.figure)} | {verdict(target)}{detail} |"
    yield (
        f"| Density error caused by segmentation, T11 to L2 | | "
        f"{figure_text(group.vbmd.mean_absolute, 'mg/cm3', 1)} | {rests_on(group.vbmd.mean_absolute)} | |"
    )
    if group.scan_vbmd.value is not None:
        value = figure_text(group.scan_vbmd, "mg/cm3", 1)
        yield f"| The scan's mean density, names and exclusions included | | {value} | {rests_on(group.scan_vbmd)} | |"
    if group.segmentation_s and group.segmentation_cpu_s is not None:
        time = f"{group.segmentation_s[0]:.1f} s; processor {group.segmentation_cpu_s:.1f} s"
        memory = "" if group.peak_memory_mib is None else f"largest memory {group.peak_memory_mib:.0f} MiB"
        yield f"| Segmentation, median wall time | | {time} | {group.cases} scans | {memory} |"
    yield ""
    yield from _naming(group)
    yield ""
    yield from _levels(group)
    yield ""
    yield from _structures(group)


def _naming(group: GroupSummary) -> Iterator[str]:
    naming = group.naming
    off = ", ".join(f"{count} by {by:+d}" for by, count in naming.off_by.items()) or "none"
    yield (
        f"Levels: {naming.right} of {naming.found} vertebrae found are named right ({naming.right_flagged} flagged); "
        f"wrong: {off} ({naming.wrong_flagged} flagged); missed {naming.missed}, extra {naming.extra}."
    )
    if naming.bins:
        yield "\n| level confidence | vertebrae | scans | mean confidence | right (95 % interval) |"
        yield "|---|---|---|---|---|"
        for each in naming.bins:
            yield (
                f"| {each.low:.0%} to {each.high:.0%} | {each.vertebrae} | {each.scans} | {each.mean_confidence:.2f} | "
                f"{each.right:.2f} ({each.interval[0]:.2f} to {each.interval[1]:.2f}) |"
            )


def _levels(group: GroupSummary) -> Iterator[str]:
    yield (
        "| level | scans | Dice | body Dice | surface, mm | error, HU | error, mg/cm3 | ROI Dice |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for row in group.levels:
        values = (
            _number(row.whole_dice, 3),
            _number(row.body_dice, 3),
            _number(row.surface_mean_mm, 2),
            _number(row.hu_absolute, 1),
            _number(row.vbmd_absolute_mg_cm3, 1),
            _number(row.roi_dice, 2),
        )
        yield f"| {row.level.value} | {row.scans} | {' | '.join(values)} |"


def _structures(group: GroupSummary) -> Iterator[str]:
    if not group.structures:
        return
    yield "| structure | scans | Dice | lowest | surface, mm | 95 % Hausdorff, mm |\n|---|---|---|---|---|---|"
    for row in group.structures:
        ends = f"{_number(row.surface_mean_mm, 1)} | {_number(row.surface_95_mm, 1)}"
        yield f"| {row.structure.replace('_', ' ')} | {row.scans} | {row.dice:.3f} | {row.dice_lowest:.3f} | {ends} |"


def _cases(results: EvaluationResults) -> Sequence[str]:
    rows = []
    for case in results.cases:
        if case.outcome is not Outcome.SCORED:
            why = case.fault or ", ".join(refusal.code for refusal in case.refusals)
            rows.append(f"| {case.name} | {case.reference.value} | {case.outcome.value}: {why} | {DASH} |")
            continue
        right = sum(v.off_by == 0 for v in case.vertebrae if v.whole_in_view)
        whole = sum(v.whole_in_view for v in case.vertebrae)
        scan = case.scan.vbmd_mean_mg_cm3 if case.scan else None
        mean = DASH if scan is None else f"{scan:+.1f}"
        rows.append(f"| {case.name} | {case.reference.value} | {right} of {whole} levels right | {mean} |")
    head = ["| case | reference | levels | mean density, mg/cm3 |", "|---|---|---|---|"]
    return [*head, *rows]


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
