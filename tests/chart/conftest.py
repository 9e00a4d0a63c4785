"""Every values file rendered once for the session."""

from __future__ import annotations

import pytest
from helm_chart import CHART, HELM, MISSING, NEWEST, OLDEST, Rendered, render

ONLY_NEWEST = ("image-volume-values.yaml",)
FILES = [*sorted((CHART / "ci").glob("*-values.yaml")), *sorted((CHART / "examples").glob("*/values.yaml"))]


@pytest.fixture(scope="session")
def renders() -> tuple[Rendered, ...]:
    """Each file of ``ci`` and ``examples`` on each version of Kubernetes."""
    if not HELM.exists():
        pytest.skip(MISSING)
    return tuple(
        render(path, version)
        for path in FILES
        for version in (OLDEST, NEWEST)
        if version == NEWEST or path.name not in ONLY_NEWEST
    )


@pytest.fixture(scope="session")
def everything(renders: tuple[Rendered, ...]) -> Rendered:
    """All features at once."""
    return next(each for each in renders if "everything" in each.values and each.kubernetes == NEWEST)


@pytest.fixture(scope="session")
def bare(renders: tuple[Rendered, ...]) -> Rendered:
    """All features off."""
    return next(each for each in renders if "bare" in each.values and each.kubernetes == NEWEST)


@pytest.fixture(scope="session")
def minimal(renders: tuple[Rendered, ...]) -> Rendered:
    """What must be given, and nothing else."""
    return next(each for each in renders if "minimal" in each.values and each.kubernetes == NEWEST)
