"""``trabecula screen``: the whole chain in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, exits_with_code
from trabecula.cli.interrupts import Interruption, interruptible
from trabecula.cli.options import (
    PATIENT_HELP,
    Dicom,
    Json,
    Masks,
    Models,
    Out,
    Paths,
    PatientFile,
    Profile,
    Quiet,
    SecondReaders,
    check_masks,
)

if TYPE_CHECKING:
    from trabecula.config import Settings
    from trabecula.report import Screening, ScreeningReport

EPILOG = f"""[bold]Examples[/bold]

trabecula screen study/ --out out/study

trabecula screen study/ --json > report.json

trabecula screen study/ --patient patient.json --masks --out out/study

trabecula screen study/ --dicom out/dicom

trabecula screen study/ --models total-3mm,vertebrae-body

trabecula screen study/ --profile acr --second-reader second-reader-example-v1

{PATIENT_HELP}

{EXIT_CODES_HELP}"""


@exits_with_code
def screen(
    paths: Paths,
    out: Out = None,
    as_json: Json = False,
    masks: Masks = False,
    dicom: Dicom = None,
    patient: PatientFile = None,
    models: Models = None,
    profile: Profile = None,
    second_reader: SecondReaders = None,
    quiet: Quiet = False,
) -> None:
    """Screen one study here, without a server."""
    check_masks(masks, out)
    from trabecula.cli.terminal import stage_bars
    from trabecula.config import load_settings, with_models
    from trabecula.patient import PatientContext
    from trabecula.patient_file import read_patient_file

    settings = load_settings()
    if models is not None:
        settings = with_models(settings, models)
    settings = replace(
        settings,
        level_profile=settings.level_profile if profile is None else profile,
        second_readers=settings.second_readers if second_reader is None else second_reader,
    )
    context = read_patient_file(patient) if patient is not None else PatientContext()
    with interruptible() as interruption:
        with stage_bars(quiet) as bars:
            from trabecula.service.engine import load_screen

            listener = interruption.between(bars)
            screening = load_screen(settings)(paths, context, listener, keep_anatomy=masks or dicom is not None)
            bars.finish()
        written = [] if out is None else _write_documents(screening, out, settings, masks, interruption)
        written += [] if dicom is None else _write_dicom(screening, dicom, settings, paths, interruption)
    show(screening.report, written, as_json)


def _write_documents(
    screening: Screening, out: Path, settings: Settings, masks: bool, interruption: Interruption
) -> list[Path]:
    from trabecula.service.engine import fhir_options
    from trabecula.work.documents import write_documents

    with interruption.whole_files(out) as folder:
        kinds = write_documents(screening, folder, fhir_options(settings), masks=masks)
    return [out / kind.value for kind in kinds]


def _write_dicom(
    screening: Screening, out: Path, settings: Settings, paths: Sequence[Path], interruption: Interruption
) -> list[Path]:
    from trabecula.outputs.dicom import DicomOptions
    from trabecula.service.engine import imaging_limits
    from trabecula.work.documents import DicomSource, write_dicom

    with interruption.whole_files(out) as folder:
        kinds = write_dicom(screening, folder, DicomSource(paths, DicomOptions(), imaging_limits(settings)))
    return [out / kind.value for kind in kinds]


def show(report: ScreeningReport, written: Sequence[Path], as_json: bool) -> None:
    """Print a result and where its documents lie; ends the process with 3 for a refusal."""
    if as_json:
        from trabecula.outputs.report_json import to_json

        typer.echo(to_json(report), nl=False)
    else:
        from trabecula.cli.tables import print_report
        from trabecula.cli.terminal import console

        print_report(report, console())
        for path in written:
            typer.echo(path.as_posix())
    if report.refusals:
        raise typer.Exit(ExitCode.REFUSED)
