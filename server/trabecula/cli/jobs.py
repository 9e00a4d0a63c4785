"""``trabecula jobs``: what waits, runs and has ended, and what operators may do about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, exits_with_code
from trabecula.cli.operators import AdminServer, DatabaseUrl, StateDir, admin, chosen_settings
from trabecula.cli.submit import Certificate, Certificates, Encrypted, Key, TokenFile, tls_with

if TYPE_CHECKING:
    from rich.table import Table

    from trabecula.cli.operators import Call
    from trabecula.service.client import ClientTls
    from trabecula.v1 import admin_pb2, screening_pb2

EPILOG = f"""[bold]Examples[/bold]

trabecula jobs list

trabecula jobs list --state failed --json

trabecula jobs list --state queued --state running --follow

trabecula jobs show 3f0a9c2d-11e0-4b7a-a2c1-0d8e5c1f7a90

trabecula jobs retry 3f0a9c2d-11e0-4b7a-a2c1-0d8e5c1f7a90

trabecula jobs hold 3f0a9c2d-11e0-4b7a-a2c1-0d8e5c1f7a90 --server localhost:50052

A failed job is a dead letter: its reason is a code, and `retry` gives it all its attempts again.

{EXIT_CODES_HELP}"""
FOLLOW_S = 2.0
NONE = "-"

app = typer.Typer(
    help="Screenings as jobs: list, look at, retry, cancel, hold.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog=EPILOG,
)


class StateName(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    REPORTED = "reported"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PriorityName(StrEnum):
    ARCHIVE = "archive"
    ROUTINE = "routine"
    STAT = "stat"


class SourceName(StrEnum):
    GRPC = "grpc"
    DIMSE = "dimse"
    DICOMWEB = "dicomweb"


Json = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]
Job = Annotated[str, typer.Argument(help="Screening id.", show_default=False)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Again every two seconds, until Ctrl-C.")]


@app.command("list", epilog=EPILOG)
@exits_with_code
def list_jobs(
    state: Annotated[list[StateName] | None, typer.Option("--state", help="Only these; may be repeated.")] = None,
    priority: Annotated[list[PriorityName] | None, typer.Option("--priority", help="Only these.")] = None,
    source: Annotated[list[SourceName] | None, typer.Option("--source", help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest ones shown.")] = 50,
    follow: Follow = False,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Newest first, with how much there is to do; failed ones with their reason."""
    from trabecula.v1 import admin_pb2

    request = admin_pb2.ListJobsRequest(
        states=[f"SCREENING_STATE_{each.name}" for each in state or ()],
        priorities=[f"PRIORITY_{each.name}" for each in priority or ()],
        sources=[f"SOURCE_{each.name}" for each in source or ()],
    )
    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _show(lambda: _all_pages(call, request, limit), _print_list, as_json, follow=follow)


@app.command("show", epilog=EPILOG)
@exits_with_code
def show(
    job: Job,
    follow: Follow = False,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """One job with every step it has taken."""
    from trabecula.v1 import admin_pb2

    request = admin_pb2.GetJobRequest(screening_id=job)
    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _show(lambda: call("GetJob", request), _print_job, as_json, follow=follow)


@app.command("retry", epilog=EPILOG)
@exits_with_code
def retry(
    job: Job,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Another try of a dead letter or a cancelled job, with all its attempts."""
    from trabecula.v1 import admin_pb2

    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _changed(call("RetryJob", admin_pb2.RetryJobRequest(screening_id=job)), as_json)


@app.command("cancel", epilog=EPILOG)
@exits_with_code
def cancel(
    job: Job,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Stop a job that is queued or running."""
    from trabecula.v1 import admin_pb2

    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _changed(call("CancelJob", admin_pb2.CancelJobRequest(screening_id=job)), as_json)


@app.command("hold", epilog=EPILOG)
@exits_with_code
def hold(
    job: Job,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Legal hold: keep everything of this job from retention."""
    from trabecula.v1 import admin_pb2

    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _changed(call("SetLegalHold", admin_pb2.SetLegalHoldRequest(screening_id=job, hold=True)), as_json)


@app.command("release", epilog=EPILOG)
@exits_with_code
def release(
    job: Job,
    as_json: Json = False,
    server: AdminServer = None,
    state_dir: StateDir = None,
    database_url: DatabaseUrl = None,
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """End a legal hold."""
    from trabecula.v1 import admin_pb2

    with _opened(server, state_dir, database_url, tls_with(tls, tls_ca, tls_certificate, tls_key), token_file) as call:
        _changed(call("SetLegalHold", admin_pb2.SetLegalHoldRequest(screening_id=job, hold=False)), as_json)


@contextmanager
def _opened(
    server: AdminServer,
    state_dir: StateDir,
    database_url: DatabaseUrl,
    tls: ClientTls | None,
    token_file: TokenFile,
) -> Iterator[Call]:
    with admin(server, chosen_settings(state_dir, database_url), tls, token_file) as call:
        yield call


def _all_pages(call: Call, request: admin_pb2.ListJobsRequest, limit: int) -> admin_pb2.ListJobsResponse:
    """So many newest ones, over as many pages as that takes."""
    whole: admin_pb2.ListJobsResponse | None = None
    request.page_token = ""  # a place in a list  # nosec B105
    while whole is None or (len(whole.jobs) < limit and whole.next_page_token):
        request.page_size = min(200, limit - (len(whole.jobs) if whole is not None else 0))
        page = call("ListJobs", request)
        if whole is None:
            whole = page
        else:
            whole.jobs.extend(page.jobs)
            whole.next_page_token = page.next_page_token
        request.page_token = page.next_page_token
    return whole


def _show(read: Callable[[], Any], write: Callable[[Any], None], as_json: bool, *, follow: bool) -> None:
    while True:
        answer = read()
        if as_json:
            typer.echo(_json(answer))
        else:
            write(answer)
        if not follow or _has_ended(answer):
            return
        try:
            time.sleep(FOLLOW_S)
        except KeyboardInterrupt:
            return


def _has_ended(answer: Any) -> bool:
    """A single job that has ended is not followed any further."""
    return hasattr(answer, "steps") and answer.job.HasField("ended_at")


def _json(answer: Any) -> str:
    from google.protobuf.json_format import MessageToJson

    return MessageToJson(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _changed(answer: Any, as_json: bool) -> None:
    job = answer.job
    if as_json:
        typer.echo(_json(answer))
        return
    held = ", on legal hold" if job.legal_hold else ""
    typer.echo(f"{job.screening_id}: {_state(job.state)}{held}")


def _print_list(answer: admin_pb2.ListJobsResponse) -> None:
    from trabecula.cli.terminal import console

    shown = console()
    counts = ", ".join(f"{each.jobs} {_state(each.state)}" for each in answer.counts)
    oldest = f"; the oldest open one came {_age(answer.oldest_open_age_s)} ago" if answer.oldest_open_age_s else ""
    shown.print(f"{counts}{oldest}.")
    if answer.jobs:
        shown.print(_table(answer))
    if answer.next_page_token:
        shown.print("[dim]There are more; see --limit.[/dim]")


def _table(answer: admin_pb2.ListJobsResponse) -> Table:
    from rich.table import Table

    table = Table()
    for column in ("job", "state", "priority", "source", "came", "took", "tries", "reason"):
        narrow = column in ("took", "tries")
        table.add_column(column, no_wrap=column in ("job", "reason"), justify="right" if narrow else "left")
    for job in answer.jobs:
        table.add_row(
            job.screening_id,
            _state(job.state) + (" (held)" if job.legal_hold else ""),
            _priority(job.priority),
            _source(job.source),
            f"{job.submitted_at.ToDatetime():%m-%d %H:%M:%S}Z",
            _took(job),
            str(job.attempt),
            _reason(job),
        )
    return table


def _print_job(answer: admin_pb2.GetJobResponse) -> None:
    from rich.table import Table

    from trabecula.cli.terminal import console

    shown, job = console(), answer.job
    held = ", on legal hold" if job.legal_hold else ""
    shown.print(f"[bold]{job.screening_id}[/bold] {_state(job.state)}{held}")
    shown.print(
        f"{job.instances} files, {job.total_bytes / 1e6:.1f} MB, {_priority(job.priority)}, {_source(job.source)}"
    )
    if job.HasField("failure"):
        shown.print(f"[red]{job.failure.code}[/red]: {job.failure.message}", markup=True)
    if job.HasField("progress"):
        from trabecula.service.messages import stage_from_proto

        stage = stage_from_proto(job.progress.stage)
        shown.print(f"in stage {stage.value if stage else NONE}, {job.progress.fraction:.0%}")
    if answer.HasField("not_before"):
        shown.print(f"waits until {_moment(answer.not_before.ToDatetime())}")
    table = Table()
    for column in ("at", "step", "state", "attempt", "reason"):
        table.add_column(column, justify="right" if column == "attempt" else "left")
    for step in answer.steps:
        at = _moment(step.at.ToDatetime())
        table.add_row(at, step.event, _state(step.state), str(step.attempt), step.reason or NONE)
    shown.print(table)


def _state(number: int) -> str:
    from trabecula.v1 import screening_pb2

    return screening_pb2.ScreeningState.Name(number).removeprefix("SCREENING_STATE_").lower()


def _priority(number: int) -> str:
    from trabecula.v1 import screening_pb2

    return screening_pb2.Priority.Name(number).removeprefix("PRIORITY_").lower()


def _source(number: int) -> str:
    from trabecula.v1 import screening_pb2

    return screening_pb2.Source.Name(number).removeprefix("SOURCE_").lower()


def _moment(utc: datetime) -> str:
    return f"{utc:%Y-%m-%d %H:%M:%S}Z"


def _took(job: screening_pb2.ScreeningSummary) -> str:
    if not (job.HasField("started_at") and job.HasField("ended_at")):
        return NONE
    return f"{(job.ended_at.ToDatetime() - job.started_at.ToDatetime()).total_seconds():.1f} s"


def _reason(job: screening_pb2.ScreeningSummary) -> str:
    return job.failure.code if job.HasField("failure") else NONE


def _age(seconds: float) -> str:
    for unit, size_s in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
