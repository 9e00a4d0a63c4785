"""Decoding the chosen stack, and what only the pixels can tell about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trabecula.errors import CorruptInstance
from trabecula.imaging.decode import decode_volume
from trabecula.imaging.grid import GridPlan, plan_grid
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.refusals import refuse, warn
from trabecula.imaging.stacks import Stack
from trabecula.imaging.study import HuArray
from trabecula.outcome import Notice, Refusal, RefusalCode

_MOST = 0.5
"""Damaged part of the slices from which the series counts as damaged."""
_TISSUE_HU = (-200, 200)
_LEAST_TISSUE = 0.005
_AIR_HU = -850
_LEAST_AIR = 0.01


@dataclass(frozen=True, eq=False)
class DecodedSeries:
    """A stack as a volume on its canonical grid."""

    hu: HuArray
    plan: GridPlan
    notices: tuple[Notice, ...]


def decode_series(
    stack: Stack, plan: GridPlan, limits: ImagingLimits, on_fraction: Callable[[float], None]
) -> DecodedSeries | tuple[Refusal, ...]:
    """Volume of a usable stack; slices that prove damaged are dropped and the grid is judged again without them.

    Raises CorruptInstance where most slices cannot be decoded, and what :func:`decode_volume` raises.
    """
    notices: tuple[Notice, ...] = ()
    if stack.copies_dropped:
        text = f"{stack.copies_dropped} slice(s) lay at the position of another one and were left out."
        notices += (warn("duplicate-positions", text),)
    hu, damaged = decode_volume(plan, limits, on_fraction)
    if damaged:
        notices += (warn("slices-damaged", f"{len(damaged)} slice(s) could not be decoded and were left out."),)
        repaired = _without(plan, hu, damaged, limits)
        if isinstance(repaired, tuple):
            return repaired
        hu, plan = repaired.hu, repaired.plan
    wrong = _not_hounsfield(hu, plan)
    if wrong:
        return (wrong,)
    hu.setflags(write=False)
    return DecodedSeries(hu, plan, plan.notices + notices)


def _without(
    plan: GridPlan, hu: HuArray, damaged: frozenset[int], limits: ImagingLimits
) -> DecodedSeries | tuple[Refusal, ...]:
    """The volume without damaged slices, where the rest still makes a grid."""
    kept = [k for k in range(len(plan.slices)) if k not in damaged]
    if len(kept) < _MOST * len(plan.slices):
        raise CorruptInstance("most slices cannot be decoded")
    again = plan_grid(Stack(tuple(plan.slices[k] for k in kept), 0), limits)
    if not isinstance(again, GridPlan):
        return again
    if plan.shift_rows is None:
        first = next(k for k in kept if plan.slices[k] is again.slices[0])
        return DecodedSeries(hu[first : first + len(again.slices)], again, ())
    del hu  # tilted slices lie elsewhere on the new grid
    decoded, _ = decode_volume(again, limits, lambda _fraction: None)
    return DecodedSeries(decoded, again, ())


def _not_hounsfield(hu: HuArray, plan: GridPlan) -> Refusal | None:
    """Look at the pixels: some must be soft tissue; where the header leaves the unit open, some must be air too."""
    sample = hu[::2, ::4, ::4]
    tissue = float(np.mean((sample > _TISSUE_HU[0]) & (sample < _TISSUE_HU[1])))
    air = float(np.mean(sample < _AIR_HU))
    unit_open = any(one.frame.rescale_type == "US" for one in plan.slices)
    if tissue < _LEAST_TISSUE or (unit_open and air < _LEAST_AIR):
        return refuse(RefusalCode.NOT_HOUNSFIELD, "The values do not look like air and soft tissue.")
    return None
