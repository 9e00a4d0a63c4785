"""What a model folder must be like before anything of it is run."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from trabecula.errors import ModelChecksumMismatch, ModelError
from trabecula.onnx_scan import scan_onnx
from trabecula.segmentation.bundle import find_bundles, load_bundle, manifest_schema


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_whole_bundle_loads(write_bundle):
    bundle = load_bundle(write_bundle())
    assert bundle.manifest.kind == "coarse"
    assert hashlib.sha256(bundle.onnx).hexdigest() == bundle.manifest.sha256


def test_a_changed_model_file_is_found_out(write_bundle):
    folder = write_bundle()
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelChecksumMismatch):
        load_bundle(folder)


@pytest.mark.parametrize("file", ["../elsewhere.onnx", "/etc/hostname", "sub/../../elsewhere.onnx"])
def test_a_path_out_of_the_folder_is_refused(write_bundle, file):
    folder = write_bundle()
    content = (folder / "model.onnx").read_bytes()
    (folder.parent / "elsewhere.onnx").write_bytes(content)
    edit(folder, file=file)
    with pytest.raises(ModelError, match="outside"):
        load_bundle(folder)


def test_a_link_out_of_the_folder_is_refused(write_bundle):
    folder = write_bundle()
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(folder.parent / "elsewhere.onnx")
    with pytest.raises(ModelError, match="outside"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"surprise": 1}, "surprise"),
        ({"schema_version": "2"}, "schema_version"),
        ({"kind": "medium"}, "kind"),
        ({"sha256": "abc"}, "sha256"),
        (
            {"outputs": {"logits": {"name": "logits", "channels": ["outside", "vertebra_body", "gall_stone"]}}},
            "gall_stone",
        ),
        ({"outputs": {"logits": {"name": "logits", "channels": ["outside", "vertebra_body", "outside"]}}}, "twice"),
        ({"outputs": {"logits": {"name": "logits", "channels": ["outside", "vertebra_body"]}}}, "spinal_canal"),
    ],
)
def test_a_wrong_manifest_is_refused_and_says_where(write_bundle, changes, where):
    folder = write_bundle()
    edit(folder, **changes)
    with pytest.raises(ModelError, match=where):
        load_bundle(folder)


@pytest.mark.parametrize(
    "change", [{"clip_hu": [5, 5]}, {"std_hu": 0}, {"max_patch": [10, 8, 8]}, {"spacing_mm": [4, 4]}]
)
def test_a_wrong_input_description_is_refused(write_bundle, change):
    folder = write_bundle()
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(folder, input=manifest["input"] | change)
    with pytest.raises(ModelError, match="input"):
        load_bundle(folder)


def test_weights_outside_the_file_are_refused(write_bundle, tiny_model):
    model = tiny_model(4)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    with pytest.raises(ModelError, match="outside the file"):
        load_bundle(write_bundle(model=model))


def test_weights_outside_the_file_are_found_in_inner_graphs(tiny_model):
    inner = helper.make_tensor("deep", TensorProto.FLOAT, (1,), [0.0])
    inner.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([], "branch", [], [], [inner])
    model = tiny_model(4)
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=branch, else_branch=branch))
    assert scan_onnx(model.SerializeToString()).external_data


def test_operators_from_elsewhere_are_refused(write_bundle, tiny_model):
    model = tiny_model(4)
    model.graph.node.append(helper.make_node("Magic", ["image"], ["other"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(ModelError, match=r"com\.example"):
        load_bundle(write_bundle(model=model))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_look_into_the_file(content):
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        scan_onnx(content)


def test_a_file_that_is_no_model_is_refused(write_bundle):
    folder = write_bundle()
    content = b"not a model"
    (folder / "model.onnx").write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="not an ONNX model"):
        load_bundle(folder)


def test_the_newest_of_each_kind_is_taken_and_others_are_passed_over(write_bundle):
    write_bundle("coarse", name="a", version="0.9.0")
    newest = write_bundle("coarse", name="b", version="0.10.0")
    fine = write_bundle("fine", name="c")
    other = fine.parent / "calibration"
    other.mkdir()
    (other / "manifest.json").write_text('{"kind": "calibration"}')
    assert find_bundles(fine.parent) == {"coarse": newest, "fine": fine}


def test_the_published_schema_is_current(repository):
    """Write it again with: python -m trabecula.segmentation > models/manifest.schema.json"""
    published = json.loads((repository / "models" / "manifest.schema.json").read_text())
    assert published == manifest_schema()
