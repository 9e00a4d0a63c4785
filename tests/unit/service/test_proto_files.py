"""The wire contract: linted, and the generated code is of these very files."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest

GENERATED = ("report_pb2", "screening_pb2", "admin_pb2")


def test_generated_code_is_current(repository: Path, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="NO grpcio-tools: generated code is not checked")
    subprocess.run(
        [repository / "scripts" / "generate_proto.sh", tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    committed = repository / "server" / "trabecula" / "v1"
    names = [f"{name}{ending}" for name in GENERATED for ending in (".py", ".pyi", "_grpc.py")]
    _, different, missing = filecmp.cmpfiles(tmp_path / "trabecula" / "v1", committed, names, shallow=False)
    assert (different, missing) == ([], []), "run scripts/generate_proto.sh"


def test_protos_pass_buf_lint_and_format(repository: Path) -> None:
    buf = Path(sys.executable).with_name("buf")
    if not buf.exists():
        pytest.skip("NO buf: the protos are not linted")
    for command in (["lint"], ["format", "--diff", "--exit-code"]):
        run = subprocess.run([buf, *command], cwd=repository, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
