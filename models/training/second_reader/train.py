"""Make ``models/second-reader-example-v1``: a small end-to-end model that shows how the second reader's slot works.

From the checkout's root, in an environment with the ``train`` extra and the program on the path::

    python models/training/second_reader/train.py --out models/second-reader-example-v1

One command paints the vertebrae (kept under ``runs/second_reader``), trains, chooses the cut-off on validation
anatomies, measures on held-out ones, and writes the bundle with its card. CPU; seeds are fixed. The model has seen
simulated images of one parametric phantom and nothing else: it proves the slot and is of no clinical use.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from bank import Anatomy, anatomies, draw
from onnx import helper, numpy_helper
from torch import nn

from trabecula.second_reader.manifest import CropSpec, SecondReaderManifest

NAME, VERSION = "second-reader-example", "1.0.0"
CUT_MG_CM3 = 80.0
TRAINING, VALIDATION, HELD_OUT = range(36), range(36, 46), range(46, 60)
"""Seeds of anatomies; no anatomy is in two parts."""
SCANS_EACH = {"training": 10, "validation": 10, "held-out": 12}
CROP = CropSpec(
    name="crop",
    shape=(16, 20, 20),
    spacing_mm=(2.0, 2.0, 2.0),
    axes="body",
    clip_hu=(-200.0, 500.0),
    mean_hu=100.0,
    std_hu=150.0,
    pad_hu=-100.0,
)
WIDTHS = (8, 16, 24)
EPOCHS, BATCH, RATE = 24, 32, 3e-3

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Crops (N, 1, K, J, I), true densities (N,) in mg/cm3, anatomy of each (N,)."""

    boxes: Array
    density: Array
    anatomy: npt.NDArray[np.int64]

    @property
    def positive(self) -> npt.NDArray[np.bool_]:
        return self.density < CUT_MG_CM3


class Network(nn.Module):
    """Three convolutions with pooling, a mean, a weight each: about 17,000 numbers."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        before = 1
        for width in WIDTHS:
            blocks += [nn.Conv3d(before, width, 3, padding=1), nn.ReLU(), nn.AvgPool3d(2)]
            before = width
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(before, 1)

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        """(N, 1, K, J, I) to (N,) logits."""
        logits: torch.Tensor = self.head(self.features(crop).mean(dim=(2, 3, 4)))[:, 0]
        return logits


def make_part(seeds: range, scans: int, cache: Path, seed: int) -> Part:
    rng = np.random.default_rng(seed)
    boxes, density, owner = [], [], []
    for number, anatomy in zip(seeds, anatomies(seeds, cache), strict=True):
        for box, value in _scans(anatomy, scans, rng):
            boxes.append(box[None])
            density.append(value)
            owner.append(number)
    return Part(np.stack(boxes), np.array(density, dtype=np.float32), np.array(owner))


def _scans(anatomy: Anatomy, scans: int, rng: np.random.Generator) -> list[tuple[Array, float]]:
    return [draw(anatomy, CROP, rng) for _ in range(scans)]


def train(part: Part, seed: int) -> Network:
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    steps = EPOCHS * ((len(part.density) + BATCH - 1) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    boxes, wanted = torch.from_numpy(part.boxes), torch.from_numpy(part.positive.astype(np.float32))
    order = torch.Generator().manual_seed(seed)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(wanted), generator=order).split(BATCH):
            loss = nn.functional.binary_cross_entropy_with_logits(network(boxes[batch]), wanted[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        sys.stdout.write(f"epoch {epoch + 1}: loss {total / len(wanted):.4f}\n")
        sys.stdout.flush()
    return network.eval()


def scores(network: Network, part: Part) -> npt.NDArray[np.float64]:
    with torch.no_grad():
        found = [torch.sigmoid(network(torch.from_numpy(chunk))) for chunk in np.array_split(part.boxes, 8)]
    return torch.cat(found).numpy().astype(np.float64)


def auc(score: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Share of pairs in which the positive one scores higher; ties count half."""
    high, low = score[positive][:, None], score[~positive][None, :]
    return float((high > low).mean() + 0.5 * (high == low).mean())


def balanced_cut(score: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Cut-off of the largest sum of sensitivity and specificity."""
    candidates = np.linspace(0.05, 0.95, 91)
    youden = [(score[positive] >= c).mean() - (score[~positive] >= c).mean() for c in candidates]
    best = np.flatnonzero(np.isclose(youden, max(youden)))
    return round(float(candidates[best[len(best) // 2]]), 2)


def measured(score: npt.NDArray[np.float64], part: Part, cut: float) -> dict[str, Any]:
    """Figures with intervals from resampling whole anatomies."""
    said, positive = score >= cut, part.positive

    def figures(index: npt.NDArray[np.int64]) -> tuple[float, float, float]:
        yes, truth = said[index], positive[index]
        return float(yes[truth].mean()), float((~yes[~truth]).mean()), auc(score[index], truth)

    rng = np.random.default_rng(5)
    people = np.unique(part.anatomy)
    rows = {person: np.flatnonzero(part.anatomy == person) for person in people}
    drawn = [figures(np.concatenate([rows[person] for person in rng.choice(people, len(people))])) for _ in range(500)]
    low, high = np.percentile(np.array(drawn), [2.5, 97.5], axis=0)
    found = figures(np.arange(len(score)))
    out: dict[str, Any] = {
        name: {"value": round(value, 3), "interval_95": [round(float(a), 3), round(float(b), 3)]}
        for name, value, a, b in zip(("sensitivity", "specificity", "auc"), found, low, high, strict=True)
    }
    near = np.abs(part.density - CUT_MG_CM3) < 10.0
    out["correct_within_10_mg_cm3"] = round(float((said == positive)[near].mean()), 3)
    out["correct_beyond_10_mg_cm3"] = round(float((said == positive)[~near].mean()), 3)
    return {**out, "cases": len(score), "anatomies": len(people), "positive": int(positive.sum())}


def to_onnx(network: Network) -> bytes:
    """The network in plain operators, one box at a time."""
    nodes, weights, name = [], [], CROP.name
    for number, layer in enumerate(m for m in network.features if isinstance(m, nn.Conv3d)):
        kernel, bias = f"w{number}", f"b{number}"
        weights += [_tensor(layer.weight, kernel), _tensor(layer.bias, bias)]
        nodes += [
            helper.make_node("Conv", [name, kernel, bias], [f"c{number}"], pads=[1] * 6),
            helper.make_node("Relu", [f"c{number}"], [f"r{number}"]),
            helper.make_node("AveragePool", [f"r{number}"], [f"p{number}"], kernel_shape=[2] * 3, strides=[2] * 3),
        ]
        name = f"p{number}"
    weights += [_tensor(network.head.weight, "wh"), _tensor(network.head.bias, "bh")]
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "wh", "bh"], ["logit"], transB=1),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info(CROP.name, onnx.TensorProto.FLOAT, [1, 1, *CROP.shape])],
        [helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, [1, 1])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="trabecula")
    model.ir_version = 8
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save(model, buffer)
    return buffer.getvalue()


def _tensor(weight: torch.Tensor, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(weight.detach().numpy().astype(np.float32), name)


def manifest(content: bytes, cut: float, performance: dict[str, Any], parts: dict[str, Part]) -> dict[str, Any]:
    document = {
        "schema_version": "1",
        "kind": "second-reader",
        "name": NAME,
        "version": VERSION,
        "file": "model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "question": "trabecular density of L1 and L2 below 80 mg/cm3 (K2HPO4)",
        "limits": "Example trained on simulated images of one digital phantom only, never on patients. It shows how the"
        " slot works. Not for clinical use.",
        "input": json.loads(CROP.model_dump_json()),
        "output": {
            "name": "probability",
            "form": "probability",
            "answers_for": "osteoporosis-range",
            "cut_off": cut,
            "combine": "mean",
        },
        "reference": {
            "standard": "simulation",
            "definition": "The density that the digital phantom was made with, K2HPO4 scale, cut at 80 mg/cm3;"
            " standing in for QCT.",
        },
        "scope": {
            "levels": ["L1", "L2"],
            "fewest_levels": 1,
            "kvp": [115.0, 125.0],
            "contrast": False,
            "max_slice_mm": 3.0,
        },
        "performance": performance,
        "training": {
            "command": "python models/training/second_reader/train.py",
            "anatomies": {name: len(np.unique(part.anatomy)) for name, part in parts.items()},
            "crops": {name: len(part.density) for name, part in parts.items()},
            "seeds": {"training": 11, "validation": 12, "held-out": 13, "weights": 7},
            "torch": torch.__version__,
        },
    }
    return json.loads(SecondReaderManifest.model_validate(document).model_dump_json())  # type: ignore[no-any-return]


CARD = """# second-reader-example-v1

An end-to-end model from a box of CT around L1 or L2 to "density below 80 mg/cm3 or not". It exists to show and to test
the second reader's slot. **Trained on simulated images of one digital phantom only, never on patients. Not for clinical
use.** Off unless a site names it (`TRABECULA_SECOND_READERS=second-reader-example-v1`).

* **Input.** {shape} voxels of 2 mm along the vertebra's own axes, HU as scanned, clipped to -200..500.
* **Network.** Three 3 x 3 x 3 convolutions ({widths} channels) with pooling, a mean and one linear layer; {size} kB.
* **Answer.** Probability that the density is below 80 mg/cm3 (K2HPO4); positive from {cut} on; mean over L1 and L2.
* **Reference standard.** The density that the phantom was made with. It stands in for QCT; there is no DXA in it.
* **Scope.** 115 to 125 kVp without tin, no contrast medium, slices up to 3 mm. Other scans are not read.
* **Made by** `python models/training/second_reader/train.py`: {training} crops of {training_anatomies} anatomies for
  training, {validation} of {validation_anatomies} for the cut-off, fixed seeds, CPU. Density, patient size, kernel,
  noise, slice thickness, scanner gain and offset, and the position of the box vary.

## Measured on held-out anatomies

{cases} crops of {anatomies} anatomies that were in no other part, {positive} of them positive; intervals by resampling
anatomies.

| | value | 95 % interval |
|---|---|---|
| sensitivity | {sensitivity[value]:.3f} | {sensitivity[interval_95][0]:.3f} to {sensitivity[interval_95][1]:.3f} |
| specificity | {specificity[value]:.3f} | {specificity[interval_95][0]:.3f} to {specificity[interval_95][1]:.3f} |
| AUC | {auc[value]:.3f} | {auc[interval_95][0]:.3f} to {auc[interval_95][1]:.3f} |

Within 10 mg/cm3 of the cut-off {correct_within_10_mg_cm3:.0%} of the answers are right, beyond it
{correct_beyond_10_mg_cm3:.0%}. These figures say how well the model reads the phantom that it was made from. They say
nothing about patients.
"""


def write_bundle(folder: Path, content: bytes, document: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    training = document["training"]
    card = CARD.format(
        shape=" x ".join(str(n) for n in CROP.shape),
        widths=", ".join(str(n) for n in WIDTHS),
        size=round(len(content) / 1000),
        cut=document["output"]["cut_off"],
        training=training["crops"]["training"],
        training_anatomies=training["anatomies"]["training"],
        validation=training["crops"]["validation"],
        validation_anatomies=training["anatomies"]["validation"],
        **document["performance"],
    )
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models/second-reader-example-v1"))
    parser.add_argument("--bank", type=Path, default=Path("runs/second_reader"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split = {"training": (TRAINING, 11), "validation": (VALIDATION, 12), "held-out": (HELD_OUT, 13)}
    parts = {name: make_part(seeds, SCANS_EACH[name], options.bank, seed) for name, (seeds, seed) in split.items()}
    network = train(parts["training"], 7)
    cut = balanced_cut(scores(network, parts["validation"]), parts["validation"].positive)
    performance = measured(scores(network, parts["held-out"]), parts["held-out"], cut)
    content = to_onnx(network)
    write_bundle(options.out, content, manifest(content, cut, performance, parts))
    sys.stdout.write(json.dumps(performance, indent=1) + "\n")


if __name__ == "__main__":
    main()
