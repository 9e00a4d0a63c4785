"""Which bundles are judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trabecula.assets import models_dir
from trabecula.errors import ModelError
from trabecula.evaluation.models import Judged, load_judged
from trabecula.imaging.limits import ImagingLimits
from trabecula.segmentation import RuntimeSettings
from trabecula.segmentation.bundle import find_bundles


def load(*bundles: Path) -> Judged:
    return load_judged(bundles, models_dir(), RuntimeSettings(threads=1, warm_start=False), ImagingLimits())


def copied(folder: Path, target: Path, **changes: str) -> Path:
    """A bundle under another name, its ONNX file the same."""
    target.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (target / "manifest.json").write_text(json.dumps(manifest))
    (target / manifest["file"]).write_bytes((folder / manifest["file"]).read_bytes())
    return target


def test_a_given_bundle_replaces_the_installed_one_of_its_kind(tmp_path: Path) -> None:
    mine = copied(find_bundles(models_dir())["fine"], tmp_path / "mine", name="mine", version="0.0.1")
    installed, given = load(), load(mine)
    assert [use.name for use in given.uses] == [installed.uses[0].name, "mine"]
    assert given.structures == installed.structures
    assert {"vertebra", "aorta", "lung"} <= given.structures


def test_two_bundles_of_one_kind_do_not_go_together(tmp_path: Path) -> None:
    fine = find_bundles(models_dir())["fine"]
    with pytest.raises(ModelError, match="two bundles of kind fine"):
        load(fine, copied(fine, tmp_path / "other"))


def test_an_imported_network_is_not_mixed_with_the_installed_ones(tmp_path: Path) -> None:
    """It is loaded alone: an empty one is refused for itself, not beside a coarse model."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "manifest.json").write_text('{"kind": "full"}')
    with pytest.raises(ModelError, match="net"):
        load(tmp_path / "net")


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_what_is_no_bundle_is_a_coded_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="no model bundle"):
        load(tmp_path)
