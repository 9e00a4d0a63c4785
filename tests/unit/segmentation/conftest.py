"""Made scans with known spines, answers of a perfect (or spoilt) model for them, and tiny ONNX models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scipy import ndimage

from trabecula.anatomy import Level
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume
from trabecula.segmentation.predict import Prediction, Predictor
from trabecula.segmentation.resample import Grid
from trabecula.segmentation.session import FloatVolume

CHANNELS = (
    "outside",
    "body",
    "cavity",
    "lung",
    "aorta",
    "paraspinal_muscle",
    "rib",
    "spinal_canal",
    "intervertebral_disc",
    "vertebra_body",
    "vertebra_posterior",
)
FINE_CHANNELS = ("background", "vertebra_body", "vertebra_posterior", "intervertebral_disc", "spinal_canal")
HU = dict(zip(CHANNELS, (-1000, -90, 40, -850, 45, 55, 250, 10, 75, 140, 300), strict=True))


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan whose every voxel is known."""

    volume: CtVolume
    classes: np.ndarray
    """(K, J, I) index into CHANNELS."""
    ordinals: np.ndarray
    """(K, J, I) level ordinal of each vertebra voxel, else 0."""
    coordinate: np.ndarray
    """(K,) level ordinal as a continuous function of the slice."""
    centres_mm: dict[Level, np.ndarray]
    """Centre of each whole body in scan mm."""

    def predictor(
        self,
        spacing_mm: float,
        channels: tuple[str, ...] = CHANNELS,
        *,
        fill_discs: bool = False,
        noise: float = 0.0,
        coordinate_shift: float = 0.0,
        coordinate_slope: float = 1.0,
        with_coordinate: bool = True,
        without: tuple[str, ...] = (),
    ) -> Predictor:
        """A model that knows the truth, but for the faults asked for."""

        def predict(hu: FloatVolume, grid: Grid, on_fraction: Callable[[float], None]) -> Prediction:
            assert hu.shape == grid.shape
            on_fraction(0.0)
            source = Grid.of_scan(self.volume.geometry)
            axes = [grid.start_mm[a] + np.arange(grid.shape[a]) * grid.spacing_mm[a] for a in range(3)]
            index = [
                np.rint(x / s).astype(int).clip(0, n - 1)
                for x, s, n in zip(axes, source.spacing_mm, source.shape, strict=True)
            ]
            found = self.classes[np.ix_(*index)]
            names = np.array([c if c not in without else "body" for c in CHANNELS])
            if fill_discs:
                names[CHANNELS.index("intervertebral_disc")] = "vertebra_body"
            probability = np.zeros((len(channels), *grid.shape), dtype=np.float32)
            for row, name in enumerate(channels):
                probability[row] = np.isin(found, np.flatnonzero(names == name))
            probability[0] += 1 - probability.sum(axis=0)
            if noise:
                rng = np.random.default_rng(3)
                probability += noise * ndimage.gaussian_filter(rng.random(probability.shape), (0, 1, 1, 1)).astype(
                    np.float32
                )
                probability /= probability.sum(axis=0)
            height = np.interp(axes[0] / source.spacing_mm[0], np.arange(source.shape[0]), self.coordinate)
            middle = float(np.median(height))
            height = middle + coordinate_slope * (height - middle) + coordinate_shift
            coordinate = np.broadcast_to(height[:, None, None], grid.shape).astype(np.float32)
            on_fraction(1.0)
            return Prediction(grid, channels, probability, coordinate if with_coordinate else None)

        return Predictor((spacing_mm,) * 3, channels, predict)


def make_scene(
    first: Level = Level.T7,
    last: Level = Level.L3,
    *,
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 2.5),
    last_rib: Level = Level.T12,
    bend_mm: float = 18.0,
) -> Scene:
    """A trunk with a curved column from ``first`` (head, cut) to ``last`` (foot, cut)."""
    levels = [Level.from_ordinal(n) for n in range(first.ordinal, last.ordinal + 1)]
    heights = {level: 16.0 + 0.75 * level.ordinal for level in levels}
    total = sum(heights.values()) - 0.5 * heights[first] - 0.5 * heights[last]
    shape = (int(total / spacing_mm[0]), int(190 / spacing_mm[1]), int(260 / spacing_mm[2]))
    z, y, x = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij")
    spine_y = 118 + bend_mm * np.sin(z / total * np.pi)
    spine_x = 130 + 0.4 * bend_mm * np.sin(z / total * 2 * np.pi)
    dx, dy = x - spine_x, y - spine_y
    classes = np.full(shape, CHANNELS.index("outside"), dtype=np.uint8)

    def put(mask: np.ndarray, name: str) -> None:
        classes[mask] = CHANNELS.index(name)

    put(((x - 130) / 118) ** 2 + ((y - 92) / 88) ** 2 < 1, "body")
    put(((x - 130) / 95) ** 2 + ((y - 82) / 62) ** 2 < 1, "cavity")
    upper = z > 0.45 * total
    put((((np.abs(x - 130) - 55) / 32) ** 2 + ((y - 82) / 45) ** 2 < 1) & upper, "lung")
    put((np.abs(dx) > 6) & (np.abs(dx) < 40) & (dy > 32) & (dy < 52), "paraspinal_muscle")
    put((dx - 12) ** 2 + (dy + 34) ** 2 < 11**2, "aorta")
    put((np.abs(dx) < 5) & (dy > 28) & (dy < 52), "vertebra_posterior")
    ordinals = np.zeros(shape, dtype=np.uint8)
    endplate = np.zeros(shape, dtype=bool)
    cuts, centres = [(total + 0.5 * heights[first], first.ordinal - 0.5)], {}
    top = total + 0.5 * heights[first]
    for level in levels:
        bottom = top - heights[level]
        middle = (top + bottom) / 2
        inside = (z < top) & (z >= bottom)
        bone = inside & (z < top - 2.5) & (z >= bottom + 2.5)
        body = (dx / 19) ** 2 + (dy / 15) ** 2 < 1
        put(inside & body, "intervertebral_disc")
        put(bone & body, "vertebra_body")
        endplate |= bone & body & ((z > top - 5) | (z < bottom + 5))
        pedicle = (np.abs(dx) > 7) & (np.abs(dx) < 13) & (dy > 8) & (dy < 32) & (np.abs(z - middle) < 6)
        put(pedicle & (classes != CHANNELS.index("vertebra_body")), "vertebra_posterior")
        ordinals[bone & body | pedicle] = level.ordinal
        if level.ordinal <= last_rib.ordinal:
            rib = (np.abs(dx) > 24) & (np.abs(dx) < 80) & (np.abs(z - (middle + 18 - 0.5 * np.abs(dx))) < 4)
            put(rib & (np.abs(dy - 24) < 5), "rib")
        if top <= total and bottom >= 0:
            row = np.array([[middle, 0, 0]])
            at = row[0, 0] / spacing_mm[0]
            centres[level] = np.array(
                [
                    middle,
                    np.interp(at, np.arange(shape[0]), spine_y[:, 0, 0]),
                    np.interp(at, np.arange(shape[0]), spine_x[:, 0, 0]),
                ]
            )
        cuts.append((bottom, level.ordinal + 0.5))
        top = bottom
    put((dx / 9) ** 2 + ((dy - 23) / 7) ** 2 < 1, "spinal_canal")
    hu = np.array([HU[name] for name in CHANNELS], dtype=np.float32)[classes]
    hu[endplate] = 300
    hu = ndimage.gaussian_filter(hu, 0.4) + np.random.default_rng(0).normal(0, 12, shape)
    table = (y > 182) & (y < 186) & (np.abs(x - 130) < 90)
    hu[table] = -300
    affine = np.array(
        [[0, 0, spacing_mm[2], -130], [0, spacing_mm[1], 0, -92], [spacing_mm[0], 0, 0, 5], [0, 0, 0, 1.0]]
    )
    cuts.sort()
    coordinate = np.interp(np.arange(shape[0]) * spacing_mm[0], [c[0] for c in cuts], [c[1] for c in cuts])
    volume = CtVolume(np.clip(hu, -1024, 3071).astype(np.int16), Geometry(shape, affine))
    return Scene(volume, classes, ordinals, coordinate, centres)


@pytest.fixture(scope="session")
def scene() -> Scene:
    """T7 to L3, the outer two cut."""
    return make_scene()


@pytest.fixture(scope="session")
def scene_factory() -> Callable[..., Scene]:
    return make_scene


@pytest.fixture(scope="session")
def with_hu() -> Callable[[Scene, np.ndarray], Scene]:
    """A scene with other CT numbers."""

    def change(scene: Scene, hu: np.ndarray) -> Scene:
        return replace(scene, volume=CtVolume(hu, scene.volume.geometry))

    return change


BundleWriter = Callable[..., Path]


@pytest.fixture
def write_bundle(tmp_path: Path) -> BundleWriter:
    """Writes a tiny model that thresholds HU: channel n fires between its borders; coordinate is HU / 100."""

    def write(
        kind: str = "coarse", *, name: str | None = None, model: onnx.ModelProto | None = None, **changes: object
    ) -> Path:
        folder = tmp_path / (name or f"{kind}-test")
        folder.mkdir(parents=True, exist_ok=True)
        channels = ["outside", "body", "vertebra_body", "spinal_canal"]
        content = (model or threshold_model(len(channels))).SerializeToString()
        (folder / "model.onnx").write_bytes(content)
        manifest: dict[str, object] = {
            "schema_version": "1",
            "name": folder.name,
            "version": "0.1.0",
            "kind": kind,
            "file": "model.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "input": {
                "name": "image",
                "spacing_mm": [4.0, 4.0, 4.0],
                "orientation": "foot-head,anterior-posterior,right-left",
                "clip_hu": [-1000, 1000],
                "mean_hu": 0.0,
                "std_hu": 100.0,
                "size_multiple": 4,
                "pad_hu": -1000.0,
                "max_patch": None,
                "overlap": 0.25,
            },
            "outputs": {
                "logits": {"name": "logits", "channels": channels},
                "spine_coordinate": {"name": "coordinate", "offset": 10.0, "scale": 2.0},
            },
            "training": {},
            "licence": "CC0-1.0",
        }
        manifest.update(changes)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return write


def threshold_model(channels: int) -> onnx.ModelProto:
    """Logits n = n * x - n^2 / 2 (so that channel n wins about x = n), coordinate = x, offset = (x, x, x)."""
    slope = np.arange(channels, dtype=np.float32).reshape(channels, 1, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["logits"]),
        helper.make_node("Identity", ["image"], ["coordinate"]),
        helper.make_node("Concat", ["image", "image", "image"], ["offset"], axis=1),
    ]
    weights = [
        helper.make_tensor("weight", TensorProto.FLOAT, slope.shape, slope.ravel().tolist()),
        helper.make_tensor("bias", TensorProto.FLOAT, (channels,), (-0.5 * np.arange(channels) ** 2).tolist()),
    ]
    shape = [1, 1, None, None, None]
    graph = helper.make_graph(
        nodes,
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, channels, None, None, None]),
            helper.make_tensor_value_info("coordinate", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("offset", TensorProto.FLOAT, [1, 3, None, None, None]),
        ],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[[int], onnx.ModelProto]:
    return threshold_model
