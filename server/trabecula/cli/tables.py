"""A report for people at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trabecula.outcome import Severity
from trabecula.report import ReportStatus, ScreeningReport

NOT_KNOWN = "-"


def print_report(report: ScreeningReport, shown: Console) -> None:
    """Result table, or the refusal with what would mend it."""
    if report.status is ReportStatus.REFUSED:
        _print_refusals(report, shown)
    if report.vertebrae:
        shown.print(_vertebrae(report))
    if report.density is not None:
        shown.print(_mean_line(report))
    if report.composition:
        shown.print(_composition(report))
    if report.assessment is not None:
        shown.print(
            f"[bold]{escape(report.assessment.statement)}[/bold] Confidence: {report.assessment.confidence.value}."
        )
        if report.assessment.unknown_context:
            shown.print(f"Not known: {', '.join(report.assessment.unknown_context)}.")
        for step in report.assessment.tiers:
            shown.print(f"[dim]{step.tier.value}:[/dim] {escape(step.statement)}")
        if report.assessment.joint is not None:
            shown.print(escape(report.assessment.joint.statement))
    for second in report.second_readings:
        shown.print(f"[dim]second reader:[/dim] {escape(second.statement)} {escape(second.limits)}")
    for recommendation in report.recommendations:
        shown.print(f"[cyan]→[/cyan] {escape(recommendation.text)} [dim]({escape(recommendation.citation)})[/dim]")
    for notice in report.notices:
        mark = "[yellow]![/yellow]" if notice.severity is Severity.WARNING else "[dim]i[/dim]"
        shown.print(f"{mark} {escape(notice.message)} [dim]({notice.code})[/dim]")
    for line in report.limits_of_use:
        shown.print(f"[dim]{escape(line)}[/dim]")


def _print_refusals(report: ScreeningReport, shown: Console) -> None:
    for refusal in report.refusals:
        shown.print(f"[bold red]Refused[/bold red]: {escape(refusal.message)} [dim]({refusal.code.value})[/dim]")
        shown.print(f"  {escape(refusal.remedy)}")


def _vertebrae(report: ScreeningReport) -> Table:
    scale = report.vertebrae[0].scale.value
    table = Table(title="Vertebrae", title_justify="left")
    table.add_column("level")
    table.add_column("sure", justify="right")
    table.add_column("HU", justify="right")
    table.add_column(f"vBMD ± u, mg/cm3 {scale}", justify="right")
    table.add_column("lumbar equivalent ± u", justify="right")
    table.add_column("left out because")
    for each in report.vertebrae:
        table.add_row(
            each.level.value,
            f"{each.level_confidence:.0%}",
            _number(each.hu_mean, 0),
            _with_uncertainty(each.vbmd_mg_cm3, each.vbmd_standard_uncertainty_mg_cm3),
            _with_uncertainty(each.lumbar_equivalent_mg_cm3, each.lumbar_equivalent_standard_uncertainty_mg_cm3),
            ", ".join(reason.value for reason in each.excluded),
        )
    return table


def _mean_line(report: ScreeningReport) -> str:
    density = report.density
    assert density is not None  # noqa: S101 - the caller looked
    mean = _with_uncertainty(density.vbmd_mean_mg_cm3, density.vbmd_mean_standard_uncertainty_mg_cm3)
    lumbar = _with_uncertainty(density.lumbar_equivalent_mg_cm3, density.lumbar_equivalent_standard_uncertainty_mg_cm3)
    levels = ", ".join(level.value for level in density.levels_used) or "no level"
    return f"Mean of {levels}: {mean}, lumbar equivalent {lumbar} mg/cm3 {density.scale.value}."


def _composition(report: ScreeningReport) -> Table:
    table = Table(title="Muscle and fat", title_justify="left")
    table.add_column("level")
    for column in ("muscle cm2", "muscle HU", "paraspinal cm2", "IMAT cm2", "SAT cm2", "VAT cm2", "VAT/SAT"):
        table.add_column(column, justify="right")
    table.add_column("")
    for each in report.composition:
        table.add_row(
            each.level.value,
            _number(each.muscle_area_cm2, 1),
            _number(each.muscle_attenuation_hu, 0),
            _number(each.paraspinal_muscle_area_cm2, 1),
            _number(each.imat_area_cm2, 1),
            _number(each.sat_area_cm2, 1),
            _number(each.vat_area_cm2, 1),
            _number(each.vat_sat_ratio, 2),
            "cut by the field of view" if each.truncated else "",
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return NOT_KNOWN if value is None else f"{value:.{digits}f}"


def _with_uncertainty(value: float | None, uncertainty: float | None) -> str:
    return NOT_KNOWN if value is None else f"{value:.1f} ± {_number(uncertainty, 1)}"
