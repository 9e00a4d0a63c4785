"""onnxruntime sessions: one per model and process, shared by all requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import ModelUse
from trabecula.errors import ModelError
from trabecula.onnx_runtime import ort
from trabecula.segmentation.bundle import Bundle, Manifest
from trabecula.segmentation.settings import Provider, RuntimeSettings

FloatVolume = npt.NDArray[np.float32]


class NetworkOutput(NamedTuple):
    """What one pass of a network gives."""

    logits: FloatVolume
    """(C, K, J, I)."""
    coordinate: FloatVolume | None
    """(K, J, I) level ordinals along the spine; None if the model has no such output."""
    offset_mm: FloatVolume | None
    """(3, K, J, I) mm along (k, j, i) to the centre of a voxel's own vertebral body; None if there is none."""


@dataclass(frozen=True, eq=False)
class ModelSession:
    """A loaded model. ``run`` may be called from several threads at once (onnxruntime sessions are thread-safe)."""

    manifest: Manifest
    provider: Provider
    _session: ort.InferenceSession
    _shrink_arena: bool
    max_voxels: int = RuntimeSettings.max_voxels
    """Largest input of a network whose manifest sets no bound."""
    load_s: float = 0.0
    """What opening it took, its first run included."""

    def run(self, volume: FloatVolume) -> NetworkOutput:
        """One pass.

        Args:
            volume: (K, J, I) normalised float32, sides multiples of the manifest's ``size_multiple``.

        Raises:
            ModelError: if the model fails or its outputs do not have the shape of its input.
        """
        outputs = self.manifest.outputs
        options = ort.RunOptions()
        if self._shrink_arena:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            results = self._session.run(list(outputs.names), {self.manifest.input.name: volume[None, None]}, options)
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
            raise ModelError(
                f"{self.manifest.name} failed: {type(error).__name__}", model=self.manifest.name
            ) from error
        found = dict(zip(outputs.names, results, strict=True))
        logits = self._volume(found[outputs.logits.name], len(outputs.logits.channels), volume)
        coordinate = offset = None
        if spec := outputs.spine_coordinate:
            coordinate = spec.offset + spec.scale * self._volume(found[spec.name], 1, volume)[0]
        if vector := outputs.vertebra_offset:
            offset = vector.scale_mm * self._volume(found[vector.name], 3, volume)
        return NetworkOutput(logits, coordinate, offset)

    def _volume(self, result: npt.NDArray[np.generic], channels: int, like: FloatVolume) -> FloatVolume:
        """An output as (channels, K, J, I); the axes of one sample and of one channel may be left out."""
        if result.size != channels * like.size or result.shape[-3:] != like.shape:
            raise ModelError(f"{self.manifest.name} gave an output of shape {result.shape}", model=self.manifest.name)
        return np.asarray(result, dtype=np.float32).reshape(channels, *like.shape)

    def use(self, purpose: str) -> ModelUse:
        """This model as the report names it."""
        m = self.manifest
        return ModelUse(m.name, m.version, m.sha256, purpose, self.provider.value)


def open_session(bundle: Bundle, runtime: RuntimeSettings) -> ModelSession:
    """Load a checked bundle into onnxruntime.

    Raises:
        ModelError: if onnxruntime cannot load it or the manifest's inputs and outputs are not the model's.
    """
    began_s = time.perf_counter()
    manifest = bundle.manifest
    if not isinstance(manifest, Manifest):
        raise ModelError(f"{manifest.name} is a {manifest.kind} model", model=manifest.name)
    session, used = create_session(bundle.onnx, manifest.name, runtime)
    check_names(session, manifest.name, manifest.input.name, manifest.outputs.names)
    loaded = ModelSession(manifest, used, session, runtime.memory_arena, runtime.max_voxels)
    if runtime.warm_start:
        loaded.run(np.zeros((manifest.input.size_multiple,) * 3, dtype=np.float32))
    return replace(loaded, load_s=time.perf_counter() - began_s)


def create_session(onnx: bytes, name: str, runtime: RuntimeSettings) -> tuple[ort.InferenceSession, Provider]:
    """A session for a checked ONNX model, and the provider that runs it.

    Raises:
        ModelError: if onnxruntime cannot load it.
    """
    provider = choose_provider(runtime.providers, ort.get_available_providers())
    providers = [provider.value] + ([Provider.CPU.value] if provider is not Provider.CPU else [])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = runtime.memory_arena
    try:
        session = ort.InferenceSession(onnx, options, providers=providers)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
        raise ModelError(f"onnxruntime cannot load {name}: {error}", model=name) from error
    return session, Provider(session.get_providers()[0])


def choose_provider(preferred: tuple[Provider, ...], available: list[str]) -> Provider:
    """First preferred provider that is installed, else CPU."""
    return next((provider for provider in preferred if provider.value in available), Provider.CPU)


def check_names(session: ort.InferenceSession, model: str, image: str, results: tuple[str, ...]) -> None:
    """That a model has the input and the outputs that its manifest names.

    Raises:
        ModelError: if not.
    """
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name for node in session.get_outputs()}
    if inputs != {image} or not set(results) <= outputs:
        raise ModelError(f"{model} has inputs {sorted(inputs)}, outputs {sorted(outputs)}", model=model)
