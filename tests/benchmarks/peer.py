"""The peer for speed: nnU-Net's plain U-Net as TotalSegmentator's 3 mm model has it, with random weights.

Time does not depend on the weights. Architecture: features 32-64-128-256-320, two 3 x 3 x 3 convolutions a stage,
instance norm, leaky ReLU, transposed convolutions up, 118 classes, patch 112 x 112 x 128, step 0.5 (nnU-Net v2 plans of
TotalSegmentator task 297). Built straight as an ONNX graph so that both sides run on the same runtime.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = (32, 64, 128, 256, 320)
CLASSES = 118
PATCH = (112, 112, 128)
STEP = 0.5
SPACING_MM = 3.0


class _Graph:
    """Collects nodes and random weights in the order of execution."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def weight(self, shape: tuple[int, ...], constant: float | None = None) -> str:
        name = f"w{len(self.weights)}"
        if constant is None:
            values = self._random.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            values = np.full(shape, constant)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def block(self, x: str, channels_in: int, channels: int, stride: int = 1) -> str:
        for index in range(2):
            weight = self.weight((channels, channels_in if index == 0 else channels, 3, 3, 3))
            step = stride if index == 0 else 1
            x = self.node(
                "Conv",
                [x, weight, self.weight((channels,), 0.0)],
                kernel_shape=[3] * 3,
                pads=[1] * 6,
                strides=[step] * 3,
            )
            x = self.node("InstanceNormalization", [x, self.weight((channels,), 1.0), self.weight((channels,), 0.0)])
            x = self.node("LeakyRelu", [x], alpha=0.01)
        return x


def build_peer(path: Path, seed: int = 0) -> None:
    """Write the peer network as ONNX (about 66 MB)."""
    graph = _Graph(seed)
    x, skips, channels_in = "image", [], 1
    for index, channels in enumerate(FEATURES):
        x = graph.block(x, channels_in, channels, stride=1 if index == 0 else 2)
        skips.append(x)
        channels_in = channels
    for skip, channels in zip(reversed(skips[:-1]), reversed(FEATURES[:-1]), strict=True):
        up = graph.weight((channels_in, channels, 2, 2, 2))
        x = graph.node("ConvTranspose", [x, up, graph.weight((channels,), 0.0)], kernel_shape=[2] * 3, strides=[2] * 3)
        x = graph.block(graph.node("Concat", [x, skip], axis=1), 2 * channels, channels)
        channels_in = channels
    head = [x, graph.weight((CLASSES, channels_in, 1, 1, 1)), graph.weight((CLASSES,), 0.0)]
    graph.nodes.append(helper.make_node("Conv", head, ["logits"], kernel_shape=[1] * 3))
    shape = [1, 1, *PATCH]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "plain_conv_unet",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, *PATCH])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    onnx.save(model, path)


def peer_patches(extent_mm: tuple[float, float, float]) -> int:
    """Patches that nnU-Net's sliding window takes over a scan of this extent (k, j, i), step half a patch."""
    # Patch axes are laid largest to largest, as nnU-Net's plans do after transposition.
    voxels = sorted(math.ceil(extent / SPACING_MM) for extent in extent_mm)
    counts = [
        1 if size <= patch else math.ceil((size - patch) / (patch * STEP)) + 1
        for size, patch in zip(voxels, sorted(PATCH), strict=True)
    ]
    return math.prod(counts)
