"""``trabecula health``: what a probe would see."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer

from trabecula.cli.exits import EXIT_CODES_HELP, ExitCode, exits_with_code

SERVICES: Final = ("ready", "startup", "alive")
ANYWHERE: Final = {
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - the address listened on, not one to open  # nosec B104
    "[::]": "[::1]",
}
EPILOG = f"""[bold]Services[/bold]

ready: started, the database answers, not draining. startup: the models are loaded, the doors are open. alive: the
process answers.

[bold]Examples[/bold]

trabecula health

trabecula health --service startup --server 127.0.0.1:8081 --json

0: SERVING; 1: not, or nobody answers.

{EXIT_CODES_HELP}"""


@exits_with_code
def health(
    server: Annotated[
        str | None,
        typer.Option("--server", help="host:port of the health port, default TRABECULA_HEALTH_LISTEN."),
    ] = None,
    service: Annotated[str, typer.Option("--service", help="ready (default), startup or alive.")] = "ready",
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=0.1, help="How long the answer may take.")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")] = False,
) -> None:
    """Ask a service whether it is ready, as the platform's probes do."""
    if service not in SERVICES:
        raise typer.BadParameter(", ".join(SERVICES), param_hint="--service")
    status = _status(_address(server), "" if service == "alive" else service, timeout_s)
    typer.echo(json.dumps({"service": service, "status": status}) if as_json else f"{service}: {status}")
    if status != "SERVING":
        raise typer.Exit(ExitCode.OTHER)


def _address(server: str | None) -> str:
    from trabecula.config import load_settings, split_address
    from trabecula.errors import ConfigurationError

    address = server or load_settings().health_listen
    if address is None:
        raise ConfigurationError(setting="TRABECULA_HEALTH_LISTEN", must_be="given, or --server")
    host, port = split_address(address)
    return f"{ANYWHERE.get(host, host)}:{port}"


def _status(address: str, service: str, timeout_s: float) -> str:
    """SERVING, NOT_SERVING, or the code of the call that failed (UNAVAILABLE: nobody answers)."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_s
            )
        except grpc.RpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
