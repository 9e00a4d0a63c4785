"""What a model says about a grid of CT numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trabecula.segmentation.bundle import InputSpec
from trabecula.segmentation.resample import Grid, Shape, Triple
from trabecula.segmentation.session import FloatVolume, ModelSession
from trabecula.segmentation.tiling import run_tiled


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's answer on a grid."""

    grid: Grid
    channels: tuple[str, ...]
    probability: FloatVolume
    """(C, K, J, I), sums to one over channels."""
    coordinate: FloatVolume | None
    """(K, J, I) level ordinal along the spine (C1 = 1, T12 = 19); meaningful at vertebrae only."""
    offset_mm: FloatVolume | None = None
    """(3, K, J, I) mm along (k, j, i) from a voxel to the centre of its own vertebral body; meaningful at vertebrae
    only. None if the model has no such output."""

    def of(self, *names: str) -> FloatVolume:
        """(K, J, I) summed probability of channels; zeros where the model has none of them."""
        rows = [self.channels.index(name) for name in names if name in self.channels]
        if not rows:
            return np.zeros(self.grid.shape, dtype=np.float32)
        return np.asarray(self.probability[rows].sum(axis=0)) if len(rows) > 1 else self.probability[rows[0]]


@dataclass(frozen=True)
class Predictor:
    """A network with its grid: the seam at which tests put known answers in a model's place."""

    spacing_mm: Triple
    channels: tuple[str, ...]
    predict: Callable[[FloatVolume, Grid, Callable[[float], None]], Prediction]
    """(HU on the grid, the grid, called with the fraction done) to the prediction."""


def session_predictor(session: ModelSession) -> Predictor:
    """The predictor that runs a loaded model."""

    def predict(hu: FloatVolume, grid: Grid, on_fraction: Callable[[float], None]) -> Prediction:
        return run_model(session, hu, grid, on_fraction)

    manifest = session.manifest
    return Predictor(manifest.input.spacing_mm, manifest.outputs.logits.channels, predict)


def run_model(session: ModelSession, hu: FloatVolume, grid: Grid, on_fraction: Callable[[float], None]) -> Prediction:
    """Normalise, pad, run (tiled where the manifest bounds the patch) and crop."""
    spec = session.manifest.input
    size = padded_shape(grid.shape, spec)
    volume = np.full(size, spec.pad_hu, dtype=np.float32)
    inside = tuple(slice(0, n) for n in grid.shape)
    volume[inside] = hu
    np.clip(volume, *spec.clip_hu, out=volume)
    volume -= spec.mean_hu
    volume /= spec.std_hu

    def run(tile: FloatVolume) -> FloatVolume:
        logits, coordinate, offset_mm = session.run(tile)
        maps = [coordinate[None]] if coordinate is not None else []
        maps += [offset_mm] if offset_mm is not None else []
        return np.concatenate((logits, *maps)) if maps else logits

    answer = run_tiled(volume, patch_shape(size, spec, session.max_voxels), spec.overlap, run, on_fraction)[
        (slice(None), *inside)
    ]
    outputs = session.manifest.outputs
    first = len(outputs.logits.channels)
    coordinate = offset_mm = None
    if outputs.spine_coordinate is not None:
        coordinate = np.ascontiguousarray(answer[first])
        first += 1
    if outputs.vertebra_offset is not None:
        offset_mm = np.ascontiguousarray(answer[first : first + 3])
    channels = outputs.logits.channels
    return Prediction(grid, channels, softmax(answer[: len(channels)]), coordinate, offset_mm)


def padded_shape(shape: Shape, spec: InputSpec) -> Shape:
    """Shape rounded up to the model's multiple."""
    k, j, i = (-(-n // spec.size_multiple) * spec.size_multiple for n in shape)
    return k, j, i


def patch_shape(shape: Shape, spec: InputSpec, max_voxels: int) -> Shape:
    """Tile for a padded volume: the manifest's, or the volume's own side where that is smaller.

    Without one the whole volume, unless it has more than ``max_voxels``: then whole axial slabs of at most so many
    voxels, for it is along the body that scans grow without bound.
    """
    if spec.max_patch is not None:
        k, j, i = (min(n, most) for n, most in zip(shape, spec.max_patch, strict=True))
        return k, j, i
    k, j, i = shape
    slab = max(1, max_voxels // (j * i * spec.size_multiple)) * spec.size_multiple
    return min(k, slab), j, i


def softmax(logits: npt.NDArray[np.float32]) -> FloatVolume:
    """Probabilities over the first axis."""
    out: FloatVolume = logits - logits.max(axis=0)
    np.exp(out, out=out)
    out /= out.sum(axis=0)
    return out
