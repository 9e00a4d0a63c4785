"""``trabecula screen``: the whole chain in this process."""

from __future__ import annotations

from pathlib import Path

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, exits_with_code
from trabecula.cli.options import PATIENT_HELP, Json, Masks, Out, Paths, PatientFile, Quiet, check_masks

EPILOG = f"""[bold]Examples[/bold]

trabecula screen study/ --out out/study

trabecula screen study/ --json > report.json

trabecula screen study/ --patient patient.json --masks --out out/study

{PATIENT_HELP}

{EXIT_CODES_HELP}"""


@exits_with_code
def screen(
    paths: Paths,
    out: Out = None,
    as_json: Json = False,
    masks: Masks = False,
    patient: PatientFile = None,
    quiet: Quiet = False,
) -> None:
    """Screen one study here, without a server."""
    check_masks(masks, out)
    from trabecula.cli.terminal import console, stage_bars
    from trabecula.config import load_settings
    from trabecula.patient import PatientContext
    from trabecula.patient_file import read_patient_file

    settings = load_settings()
    context = read_patient_file(patient) if patient is not None else PatientContext()
    with stage_bars(quiet) as bars:
        from trabecula.service.engine import load_screen

        screening = load_screen(settings)(paths, context, bars, keep_anatomy=masks)
        bars.finish()
    if out is not None:
        from trabecula.service.documents import write_documents
        from trabecula.service.engine import fhir_options

        out.mkdir(parents=True, exist_ok=True)
        write_documents(screening, out, fhir_options(settings))
    report = screening.report
    if as_json:
        from trabecula.outputs.report_json import to_json

        typer.echo(to_json(report), nl=False)
    else:
        from trabecula.cli.tables import print_report

        shown = console()
        print_report(report, shown)
        print_places(out)
    if report.refusals:
        raise typer.Exit(ExitCode.REFUSED)


def print_places(out: Path | None) -> None:
    """Say where the documents lie."""
    if out is not None:
        for path in sorted(out.iterdir()):
            if path.is_file():
                typer.echo(path.as_posix())
