"""Exit codes, and how errors become them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec

import typer

from trabecula.errors import InputError, TrabeculaError

P = ParamSpec("P")


class ExitCode(IntEnum):
    """What the process tells its caller. Published."""

    REPORTED = 0
    OTHER = 1
    USAGE = 2
    REFUSED = 3
    BAD_INPUT = 4


EXIT_CODES_HELP = """[bold]Exit codes[/bold]

0 reported · 3 refused, with a coded reason · 4 the input cannot be used · 2 wrong usage · 1 anything else ·
130 and 143 ended by Ctrl-C or `kill`"""


def exit_code_of(error: TrabeculaError) -> ExitCode:
    """The input's fault or another."""
    return ExitCode.BAD_INPUT if isinstance(error, InputError) else ExitCode.OTHER


def complain(code: str, message: str) -> None:
    """One coded line on standard error."""
    typer.echo(f"trabecula: {code}: {message}", err=True)


def exits_with_code(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with code and message, not with a traceback, on errors of the tree."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TrabeculaError as error:
            detail = f" [{error.detail}]" if error.detail else ""
            complain(error.code, error.client_message + detail)
            raise typer.Exit(exit_code_of(error)) from error
        except OSError as error:
            complain("file-system", f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror))
            raise typer.Exit(ExitCode.OTHER) from error

    return run
