"""The real engine and a small phantom study, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.anatomy import Level
from trabecula.assets import models_dir
from trabecula.imaging.limits import ImagingLimits
from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.screening import Engine, load_engine
from trabecula.segmentation import RuntimeSettings

ASKED_MG_CM3 = {Level.T11: 88.0, Level.T12: 84.0, Level.L1: 79.0, Level.L2: 77.0}


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine(models_dir(), RuntimeSettings(), ImagingLimits())


@pytest.fixture(scope="session")
def phantom_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A woman with low density: T1 to L3, 256 x 256 pixels, 2.5 mm slices."""
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_phantom(PhantomSpec(vbmd_mg_cm3=ASKED_MG_CM3, matrix=256, slice_mm=2.5, noise_hu=10.0, seed=7), folder)
    return folder
