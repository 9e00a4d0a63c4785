"""Heaps, seen in processes of their own: it must be set before there are threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

BEHAVIOUR = """
    import ctypes, re, threading, sys, tempfile
    from trabecula.work.heap import give_back, share_one_heap

    libc = ctypes.CDLL(None)

    def heaps():
        with tempfile.NamedTemporaryFile("r") as file:
            libc.fopen.restype = ctypes.c_void_p
            stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
            libc.malloc_info(0, stream)
            libc.fclose(stream)
            return len(re.findall("<heap nr=", file.read()))

    def resident_mib():
        return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")


def run(code: str) -> str:
    program = textwrap.dedent(BEHAVIOUR) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_share_one_heap() -> None:
    told = run(
        """
        assert share_one_heap()
        gate = threading.Barrier(7)

        def allocate():
            held = bytes(100_000)
            gate.wait(20)

        threads = [threading.Thread(target=allocate) for _ in range(6)]
        for each in threads:
            each.start()
        gate.wait(20)
        print(heaps())
        """
    )
    assert int(told) == 1


def test_free_pages_between_used_ones_go_back_to_the_system() -> None:
    told = run(
        """
        pieces = [bytearray(b"x" * 60_000) for _ in range(3000)]
        full = resident_mib()
        kept = [piece for number, piece in enumerate(pieces) if number % 20 == 0]
        del pieces
        before = resident_mib()
        give_back()
        print(full, before, resident_mib(), len(kept))
        """
    )
    full, before, after, kept = map(float, told.split())
    assert kept > 10
    assert before > full - 20, "nothing to give back: the test shows nothing"
    assert after < before - 50


def test_what_there_is_at_the_start_is_not_gone_through_again() -> None:
    told = run(
        """
        import gc
        from trabecula.work.heap import spare_what_stays

        def passed_over():
            return sum(isinstance(each, dict) and "mark" in each for each in gc.get_objects())

        stays = [{"mark": []} for _ in range(100_000)]
        before = passed_over()
        spare_what_stays()
        print(before, passed_over(), gc.get_freeze_count() > 100_000, gc.isenabled())
        """
    )
    assert told.split() == ["100000", "0", "True", "True"]


def test_the_service_spares_it_once_it_has_started() -> None:
    told = run(
        """
        import gc
        from trabecula.cli import serve as command
        from trabecula.service import server, workers

        async def serve(settings, runner, ready):
            before = gc.get_freeze_count()
            ready(1)
            print(before, gc.get_freeze_count() > 10_000)

        server.serve, workers.make_runner = serve, lambda settings: None
        command._serve({}, None, None, sys.stderr)
        """
    )
    assert told.split() == ["0", "True"]
