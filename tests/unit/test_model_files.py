"""Hostile model files: every way in which a model reaches the runtime refuses them, before the runtime sees them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from trabecula import model_files, onnx_scan
from trabecula.calibration.comparator import load_mass_attenuation
from trabecula.calibration.model import load_calibration
from trabecula.cli.app import app
from trabecula.errors import ModelChecksumMismatch, ModelError
from trabecula.onnx_runtime import ort
from trabecula.second_reader.manifest import load_bundle as load_second_reader
from trabecula.segmentation.bundle import load_bundle
from trabecula.segmentation.session import create_session, open_session
from trabecula.segmentation.settings import RuntimeSettings

RUNTIME = RuntimeSettings()
LOADERS: dict[str, Callable[[Path], object]] = {
    "coarse-v1": load_bundle,
    "fine-v1": load_bundle,
    "second-reader-example-v1": load_second_reader,
    "calibration-phantomless-v1": lambda folder: load_calibration(folder.parent, RUNTIME),
    "calibration-mass-attenuation-v1": lambda folder: load_mass_attenuation(folder.parent, RUNTIME),
}


@pytest.fixture(params=sorted(LOADERS))
def bundle(request: pytest.FixtureRequest, repository: Path, tmp_path: Path) -> Path:
    """A copy of one of the built-in bundles, alone in its folder."""
    folder = tmp_path / "models" / request.param
    shutil.copytree(repository / "models" / request.param, folder)
    return folder


def load(folder: Path) -> object:
    return LOADERS[folder.name](folder)


def edit(folder: Path, **changes: object) -> dict[str, Any]:
    path = folder / "manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(manifest))
    return manifest


def replace(folder: Path, content: bytes) -> None:
    """Another model, with its own checksum in the manifest: what somebody who may write the folder can do."""
    manifest = edit(folder, sha256=hashlib.sha256(content).hexdigest())
    (folder / manifest["file"]).write_bytes(content)


def spoil(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(folder / edit(folder)["file"])
    change(model)
    replace(folder, model.SerializeToString())


def external(tensor: TensorProto, location: str) -> TensorProto:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def _custom_domain(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Magic", [], ["magic"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _external_data(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(external(numpy_helper.from_array(np.zeros(4), "stolen"), "../../../../etc/passwd"))


def _external_in_attribute(model: onnx.ModelProto) -> None:
    tensor = external(numpy_helper.from_array(np.zeros(4), "stolen"), "../weights.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["stolen"], value=tensor))


def _function(model: onnx.ModelProto, **attributes: Any) -> None:
    opset = [helper.make_opsetid("", 17)]
    inner = helper.make_node("Constant", [], ["y"], **attributes)
    model.functions.append(helper.make_function("com.microsoft", "Sly", [], ["y"], [inner], opset))


def _external_in_function(model: onnx.ModelProto) -> None:
    _function(model, value=external(numpy_helper.from_array(np.zeros(4), "stolen"), "../weights.bin"))


def _external_in_default_of_function(model: onnx.ModelProto) -> None:
    _function(model, value_float=1.0)
    tensor = external(numpy_helper.from_array(np.zeros(4), "stolen"), "../weights.bin")
    model.functions[0].attribute_proto.append(helper.make_attribute("value", tensor))


def _custom_domain_in_function(model: onnx.ModelProto) -> None:
    _function(model, value_float=1.0)
    model.functions[0].opset_import.append(helper.make_opsetid("com.example", 1))


def _other_file(model: onnx.ModelProto) -> None:
    node = helper.make_node("EPContext", [], ["x"], domain="com.microsoft", ep_cache_context="../../evil.so")
    model.graph.node.append(node)


def _training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.name = "training"


ATTACKS: dict[str, Callable[[onnx.ModelProto], None]] = {
    name: change
    for name, change in globals().items()
    if name in {
        "_custom_domain", "_external_data", "_external_in_attribute", "_external_in_function",
        "_external_in_default_of_function", "_custom_domain_in_function", "_other_file", "_training",
    }
}  # fmt: skip


def test_the_built_in_bundles_load(bundle: Path) -> None:
    assert load(bundle)


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_a_hostile_model_is_refused_before_the_runtime_sees_it(
    bundle: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(bundle, ATTACKS[attack])
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: pytest.fail("the runtime saw it"))
    with pytest.raises(ModelError):
        load(bundle)


def test_a_model_that_was_swapped_is_refused(bundle: Path) -> None:
    path = bundle / edit(bundle)["file"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelChecksumMismatch):
        load(bundle)


@pytest.mark.parametrize("name", ["../outside.onnx", "{absolute}", "sub/../../outside.onnx"])
def test_a_name_that_leads_out_of_the_bundle_is_refused(bundle: Path, name: str) -> None:
    outside = bundle.parent / "outside.onnx"
    shutil.copy(bundle / edit(bundle)["file"], outside)
    edit(bundle, file=name.format(absolute=outside))
    with pytest.raises(ModelError):
        load(bundle)


def test_a_link_that_leads_out_of_the_bundle_is_refused(bundle: Path) -> None:
    path = bundle / edit(bundle)["file"]
    path.rename(bundle.parent / "outside.onnx")
    path.symlink_to("../outside.onnx")
    with pytest.raises(ModelError):
        load(bundle)


def test_a_file_that_is_too_large_is_not_read(bundle: Path) -> None:
    path = bundle / edit(bundle)["file"]
    with path.open("r+b") as stream:
        stream.truncate(8 << 30)  # a hole: takes no room on the disk, would take all memory
    with pytest.raises(ModelError, match="too large"):
        load(bundle)


def test_what_was_hashed_is_what_runs(repository: Path, tmp_path: Path) -> None:
    """Between check and use the file may be swapped: it is not read again."""
    folder = tmp_path / "fine-v1"
    shutil.copytree(repository / "models" / "fine-v1", folder)
    checked = load_bundle(folder)
    (folder / checked.manifest.file).write_bytes(b"swapped")
    assert open_session(checked, RUNTIME).manifest.sha256 == hashlib.sha256(checked.onnx).hexdigest()


def test_a_tensor_that_declares_more_than_it_holds_is_an_error_not_a_crash() -> None:
    weight = TensorProto(name="w", dims=[1 << 20, 1 << 20], data_type=TensorProto.FLOAT, raw_data=b"\0" * 16)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [value], [weight])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    model_files.check_onnx(content, "huge.onnx", "huge")
    with pytest.raises(ModelError):
        create_session(content, "huge", RUNTIME)


def test_a_field_that_libraries_read_differently_is_refused() -> None:
    """A key of more than 32 bits: a protobuf library drops the upper ones, and finds external data we did not see."""
    tensor = external(numpy_helper.from_array(np.zeros(4, np.float32), "stolen"), "../weights.bin")
    plain = tensor.SerializeToString()
    location = bytes([14 << 3, TensorProto.EXTERNAL])
    assert plain.count(location) == 1
    key = (14 << 3) | (1 << 32)
    overlong = bytes([(key >> shift) & 0x7F | 0x80 for shift in (0, 7, 14, 21)] + [key >> 28])
    sly = TensorProto(name="sly", data_type=TensorProto.FLOAT).SerializeToString() + overlong + b"\1"
    graph = onnx.GraphProto(name="g").SerializeToString() + bytes([5 << 3 | 2, len(sly)]) + sly
    content = bytes([8, 8, 7 << 3 | 2, len(graph)]) + graph
    with pytest.raises(ValueError, match="field number"):
        onnx_scan.scan_onnx(content)


@pytest.mark.parametrize("attack", ["_custom_domain", "_external_data"])
def test_models_verify_names_the_hostile_one(repository: Path, tmp_path: Path, attack: str) -> None:
    for name in LOADERS:
        shutil.copytree(repository / "models" / name, tmp_path / name)
    assert CliRunner().invoke(app, ["models", "verify", "--models-dir", str(tmp_path)]).exit_code == 0
    spoil(tmp_path / "calibration-phantomless-v1", ATTACKS[attack])
    done = CliRunner().invoke(app, ["models", "verify", "--models-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "calibration-phantomless-v1" in done.stderr


def test_the_runtime_reports_to_nobody(tmp_path: Path, repository: Path) -> None:
    """onnxruntime's telemetry keeps a session in the temporary folder and a database in the user's cache."""
    for name in ("tmp", "home"):
        (tmp_path / name).mkdir()
    places = {
        "TMPDIR": str(tmp_path / "tmp"),
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    program = (
        "from pathlib import Path; from trabecula.segmentation.bundle import load_bundle;"
        "from trabecula.segmentation.session import open_session; from trabecula.segmentation.settings import *;"
        f"open_session(load_bundle(Path({str(repository / 'models' / 'fine-v1')!r})), RuntimeSettings())"
    )
    subprocess.run([sys.executable, "-c", program], env=places, check=True, capture_output=True)
    assert [path for name in ("tmp", "home") for path in (tmp_path / name).rglob("*")] == []


def test_the_runtime_is_imported_in_one_place(repository: Path) -> None:
    folders = ("server", "models/training", "tests/benchmarks")
    files = [path for folder in folders for path in (repository / folder).rglob("*.py")]
    pattern = re.compile(r"^\s*(import onnxruntime\b(?!\.)|from onnxruntime import)", re.MULTILINE)
    assert {path.name for path in files if pattern.search(path.read_text(encoding="utf-8"))} == {"onnx_runtime.py"}


def test_a_small_file_takes_little_room(tmp_path: Path) -> None:
    """A worker may map a limited amount of memory (RLIMIT_DATA)."""
    path = tmp_path / "small.onnx"
    path.write_bytes(b"model")
    tracemalloc.start()
    try:
        model_files.read_verified(path, hashlib.sha256(b"model").hexdigest())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20
