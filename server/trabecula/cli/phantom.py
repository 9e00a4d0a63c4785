"""``trabecula phantom``: write a CT study whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code

EPILOG = f"""[bold]Examples[/bold]

trabecula phantom out/phantom --vbmd T11=95,T12=92

trabecula phantom out/phantom --kvp 100 --filter sn --size-cm 33 --kernel sharp --noise-hu 25

trabecula phantom out/phantom --fracture L1=grade2-crush --contrast portal --rods mindways3

{EXIT_CODES_HELP}"""

# These words are spelled out because the phantom's own enums take a second to import; a test compares them.
FilterWord = Literal["none", "sn"]
KernelWord = Literal["soft", "medium", "sharp"]
ContrastWord = Literal["none", "arterial", "portal"]
RodWord = Literal["none", "mindways3"]


@exits_with_code
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for dicom/ and truth.json.", show_default=False)],
    vbmd: Annotated[
        list[str] | None,
        typer.Option("--vbmd", help="Trabecular mg/cm3 (K2HPO4) by level: T11=95,T12=92 or T1-L3=110."),
    ] = None,
    kvp: Annotated[float | None, typer.Option("--kvp", help="70 to 150, default 120.")] = None,
    spectral_filter: Annotated[FilterWord, typer.Option("--filter", help="sn: tin.")] = "none",
    size_cm: Annotated[
        float | None,
        typer.Option("--size-cm", help="Water-equivalent diameter at T12, 20 to 45, default 28."),
    ] = None,
    slice_mm: Annotated[float | None, typer.Option("--slice-mm", help="0.5 to 10, default 1.25.")] = None,
    matrix: Annotated[int | None, typer.Option("--matrix", help="Rows and columns, default 512.")] = None,
    kernel: Annotated[KernelWord, typer.Option("--kernel")] = "soft",
    noise_hu: Annotated[
        float | None,
        typer.Option("--noise-hu", help="SD in the middle of the body, default 12."),
    ] = None,
    contrast: Annotated[ContrastWord, typer.Option("--contrast")] = "none",
    rods: Annotated[RodWord, typer.Option("--rods", help="A QCT phantom under the body.")] = "none",
    fracture: Annotated[
        list[str] | None,
        typer.Option("--fracture", help="L1=grade2, or with a shape: L1=grade2-wedge, -biconcave, -crush."),
    ] = None,
    hardware: Annotated[bool, typer.Option("--hardware", help="Pedicle screws and rods at L1 and L2.")] = False,
    hardware_levels: Annotated[
        str | None,
        typer.Option("--hardware-levels", help="Other levels for them, as T12-L1."),
    ] = None,
    top: Annotated[str | None, typer.Option("--top", help="First level in the scan, default T1.")] = None,
    bottom: Annotated[str | None, typer.Option("--bottom", help="Last level in the scan, default L3.")] = None,
    sex: Annotated[Literal["F", "M"] | None, typer.Option("--sex")] = None,
    age_years: Annotated[int | None, typer.Option("--age-years")] = None,
    cortex_mm: Annotated[
        float | None,
        typer.Option("--cortex-mm", help="Thickness of the vertebral bodies' side walls, default 0.34."),
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Also labels.nii.gz, the true segmentation.")] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same phantom, default 1.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Write a digital chest phantom as a DICOM CT series, with its truth beside it."""
    from trabecula import phantom as made
    from trabecula.cli.terminal import fraction_bar

    plain = {
        "kvp": kvp,
        "size_cm": size_cm,
        "slice_mm": slice_mm,
        "matrix": matrix,
        "noise_hu": noise_hu,
        "cortex_mm": cortex_mm,
        "sex": sex,
        "age_years": age_years,
        "seed": seed,
    }
    values: dict[str, Any] = {name: value for name, value in plain.items() if value is not None}
    if top is not None:
        values["top"] = made.parse_levels(top)[0]
    if bottom is not None:
        values["bottom"] = made.parse_levels(bottom)[-1]
    if hardware or hardware_levels:
        default = made.DEFAULT_HARDWARE_LEVELS
        values["hardware"] = made.parse_levels(hardware_levels) if hardware_levels else default
    spec = made.PhantomSpec(
        vbmd_mg_cm3=made.parse_vbmd(vbmd or ()),
        spectral_filter=made.Filter(spectral_filter),
        kernel=made.Kernel(kernel),
        contrast=made.ContrastPhase(contrast),
        rods=made.Rods(rods),
        fractures=made.parse_fractures(fracture or ()),
        **values,
    )
    with fraction_bar("phantom", quiet) as tell:
        made.write_phantom(spec, out, tell, labels=labels)
    typer.echo(out.as_posix())
