"""Signals end a command soon, with the shell's exit code, and what it writes is whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from trabecula.cli.interrupts import Interruption, interruptible
from trabecula.outcome import Stage

LIMIT_S = 60.0
"""On a machine as busy as can be; by itself it takes little more than a second."""


def run(code: str, number: signal.Signals, folder: Path, *, ignored: bool = False) -> tuple[int, str]:
    """Exit code and standard output of a program that says "ready" and is then sent the signal."""
    program = f"from pathlib import Path\nfolder = Path({str(folder)!r})\n" + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        return process.wait(LIMIT_S), process.stdout.read()
    finally:
        process.kill()


COMPUTES = """
    import ctypes, signal
    from trabecula.cli.interrupts import interruptible
    with interruptible() as interruption:
        with interruption.whole_files(folder / "out") as partial:
            (partial / "half").write_text("half")
            signal.pthread_sigmask(signal.SIG_BLOCK, [2, 15])  # other threads hear them, as in a pool of OpenMP's
            print("ready", flush=True)
            ctypes.CDLL(None).usleep(900_000_000)
    print("not reached")
"""


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_native_code_does_not_keep_the_process(number: signal.Signals, ignored: bool, tmp_path: Path) -> None:
    assert run(COMPUTES, number, tmp_path, ignored=ignored) == (128 + number, "")
    assert list(tmp_path.iterdir()) == []


SWALLOWED = """
    import time
    from trabecula.cli import interrupts
    from trabecula.cli.interrupts import interruptible
    interrupts.GRACE_S = 600.0
    from trabecula.outcome import Stage

    class Deaf:
        def __del__(self):
            print("ready", flush=True)
            time.sleep(0.5)

    with interruptible() as interruption:
        listener = interruption.between(lambda stage, fraction: None)
        Deaf()
        try:
            for _ in range(1_000_000_000):
                listener(Stage.IMAGING, 0.5)
        finally:
            print("in good order", flush=True)
"""


def test_an_interruption_lost_in_a_destructor_is_heard_between_tiles(tmp_path: Path) -> None:
    assert run(SWALLOWED, signal.SIGINT, tmp_path) == (130, "in good order\n")


RENAMES = """
    import os, time
    from trabecula.cli.interrupts import interruptible
    replace = os.replace

    def slowly(a, b):
        print("ready", flush=True) if Path(a).name == "0" else None
        time.sleep(0.4)
        replace(a, b)

    os.replace = slowly
    with interruptible() as interruption:
        with interruption.whole_files(folder / "out") as partial:
            for name in range(5):
                (partial / str(name)).write_text("whole")
"""


def test_files_that_are_being_put_in_place_all_come(tmp_path: Path) -> None:
    code, _ = run(RENAMES, signal.SIGINT, tmp_path)
    assert code == 130
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == list("01234")


def break_off(interruption: Interruption, folder: Path) -> None:
    with interruption.whole_files(folder) as partial:
        (partial / "report.json").write_text("half")
        raise OSError("full")


def test_a_failure_leaves_nothing_and_no_file_of_before_changes(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "report.json").write_text("before")
    with interruptible() as interruption:
        for name in ("there", "new"):
            with pytest.raises(OSError, match="full"):
                break_off(interruption, tmp_path / name)
        assert (tmp_path / "there" / "report.json").read_text() == "before"
        assert [each.name for each in tmp_path.iterdir()] == ["there"]
        with interruption.whole_files(tmp_path / "there") as partial:
            (partial / "report.json").write_text("after")
    assert [each.read_text() for each in (tmp_path / "there").iterdir()] == ["after"]


def test_handlers_are_given_back_and_other_threads_go_without(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with interruptible():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert threading.active_count() == threads
    heard: list[Stage] = []

    def elsewhere() -> None:
        with interruptible() as interruption, interruption.whole_files(tmp_path / "out") as folder:
            interruption.between(lambda stage, _fraction: heard.append(stage))(Stage.IMAGING, 0.0)
            (folder / "a").touch()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert (heard, os.listdir(tmp_path / "out")) == ([Stage.IMAGING], ["a"])


def test_an_ignored_interrupt_counts_from_the_start(tmp_path: Path) -> None:
    code = """
        import sys, time
        from trabecula import cli
        sys.modules["trabecula.cli.app"] = type(sys)("app")
        sys.modules["trabecula.cli.app"].app = lambda: (print("ready", flush=True), time.sleep(600))
        cli.main()
    """
    began_s = time.monotonic()
    returned, _ = run(code, signal.SIGINT, tmp_path, ignored=True)
    assert returned in (130, -signal.SIGINT)
    assert time.monotonic() - began_s < 600
