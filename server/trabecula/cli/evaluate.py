"""``trabecula models evaluate`` and ``evaluate-cases``: how good the anatomy models are, and cases to find out with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.exits import ExitCode, exits_with_code
from trabecula.cli.options import Quiet

if TYPE_CHECKING:
    from trabecula.evaluation.results import CaseResult, EvaluationResults
    from trabecula.progress import ProgressListener

EVALUATE_EPILOG = """[bold]Examples[/bold]

trabecula models evaluate-cases out/cases --data ../shared/data --phantoms 4

trabecula models evaluate --cases out/cases --out out/evaluation --html

trabecula models evaluate --bundle models/fine-v1 --cases out/cases --out out/fine-v1 --html --card --resume

trabecula models evaluate --cases out/cases --json > results.json

The layout of a case folder and the meaning of every figure: docs/evaluation.md.

[bold]Exit codes[/bold]

0 every case ended, refusals included · 4 a case cannot be used, or there is none · 2 wrong usage · 1 anything else"""

CASES_EPILOG = """[bold]Examples[/bold]

trabecula models evaluate-cases out/cases --data ../shared/data

trabecula models evaluate-cases out/cases --phantoms 6 --matrix 384

trabecula models evaluate-cases out/cases --listing cases.toml

A listing holds one table a case; paths are relative to it:

\\[\\[case]]  name = "verse-500"  ct = "verse500/ct.nii.gz"  labels = "verse500/seg.nii.gz"
label_map = "verse"  reference = "manual"  licence = "CC BY-SA 4.0"

[bold]Exit codes[/bold]

0 made · 4 something to make a case from is missing or cannot be read · 2 wrong usage · 1 anything else"""


@exits_with_code
def evaluate(
    cases: Annotated[Path, typer.Option("--cases", help="Folder of case folders, or one case.", show_default=False)],
    bundle: Annotated[
        list[Path] | None,
        typer.Option("--bundle", help="Bundle to judge in place of the installed one of its kind; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write results.json, pictures/ and what is asked for here.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="results.json on standard output, no more there.")] = False,
    html: Annotated[bool, typer.Option("--html", help="With --out: report.html, pictures inside.")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Markdown for a model card: card.md with --out, else standard output.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many cases only.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --out: keep what the same models gave on unchanged cases.")
    ] = False,
    models_dir: Annotated[
        Path | None, typer.Option("--models-dir", help="Bundles for the kinds not given, default the built-in ones.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run the chain on scans with reference labels and measure how far it is off."""
    if out is None and (html or resume):
        raise typer.BadParameter("--html and --resume need --out", param_hint="--out")
    if as_json and card and out is None:
        raise typer.BadParameter("--json and --card both want standard output; give --out", param_hint="--out")
    from trabecula.config import load_settings, threads_per_worker
    from trabecula.evaluation.models import load_judged
    from trabecula.evaluation.results import Outcome, to_json
    from trabecula.evaluation.run import evaluate as run
    from trabecula.imaging.limits import ImagingLimits
    from trabecula.segmentation.settings import Provider, RuntimeSettings

    settings = load_settings()
    judged = load_judged(
        bundle or (),
        models_dir or settings.models_dir,
        RuntimeSettings(
            threads=threads_per_worker(settings), providers=(Provider[settings.execution_provider.upper()],)
        ),
        ImagingLimits(max_instances=settings.max_instances, threads=threads_per_worker(settings)),
    )
    with _case_lines(quiet) as (started, done):
        results = run(cases, judged, out, started, done, limit=limit, resume=resume)
    written = _write(results, out, html, card)
    if as_json:
        typer.echo(to_json(results), nl=False)
    elif card and out is None:
        from trabecula.evaluation.card import to_card

        typer.echo(to_card(results), nl=False)
    else:
        _show(results)
        for path in written:
            typer.echo(path.as_posix())
    if any(case.outcome is Outcome.FAILED for case in results.cases):
        raise typer.Exit(ExitCode.BAD_INPUT)


@exits_with_code
def evaluate_cases(
    out: Annotated[Path, typer.Argument(help="Folder for the case folders.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Data folder with ct/NAME and labels/NAME.nii.gz (../shared/data)."),
    ] = None,
    phantoms: Annotated[int, typer.Option("--phantoms", min=0, help="Make so many digital phantoms.")] = 0,
    matrix: Annotated[int, typer.Option("--matrix", help="Rows and columns of the phantoms.")] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the first phantom.")] = 1001,
    listing: Annotated[
        list[Path] | None, typer.Option("--listing", help="TOML file with [[case]] tables; repeatable.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make case folders for `models evaluate`: links to scans that are there, and phantoms with their truth."""
    if not (data or phantoms or listing):
        raise typer.BadParameter("give --data, --phantoms or --listing", param_hint="--data")
    from trabecula.cli.terminal import fraction_bar
    from trabecula.evaluation import prepare

    out.mkdir(parents=True, exist_ok=True)
    if data is not None:
        for case in prepare.cases_from_shared_data(data, out):
            typer.echo(case.folder.as_posix())
    for each in listing or ():
        for case in prepare.cases_from_toml(each, out):
            typer.echo(case.folder.as_posix())
    for phantom in prepare.phantom_set(phantoms, matrix, seed):
        with fraction_bar(phantom.name, quiet) as tell:
            for case in prepare.cases_from_phantoms([phantom], out, tell):
                typer.echo(case.folder.as_posix())


@contextmanager
def _case_lines(
    quiet: bool,
) -> Iterator[tuple[Callable[[int, int, str], ProgressListener], Callable[[CaseResult, bool], None]]]:
    """Progress on standard error: a bar at a terminal, a line a case everywhere."""
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from trabecula.cli.terminal import console
    from trabecula.evaluation.ranking import describe_case
    from trabecula.outcome import Stage

    shown = console(stderr=True)
    shown.quiet = quiet
    columns = (TextColumn("{task.description}"), BarColumn(40), TimeElapsedColumn())
    with Progress(*columns, console=shown, disable=quiet or not shown.is_terminal, transient=True) as progress:
        task = progress.add_task("loading", total=1.0)

        def started(number: int, count: int, name: str) -> ProgressListener:
            progress.reset(task, description=f"{number}/{count} {escape(name)}", total=1.0)
            if not shown.is_terminal:
                shown.print(f"{number}/{count} {escape(name)}")
            return lambda stage, fraction: progress.update(
                task, completed=fraction if stage is Stage.SEGMENTATION else 0.0
            )

        def done(result: CaseResult, kept: bool) -> None:
            shown.print(f"  {escape(result.name)}: {escape(describe_case(result))}{' (kept)' if kept else ''}")

        yield started, done


def _write(results: EvaluationResults, out: Path | None, html: bool, card: bool) -> list[Path]:
    """Pages beside ``results.json``; gives all that was written, pictures left out."""
    if out is None:
        return []
    from trabecula.evaluation.run import RESULTS_FILE

    written = [out / RESULTS_FILE]
    if html:
        from trabecula.evaluation.page import to_html

        written.append(out / "report.html")
        written[-1].write_text(to_html(results, out), encoding="utf-8")
    if card:
        from trabecula.evaluation.card import to_card

        written.append(out / "card.md")
        written[-1].write_text(to_card(results), encoding="utf-8")
    return written


def _show(results: EvaluationResults) -> None:
    """Targets and single cases as tables."""
    from rich.markup import escape
    from rich.table import Table

    from trabecula.cli.terminal import console
    from trabecula.evaluation.card import figure_text, rests_on, target_digits, verdict
    from trabecula.evaluation.ranking import describe_case
    from trabecula.evaluation.summary import summarise

    shown = console()
    for group in summarise(results):
        table = Table(title=group.name, title_justify="left", caption=group.caution or None, caption_justify="left")
        for column in ("target", "aim", "measured", "from", ""):
            table.add_column(column)
        for target in group.targets:
            value = figure_text(target.figure, target.unit, target_digits(target))
            table.add_row(target.name, target.aim, value, rests_on(target.figure), verdict(target))
        shown.print(table)
    for case in results.cases:
        shown.print(
            f"[bold]{escape(case.name)}[/bold] [dim]{case.reference.value}[/dim]  {escape(describe_case(case))}"
        )
