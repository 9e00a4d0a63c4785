"""``trabecula models import-nnunet``: an nnU-Net v2 model folder becomes a bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code

EPILOG = f"""[bold]Examples[/bold]

trabecula models import-nnunet nnUNetTrainer__nnUNetPlans__3d_fullres --labels totalsegmentator-total --name total-3mm

trabecula models import-nnunet my_model/nnUNetTrainer__nnUNetResEncUNetMPlans__3d_lowres --labels map.toml --folds all

trabecula screen study/ --models total-3mm

[bold]Label maps[/bold]

Ready-made: totalsegmentator-total, totalsegmentator-vertebrae-body, verse. A file of your own gives, under [[labels]],
each label name of dataset.json a meaning, for example vertebrae_T12 = "T12"; docs/nnunet.md has the list.

Needs the extra: pip install 'trabecula[[nnunet]]'. Running the bundle does not.

{EXIT_CODES_HELP}"""


@exits_with_code
def import_nnunet(
    folder: Annotated[
        Path, typer.Argument(help="The folder with plans.json, dataset.json and fold_*/.", show_default=False)
    ],
    labels: Annotated[str, typer.Option("--labels", help="A label map: a TOML file, or the name of a ready-made one.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the new bundle, default NAME in the models folder.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the bundle, default made from the dataset's.", show_default=False),
    ] = None,
    folds: Annotated[
        str, typer.Option("--folds", help="Such as 0 or 0,1 or all; default every numbered fold.", show_default=False)
    ] = "",
    mirroring: Annotated[
        bool,
        typer.Option("--mirroring", help="Average over mirrored copies, as the trainer allows: up to 8 times slower."),
    ] = False,
    checkpoint: Annotated[str, typer.Option("--checkpoint")] = "checkpoint_final.pth",
    orientation: Annotated[
        str | None,
        typer.Option(
            "--orientation",
            help="How the training images were stored, such as RAS or LPS, where neither reader nor map says.",
            show_default=False,
        ),
    ] = None,
    version: Annotated[str, typer.Option("--version", help="Version of the bundle.")] = "1",
    licence: Annotated[
        str, typer.Option("--licence", help="Of the weights, for the manifest.")
    ] = "unknown; that of the imported weights",
    as_json: Annotated[bool, typer.Option("--json", help="What was imported, as JSON.")] = False,
) -> None:
    """Import an nnU-Net v2 model (3d_fullres or 3d_lowres, PlainConv or ResEnc) as a bundle."""
    from trabecula.cli.terminal import console
    from trabecula.config import load_settings
    from trabecula.segmentation.nnunet.importer import Imported, ImportRequest
    from trabecula.segmentation.nnunet.importer import import_nnunet as write_bundle
    from trabecula.segmentation.nnunet.labels import load_label_map
    from trabecula.segmentation.nnunet.plans import read_json

    label_map = load_label_map(labels)
    chosen = name or _name(str(read_json(folder / "plans.json").get("dataset_name", folder.name)))
    target = out or load_settings().models_dir / chosen
    request = ImportRequest(
        folder=folder,
        label_map=label_map,
        name=chosen,
        version=version,
        folds=tuple(fold for part in folds.split(",") if (fold := part.strip())),
        checkpoint=checkpoint,
        mirroring=mirroring,
        orientation=orientation,
        licence=licence,
    )
    with console(stderr=True).status(f"importing {folder.name}"):
        done: Imported = write_bundle(request, target)
    facts = {
        "bundle": done.bundle.as_posix(),
        "name": done.manifest.name,
        "version": done.manifest.version,
        "sha256": done.manifest.sha256,
        "architecture": done.manifest.training["architecture"],
        "configuration": done.manifest.training["configuration"],
        "folds": list(done.folds),
        "labels": len(done.manifest.nnunet.labels),
        "spacing_mm": list(done.manifest.nnunet.input.spacing_mm),
        "patch": list(done.manifest.nnunet.input.patch),
        "mirror_axes": list(done.manifest.nnunet.input.mirror_axes),
        "orientation": done.orientation,
        "onnx_bytes": done.onnx_bytes,
        "largest_difference_from_torch": done.largest_difference,
    }
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {value}")
    typer.echo(f"use it with: trabecula screen STUDY --models {done.bundle.name}")


def _name(dataset: str) -> str:
    """A bundle name from nnU-Net's, such as Dataset297_TotalSegmentator_total_3mm."""
    return re.sub(r"[^a-z0-9._-]+", "-", dataset.lower()).strip("-._")[:64] or "imported"
