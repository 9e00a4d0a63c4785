"""PostgreSQL's own programs: pg_dump, pg_restore, psql."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import make_conninfo

from trabecula.errors import DatabaseToolFailed
from trabecula.work.embedded import binaries

WHEEL_VERSION: Final = 18
"""Major version of the programs that come along; they serve every older server as well."""
_KEPT_MESSAGE: Final = 500


def tool(name: str, server_version: int) -> Path:
    """Path of a program that can work with a server: the one that comes along, or a newer one on the PATH.

    Args:
        name: of the program.
        server_version: ``server_version_num``.

    Raises:
        DatabaseToolFailed: if the server is newer and the PATH has no such program.
    """
    if server_version // 10000 <= WHEEL_VERSION:
        return binaries() / name
    found = shutil.which(name)
    if found is None:
        raise DatabaseToolFailed(tool=name, reason="not-installed", needs_version=server_version // 10000)
    return Path(found)


async def start(program: Path, parameters: Mapping[str, str], *arguments: str, **streams: Any) -> Process:
    """Start a program with a connection; no password on its command line."""
    public = {name: value for name, value in parameters.items() if name != "password"}
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PGTZ": "UTC"}
    if "password" in parameters:
        environment["PGPASSWORD"] = parameters["password"]
    return await asyncio.create_subprocess_exec(
        program, "--dbname", make_conninfo(**public), *arguments, env=environment, stderr=PIPE, **streams
    )


async def ended_well(name: str, process: Process) -> None:
    """Wait for a program.

    Raises:
        DatabaseToolFailed: with the end of what it complained of, for operators.
    """
    said = b"" if process.stderr is None else await process.stderr.read()
    if await process.wait() != 0:
        raise DatabaseToolFailed(said.decode(errors="replace").strip()[-_KEPT_MESSAGE:], tool=name)
