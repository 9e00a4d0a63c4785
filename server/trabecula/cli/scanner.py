"""``trabecula scanner``: the site's history of phantom scans and maintenance, for asynchronous calibration."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.errors import ConfigurationError, InvalidRequest

if TYPE_CHECKING:
    from trabecula.calibration.asynchronous import HistoryState
    from trabecula.calibration.scanner_history import ScannerHistory, ScannerKey
    from trabecula.outcome import Refusal

EPILOG = f"""[bold]Examples[/bold]

trabecula scanner add-phantom-scan qa/2026-11-20/ --history scanners.json --calibration-file site.toml

trabecula scanner add-maintenance 3f0a9c2d11e0b7aa 2026-11-23 --what "tube change" --history scanners.json

trabecula scanner list --history scanners.json --json

trabecula scanner check --history scanners.json --on 2026-12-01

The scanner is named by a shortened SHA-256 of its serial number, as `list` and every report show it.

{EXIT_CODES_HELP}"""

app = typer.Typer(
    help="Phantom scans and maintenance of the site's scanners.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)

History = Annotated[
    Path | None,
    typer.Option("--history", help="The site's file, default TRABECULA_SCANNER_HISTORY_FILE.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@app.command("add-phantom-scan", epilog=EPILOG)
@exits_with_code
def add_phantom_scan(
    paths: Annotated[list[Path], typer.Argument(help="DICOM of a scan with the phantom in it.", show_default=False)],
    history: History = None,
    calibration_file: Annotated[
        Path | None,
        typer.Option("--calibration-file", help="With the phantom's certificate, default TRABECULA_CALIBRATION_FILE."),
    ] = None,
    serial: Annotated[
        str | None, typer.Option("--serial", help="Which of the file's phantoms; needed when there are several.")
    ] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Find the rods, fit the line, add it to the history; nothing is added when the fit fails its gates."""
    from trabecula.calibration.phantom_scan import phantom_scan_of
    from trabecula.calibration.scanner_history import ScannerHistory, read_history, scan_document, write_history
    from trabecula.calibration.site_file import read_profile
    from trabecula.cli.terminal import fraction_bar
    from trabecula.clinical import load_constants
    from trabecula.config import load_settings
    from trabecula.imaging.limits import ImagingLimits
    from trabecula.imaging.read import read_study
    from trabecula.imaging.study import StudyRefused
    from trabecula.outcome import Refusal

    file = _history_file(history)
    settings = load_settings()
    site = calibration_file or settings.calibration_file
    if site is None:
        raise ConfigurationError(setting="TRABECULA_CALIBRATION_FILE", must_be="a file with the phantom's certificate")
    phantoms = [each for each in read_profile(site).phantoms if serial in (None, each.serial)]
    if len(phantoms) != 1:
        raise InvalidRequest("name one phantom of the calibration file with --serial", phantoms=len(phantoms))
    with fraction_bar("phantom scan", quiet or as_json) as tell:
        study = read_study(paths, ImagingLimits(), lambda _stage, done: tell(done))
    if isinstance(study, StudyRefused):
        _refuse(study.refusals[0])
    found = phantom_scan_of(study, phantoms[0], load_constants())
    if isinstance(found, Refusal):
        _refuse(found)
    known = read_history(file)
    write_history(ScannerHistory((*known.scans, found), known.maintenance), file)
    if as_json:
        typer.echo(json.dumps(scan_document(found), indent=2))
        return
    fit = found.fit
    typer.echo(
        f"{found.key.station_hash} {found.key.kvp:.0f} kV {found.key.spectral_filter.value} "
        f"{found.key.kernel_class.value}, {found.day}: {fit.slope_hu_per_mg_cm3:.3f} HU per mg/cm3 {fit.scale.value}, "
        f"offset {fit.offset_hu:+.1f} HU, R squared {fit.r_squared:.4f}"
    )


@app.command("add-maintenance", epilog=EPILOG)
@exits_with_code
def add_maintenance(
    station_hash: Annotated[str, typer.Argument(help="The scanner, as `list` shows it.", show_default=False)],
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD.", show_default=False)],
    what: Annotated[str, typer.Option("--what", help="Tube change, upgrade, recalibration ...")] = "maintenance",
    history: History = None,
    as_json: Json = False,
) -> None:
    """From that day on, earlier phantom scans of the scanner no longer hold."""
    from trabecula.calibration.scanner_history import Maintenance, ScannerHistory, read_history, write_history

    file = _history_file(history)
    known = read_history(file)
    event = Maintenance(station_hash, _day(day), what)
    write_history(ScannerHistory(known.scans, (*known.maintenance, event)), file)
    if as_json:
        typer.echo(json.dumps({"station_hash": station_hash, "day": event.day.isoformat(), "what": what}, indent=2))
    else:
        typer.echo(f"{station_hash}: {what} on {event.day}")


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_history(history: History = None, as_json: Json = False) -> None:
    """Every phantom scan and maintenance event."""
    from rich.table import Table

    from trabecula.calibration.scanner_history import history_document, read_history
    from trabecula.cli.terminal import console

    known = read_history(_history_file(history))
    if as_json:
        typer.echo(json.dumps(history_document(known), indent=2, ensure_ascii=False))
        return
    table = Table("day", "scanner", "kV", "filter", "kernel", "phantom", "slope", "offset HU", "R squared")
    for scan in sorted(known.scans, key=lambda s: s.day):
        fit = scan.fit
        cells = (f"{scan.key.kvp:g}", scan.key.spectral_filter.value, scan.key.kernel_class.value, scan.phantom)
        numbers = (f"{fit.slope_hu_per_mg_cm3:.3f}", f"{fit.offset_hu:+.1f}", f"{fit.r_squared:.4f}")
        table.add_row(scan.day.isoformat(), scan.key.station_hash, *cells, *numbers)
    for event in sorted(known.maintenance, key=lambda e: e.day):
        table.add_row(event.day.isoformat(), event.station_hash, "", "", "", event.what, "", "", "")
    console().print(table)


@app.command("check", epilog=EPILOG)
@exits_with_code
def check(
    history: History = None,
    on: Annotated[str | None, typer.Option("--on", help="Day to check for, YYYY-MM-DD, default today.")] = None,
    as_json: Json = False,
) -> None:
    """Whether each scanner's history holds on a day, and its drift; ends with 3 when one does not."""
    from rich.table import Table

    from trabecula.calibration.asynchronous import Standing, history_state
    from trabecula.calibration.scanner_history import read_history
    from trabecula.cli.terminal import console
    from trabecula.clinical import load_constants

    known, constants = read_history(_history_file(history)), load_constants()
    day = _day(on) if on else date.today()
    states = [(key, history_state(known, key, day, constants)) for key in _modes(known)]
    if as_json:
        typer.echo(json.dumps([_state_document(key, state) for key, state in states], indent=2))
    else:
        table = Table("scanner", "kV", "filter", "kernel", "standing", "days", "scans", "drift HU per year")
        for key, state in states:
            drift = f"{state.drift_hu_per_year:+.1f} ± {state.drift_standard_uncertainty_hu_per_year:.1f}"
            cells = (key.station_hash, f"{key.kvp:g}", key.spectral_filter.value, key.kernel_class.value)
            days = "" if state.days_away is None else str(state.days_away)
            table.add_row(*cells, state.standing.value, days, str(state.scans), drift if state.drift_is_fitted else "-")
        console().print(table)
    stale = [key for key, state in states if state.standing is not Standing.CURRENT]
    if stale or not states:
        what = f"{len(stale)} of {len(states)} modes have no phantom scan that holds" if states else "no phantom scans"
        complain("calibration-stale", f"{what} on {day}")
        raise typer.Exit(ExitCode.REFUSED)


def _modes(history: ScannerHistory) -> list[ScannerKey]:
    return sorted({scan.key for scan in history.scans}, key=lambda k: (k.station_hash, k.kvp, k.kernel_class))


def _state_document(key: ScannerKey, state: HistoryState) -> dict[str, Any]:
    return {
        "station_hash": key.station_hash,
        "kvp": key.kvp,
        "spectral_filter": key.spectral_filter.value,
        "kernel_class": key.kernel_class.value,
        "standing": state.standing.value,
        "days_away": state.days_away,
        "nearest": None if state.nearest is None else state.nearest.day.isoformat(),
        "phantom_scans": state.scans,
        "drift_hu_per_year": state.drift_hu_per_year if state.drift_is_fitted else None,
        "drift_standard_uncertainty_hu_per_year": state.drift_standard_uncertainty_hu_per_year,
    }


def _history_file(given: Path | None) -> Path:
    from trabecula.config import load_settings

    file = given or load_settings().scanner_history_file
    if file is None:
        raise ConfigurationError(setting="TRABECULA_SCANNER_HISTORY_FILE", must_be="a path, or give --history")
    return file


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day of the form YYYY-MM-DD") from error


def _refuse(refusal: Refusal) -> NoReturn:
    complain(refusal.code.value, refusal.message)
    raise typer.Exit(ExitCode.REFUSED)
