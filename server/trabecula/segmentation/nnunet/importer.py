"""From an nnU-Net v2 model folder to a bundle. Needs the extra ``nnunet`` (torch); running the bundle does not."""

from __future__ import annotations

import hashlib
import json
import pickle  # for its error alone; torch.load reads, weights_only  # nosec B403
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trabecula.errors import ExtraMissing, ModelImportError
from trabecula.model_files import MANIFEST_NAME
from trabecula.segmentation.bundle import FullManifest, load_bundle
from trabecula.segmentation.nnunet.labels import LabelMap
from trabecula.segmentation.nnunet.plans import Plan, read_json, read_labels, read_plan, storage_orientation
from trabecula.segmentation.nnunet.spec import LabelTarget, NetworkInput, NnunetSpec

if TYPE_CHECKING:
    import torch

ONNX_FILE: Final = "model.onnx"
_LARGEST_ONNX_BYTES: Final = (1 << 31) - (1 << 20)
"""An ONNX file is one protobuf message, which cannot be larger."""


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and how."""

    folder: Path
    """``<trainer>__<plans>__<configuration>``, with plans.json, dataset.json and fold_*/."""
    label_map: LabelMap
    name: str
    version: str = "1"
    folds: tuple[str, ...] = ()
    """Fold names (``0``, ``all``); empty: every numbered fold that has the checkpoint, as nnU-Net does."""
    checkpoint: str = "checkpoint_final.pth"
    mirroring: bool = False
    orientation: str | None = None
    """How the training images were stored (NIfTI codes), where the reader and the map do not say."""
    licence: str = "unknown; that of the imported weights"


@dataclass(frozen=True)
class Imported:
    """What was written."""

    bundle: Path
    manifest: FullManifest
    folds: tuple[str, ...]
    orientation: str
    onnx_bytes: int
    largest_difference: float
    """Between torch and onnxruntime on one random patch, in logits."""


def import_nnunet(request: ImportRequest, out: Path) -> Imported:
    """Write the bundle ``out`` (a folder that is not there yet, or empty).

    Raises:
        ExtraMissing: if torch or nnU-Net's architectures are not installed.
        LabelMapError: if the label map does not fit.
        ModelImportError: if the folder cannot be read, holds what is not supported, or ``out`` is in use.
    """
    if out.exists() and any(out.iterdir()):
        raise ModelImportError(f"{out.name} is not empty", bundle=out.name)
    names = read_labels(read_json(request.folder / "dataset.json"))
    targets = request.label_map.targets(names)
    plans = read_json(request.folder / "plans.json")
    _need_torch()
    folds = request.folds or _folds(request.folder, request.checkpoint)
    checkpoints = [_load_checkpoint(request.folder / f"fold_{fold}" / request.checkpoint) for fold in folds]
    plan = read_plan(plans, _configuration(request.folder, checkpoints[0]))
    networks = [_network(plan, len(names), checkpoint) for checkpoint in checkpoints]
    orientation = storage_orientation(plan.reader, request.orientation, request.label_map.orientation)
    content, difference = _export(networks, plan)
    mirror = checkpoints[0].get("inference_allowed_mirroring_axes") if request.mirroring else None
    manifest = FullManifest(
        schema_version="1",
        name=request.name,
        version=request.version,
        kind="full",
        file=ONNX_FILE,
        sha256=hashlib.sha256(content).hexdigest(),
        nnunet=NnunetSpec(
            input=NetworkInput(
                name="image",
                axes=plan.axes(orientation),
                spacing_mm=plan.spacing_mm,
                patch=plan.patch,
                mirror_axes=tuple(mirror or ()),
                normalisation=plan.normalisation,
                resampling=plan.resampling,
                resampling_logits=plan.resampling_logits,
            ),
            logits="logits",
            labels=tuple(LabelTarget(name=names[n], target=target) for n, target in enumerate(targets)),
        ),
        training=_origin(plans, plan, checkpoints[0], folds),
        licence=request.licence,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / ONNX_FILE).write_bytes(content)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (out / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")
    load_bundle(out)
    return Imported(out, manifest, tuple(folds), orientation, len(content), difference)


def _need_torch() -> None:
    try:
        import dynamic_network_architectures  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            f"cannot import {error.name}", extra="nnunet", install="pip install 'trabecula[nnunet]'"
        ) from error


def _folds(folder: Path, checkpoint: str) -> tuple[str, ...]:
    """Numbered folds with the checkpoint, else ``all``."""
    found = sorted(p.parent.name.removeprefix("fold_") for p in folder.glob(f"fold_*/{checkpoint}"))
    numbered = tuple(fold for fold in found if fold.isdecimal())
    if not found:
        raise ModelImportError(f"no fold_*/{checkpoint} in {folder.name}", checkpoint=checkpoint)
    return numbered or ("all",)


def _load_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, read without running anything that it holds: tensors, plain values and NumPy numbers only."""
    import numpy as np
    import torch

    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    harmless: list[Any] = [
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
    ]
    try:
        with torch.serialization.safe_globals(harmless):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelImportError(f"{path.parent.name}/{path.name} cannot be read", fold=path.parent.name) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = "; ".join(re.findall(r"GLOBAL (\S+)", str(error))) or str(error).splitlines()[0]
        raise ModelImportError(
            f"{path.parent.name}/{path.name} is not a checkpoint of tensors and plain values alone ({reason})",
            fold=path.parent.name,
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        raise ModelImportError(f"{path.parent.name}/{path.name} has no network weights", fold=path.parent.name)
    return checkpoint


def _configuration(folder: Path, checkpoint: dict[str, Any]) -> str:
    arguments = checkpoint.get("init_args")
    said = arguments.get("configuration") if isinstance(arguments, dict) else None
    return str(said or folder.name.rsplit("__", 1)[-1])


def _network(plan: Plan, labels: int, checkpoint: dict[str, Any]) -> torch.nn.Module:
    """The architecture of the plans with a checkpoint's weights, for inference."""
    import torch
    from dynamic_network_architectures.architectures import unet

    design = plan.architecture
    blocks = "n_conv_per_stage" if design.kind == "PlainConvUNet" else "n_blocks_per_stage"
    network: torch.nn.Module = getattr(unet, design.kind)(
        input_channels=1,
        n_stages=len(design.features),
        features_per_stage=list(design.features),
        conv_op=torch.nn.Conv3d,
        kernel_sizes=[list(kernel) for kernel in design.kernel_sizes],
        strides=[list(stride) for stride in design.strides],
        num_classes=labels,
        n_conv_per_stage_decoder=list(design.decoder_convolutions),
        conv_bias=design.conv_bias,
        norm_op=torch.nn.InstanceNorm3d,
        norm_op_kwargs={"eps": design.norm_eps, "affine": design.norm_affine},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
        **{blocks: list(design.encoder_blocks)},
    )
    weights = {
        key.removeprefix("module.").removeprefix("_orig_mod."): value
        for key, value in checkpoint["network_weights"].items()
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        trainer = str(checkpoint.get("trainer_name", "unknown"))
        raise ModelImportError(
            f"the weights of trainer {trainer} do not fit the {design.kind} of plans.json", trainer=trainer
        ) from error
    return network.eval()


def _export(networks: list[torch.nn.Module], plan: Plan) -> tuple[bytes, float]:
    """One ONNX model of all folds, and how far it is from torch on a random patch.

    The mean over folds is taken inside: nnU-Net takes it after putting the tiles together, which is the same, both
    being linear.
    """
    import numpy as np
    import torch

    from trabecula.segmentation.session import create_session
    from trabecula.segmentation.settings import RuntimeSettings

    class Ensemble(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.folds = torch.nn.ModuleList(networks)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            first, *others = (fold(image) for fold in self.folds)
            for other in others:
                first = first + other
            return first if not others else first / len(self.folds)

    size = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    if size > _LARGEST_ONNX_BYTES:
        raise ModelImportError("the folds together are too large for one ONNX file; import fewer", folds=len(networks))
    model = Ensemble().eval()
    example = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, *plan.patch), dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's general cautions; the answers are compared below
        expected = model(example).numpy()
        target = Path(folder) / ONNX_FILE
        names = {"input_names": ["image"], "output_names": ["logits"]}
        torch.onnx.export(model, (example,), str(target), opset_version=17, dynamo=False, **names)
        content = target.read_bytes()
    session, _ = create_session(content, "imported network", RuntimeSettings())
    found = session.run(["logits"], {"image": example.numpy()})[0]
    return content, float(np.abs(found - expected).max())


def _origin(plans: dict[str, Any], plan: Plan, checkpoint: dict[str, Any], folds: tuple[str, ...]) -> dict[str, Any]:
    """Where the network comes from, for the manifest."""
    return {
        "origin": "nnU-Net v2 model folder",
        "dataset": str(plans.get("dataset_name", "")),
        "plans": str(plans.get("plans_name", "")),
        "trainer": str(checkpoint.get("trainer_name", "")),
        "configuration": plan.configuration,
        "architecture": plan.architecture.kind,
        "folds": list(folds),
        "epoch": int(checkpoint.get("current_epoch", 0)),
    }
