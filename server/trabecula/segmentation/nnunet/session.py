"""An imported network in onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from trabecula.anatomy import ModelUse
from trabecula.errors import ModelError
from trabecula.imaging.study import CtVolume
from trabecula.onnx_runtime import ort
from trabecula.segmentation.bundle import Bundle, FullManifest
from trabecula.segmentation.nnunet.predict import Floats, NetworkLabels, predict_labels
from trabecula.segmentation.session import check_names, create_session
from trabecula.segmentation.settings import Provider, RuntimeSettings


@dataclass(frozen=True, eq=False)
class NnunetSession:
    """A loaded network. ``predict`` may be called from several threads at once."""

    manifest: FullManifest
    provider: Provider
    _session: ort.InferenceSession
    _shrink_arena: bool
    load_s: float = 0.0
    """What opening it took."""

    def predict(self, volume: CtVolume, on_fraction: Callable[[float], None]) -> NetworkLabels:
        """Label numbers of the network on the scan's grid (:func:`predict_labels`).

        Raises:
            ModelError: if the network fails.
        """
        spec = self.manifest.nnunet.input
        spacing_mm = volume.geometry.spacing_mm
        return predict_labels(volume.hu, spacing_mm, spec, partial(_run, self), on_fraction)

    def use(self, purpose: str) -> ModelUse:
        """This model as the report names it."""
        m = self.manifest
        return ModelUse(m.name, m.version, m.sha256, purpose, self.provider.value)


def open_nnunet(bundle: Bundle, runtime: RuntimeSettings) -> NnunetSession:
    """Load a checked bundle into onnxruntime.

    Raises:
        ModelError: if it is not an imported network, or onnxruntime cannot load it.
    """
    began_s = time.perf_counter()
    manifest = bundle.manifest
    if not isinstance(manifest, FullManifest):
        raise ModelError(f"{manifest.name} is a {manifest.kind} model", model=manifest.name)
    session, provider = create_session(bundle.onnx, manifest.name, runtime)
    check_names(session, manifest.name, manifest.nnunet.input.name, (manifest.nnunet.logits,))
    loaded = NnunetSession(manifest, provider, session, runtime.memory_arena)
    if runtime.warm_start and provider is not Provider.CPU:  # on CPU a patch takes long and prepares nothing
        _run(loaded, np.zeros(manifest.nnunet.input.patch, dtype=np.float32))
    return replace(loaded, load_s=time.perf_counter() - began_s)


def _run(loaded: NnunetSession, tile: Floats) -> Floats:
    spec, name = loaded.manifest.nnunet, loaded.manifest.name
    options = ort.RunOptions()
    if loaded._shrink_arena:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    try:
        (logits,) = loaded._session.run([spec.logits], {spec.input.name: tile[None, None]}, options)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
        raise ModelError(f"{name} failed: {type(error).__name__}", model=name) from error
    if logits.shape != (1, len(spec.labels), *tile.shape):
        raise ModelError(f"{name} gave an output of shape {logits.shape}", model=name)
    return np.asarray(logits[0], dtype=np.float32)
