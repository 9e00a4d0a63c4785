"""Finding and opening the small graphs of the calibration stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from trabecula.errors import ModelError
from trabecula.onnx_runtime import ort
from trabecula.segmentation.settings import RuntimeSettings
from trabecula.texts import parse_json

_PROVIDER: Final = "CPUExecutionProvider"  # double precision on a handful of numbers: no accelerator is of use


def find_bundles(models_dir: Path, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    """Folders whose manifest is of a kind, with the manifest.

    Raises:
        ModelError: if any manifest cannot be read.
    """
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted(models_dir.glob("*/manifest.json")):
        try:
            manifest = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(f"manifest of {path.parent.name} cannot be read", bundle=path.parent.name) from error
        if isinstance(manifest, dict) and manifest.get("kind") == kind:
            found.append((path.parent, manifest))
    return found


def open_graph(content: bytes, bundle: str, runtime: RuntimeSettings) -> tuple[ort.InferenceSession, str]:
    """A session on a checked file's content, and the execution provider's name.

    Raises:
        ModelError: if onnxruntime cannot load it.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = runtime.memory_arena
    try:
        return ort.InferenceSession(content, options, providers=[_PROVIDER]), _PROVIDER
    except Exception as error:  # onnxruntime raises subclasses of its own for any fault
        raise ModelError(f"onnxruntime cannot load {bundle}: {type(error).__name__}", bundle=bundle) from error
