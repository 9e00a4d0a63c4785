"""The service as an operator runs it: API and workers as processes of their own, started, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import psutil
from fault_postgres import free_port
from grpc_health.v1 import health_pb2, health_pb2_grpc

HOOKS = Path(__file__).with_name("hooks")
CODE = Path(__file__).resolve().parents[2] / "server"
"""The program of this very checkout."""
COMMAND = (sys.executable, "-m", "trabecula.cli")
START_S = 90.0


@dataclass
class Member:
    """One process of the service, and what came of it."""

    role: str
    name: str
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    exits: list[int] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.alive else None

    def children(self) -> list[psutil.Process]:
        """Processes that a worker screens in."""
        if self.pid is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [each for each in psutil.Process(self.pid).children(recursive=True) if is_screening_child(each)]
        return []

    def start(self, *arguments: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--role", self.role, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def wait(self, limit_s: float) -> int:
        """Exit code. Raises subprocess.TimeoutExpired."""
        if self.process is None:
            raise RuntimeError("it was never started")
        code = self.process.wait(limit_s)
        self.exits.append(code)
        return code

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(20)


def is_screening_child(process: psutil.Process) -> bool:
    """Whether it is a spawned worker child rather than multiprocessing's resource tracker."""
    with contextlib.suppress(psutil.Error):
        line = " ".join(process.cmdline())
        return "spawn_main" in line
    return False


class Service:
    """API and workers that share a database and a content store."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        settings: Mapping[str, object] = {},
        *,
        workers: int = 2,
        apis: int = 1,
        code: Path | None = None,
        extra: Mapping[str, str] = {},
        hooks: bool = True,
    ) -> None:
        """Args:
        settings: by name as in config.py.
        code: another copy of ``server/`` to run.
        extra: environment added as it is.
        hooks: whether poisoned studies do what they say.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.state_dir = folder / "state"
        self.addresses = [f"127.0.0.1:{free_port()}" for _ in range(apis)]
        python_path = os.pathsep.join(str(path) for path in (code or CODE, *([HOOKS] if hooks else [])))
        chosen = {"state_dir": self.state_dir, "database_url": database_url, "inference_threads": 1, **settings}
        self.environment = {
            **os.environ,
            "PYTHONPATH": python_path,
            "OMP_NUM_THREADS": "1",
            **{f"TRABECULA_{name.upper()}": str(value) for name, value in chosen.items()},
            **extra,
        }
        self.apis = [
            self._member("api", f"api-{index}", {"TRABECULA_LISTEN": address})
            for index, address in enumerate(self.addresses)
        ]
        self.workers = [self._member("worker", f"worker-{index}", {}) for index in range(workers)]

    @property
    def members(self) -> list[Member]:
        return [*self.apis, *self.workers]

    @property
    def address(self) -> str:
        return self.addresses[0]

    def start(self) -> None:
        """Bring the schema up to date, start everything, and wait until the API answers."""
        self.run("db", "upgrade")
        for member in self.members:
            member.start()
        for address in self.addresses:
            self.wait_serving(address)

    def wait_serving(self, address: str, limit_s: float = START_S) -> None:
        """Raises RuntimeError if the API does not answer SERVING in time."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if is_serving(address):
                return
            time.sleep(0.2)
        raise RuntimeError(f"the API does not serve; see {self.folder}")

    def run(self, *arguments: str, check: bool = True, limit_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """One command of the ``trabecula`` program with the service's settings."""
        done = subprocess.run(
            [*COMMAND, *arguments], env=self.environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"trabecula {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def revive(self) -> None:
        """What a service manager does: start again what is not running."""
        for member in self.members:
            if not member.alive:
                if member.process is not None:
                    member.exits.append(member.process.returncode)
                member.start()

    def stop(self, limit_s: float = 60.0) -> None:
        """SIGTERM to all; what does not go is killed and named.

        Raises:
            RuntimeError: if a process did not stop by itself.
        """
        for member in self.members:
            if member.alive:
                member.signal(signal.SIGCONT)
                member.signal(signal.SIGTERM)
        stuck = []
        deadline = time.monotonic() + limit_s
        for member in self.members:
            try:
                if member.process is not None:
                    member.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                stuck.append(member.name)
                member.kill()
        if stuck:
            raise RuntimeError(f"did not stop in {limit_s:g} s: {', '.join(stuck)}")

    def kill(self) -> None:
        """kill -9 of all that is left, the children too."""
        for member in self.members:
            children = member.children()
            if member.alive:
                member.kill()
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()

    def _member(self, role: str, name: str, settings: Mapping[str, str]) -> Member:
        return Member(role, name, {**self.environment, **settings}, self.folder / f"{name}.log")


def is_serving(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
