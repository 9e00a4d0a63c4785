"""What a bundle says about a network of nnU-Net, beside its ONNX file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=1024)]
Direction = Literal["L", "R", "P", "A", "S", "I"]
"""Patient direction that an axis runs to: left, right, posterior, anterior, superior (head), inferior (foot)."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Resampling(_Part):
    """How nnU-Net brings values from one grid to another (``resample_data_or_seg``)."""

    order: Annotated[int, Field(ge=0, le=5)]
    """Order of the spline."""
    order_z: Annotated[int, Field(ge=0, le=5)]
    """Order along the coarse axis where that is treated apart."""
    separate_z: bool | None
    """Whether the coarse axis is treated apart; None: when one spacing is over ``threshold`` times another."""
    threshold: Positive = 3.0


class Normalisation(_Part):
    """How CT numbers become the network's input."""

    scheme: Literal["ct", "z-score", "rescale-0-1", "none"]
    mean: Finite = 0.0
    std: Positive = 1.0
    low: Finite = 0.0
    """``ct`` clips below (0.5th percentile of the training foreground) ..."""
    high: Finite = 0.0
    """... and above (99.5th percentile)."""
    non_zero_only: bool = False
    """``z-score``: mean and deviation of the voxels inside the non-zero region alone; the rest stays as it is."""


class NetworkInput(_Part):
    """How a scan is brought to the network and read back. Triples are in the network's axis order."""

    name: str
    axes: tuple[Direction, Direction, Direction]
    """Where each axis of the network's grid runs to; canonical scans are ("S", "P", "L")."""
    spacing_mm: tuple[Positive, Positive, Positive]
    patch: tuple[Side, Side, Side]
    step: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Largest step between tiles, as a share of the patch."""
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()
    """Predictions are averaged over all mirrorings along these axes."""
    normalisation: Normalisation
    resampling: Resampling
    resampling_logits: Resampling

    @model_validator(mode="after")
    def _check(self) -> NetworkInput:
        if sorted("LPS".index({"R": "L", "A": "P", "I": "S"}.get(a, a)) for a in self.axes) != [0, 1, 2]:
            raise ValueError("axes must run along the body's three axes")
        if len(set(self.mirror_axes)) != len(self.mirror_axes):
            raise ValueError("a mirror axis is named twice")
        return self


class LabelTarget(_Part):
    """What one label of the network stands for."""

    name: str
    """Its name in the network's dataset.json."""
    target: str
    """Canonical meaning, as in the label maps (:mod:`trabecula.segmentation.nnunet.labels`)."""


class NnunetSpec(_Part):
    """An imported network: output ``logits`` (1, labels, patch) for input (1, 1, patch)."""

    input: NetworkInput
    logits: str
    """Name of the output."""
    labels: Annotated[tuple[LabelTarget, ...], Field(min_length=2, max_length=65535)]
    """By label number, from 0."""
