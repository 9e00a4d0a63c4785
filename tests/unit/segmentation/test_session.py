"""Running a model: what goes in, what comes out, what is said when it fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from trabecula.errors import ModelError
from trabecula.segmentation import Provider, RuntimeSettings, load_models
from trabecula.segmentation.bundle import load_bundle
from trabecula.segmentation.predict import patch_shape, run_model
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.session import choose_provider, open_session

RUNTIME = RuntimeSettings(threads=1)


def hu_steps(shape=(6, 7, 9)):
    return np.resize(np.array([0.0, 100.0, 200.0, 300.0], dtype=np.float32), shape)


def test_hounsfield_units_are_clipped_and_normalised_as_the_manifest_says(write_bundle):
    session = open_session(load_bundle(write_bundle()), RUNTIME)
    hu = hu_steps()
    hu[0, 0, 0] = 5000.0
    answer = run_model(session, hu, Grid(hu.shape, (0, 0, 0), (4, 4, 4)), lambda _: None)
    expected = np.rint(np.clip(hu, -1000, 1000) / 100).clip(0, 3)
    assert np.array_equal(answer.probability.argmax(axis=0), expected)
    assert np.allclose(answer.probability.sum(axis=0), 1.0, atol=1e-5)
    # Coordinate: offset 10 + scale 2 * normalised input.
    assert np.allclose(answer.coordinate, 10 + 2 * np.clip(hu, -1000, 1000) / 100, atol=1e-4)


def test_offsets_to_the_centre_come_in_millimetres_whole_or_tiled(write_bundle):
    outputs = {
        "logits": {"name": "logits", "channels": ["outside", "body", "vertebra_body", "spinal_canal"]},
        "vertebra_offset": {"name": "offset", "scale_mm": 16.0},
    }
    bundle = load_bundle(write_bundle(outputs=outputs))
    hu = hu_steps((6, 10, 9))
    grid = Grid(hu.shape, (0, 0, 0), (4, 4, 4))
    for patch in (None, (4, 8, 8)):
        spec = bundle.manifest.input.model_copy(update={"max_patch": patch})
        manifest = bundle.manifest.model_copy(update={"input": spec})
        answer = run_model(open_session(type(bundle)(manifest, bundle.onnx), RUNTIME), hu, grid, lambda _: None)
        assert answer.coordinate is None
        assert answer.offset_mm.shape == (3, *hu.shape)
        assert np.allclose(answer.offset_mm, 16 * hu / 100, atol=1e-3)


def test_a_model_without_offsets_gives_none(write_bundle):
    hu = hu_steps()
    grid = Grid(hu.shape, (0, 0, 0), (4, 4, 4))
    session = open_session(load_bundle(write_bundle()), RUNTIME)
    assert run_model(session, hu, grid, lambda _: None).offset_mm is None


def test_tiles_give_the_same_answer_as_the_whole(write_bundle):
    hu = np.random.default_rng(1).uniform(-200, 400, (17, 22, 13)).astype(np.float32)
    grid = Grid(hu.shape, (0, 0, 0), (4, 4, 4))
    folder = write_bundle()
    whole = run_model(open_session(load_bundle(folder), RUNTIME), hu, grid, lambda _: None)
    bundle = load_bundle(folder)
    spec = bundle.manifest.input.model_copy(update={"max_patch": (8, 8, 8)})
    manifest = bundle.manifest.model_copy(update={"input": spec})
    tiled_session = open_session(type(bundle)(manifest, bundle.onnx), RUNTIME)
    tiled = run_model(tiled_session, hu, grid, lambda _: None)
    assert np.allclose(whole.probability, tiled.probability, atol=1e-4)
    assert np.allclose(whole.coordinate, tiled.coordinate, atol=1e-3)


def test_a_scan_larger_than_the_bound_is_worked_on_in_slabs_with_the_same_answer(write_bundle):
    hu = np.random.default_rng(1).uniform(-200, 400, (41, 9, 7)).astype(np.float32)
    grid = Grid(hu.shape, (0, 0, 0), (4, 4, 4))
    bundle = load_bundle(write_bundle())
    whole = run_model(open_session(bundle, RUNTIME), hu, grid, lambda _: None)
    told = []
    session = open_session(bundle, replace(RUNTIME, max_voxels=12 * 12 * 8))
    slabs = run_model(session, hu, grid, told.append)
    assert len(told) > 4
    assert np.allclose(whole.probability, slabs.probability, atol=1e-4)
    assert np.allclose(whole.coordinate, slabs.coordinate, atol=1e-3)
    assert patch_shape((44, 12, 8), bundle.manifest.input, 12 * 12 * 8) == (12, 12, 8)
    assert patch_shape((44, 12, 8), bundle.manifest.input, 1) == (4, 12, 8)
    assert patch_shape((8, 12, 8), bundle.manifest.input, 12 * 12 * 8) == (8, 12, 8)


def test_one_session_serves_many_threads(write_bundle):
    session = open_session(load_bundle(write_bundle()), RUNTIME)
    inputs = [np.full((4, 4, 4), float(n), dtype=np.float32) for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        coordinates = list(pool.map(lambda volume: float(session.run(volume)[1].mean()), inputs))
    assert coordinates == [10 + 2 * n for n in range(16)]


def test_names_that_the_model_does_not_have_are_refused(write_bundle):
    folder = write_bundle(
        outputs={"logits": {"name": "nothing", "channels": ["outside", "body", "vertebra_body", "spinal_canal"]}}
    )
    with pytest.raises(ModelError, match="outputs"):
        open_session(load_bundle(folder), RUNTIME)


def test_a_wrong_number_of_channels_is_refused(write_bundle, tiny_model):
    with pytest.raises(ModelError, match="shape"):
        open_session(load_bundle(write_bundle(model=tiny_model(5))), RUNTIME)


def test_provider_is_the_first_installed_one_else_cpu():
    available = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
    assert choose_provider((Provider.CUDA, Provider.OPENVINO), available) is Provider.OPENVINO
    assert choose_provider((Provider.CUDA,), available) is Provider.CPU


def test_the_report_names_model_checksum_and_provider(write_bundle):
    folder = write_bundle()
    use = load_models(folder.parent, RUNTIME).coarse.use("x")
    assert (use.name, use.version, use.purpose) == ("coarse-test", "0.1.0", "x")
    assert use.provider == "CPUExecutionProvider"
    assert use.sha256 == load_bundle(folder).manifest.sha256


def test_no_model_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="coarse"):
        load_models(tmp_path, RUNTIME)
