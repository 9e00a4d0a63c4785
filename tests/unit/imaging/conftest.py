"""Fixtures of the imaging tests: a small volume, limits that let it pass, a writer of series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_ct import HuArray, SeriesSpec, write_series

from trabecula.imaging.limits import ImagingLimits


@pytest.fixture(scope="session")
def body() -> HuArray:
    """A small asymmetric volume (12, 14, 17): air around noise of tissue, every voxel told apart from its mirror."""
    random = np.random.default_rng(7)
    hu = random.integers(-150, 200, size=(12, 14, 17)).astype(np.int16)
    hu[:, :3] = -1000
    hu[:, :, :2] = -990
    hu[2:5, 8:11, 9:12] = 900
    hu.setflags(write=False)
    return hu


@pytest.fixture(scope="session")
def small() -> ImagingLimits:
    """Limits that let the small test volumes pass."""
    return ImagingLimits(min_slices=4, min_extent_mm=6.0)


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., Path]:
    """Writes a series below a new folder of the test's study and returns the folder."""
    study = tmp_path / "study"

    def make(spec: SeriesSpec, name: str = "series") -> Path:
        write_series(spec, study / name)
        return study

    return make
