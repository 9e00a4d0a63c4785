"""One running service for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from canary_site import CanarySite, canary_site, make_phantom


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Instances of a small chest phantom."""
    return make_phantom(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[CanarySite]:
    """``trabecula serve --role all`` with every door open and real models."""
    if not list((repository / "models").glob("*/model.onnx")):
        pytest.skip("NO MODELS in models/")
    with canary_site(tmp_path_factory.mktemp("canary")) as opened:
        yield opened
