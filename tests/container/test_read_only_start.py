"""As in a container: another user without any right, the whole file system read-only but two folders, SIGTERM."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from trabecula.cli.submit import study_files
from trabecula.service.client import Client
from trabecula.v1 import screening_pb2 as pb

USER = 65532
PROGRAM = [sys.executable, "-m", "trabecula.cli"]


@dataclass
class Shut:
    """``trabecula serve`` in bubblewrap."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    state: Path

    def service(self) -> psutil.Process:
        """The service itself, within bubblewrap's own processes."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return next(each for each in found if each.cmdline()[1:4] == [*PROGRAM[1:], "serve"])


@pytest.fixture
def shut(repository: Path, tmp_path: Path) -> Iterator[Shut]:
    if os.geteuid() != 0 or shutil.which("bwrap") is None or shutil.which("setpriv") is None:
        pytest.skip("NOT ROOT, or no bwrap: the start with read-only folders is not tried")
    state, scratch, log = tmp_path / "state", tmp_path / "scratch", tmp_path / "log"
    for folder in (state, scratch):
        folder.mkdir(mode=0o700)
        os.chown(folder, USER, USER)
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--die-with-parent"]
    command += ["--bind", str(scratch), "/tmp", "--bind", str(state), "/tmp/state"]
    for seen in (repository, Path(sys.prefix)):  # also where the checkout itself lies below /tmp
        command += ["--ro-bind", str(seen), str(seen)]
    # PostgreSQL's initdb wants the user to have a name, as it has in the image
    people = tmp_path / "passwd"
    people.write_text(Path("/etc/passwd").read_text() + f"trabecula:x:{USER}:{USER}::/nonexistent:/usr/sbin/nologin\n")
    command += ["--ro-bind", str(people), "/etc/passwd"]
    # the checkout may lie in folders that only root may enter: reading, and nothing else, is left of its rights
    rights = ["--bounding-set=-all,+dac_read_search", "--inh-caps=-all,+dac_read_search"]
    rights += ["--ambient-caps=-all,+dac_read_search", "--no-new-privs"]
    command += ["--cap-add", "ALL", "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *rights]
    own = {
        "PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(repository / "server"), "PYTHONDONTWRITEBYTECODE": "1",
        "TRABECULA_STATE_DIR": "/tmp/state/inner", "TRABECULA_WARM_START": "false",
    }  # fmt: skip
    arguments = ["serve", "--listen", "127.0.0.1:0", "--ready-file", "/tmp/port"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *PROGRAM, *arguments], env=own, stdout=stream, stderr=stream, cwd="/")
    try:
        deadline = time.monotonic() + 120
        while not (scratch / "port").exists():
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield Shut(process, int((scratch / "port").read_text(encoding="ascii")), log, state)
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.slow
def test_it_starts_screens_and_stops(shut: Shut, tmp_path: Path) -> None:
    subprocess.run(
        [*PROGRAM, "phantom", str(tmp_path / "p"), "--matrix", "128", "--slice-mm", "5", "--quiet"], check=True
    )
    with Client(f"127.0.0.1:{shut.port}") as client:
        last = list(client.watch(client.submit(study_files([tmp_path / "p" / "dicom"]))))[-1]
    assert last.state in (pb.SCREENING_STATE_REPORTED, pb.SCREENING_STATE_REFUSED)

    owners = {path.lstat().st_uid for path in shut.state.rglob("*")}
    assert owners == {USER}
    assert not (shut.state / "inner").stat().st_mode & 0o077

    service = shut.service()
    shown = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
    assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in shown
    assert "NoNewPrivs:\t1" in shown
    assert list(shut.state.rglob("postmaster.pid"))
    service.send_signal(signal.SIGTERM)
    assert shut.process.wait(60) == 0
    events = [json.loads(line)["event"] for line in shut.log.read_text(encoding="utf-8").splitlines()]
    assert "draining" in events
    assert events[-1] == "stopped"
    assert not list(shut.state.rglob("postmaster.pid")), "PostgreSQL was stopped, not killed"
