"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[Path], typer.Argument(help="Files or folders with the DICOM instances of one study.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Write report.json, report.html and bundle.json here.", show_default=False),
]
Masks = Annotated[
    bool, typer.Option("--masks", help="With --out: also anatomy.nii.gz on the CT grid and anatomy.labels.json.")
]
Dicom = Annotated[
    Path | None,
    typer.Option(
        "--dicom",
        help="Write the DICOM results here: sr.dcm, seg.dcm, pdf.dcm, sc.dcm.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="The report as JSON on standard output and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
PatientFile = Annotated[
    Path | None,
    typer.Option("--patient", help="FHIR Patient bundle or plain JSON, see below.", show_default=False),
]

Models = Annotated[
    str | None,
    typer.Option(
        "--models",
        help="Bundles that segment, by folder name, separated by commas; default the newest coarse and fine ones.",
        show_default=False,
    ),
]

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Level profile: cn-2024, acr, or a site's own .toml file; default as configured.",
        show_default=False,
    ),
]
SecondReaders = Annotated[
    str | None,
    typer.Option(
        "--second-reader",
        help="Second-reader bundles to ask beside the measurement, by folder name, separated by commas.",
        show_default=False,
    ),
]

PATIENT_HELP = """[bold]Patient file[/bold]

A FHIR R4 Bundle (Patient, Observations 8302-2 and 29463-7, Conditions), or for example

{"age_years": 68, "sex": "female", "height_m": 1.62, "weight_kg": 64, "postmenopausal": true,
"prior_fragility_fracture": false, "glucocorticoids": false, "known_osteoporosis": false, "prior_dxa": false}

What is left out is not known, and the report says so."""


def check_masks(masks: bool, out: Path | None) -> None:
    """Masks need a folder to go to."""
    if masks and out is None:
        raise typer.BadParameter("--masks needs --out", param_hint="--masks")
