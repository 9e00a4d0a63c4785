"""The previous release runs on the tables of this one: a new release upgrades first, and its pods follow."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import psycopg
import pytest
from database import DatabaseServer

from trabecula.v1 import screening_pb2

HERE = Path(__file__).parent
LATER = "0999"
"""A revision that the old code cannot know."""


@pytest.fixture(scope="module")
def old_code(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release's source, from the history."""
    commit = tomllib.loads((HERE / "previous_release.toml").read_text())["previous"]["commit"]
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit, "server", "tests/support", "fhir", "proto"],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        pytest.skip(f"HISTORY MISSING: the previous release ({commit[:10]}) is not in this checkout")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def run_old(old_code: Path, url: str, state: Path, order: str) -> dict[str, object]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{old_code / 'server'}:{old_code / 'tests' / 'support'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-P", str(HERE / "run_old_release.py"), url, str(state), order]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    assert str(found["code"]).startswith(str(old_code))
    return found


@pytest.mark.parametrize(
    ("order", "state"),
    [("report", screening_pb2.SCREENING_STATE_REPORTED), ("refuse", screening_pb2.SCREENING_STATE_REFUSED)],
)
def test_the_previous_release_accepts_and_ends_a_screening_on_these_tables(
    old_code: Path, database_server: DatabaseServer, tmp_path: Path, order: str, state: int
) -> None:
    name = database_server.create()
    try:
        with psycopg.connect(**{**database_server.parameters, "dbname": name}) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", [LATER])
        found = run_old(old_code, database_server.url(name), tmp_path, order)
        assert found["state"] == state
        with psycopg.connect(**{**database_server.parameters, "dbname": name}) as connection:
            rows = connection.execute("SELECT state, (SELECT count(*) FROM document) FROM screening").fetchall()
            assert rows == [("reported" if order == "report" else "refused", found["documents"])]
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (LATER,)
    finally:
        database_server.drop(name)
