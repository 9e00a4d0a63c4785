"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
