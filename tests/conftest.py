"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
from database import DatabaseServer, fresh_database, running_server
from fhir_guide import MISSING, validators_missing
from fhir_server import FhirServer

from trabecula.config import Settings
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
"""The usual run gives the same answer every time; ``HYPOTHESIS_PROFILE=explore`` looks for new examples."""

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the real CTs; tests that need it are skipped, loudly, where it is missing."""
    root = Path(os.environ.get("TRABECULA_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "ct").is_dir():
        pytest.skip(f"REAL CT DATA MISSING: set TRABECULA_DATA (looked for {root.name}/ct beside the checkout)")
    return root


@pytest.fixture(scope="session")
def running_fhir_server() -> Iterator[FhirServer]:
    """One FHIR R4 server for the whole session; use ``fhir_server``, which is empty."""
    if validators_missing():
        pytest.skip(MISSING)
    with FhirServer.start() as server:
        yield server


@pytest.fixture
def fhir_server(running_fhir_server: FhirServer) -> FhirServer:
    """A real FHIR R4 server, empty; ``fhir_server.url`` is its base. Holds resources to the project's profiles."""
    running_fhir_server.reset()
    return running_fhir_server


@pytest.fixture(scope="session")
def database_server() -> Iterator[DatabaseServer]:
    """A real PostgreSQL, started for the session."""
    yield from running_server()


@pytest.fixture
async def _fresh(database_server: DatabaseServer) -> AsyncIterator[tuple[Database, Settings]]:
    async with fresh_database(database_server) as opened:
        yield opened


@pytest.fixture
def database(_fresh: tuple[Database, Settings]) -> Database:
    """An open, migrated, empty database of this test's own."""
    return _fresh[0]


@pytest.fixture
def database_settings(_fresh: tuple[Database, Settings]) -> Settings:
    """Settings with the URL of ``database``, for what opens it by itself (a server, a subprocess)."""
    return _fresh[1]


@pytest.fixture
def content(tmp_path: Path) -> FolderContent:
    """An empty content store."""
    return FolderContent(tmp_path / "content")
