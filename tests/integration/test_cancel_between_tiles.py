"""A wish to stop is heard between two tiles: by gRPC through the real service and engine, and as Ctrl-C."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from live_service import StartServer, wait_until
from onnx import TensorProto, helper
from synthetic_ct import SeriesSpec, write_series

from trabecula.config import Settings
from trabecula.segmentation.nnunet import session as networks
from trabecula.segmentation.session import ModelSession, NetworkOutput
from trabecula.service.client import Client
from trabecula.service.engine import load_perform
from trabecula.v1 import report_pb2 as report_pb
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.runner import ThreadRunner

PATCH = 16


class Count:
    """How often a network ran; each run takes a moment."""

    def __init__(self) -> None:
        self.runs = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.runs += 1
        time.sleep(0.05)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A trunk of water, 44 slices: hundreds of tiles of 16 voxels at 2 mm."""
    j, i = np.meshgrid(np.arange(96) - 48, np.arange(128) - 64, indexing="ij")
    trunk = np.where((j / 40) ** 2 + (i / 56) ** 2 < 1, 40, -1000).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 8, (44, 96, 128)).astype(np.int16)
    write_series(SeriesSpec(np.repeat(trunk[None], 44, axis=0) + noise, spacing_mm=(4.0, 2.4, 2.4)), tmp_path / "study")
    return tmp_path / "study"


def models(folder: Path, repository: Path, kind: str) -> Path:
    """The calibration bundle, and a network of one convolution that works in small tiles."""
    folder.mkdir()
    calibration = next((repository / "models").glob("calibration-*"))
    (folder / calibration.name).symlink_to(calibration)
    shape = [1, 1, None, None, None]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, None, None, None])],
        [helper.make_tensor("weight", TensorProto.FLOAT, (3, 1, 1, 1, 1), [0.0, 1.0, 2.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    bundle = folder / "tiled"
    bundle.mkdir()
    content = model.SerializeToString()
    (bundle / "model.onnx").write_bytes(content)
    resampling = {"order": 1, "order_z": 0, "separate_z": None}
    targets = ("unlabelled", "T12", "spinal_canal")
    parts = {
        "coarse": {
            "input": {
                "name": "image",
                "spacing_mm": [2.0, 2.0, 2.0],
                "orientation": "foot-head,anterior-posterior,right-left",
                "clip_hu": [-1000, 1000],
                "mean_hu": 0.0,
                "std_hu": 100.0,
                "size_multiple": PATCH,
                "pad_hu": -1000.0,
                "max_patch": [PATCH] * 3,
                "overlap": 0.25,
            },
            "outputs": {"logits": {"name": "logits", "channels": ["outside", "vertebra_body", "spinal_canal"]}},
        },
        "full": {
            "nnunet": {
                "input": {
                    "name": "image",
                    "axes": ["S", "P", "L"],
                    "spacing_mm": [2.0, 2.0, 2.0],
                    "patch": [PATCH] * 3,
                    "normalisation": {"scheme": "none"},
                    "resampling": resampling,
                    "resampling_logits": resampling,
                },
                "logits": "logits",
                "labels": [{"name": target, "target": target} for target in targets],
            }
        },
    }
    manifest = {
        "schema_version": "1",
        "name": "tiled",
        "version": "1",
        "kind": kind,
        "file": "model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "training": {},
        "licence": "CC0-1.0",
        **parts[kind],
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert onnx.load(bundle / "model.onnx").graph.name == "linear"
    return folder


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Counts the passes of both kinds of network."""
    count = Count()
    own, imported = ModelSession.run, networks._run

    def run_own(self: ModelSession, volume: np.ndarray) -> NetworkOutput:
        count.add()
        return own(self, volume)

    def run_imported(loaded: networks.NnunetSession, tile: np.ndarray) -> np.ndarray:
        count.add()
        return imported(loaded, tile)

    monkeypatch.setattr(ModelSession, "run", run_own)
    monkeypatch.setattr(networks, "_run", run_imported)
    return count


@pytest.mark.parametrize("kind", ["coarse", "full"])
def test_a_grpc_cancel_stops_the_networks_between_tiles(
    kind: str, start_server: StartServer, study: Path, counted: Count, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = Settings(
        models_dir=models(tmp_path / "models", request.config.rootpath, kind),
        segmentation_models="tiled",
        inference_threads=1,
        state_dir=tmp_path / "state",
    )
    service = start_server(ThreadRunner(partial(load_perform, settings), 1))
    before = counted.runs
    with Client(service.address) as client:
        screening = client.submit(sorted(study.iterdir()))
        wait_until(lambda: client.get(screening)[0].progress.stage == report_pb.STAGE_SEGMENTATION, 60)
        assert counted.runs > before
        client.cancel(screening)
        assert list(client.watch(screening))[-1].state == pb.SCREENING_STATE_CANCELLED
        stopped = counted.runs
    # Of about 600: progress is written, and a cancellation heard, every half second.
    assert stopped - before < 450
    time.sleep(0.3)
    assert counted.runs <= stopped + 1


def test_ctrl_c_stops_a_screening_between_tiles(
    study: Path, counted: Count, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from trabecula.patient import PatientContext
    from trabecula.service.engine import load_screen

    folder = models(tmp_path / "models", request.config.rootpath, "full")
    screen = load_screen(Settings(models_dir=folder, segmentation_models="tiled", inference_threads=1))
    timer = threading.Thread(
        target=lambda: (wait_until(lambda: counted.runs >= 4, 60), signal.raise_signal(signal.SIGINT))
    )
    # A server of an earlier test may have left a handler of its own.
    before = signal.signal(signal.SIGINT, signal.default_int_handler) or signal.default_int_handler
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            screen([study], PatientContext(), lambda *_: None, keep_anatomy=False)
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()
    assert counted.runs < 150
