"""docs/grpc.md says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from trabecula.v1 import admin_pb2, screening_pb2


def test_every_method_is_on_the_page_with_its_kind(repository: Path) -> None:
    page = (repository / "docs" / "grpc.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| `(\w+\.\w+)` \| ([\w ]+?) \|", page, re.MULTILINE))
    kinds = {(False, False): "unary", (True, False): "client stream", (False, True): "server stream"}
    assert shown == {
        f"{service.name}.{method.name}": kinds[method.client_streaming, method.server_streaming]
        for file in (screening_pb2, admin_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def test_the_table_of_errors_is_that_of_the_program(repository: Path) -> None:
    command = [sys.executable, str(repository / "scripts" / "write_status_table.py"), "--check"]
    done = subprocess.run(command, check=False)
    assert done.returncode == 0, "run scripts/write_status_table.py"
