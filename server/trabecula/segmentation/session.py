"""onnxruntime sessions: one per model and process, shared by all requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from trabecula.anatomy import ModelUse
from trabecula.errors import ModelError
from trabecula.segmentation.bundle import Bundle, Manifest
from trabecula.segmentation.settings import Provider, RuntimeSettings

FloatVolume = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ModelSession:
    """A loaded model. ``run`` may be called from several threads at once (onnxruntime sessions are thread-safe)."""

    manifest: Manifest
    provider: Provider
    _session: ort.InferenceSession
    _shrink_arena: bool

    def run(self, volume: FloatVolume) -> tuple[FloatVolume, FloatVolume | None]:
        """One pass.

        Args:
            volume: (K, J, I) normalised float32, sides multiples of the manifest's ``size_multiple``.

        Returns:
            Logits (C, K, J, I) and the spine coordinate as level ordinals (K, J, I), None if the model has none.

        Raises:
            ModelError: if the model fails or its outputs do not have the shape of its input.
        """
        outputs = self.manifest.outputs
        names = [outputs.logits.name] + ([outputs.spine_coordinate.name] if outputs.spine_coordinate else [])
        options = ort.RunOptions()
        if self._shrink_arena:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            results = self._session.run(names, {self.manifest.input.name: volume[None, None]}, options)
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
            raise ModelError(
                f"{self.manifest.name} failed: {type(error).__name__}", model=self.manifest.name
            ) from error
        logits = np.asarray(results[0], dtype=np.float32)
        if logits.shape != (1, len(outputs.logits.channels), *volume.shape):
            raise ModelError(f"{self.manifest.name} gave logits of shape {logits.shape}", model=self.manifest.name)
        if outputs.spine_coordinate is None:
            return logits[0], None
        value = np.asarray(results[1], dtype=np.float32)
        if value.size != volume.size:
            raise ModelError(f"{self.manifest.name} gave a coordinate of {value.shape}", model=self.manifest.name)
        return logits[0], outputs.spine_coordinate.offset + outputs.spine_coordinate.scale * value.reshape(volume.shape)

    def use(self, purpose: str) -> ModelUse:
        """This model as the report names it."""
        m = self.manifest
        return ModelUse(m.name, m.version, m.sha256, purpose, self.provider.value)


def open_session(bundle: Bundle, runtime: RuntimeSettings) -> ModelSession:
    """Load a checked bundle into onnxruntime.

    Raises:
        ModelError: if onnxruntime cannot load it or the manifest's inputs and outputs are not the model's.
    """
    manifest = bundle.manifest
    provider = choose_provider(runtime.providers, ort.get_available_providers())
    providers = [provider.value] + ([Provider.CPU.value] if provider is not Provider.CPU else [])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = runtime.memory_arena
    try:
        session = ort.InferenceSession(bundle.onnx, options, providers=providers)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
        raise ModelError(f"onnxruntime cannot load {manifest.name}: {error}", model=manifest.name) from error
    _check_names(session, manifest)
    used = Provider(session.get_providers()[0])
    loaded = ModelSession(manifest, used, session, runtime.memory_arena)
    if runtime.warm_start:
        loaded.run(np.zeros((manifest.input.size_multiple,) * 3, dtype=np.float32))
    return loaded


def choose_provider(preferred: tuple[Provider, ...], available: list[str]) -> Provider:
    """First preferred provider that is installed, else CPU."""
    return next((provider for provider in preferred if provider.value in available), Provider.CPU)


def _check_names(session: ort.InferenceSession, manifest: Manifest) -> None:
    inputs = {node.name for node in session.get_inputs()}
    outputs = {node.name for node in session.get_outputs()}
    wanted = {manifest.outputs.logits.name}
    if manifest.outputs.spine_coordinate:
        wanted.add(manifest.outputs.spine_coordinate.name)
    if inputs != {manifest.input.name} or not wanted <= outputs:
        raise ModelError(f"{manifest.name} has inputs {sorted(inputs)}, outputs {sorted(outputs)}", model=manifest.name)
