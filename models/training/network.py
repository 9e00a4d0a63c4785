"""The two 3D U-Nets: convolution, batch norm (folds away on export), ReLU; narrow, because two CPU cores run them."""

from __future__ import annotations

import torch
from models.training.render import COARSE_CHANNELS, FINE_CHANNELS
from torch import nn
from torch.nn import functional as F

CONFIG = {
    "coarse": {"widths": (12, 24, 48, 96, 128), "channels": COARSE_CHANNELS, "coordinate": True},
    "fine": {"widths": (12, 24, 48, 96), "channels": FINE_CHANNELS, "coordinate": False},
}
COORDINATE_OFFSET, COORDINATE_SCALE = 16.0, 8.0
OFFSET_SCALE_MM = 16.0
CLIP_HU = (-1024.0, 1500.0)
MEAN_HU, STD_HU = 0.0, 300.0


def _block(inputs: int, *outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in outputs:
        layers += [nn.Conv3d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm3d(width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """(N, 1, D, H, W) normalised HU to logits (N, C, D, H, W), offsets (N, 3, D, H, W) to the centre of the voxel's own
    vertebral body in units of OFFSET_SCALE_MM along (k, j, i), and the spine coordinate (N, 1, D, H, W) if asked."""

    def __init__(self, widths: tuple[int, ...], channels: int, coordinate: bool) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        inputs = 1
        for width in widths:
            self.down.append(_block(inputs, width, width))
            inputs = width
        self.up = nn.ModuleList()
        for level, width in enumerate(reversed(widths[:-1])):
            last = level == len(widths) - 2
            self.up.append(_block(inputs + width, width) if last else _block(inputs + width, width, width))
            inputs = width
        self.head = nn.Conv3d(inputs, channels, 1)
        self.offset = nn.Conv3d(inputs, 3, 1)
        self.coordinate = nn.Conv3d(inputs, 1, 1) if coordinate else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = F.max_pool3d(x, 2)
            x = block(x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1))
        outputs = self.head(x), self.offset(x)
        return outputs if self.coordinate is None else (*outputs, self.coordinate(x))


def build(kind: str) -> UNet:
    config = CONFIG[kind]
    return UNet(config["widths"], len(config["channels"]), config["coordinate"])


def output_names(kind: str) -> list[str]:
    return ["logits", "vertebra_offset"] + (["spine_coordinate"] if CONFIG[kind]["coordinate"] else [])


def normalise(hu: torch.Tensor) -> torch.Tensor:
    return (hu.float().clamp(*CLIP_HU) - MEAN_HU) / STD_HU
