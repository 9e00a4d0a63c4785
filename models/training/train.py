"""Train one network from a bank of rendered samples; resumes from its checkpoint; logs the curve as CSV.

The learning rate follows a cosine over the wall clock (``--minutes``), so a run ends when it was meant to.
For the last part of the run batch norm uses its running statistics, so that what is trained is what is exported.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from models.training import network
from models.training.render import COARSE_MM, FINE_MM
from torch import nn
from torch.nn import functional as F

SPACING_MM = {"coarse": COARSE_MM, "fine": FINE_MM}
PATCH = {"coarse": (96, 80, 96), "fine": (64, 72, 80)}
MULTIPLE = {"coarse": 16, "fine": 8}
FLIP = {"coarse": 0.0, "fine": 0.25}
COLUMN_PATCH = (96, 64, 64)
COLUMN_SHARE = 0.6
"""How often a coarse sample is cropped to the surroundings of the column: cheaper, and fewer easy voxels."""
CLASS_WEIGHT = {
    "coarse": {
        "outside": 0.3, "body": 0.5, "cavity": 0.7, "lung": 0.7, "trachea": 5, "heart": 1.3, "aorta": 4, "liver": 1,
        "spleen": 2.5, "kidney": 2.5, "paraspinal_muscle": 2, "rib": 2.5, "other_bone": 2.5, "spinal_canal": 4,
        "intervertebral_disc": 4, "vertebra_body": 2.5, "vertebra_posterior": 2.5, "skeletal_muscle": 0.8,
        "subcutaneous_fat": 0.7, "metal": 2,
    },
    "fine": {"background": 0.5, "intervertebral_disc": 1.2, "spinal_canal": 1.5, "aorta": 2, "rib": 2},
}  # fmt: skip
"""Cross-entropy weights; without them the small classes had not begun to be learned after 250 coarse steps."""
COORDINATE_WEIGHT = 2.0
"""At 2, with a sharp L1, its gradient starved the bone classes: their Dice was 0 after 450 steps."""
OFFSET_WEIGHT = 1.0
IGNORE = 255
"""Class of voxels that nothing is known of; they do not count."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One crop; all arrays (D, H, W) but ``offset``."""

    hu: torch.Tensor
    classes: torch.Tensor
    """Channel index; IGNORE where nothing is known."""
    level: torch.Tensor
    """Spine coordinate, NaN where there is none."""
    offset: torch.Tensor
    """(3, D, H, W) to the centre of the voxel's own vertebral body, in units of OFFSET_SCALE_MM; NaN where none."""


def _window(
    shape: tuple[int, ...], level: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """First index and size of the crop along each axis."""
    size, start = [], []
    column = np.argwhere(~np.isnan(level[::4, ::4, ::4])) * 4
    near = kind == "coarse" and rng.random() < COLUMN_SHARE and len(column) > 0
    for axis, (n, most) in enumerate(zip(shape, COLUMN_PATCH if near else PATCH[kind], strict=True)):
        want = min(most, math.ceil(n / MULTIPLE[kind]) * MULTIPLE[kind])
        at = int(rng.integers(0, max(0, n - want) + 1))
        if near and axis:
            middle = column[:, axis].mean() + rng.normal(-6 if axis == 1 else 0, 5)
            at = int(np.clip(middle - want / 2, 0, max(0, n - want)))
        size.append(want)
        start.append(at)
    return start, size


def _offsets(ordinal: np.ndarray, centres: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Offsets from each voxel of a vertebra to its centre, (3, D, H, W); NaN elsewhere and where no centre is known."""
    table = np.full((256, 3), np.nan, np.float32)
    table[centres[:, 0].astype(int)] = centres[:, 1:]
    at = np.argwhere(ordinal > 0)
    out = np.full((3, *ordinal.shape), np.nan, np.float32)
    found = (table[ordinal[tuple(at.T)]] - at) * (spacing_mm / network.OFFSET_SCALE_MM)
    out[(slice(None), *at.T)] = found.T
    return out


def draw(bank: Path, kind: str, rng: np.random.Generator) -> Sample:
    """One cropped, lightly augmented sample."""
    files = sorted(f for f in bank.glob("*.npz") if ".part" not in f.name)
    with np.load(files[rng.integers(len(files))]) as z:
        hu, classes, level, ordinal, centres = z["hu"], z["classes"], z["level"], z["ordinal"], z["centres"]
    start, size = _window(hu.shape, level, kind, rng)
    cut = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    centres = centres - np.array([0, *start], np.float32)
    hu, classes, level = hu[cut].astype(np.float32), classes[cut], level[cut].astype(np.float32)
    offset = _offsets(ordinal[cut], centres, SPACING_MM[kind])
    gap = [n - m for n, m in zip(size, hu.shape, strict=True)]
    before = [int(rng.integers(0, g + 1)) for g in gap]
    pad = [(b, g - b) for b, g in zip(before, gap, strict=True)]
    hu = np.pad(hu, pad, constant_values=-1024)
    classes = np.pad(classes, pad)
    level = np.pad(level, pad, constant_values=np.nan)
    offset = np.pad(offset, [(0, 0), *pad], constant_values=np.nan)
    hu = hu * rng.uniform(0.97, 1.03) + rng.normal(0, 8)
    if rng.random() < FLIP[kind]:
        hu, classes, level, offset = (np.ascontiguousarray(a[..., ::-1]) for a in (hu, classes, level, offset))
        offset[2] *= -1
    return Sample(
        torch.from_numpy(hu.astype(np.float32)), torch.from_numpy(classes.astype(np.int64)),
        torch.from_numpy(level), torch.from_numpy(offset),
    )  # fmt: skip


def class_weights(kind: str) -> torch.Tensor:
    return torch.tensor([float(CLASS_WEIGHT[kind].get(c, 1.0)) for c in network.CONFIG[kind]["channels"]])


def segmentation_loss(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy plus soft Dice over the classes present; also the hard Dice per class (NaN when absent)."""
    channels = logits.shape[1]
    ce = F.cross_entropy(logits, target, weight, ignore_index=IGNORE)
    known = (target != IGNORE)[:, None]
    p = logits.softmax(1) * known
    onehot = F.one_hot(target.where(known[:, 0], 0), channels).movedim(-1, 1).to(p.dtype) * known
    overlap, total = (p * onehot).sum((0, 2, 3, 4)), (p + onehot).sum((0, 2, 3, 4))
    present = onehot.sum((0, 2, 3, 4)) > 0
    soft = 1 - ((2 * overlap + 1) / (total + 1))[present].mean()
    with torch.no_grad():
        hard = F.one_hot(logits.argmax(1), channels).movedim(-1, 1).to(p.dtype) * known
        dice = 2 * (hard * onehot).sum((0, 2, 3, 4)) / (hard + onehot).sum((0, 2, 3, 4))
        dice[~present] = float("nan")
    return ce + soft, dice


def coordinate_loss(predicted: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Smooth L1 where the coordinate is known; also the mean error in levels."""
    known = ~torch.isnan(level)
    if not bool(known.any()):
        return predicted.sum() * 0, float("nan")
    wanted = (level[known] - network.COORDINATE_OFFSET) / network.COORDINATE_SCALE
    got = predicted[known]
    error = float((got - wanted).detach().abs().mean() * network.COORDINATE_SCALE)
    return F.smooth_l1_loss(got, wanted, beta=0.125) * COORDINATE_WEIGHT, error


def offset_loss(predicted: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Smooth L1 at voxels of vertebrae; also the mean error in mm (per axis)."""
    known = ~torch.isnan(offset)
    if not bool(known.any()):
        return predicted.sum() * 0, float("nan")
    got, wanted = predicted[known], offset[known]
    error = float((got - wanted).detach().abs().mean() * network.OFFSET_SCALE_MM)
    return F.smooth_l1_loss(got, wanted, beta=0.125) * OFFSET_WEIGHT, error


def carry_on(model: network.UNet, checkpoint: Path) -> None:
    """Start from an older version of the same network: channels added since, and new outputs, start afresh."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["average"]
    own = model.state_dict()
    for name, value in state.items():
        if own[name].shape == value.shape:
            own[name] = value
        else:
            own[name][: len(value)] = value
    model.load_state_dict(own)


def transfer(model: network.UNet, kind: str, other: str, checkpoint: Path) -> None:
    """Start from the other kind's weights: encoder levels, decoder levels counted from the finest, shared classes."""
    source = network.build(other)
    source.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    for mine, theirs in zip(model.down, source.down, strict=False):
        mine.load_state_dict(theirs.state_dict())
    for mine, theirs in zip(reversed(model.up), reversed(source.up), strict=False):
        mine.load_state_dict(theirs.state_dict())
    names, known = network.CONFIG[kind]["channels"], network.CONFIG[other]["channels"]
    with torch.no_grad():
        for row, name in enumerate(names):
            if name in known:
                model.head.weight[row] = source.head.weight[known.index(name)]
                model.head.bias[row] = source.head.bias[known.index(name)]


def freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["coarse", "fine"])
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint.pt and curve.csv")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--freeze-after", type=float, default=0.5, help="share of the run before batch norm freezes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument("--count-earlier", action="store_true", help="--minutes counts the checkpoint's minutes too")
    parser.add_argument("--init", type=Path, help="checkpoint of the other kind to start from")
    parser.add_argument("--carry-on", type=Path, help="checkpoint of the same kind, perhaps older, to start from")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    args.out.mkdir(parents=True, exist_ok=True)
    model = network.build(args.kind)
    if args.init:
        transfer(model, args.kind, "fine" if args.kind == "coarse" else "coarse", args.init)
    if args.carry_on:
        carry_on(model, args.carry_on)
    model = model.to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=1e-4)
    average = copy.deepcopy(model)
    step, trained_minutes = 0, 0.0
    checkpoint = args.out / "checkpoint.pt"
    if args.resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, trained_minutes = state["step"], state["minutes"]
    earlier = trained_minutes if args.count_earlier else 0.0
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.02
    rng = np.random.default_rng((args.seed, step))
    weight = class_weights(args.kind).to(device)
    log = (args.out / "curve.csv").open("a", newline="")
    writer = csv.writer(log)
    names = network.CONFIG[args.kind]["channels"]
    if log.tell() == 0:
        writer.writerow(["step", "minutes", "rate", "loss", "level_error", "offset_error_mm", *names])
    start = time.monotonic()
    losses: list[float] = []
    errors: list[float] = []
    errors_mm: list[float] = []
    dices: list[np.ndarray] = []
    model.train()
    while True:
        elapsed = (time.monotonic() - start) / 60
        progress = (elapsed + earlier) / args.minutes
        if progress >= 1:
            break
        if progress > args.freeze_after:
            freeze_batch_norm(model)
        warm = min(1.0, (step + 1) / 50, (elapsed * 60 + 5) / 60)
        rate = args.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        samples = [draw(args.bank, args.kind, rng) for _ in range(args.batch)]
        hu, classes, level, offset = (
            torch.stack([getattr(sample, part) for sample in samples]).to(device)
            for part in ("hu", "classes", "level", "offset")
        )
        x = network.normalise(hu)[:, None].to(memory_format=torch.channels_last_3d)
        with torch.autocast(device, torch.bfloat16):
            logits, vector, *coordinate = model(x)
        loss, dice = segmentation_loss(logits.float(), classes, weight)
        extra, error_mm = offset_loss(vector.float(), offset)
        loss = loss + extra
        errors_mm.append(error_mm)
        if coordinate:
            extra, error = coordinate_loss(coordinate[0][:, 0].float(), level)
            loss = loss + extra
            errors.append(error)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        if not torch.isfinite(norm):
            print(f"step {step}: gradient not finite, sample skipped", flush=True)
            continue
        optimiser.step()
        step += 1
        decay = min(0.997, step / (step + 20))
        with torch.no_grad():
            for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                a.lerp_(b, 1 - decay) if a.dtype.is_floating_point else a.copy_(b)
        losses.append(float(loss.detach()))
        dices.append(dice.cpu().numpy())
        if step % 25 == 0:
            row = np.nanmean(np.stack(dices), axis=0)
            writer.writerow(
                [step, f"{trained_minutes + elapsed:.2f}", f"{rate:.2e}", f"{np.mean(losses):.4f}",
                 f"{np.nanmean(errors):.3f}" if errors else "", f"{np.nanmean(errors_mm):.2f}",
                 *(f"{d:.3f}" for d in row)]
            )  # fmt: skip
            log.flush()
            losses, errors, errors_mm, dices = [], [], [], []
        if step % 50 == 0:
            _save(checkpoint, model, average, optimiser, step, trained_minutes + elapsed)
    _save(checkpoint, model, average, optimiser, step, trained_minutes + (time.monotonic() - start) / 60)


def _save(
    path: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int, minutes: float
) -> None:
    state = {
        "model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
        "step": step, "minutes": minutes,
    }  # fmt: skip
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


if __name__ == "__main__":
    main()
