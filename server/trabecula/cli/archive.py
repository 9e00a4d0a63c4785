"""``trabecula archive``: many archived studies, read once."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.archive_results import CODES, collect_results, list_ended, show_status
from trabecula.cli.exits import exits_with_code
from trabecula.cli.options import Models, Profile, Quiet

if TYPE_CHECKING:
    from trabecula.archive.driver import Progress
    from trabecula.archive.executors.port import Executor, WorkerLimits
    from trabecula.archive.pseudonyms import Pseudonyms
    from trabecula.archive.study import MakeReadStudy

MIB = 1024 * 1024
EPILOG = f"""[bold]Examples[/bold]

trabecula archive list-studies /data/ct --out manifest.jsonl

trabecula archive run --manifest manifest.jsonl --root /data/ct --out campaign --workers 4

trabecula archive run --manifest manifest.jsonl --root /data/ct --out campaign --shard 0/8

trabecula archive run --manifest uids.csv --out campaign --pulls-per-hour 600

trabecula archive status campaign

trabecula archive collect campaign --out results.csv

trabecula archive list-ended campaign --state dead --out again.jsonl

Shards are counted from 0: 0/8 is the first of eight, 7/8 the last. A manifest is CSV with a column path or study_uid,
or JSON Lines; study UIDs are pulled from the PACS that TRABECULA_DICOMWEB_ARCHIVE names. docs/archive.md tells it all.

{CODES}"""

app = typer.Typer(
    help="Campaigns: many archived studies read once, for research.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)
app.command("status", epilog=EPILOG)(show_status)
app.command("collect", epilog=EPILOG)(collect_results)
app.command("list-ended", epilog=EPILOG)(list_ended)


class ExecutorName(StrEnum):
    INLINE = "inline"
    PROCESS = "process"
    RAY = "ray"


@app.command("list-studies", epilog=EPILOG)
@exits_with_code
def list_folder(
    folder: Annotated[Path, typer.Argument(help="The root that paths are relative to.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Manifest to write, JSON Lines.", show_default=False)],
    every_file: Annotated[
        bool, typer.Option("--every-file", help="Read the header of every file, not of each folder's first and last.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a manifest of the studies and zip files below a folder."""
    from trabecula.archive.listing import list_studies
    from trabecula.archive.manifest import write_manifest
    from trabecula.cli.terminal import counter

    if out.suffix != ".jsonl":
        raise typer.BadParameter("must end in .jsonl", param_hint="--out")
    with counter(quiet or as_json) as tell:
        studies = list_studies(folder, every_file=every_file, tell=lambda number: tell("folders", number))
        number = write_manifest(out, studies)
    typer.echo(json.dumps({"studies": number}) if as_json else f"{number} studies in {out.as_posix()}")


@app.command("run", epilog=EPILOG)
@exits_with_code
def run(
    manifest: Annotated[Path, typer.Option("--manifest", help=".jsonl, .csv or .parquet.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the campaign; the same again to go on.")],
    root: Annotated[
        Path | None,
        typer.Option("--root", help="Folder that the manifest's paths are relative to.", show_default=False),
    ] = None,
    shard: Annotated[str, typer.Option("--shard", help="INDEX/COUNT, counted from 0: 0/8 to 7/8.")] = "0/1",
    workers: Annotated[int, typer.Option("--workers", min=1, max=1024, help="Studies at once.")] = 1,
    executor: Annotated[ExecutorName, typer.Option("--executor", help="Where they run.")] = ExecutorName.PROCESS,
    attempts: Annotated[int, typer.Option("--attempts", min=1, max=20, help="Of one study, before it is dead.")] = 3,
    retry_dead: Annotated[bool, typer.Option("--retry-dead", help="Give dead studies all attempts again.")] = False,
    pulls_per_hour: Annotated[
        float | None,
        typer.Option("--pulls-per-hour", min=0.1, help="Studies this driver may ask of the PACS.", show_default=False),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option("--timeout-s", min=1, help="For one study, pulling included; default as configured."),
    ] = None,
    memory_mib: Annotated[
        int | None,
        typer.Option("--memory-mib", min=256, help="Of one worker process; default as configured."),
    ] = None,
    recycle_after: Annotated[int, typer.Option("--recycle-after", min=1, help="Studies of one process.")] = 200,
    drain_s: Annotated[float, typer.Option("--drain-s", min=0, help="For running studies, when told to stop.")] = 20.0,
    patience_s: Annotated[
        float, typer.Option("--patience-s", min=0, help="How long PACS, root or disk may be away.")
    ] = 3600.0,
    dead_in_a_row: Annotated[int, typer.Option("--dead-in-a-row", min=1, help="Deaths after which to stop.")] = 100,
    salt_file: Annotated[
        Path | None,
        typer.Option("--salt-file", help="Secret behind the pseudonyms; default salt.key in the campaign's folder."),
    ] = None,
    keep_uids: Annotated[bool, typer.Option("--keep-uids", help="UIDs and paths in results as they are.")] = False,
    scratch: Annotated[
        Path | None,
        typer.Option("--scratch", help="For studies pulled or unpacked; default in the system's temporary folder."),
    ] = None,
    models: Models = None,
    profile: Profile = None,
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="Of a cluster (auto: the one here); default starts one.")
    ] = None,
    cpus_per_worker: Annotated[int, typer.Option("--cpus-per-worker", min=1, help="With --executor ray.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Read every study of a shard that has not ended; killed or stopped, the same command goes on."""
    from trabecula.archive.campaign import Plan, run_shard
    from trabecula.archive.driver import Rules
    from trabecula.archive.executors.port import WorkerLimits
    from trabecula.archive.shards import Shard
    from trabecula.cli.terminal import study_bar
    from trabecula.config import bound_library_threads, load_settings, with_models
    from trabecula.errors import InvalidRequest
    from trabecula.service.archive_worker import LoadReadStudy, versions_of
    from trabecula.service.logs import configure_logs
    from trabecula.work.disk import make_private

    try:
        part = Shard.parse(shard)
    except InvalidRequest as error:
        raise typer.BadParameter(str(error.fields["must_be"]), param_hint="--shard") from None
    settings = load_settings()
    if models is not None:
        settings = with_models(settings, models)
    ray = executor is ExecutorName.RAY
    settings = replace(
        settings,
        workers=1 if ray else workers,
        inference_threads=settings.inference_threads or (cpus_per_worker if ray else 0),
        level_profile=settings.level_profile if profile is None else profile,
    )
    configure_logs(settings.log_level)
    bound_library_threads(settings)
    make_private(out)
    if root is not None and not ray and not root.is_dir():  # with Ray it lies on the workers' machines
        raise typer.BadParameter("is no folder", param_hint="--root")
    load = LoadReadStudy(
        settings,
        None if root is None else root.absolute(),
        (scratch or Path(tempfile.gettempdir()) / "trabecula-archive").absolute(),
        _pseudonyms(out, salt_file, keep_uids),
    )
    memory_bytes = settings.worker_memory_bytes if memory_mib is None else memory_mib * MIB
    limits = WorkerLimits(timeout_s or settings.screening_timeout_s, memory_bytes or None, recycle_after)
    plan = Plan(
        manifest,
        out,
        part,
        Rules(attempts, drain_s, patience_s, dead_in_a_row),
        pulls_per_hour=pulls_per_hour,
        retry_dead=retry_dead,
    )
    made = _executor(executor, load, workers, limits, ray_address, cpus_per_worker)
    with study_bar(f"shard {part}", quiet) as bar:
        done = run_shard(
            plan,
            made,
            versions=lambda loaded: versions_of(settings, loaded),
            tell=lambda progress: bar(progress.total, progress.ended, _words(progress)),
            tell_manifest=lambda number: bar(None, number, "studies looked up in the manifest"),
        )
    states = {state.value: number for state, number in done.states.items()}
    ended_now = {state.value: number for state, number in done.this_run.items()}
    if as_json:
        typer.echo(json.dumps({"shard": str(part), "states": states, "ended_in_this_run": ended_now}, indent=2))
    else:
        typer.echo(f"shard {part}: {_words(done)}")


def _words(progress: Progress) -> str:
    from trabecula.archive.ledger import StudyState

    ends = (StudyState.DONE, StudyState.REFUSED, StudyState.DEAD)
    words = ", ".join(f"{progress.states[state]} {state.value}" for state in ends)
    return words if progress.held_up_by is None else f"{words}, held up by {progress.held_up_by}"


def _pseudonyms(out: Path, salt_file: Path | None, keep_uids: bool) -> Pseudonyms:
    from trabecula.archive.pseudonyms import Pseudonyms, own_salt, read_salt

    return Pseudonyms(own_salt(out) if salt_file is None else read_salt(salt_file), keep_uids)


def _executor(
    name: ExecutorName,
    load: MakeReadStudy,
    workers: int,
    limits: WorkerLimits,
    ray_address: str | None,
    cpus_per_worker: int,
) -> Executor:
    if name is ExecutorName.INLINE:
        from trabecula.archive.executors.inline import InlineExecutor

        return InlineExecutor(load, limits)
    if name is ExecutorName.RAY:
        from trabecula.archive.executors.ray import RayExecutor

        return RayExecutor(load, workers, limits, address=ray_address, cpus_per_worker=cpus_per_worker)
    from trabecula.archive.executors.process import ProcessExecutor

    return ProcessExecutor(load, workers, limits)
