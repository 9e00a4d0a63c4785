"""``trabecula submit``: send a study to a service, follow it, fetch what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, complain, exits_with_code
from trabecula.cli.options import PATIENT_HELP, Json, Masks, Out, PatientFile, Quiet, check_masks
from trabecula.cli.screen import show
from trabecula.errors import NoDicomFound

if TYPE_CHECKING:
    from trabecula.patient import PatientContext
    from trabecula.service.client import Client, ClientTls
    from trabecula.v1 import screening_pb2 as pb
    from trabecula.work.records import Priority

EPILOG = f"""[bold]Examples[/bold]

trabecula submit study/ --server localhost:50051 --out out/study

trabecula submit study/ --server trabecula.example:50051 --tls-ca ca.crt --token-file token

TRABECULA_DESTINATIONS_FILE=site.toml TRABECULA_DICOMWEB_ARCHIVE=pacs trabecula submit --from-pacs 1.2.840.113619.2.1

{PATIENT_HELP}

{EXIT_CODES_HELP}"""

PATIENCE_S = 120.0
"""How long a service that went away after it had accepted the study is waited for."""

Certificates = Annotated[
    Path | None,
    typer.Option("--tls-ca", help="Encrypt, and trust the certificates in this file.", show_default=False),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--tls-certificate", help="This client's certificate.", show_default=False),
]
Key = Annotated[
    Path | None,
    typer.Option("--tls-key", help="Its key.", show_default=False),
]
Encrypted = Annotated[
    bool, typer.Option("--tls", help="Encrypt, and trust the system's certificates unless --tls-ca names others.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help="File with an access token to show (docs/grpc.md); read anew for each call.",
        show_default=False,
    ),
]


def tls_with(encrypted: bool, ca: Path | None, certificate: Path | None, key: Path | None) -> ClientTls | None:
    """TLS as the options ask for it; None for a plain connection."""
    from trabecula.service.client import ClientTls

    return ClientTls(ca, certificate, key) if encrypted or ca or certificate else None


Study = Annotated[
    list[Path] | None,
    typer.Argument(help="Files or folders with the DICOM instances of one study.", show_default=False),
]
FromPacs = Annotated[
    str | None,
    typer.Option(
        "--from-pacs",
        help="Study Instance UID of a study to fetch from the archive (TRABECULA_DICOMWEB_ARCHIVE) instead.",
        show_default=False,
    ),
]


@exits_with_code
def submit(
    paths: Study = None,
    from_pacs: FromPacs = None,
    server: Annotated[str, typer.Option("--server", help="host:port of the service.")] = "127.0.0.1:50051",
    out: Out = None,
    as_json: Json = False,
    masks: Masks = False,
    patient: PatientFile = None,
    quiet: Quiet = False,
    idempotency_key: Annotated[
        str, typer.Option("--idempotency-key", help="The same key with the same study is worked on once.")
    ] = "",
    priority: Annotated[
        str, typer.Option("--priority", help="archive, routine or stat: what is worked on first, and turned away last.")
    ] = "routine",
    tls_ca: Certificates = None,
    tls_certificate: Certificate = None,
    tls_key: Key = None,
    tls: Encrypted = False,
    token_file: TokenFile = None,
) -> None:
    """Send one study to a running service and show the result."""
    check_masks(masks, out)
    from trabecula.patient import PatientContext
    from trabecula.patient_file import read_patient_file
    from trabecula.service.client import Client

    urgency = _priority(priority)
    context = read_patient_file(patient) if patient is not None else PatientContext()
    encryption = tls_with(tls, tls_ca, tls_certificate, tls_key)
    if bool(paths) == (from_pacs is not None):
        raise typer.BadParameter("give either files or --from-pacs", param_hint="--from-pacs")
    with ExitStack() as stack:
        files: Iterable[Path] = paths or ()
        if from_pacs is not None:
            from trabecula.cli.from_pacs import pulled_study
            from trabecula.config import load_settings

            files = stack.enter_context(pulled_study(from_pacs, load_settings()))
        client = stack.enter_context(Client(server, encryption, token_file))
        send_and_show(client, files, context, out, as_json, masks, quiet, idempotency_key, urgency)


def _priority(name: str) -> Priority:
    from trabecula.work.records import Priority

    try:
        return Priority[name.upper()]
    except KeyError:
        raise typer.BadParameter("archive, routine or stat", param_hint="--priority") from None


def send_and_show(
    client: Client,
    paths: Iterable[Path],
    context: PatientContext,
    out: Path | None,
    as_json: bool = False,
    masks: bool = False,
    quiet: bool = False,
    idempotency_key: str = "",
    priority: Priority | None = None,
) -> None:
    """Submit, watch, fetch, print; ends the process unless the study was reported."""
    files = study_files(paths)
    screening_id = _send(client, files, context, masks, quiet, idempotency_key, priority)
    summary = _follow(client, screening_id, quiet)
    if summary.HasField("failure"):
        complain(summary.failure.code, f"{summary.failure.message} (screening {screening_id})")
        raise typer.Exit(ExitCode.BAD_INPUT if summary.failure.input_error else ExitCode.OTHER)
    _, report = client.get(screening_id)
    if report is None:
        complain("cancelled", f"The screening was cancelled (screening {screening_id})")
        raise typer.Exit(ExitCode.OTHER)
    show(report, _fetch(client, screening_id, summary, out) if out is not None else [], as_json)


def study_files(paths: Iterable[Path]) -> list[Path]:
    """Every file below the paths, in a stable order; whether it is DICOM is for the service to say.

    Raises:
        NoDicomFound: if there is no file at all.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
            files += sorted(each for each in below if each.is_file() and each.stat().st_size > 0)
        else:
            files.append(path)
    if not files:
        raise NoDicomFound
    return files


def _send(
    client: Client,
    files: list[Path],
    context: PatientContext,
    masks: bool,
    quiet: bool,
    idempotency_key: str,
    priority: Priority | None,
) -> str:
    from trabecula.cli.terminal import byte_bar
    from trabecula.work.records import Priority

    total_bytes = sum(path.stat().st_size for path in files)
    with byte_bar(f"{len(files)} files", total_bytes, quiet) as sent:
        return client.submit(
            files,
            context,
            want_masks=masks,
            idempotency_key=idempotency_key or None,
            priority=Priority.ROUTINE if priority is None else priority,
            sent=sent,
        )


def _follow(client: Client, screening_id: str, quiet: bool) -> pb.ScreeningSummary:
    from trabecula.cli.terminal import stage_bars
    from trabecula.service.messages import stage_from_proto

    with stage_bars(quiet) as bars:
        for summary in client.watch(screening_id, PATIENCE_S):
            stage = stage_from_proto(summary.progress.stage)
            if stage is not None:
                bars(stage, summary.progress.fraction)
        if not summary.HasField("failure"):
            bars.finish()
    return summary


def _fetch(client: Client, screening_id: str, summary: pb.ScreeningSummary, out: Path) -> list[Path]:
    from trabecula.service.messages import kind_from_proto

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in map(kind_from_proto, summary.documents):
        written.append(out / kind.value)
        client.save_document(screening_id, kind, written[-1])
    return written
