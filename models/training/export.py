"""Export a checkpoint's averaged weights as a model bundle: model.onnx, manifest.json (the card is written by hand)."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import torch
from models.training import network
from models.training.render import COARSE_MM, FINE_MM
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trabecula.onnx_runtime import ort

SPACING_MM = {"coarse": COARSE_MM, "fine": FINE_MM}
MULTIPLE = {"coarse": 16, "fine": 8}
PATCH = {"coarse": None, "fine": [160, 128, 96]}
DATA = [
    "TotalSegmentator training subjects s0327 and s0328, label maps only (CC BY 4.0, Wasserthal et al.)",
    "SPL abdominal atlas, label map (3D Slicer licence, Talos, Jakab, Kikinis)",
]
SELF_TRAINING = [
    "ACRIN-NSCLC-FDG-PET-042, CT with pseudo-labels (CC BY 3.0, TCIA ACRIN-NSCLC-FDG-PET)",
    "Colorectal-Liver-Metastases CT-1006, CT with pseudo-labels (CC BY 4.0, Simpson et al., TCIA)",
    "Lung-PET-CT-Dx A0001, two kernels, CT with pseudo-labels (CC BY 4.0, Li et al., TCIA)",
]
"""As listed in split.toml."""


def fold_batch_norm(model: torch.nn.Module) -> None:
    """Merge each batch norm into the convolution before it, in place, and round weights to what float16 holds."""
    for block in model.modules():
        if isinstance(block, torch.nn.Sequential):
            for at in range(0, len(block) - 1):
                if isinstance(block[at], torch.nn.Conv3d) and isinstance(block[at + 1], torch.nn.BatchNorm3d):
                    block[at] = fuse_conv_bn_eval(block[at], block[at + 1])
                    block[at + 1] = torch.nn.Identity()
    for p in model.parameters():
        p.data = p.data.half().float()


def halve_weights(graph: onnx.GraphProto) -> None:
    """Store large weights as float16 with a cast in front, in place; the runtime folds the cast when it loads."""
    for tensor in list(graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= 1024:
            small = onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name + "_half")
            cast = onnx.helper.make_node("Cast", [small.name], [tensor.name], to=onnx.TensorProto.FLOAT)
            graph.initializer.remove(tensor)
            graph.initializer.append(small)
            graph.node.insert(0, cast)


def export(
    kind: str, checkpoint: Path, out: Path, name: str, version: str, seed: int, self_training: bool = False
) -> None:
    """Write the bundle and check that onnxruntime and torch agree.

    Raises:
        ValueError: if they differ by more than 1e-3.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = network.build(kind)
    model.load_state_dict(state["average"])
    model.eval()
    fold_batch_norm(model)
    m = MULTIPLE[kind]
    example = torch.randn(1, 1, 3 * m, 4 * m, 5 * m)
    outputs = network.output_names(kind)
    axes = {n: {2: "depth", 3: "height", 4: "width"} for n in ["image", *outputs]}
    out.mkdir(parents=True, exist_ok=True)
    target = out / "model.onnx"
    with tempfile.TemporaryDirectory() as tmp:
        raw = Path(tmp) / "raw.onnx"
        torch.onnx.export(
            model, (example,), str(raw), input_names=["image"], output_names=outputs,
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip
        proto = onnx.load(str(raw))
    halve_weights(proto.graph)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(target))
    session = ort.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    other = torch.randn(1, 1, 4 * m, 3 * m, 4 * m)
    with torch.no_grad():
        expected = model(other)
    for a, b in zip(session.run(outputs, {"image": other.numpy()}), expected, strict=True):
        difference = float(np.abs(a - b.numpy()).max())
        if difference > 1e-3:
            raise ValueError(f"onnxruntime and torch differ by {difference}")
    manifest = {
        "schema_version": "1",
        "name": name,
        "version": version,
        "kind": kind,
        "file": "model.onnx",
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "input": {
            "name": "image",
            "spacing_mm": [SPACING_MM[kind]] * 3,
            "orientation": "foot-head,anterior-posterior,right-left",
            "resampling": "mean over the output voxel where the scan is finer, linear where it is coarser",
            "clip_hu": list(network.CLIP_HU),
            "mean_hu": network.MEAN_HU,
            "std_hu": network.STD_HU,
            "size_multiple": m,
            "pad_hu": -1024,
            "max_patch": PATCH[kind],
            "overlap": 0.25,
        },
        "outputs": {
            "logits": {"name": "logits", "channels": list(network.CONFIG[kind]["channels"])},
            "vertebra_offset": {"name": "vertebra_offset", "scale_mm": network.OFFSET_SCALE_MM},
        },
        "training": {
            "data": DATA + (SELF_TRAINING if self_training else []),
            "licences": ["CC BY 4.0", "3D Slicer licence"] + (["CC BY 3.0"] if self_training else []),
            "date": datetime.now(UTC).date().isoformat(),
            "steps": state["step"],
            "minutes": round(state["minutes"]),
            "seed": seed,
        },
        "licence": "Apache-2.0 (weights; attribution of the training data in MODEL_CARD.md)",
    }
    if network.CONFIG[kind]["coordinate"]:
        manifest["outputs"]["spine_coordinate"] = {
            "name": "spine_coordinate",
            "offset": network.COORDINATE_OFFSET,
            "scale": network.COORDINATE_SCALE,
        }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["coarse", "fine"])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="bundle folder, e.g. models/coarse-v1")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--seed", type=int, default=0, help="the seed training ran with, for the manifest")
    parser.add_argument("--self-training", action="store_true", help="real CT with pseudo-labels was drawn too")
    args = parser.parse_args()
    export(args.kind, args.checkpoint, args.out, args.out.name, args.version, args.seed, args.self_training)


if __name__ == "__main__":
    main()
