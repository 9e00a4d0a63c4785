"""Our runtime against nnU-Net itself: the same model folders, the same scans, voxel for voxel.

nnU-Net (installed from PyPI with the extra ``nnunet``) makes its fingerprint, its plans, its checkpoints and its labels
in a process of its own; here they are imported and run with onnxruntime alone. ``TRABECULA_NNUNET_MADE`` may name a
folder in which ``build_nnunet.py`` has already been run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_nnunet import CASES, LABELS

from trabecula.errors import LabelMapError, ModelImportError
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.bundle import FullManifest, load_bundle
from trabecula.segmentation.nnunet.importer import ImportRequest, import_nnunet
from trabecula.segmentation.nnunet.labels import LabelMap, load_label_map
from trabecula.segmentation.nnunet.session import open_nnunet
from trabecula.segmentation.settings import RuntimeSettings

REASON = "NOT TESTED: nnU-Net is not installed (make install-dev, or pip install 'trabecula[nnunet]')"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("nnunetv2", reason=REASON)
RUNTIME = RuntimeSettings(threads=2)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What nnU-Net made, see ``tests/support/build_nnunet.py``."""
    if made := os.environ.get("TRABECULA_NNUNET_MADE"):
        return Path(made)
    out = tmp_path_factory.mktemp("nnunet")
    program = Path(__file__).parents[1] / "support" / "build_nnunet.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, program, out], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def request(built: Path, case: str, **changes: Any) -> ImportRequest:
    (folder,) = (built / case / "model").iterdir()
    values: dict[str, Any] = {
        "folder": folder,
        "label_map": LabelMap(labels={name: "unlabelled" if name == "background" else "aorta" for name in LABELS}),
        "name": case,
        "orientation": "LPS",
        "mirroring": CASES[case].mirroring,
        **changes,
    }
    return ImportRequest(**values)


@pytest.mark.parametrize("case", CASES)
def test_labels_are_those_of_nnunet(built: Path, case: str, tmp_path: Path) -> None:
    done = import_nnunet(request(built, case), tmp_path / "bundle")
    assert done.folds == tuple(str(fold) for fold in CASES[case].folds)
    assert done.manifest.nnunet.input.mirror_axes == ((0, 1, 2) if CASES[case].mirroring else ())
    assert done.largest_difference < 1e-3
    scan = np.load(built / case / "scan.npz")
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]], affine[3, 3] = scan["spacing_mm"], 1.0
    volume = CtVolume(scan["hu"], Geometry(scan["hu"].shape, affine))
    told: list[float] = []
    found = open_nnunet(load_bundle(tmp_path / "bundle"), RUNTIME).predict(volume, told.append).labels
    expected = np.load(built / case / "expected.npz")["labels"]
    assert len(np.unique(expected)) > 1
    foreground = (found > 0) | (expected > 0)
    assert (found == expected).mean() >= 0.999
    assert (found == expected)[foreground].mean() >= 0.99
    assert told[0] == 0.0
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_the_bundle_says_what_it_was_made_from(built: Path, tmp_path: Path) -> None:
    import_nnunet(request(built, "plain-fullres", folds=("1",), mirroring=True), tmp_path / "bundle")
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert isinstance(manifest, FullManifest)
    assert manifest.training["architecture"] == "PlainConvUNet"
    assert manifest.training["configuration"] == "3d_fullres"
    assert manifest.training["folds"] == ["1"]
    assert manifest.nnunet.input.mirror_axes == (0, 1, 2)
    assert [label.name for label in manifest.nnunet.labels] == list(LABELS)


def test_a_ready_made_map_fits_a_network_that_has_some_of_its_labels(built: Path, tmp_path: Path) -> None:
    label_map = load_label_map("totalsegmentator-total")
    done = import_nnunet(request(built, "plain-lowres", label_map=label_map, orientation=None), tmp_path / "bundle")
    assert [label.target for label in done.manifest.nnunet.labels] == ["unlabelled", "T12", "L1", "spinal_canal"]
    assert done.manifest.nnunet.input.axes == ("S", "A", "R")


def test_labels_that_the_map_does_not_have_are_named(built: Path, tmp_path: Path) -> None:
    label_map = LabelMap(labels={"background": "unlabelled"})
    with pytest.raises(LabelMapError, match="vertebrae_T12"):
        import_nnunet(request(built, "plain-fullres", label_map=label_map), tmp_path / "bundle")


class Foreign:
    """What a checkpoint must not hold."""


def damaged(built: Path, tmp_path: Path, **changes: Any) -> ImportRequest:
    """The plain model with a fold's checkpoint changed."""
    (folder,) = (built / "plain-fullres" / "model").iterdir()
    copy = tmp_path / folder.name
    (copy / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    torch.save({**checkpoint, **changes}, copy / "fold_0" / "checkpoint_final.pth")
    return request(built, "plain-fullres", folder=copy, folds=())


def test_a_checkpoint_with_foreign_objects_is_refused_unopened(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match=r"Foreign"):
        import_nnunet(damaged(built, tmp_path, extra=Foreign()), tmp_path / "bundle")


def test_weights_of_another_architecture_are_refused_with_the_trainers_name(built: Path, tmp_path: Path) -> None:
    weights = {"encoder.stages.0.weight": torch.zeros(3)}
    changed = damaged(built, tmp_path, network_weights=weights, trainer_name="nnUNetTrainerOther")
    with pytest.raises(ModelImportError, match="nnUNetTrainerOther"):
        import_nnunet(changed, tmp_path / "bundle")


def test_an_unsupported_architecture_is_named(built: Path, tmp_path: Path) -> None:
    changed = damaged(built, tmp_path)
    plans = json.loads((changed.folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "somewhere.PrimusM"
    (changed.folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(ModelImportError, match="PrimusM"):
        import_nnunet(changed, tmp_path / "bundle")


def test_no_checkpoint_and_a_bundle_in_the_way_are_said(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelImportError, match="checkpoint_best"):
        import_nnunet(request(built, "plain-fullres", checkpoint="checkpoint_best.pth"), tmp_path / "bundle")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    with pytest.raises(ModelImportError, match="not empty"):
        import_nnunet(request(built, "plain-fullres"), tmp_path / "bundle")
