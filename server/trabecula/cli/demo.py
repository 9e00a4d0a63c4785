"""``trabecula demo``: the main job from start to end on a made-up study."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from trabecula.cli.exits import exits_with_code
from trabecula.errors import TrabeculaError

START_S = 120.0
STOP_S = 30.0
SHOWN = ("T11", "T12", "L1", "L2")


class DemoServiceFailed(TrabeculaError):
    """The demo's own service did not start."""

    code = "demo-service-failed"
    remedy = "See server.log in the demo's folder."


@exits_with_code
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the study and its results.")] = Path("out/demo"),
    slice_mm: Annotated[float, typer.Option("--slice-mm", help="Slice of the phantom.")] = 1.25,
    matrix: Annotated[int, typer.Option("--matrix", help="Rows and columns of the phantom.")] = 512,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same phantom.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Start a service, write a phantom study, submit it over gRPC, show the result."""
    from trabecula.cli.submit import send_and_show
    from trabecula.cli.terminal import fraction_bar
    from trabecula.patient import PatientContext
    from trabecula.phantom import PhantomSpec, write_phantom
    from trabecula.service.client import Client

    out.mkdir(parents=True, exist_ok=True)
    with _service(out / "server.log") as port:
        with fraction_bar("phantom", quiet) as tell:
            truth = write_phantom(PhantomSpec(slice_mm=slice_mm, matrix=matrix, seed=seed), out / "study", tell)
        with Client(f"127.0.0.1:{port}") as client:
            send_and_show(client, [out / "study" / "dicom"], PatientContext(postmenopausal=True), out, quiet=quiet)
    made = ", ".join(f"{each.level} {each.vbmd_mg_cm3:.1f}" for each in truth.vertebrae if each.level in SHOWN)
    typer.echo(f"The phantom was made with {made} mg/cm3.")
    typer.echo(f"Open {(out / 'report.html').as_posix()}")


@contextmanager
def _service(log: Path) -> Iterator[int]:
    """A service in a process of its own on a free port of the loopback interface, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="trabecula-demo-") as folder, log.open("wb") as stream:
        ready = Path(folder) / "port"
        command = [sys.executable, "-m", "trabecula.cli", "serve", "--listen", "127.0.0.1:0"]
        command += ["--state-dir", str(Path(folder) / "state"), "--ready-file", str(ready)]
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell  # nosec B603
            command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL
        )
        try:
            yield _wait_for_port(process, ready, log)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], ready: Path, log: Path) -> int:
    deadline = time.monotonic() + START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            last_words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise DemoServiceFailed(" ".join(last_words), exit_code=process.returncode)
        time.sleep(0.1)
    return int(ready.read_text(encoding="ascii"))
