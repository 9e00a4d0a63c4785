"""One small phantom as an evaluation case, and the installed models, for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.anatomy import Level
from trabecula.assets import models_dir
from trabecula.evaluation.case import Case
from trabecula.evaluation.label_map import load_label_map
from trabecula.evaluation.models import Judged, load_judged
from trabecula.evaluation.prepare import PhantomCase, cases_from_phantoms
from trabecula.evaluation.reference import Reference, build_reference
from trabecula.evaluation.volumes import LoadedCt, read_ct, read_labels
from trabecula.imaging.limits import ImagingLimits
from trabecula.phantom import PhantomSpec
from trabecula.segmentation import RuntimeSettings

SPEC = PhantomSpec(matrix=160, slice_mm=3.0, noise_hu=8.0, top=Level.T9, bottom=Level.L2, seed=11)


@pytest.fixture(scope="session")
def cases_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one case, ``phantom-small``."""
    root = tmp_path_factory.mktemp("cases")
    list(cases_from_phantoms([PhantomCase("phantom-small", SPEC)], root, lambda _: None))
    return root


@pytest.fixture(scope="session")
def case(cases_root: Path) -> Case:
    from trabecula.evaluation.case import open_case

    return open_case(cases_root / "phantom-small")


@pytest.fixture(scope="session")
def ct(case: Case) -> LoadedCt:
    loaded = read_ct(case, ImagingLimits())
    assert isinstance(loaded, LoadedCt)
    return loaded


@pytest.fixture(scope="session")
def reference(case: Case, ct: LoadedCt) -> Reference:
    raw, note = read_labels(case.labels, ct.volume.geometry)
    assert note is None
    return build_reference(raw, ct.volume.geometry, load_label_map("canonical", case.folder), case.info)


@pytest.fixture(scope="session")
def judged() -> Judged:
    return load_judged((), models_dir(), RuntimeSettings(threads=1), ImagingLimits())
