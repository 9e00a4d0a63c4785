"""``trabecula models``: which model bundles there are, and whether they are what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from trabecula.cli import evaluate, import_nnunet
from trabecula.cli.exits import ExitCode, complain, exits_with_code
from trabecula.errors import ModelError, NotFound
from trabecula.texts import parse_json

app = typer.Typer(help="The model bundles.", no_args_is_help=True, rich_markup_mode="rich")
app.command("evaluate", epilog=evaluate.EVALUATE_EPILOG)(evaluate.evaluate)
app.command("evaluate-cases", epilog=evaluate.CASES_EPILOG)(evaluate.evaluate_cases)
app.command("import-nnunet", epilog=import_nnunet.EPILOG)(import_nnunet.import_nnunet)

ModelsDir = Annotated[
    Path | None,
    typer.Option("--models-dir", help="Folder of bundles, default the built-in ones."),
]


@app.command("list")
@exits_with_code
def list_models(
    models_dir: ModelsDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="The list as JSON.")] = False,
) -> None:
    """Name, version, kind and checksum of every bundle."""
    if as_json:
        keys = ("name", "version", "kind", "sha256")
        rows = [{"bundle": f.name, **{key: m.get(key) for key in keys}} for f, m in _bundles(models_dir)]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    from trabecula.cli.terminal import console

    table = Table("bundle", "name", "version", "kind", "sha256")
    for folder, manifest in _bundles(models_dir):
        row = (manifest.get(key, "-") for key in ("name", "version", "kind", "sha256"))
        table.add_row(folder.name, *(str(cell)[:16] if len(str(cell)) == 64 else str(cell) for cell in row))
    console().print(table)


@app.command("show")
@exits_with_code
def show_model(
    bundle: Annotated[str, typer.Argument(help="Folder name, as listed.")], models_dir: ModelsDir = None
) -> None:
    """The manifest of one bundle, as JSON."""
    for folder, manifest in _bundles(models_dir):
        if folder.name == bundle:
            typer.echo(json.dumps(manifest, indent=2, ensure_ascii=False))
            return
    raise NotFound("no such bundle", bundle=bundle)


@app.command("verify")
@exits_with_code
def verify_models(models_dir: ModelsDir = None) -> None:
    """Check every model file as when it is loaded: its SHA-256 is the manifest's, its operators are onnxruntime's own,
    and it brings no data along in other files; second readers' manifests too."""
    from trabecula.model_files import read_onnx
    from trabecula.second_reader.manifest import KIND, load_bundle

    failed = False
    for folder, manifest in _bundles(models_dir):
        try:
            read_onnx(folder, str(manifest["file"]), str(manifest["sha256"]), folder.name)
            if manifest.get("kind") == KIND:
                load_bundle(folder)
        except (ModelError, KeyError) as error:
            failed = True
            code = error.code if isinstance(error, ModelError) else ModelError.code
            complain(code, f"{folder.name}: {error}")
        else:
            typer.echo(f"{folder.name}: ok")
    if failed:
        raise typer.Exit(ExitCode.OTHER)


def _bundles(models_dir: Path | None) -> list[tuple[Path, dict[str, Any]]]:
    from trabecula.config import load_settings

    root = models_dir or load_settings().models_dir
    found = []
    for path in sorted(root.glob("*/manifest.json")):
        try:
            manifest = parse_json(path.read_bytes())
        except ValueError as error:
            raise ModelError(f"manifest of {path.parent.name} cannot be read", bundle=path.parent.name) from error
        if isinstance(manifest, dict) and "file" in manifest:
            found.append((path.parent, manifest))
    if not found:
        raise ModelError("no model bundle found", bundles=0)
    return found
