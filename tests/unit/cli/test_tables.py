"""What the result table does with odd reports."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import report_samples
from rich.console import Console

from trabecula.cli.tables import print_report
from trabecula.report import ScreeningReport


def shown(report: ScreeningReport) -> str:
    console = Console(file=StringIO(), width=120)
    print_report(report, console)
    assert isinstance(console.file, StringIO)
    return " ".join(console.file.getvalue().split())


def test_every_sample_report_can_be_shown() -> None:
    for name, report in report_samples.all_reports().items():
        assert report.limits_of_use[0] in shown(report), name


def test_what_is_not_known_is_a_dash_not_a_zero() -> None:
    report = report_samples.reported()
    first = replace(report.vertebrae[0], hu_mean=None, vbmd_mg_cm3=None, lumbar_equivalent_mg_cm3=None)
    cells = [cell.strip() for cell in shown(replace(report, vertebrae=(first,), composition=())).split("│")]
    assert cells.count("-") == 3


def test_brackets_in_texts_are_shown_as_they_are() -> None:
    report = report_samples.reported()
    recommendation = replace(report.recommendations[0], text="Do [this] first", citation="Source [/V]")
    text = shown(replace(report, recommendations=(recommendation,)))
    assert "Do [this] first" in text
    assert "Source [/V]" in text
