"""Decoding slices straight into the one canonical int16 array."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from trabecula.errors import CorruptInstance, ImplausibleSize, LimitExceeded, NoPixelData
from trabecula.imaging.codecs import StoredArray, check_supported, decode_frame
from trabecula.imaging.grid import GridPlan
from trabecula.imaging.headers import inflated_dataset
from trabecula.imaging.instance import PixelFormat, Slice
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.pixel_element import stored_frames
from trabecula.imaging.study import OUTSIDE_HU, HuArray

_NO_PHYSICS_BELOW_HU = -1200
"""Noise takes air a little below -1000; what lies far below is a scanner's filling."""
_PADDING_PLAUSIBLE_HU = (-900.0, 3000.0)
"""A padding value in this range would erase tissue, so the tag is not believed."""
_INT16 = np.iinfo(np.int16)


def check_size(plan: GridPlan, limits: ImagingLimits) -> None:
    """Raises LimitExceeded or ImplausibleSize before memory is taken for the volume."""
    voxels = int(np.prod(plan.geometry.shape, dtype=np.int64))
    if voxels > limits.max_voxels:
        raise LimitExceeded(limit="max_voxels", value=limits.max_voxels)
    instances = {one.instance.path: one.instance for one in plan.slices}.values()
    announced = sum(one.pixels.frame_bytes * len(one.frames) for one in instances)
    present = sum(one.available_bytes for one in instances)
    if announced > limits.max_compression_ratio * max(1, present):
        raise ImplausibleSize(announced_bytes=announced, present_bytes=present)


def decode_volume(
    plan: GridPlan, limits: ImagingLimits, on_fraction: Callable[[float], None]
) -> tuple[HuArray, frozenset[int]]:
    """Volume (K, J, I) in HU, and the k of slices that could not be decoded (left at -1024).

    Raises UnsupportedTransferSyntax; LimitExceeded and ImplausibleSize before anything is allocated.
    """
    check_size(plan, limits)
    by_instance: dict[str, list[tuple[int, Slice]]] = defaultdict(list)
    for k, one in enumerate(plan.slices):
        check_supported(one.instance.pixels)
        by_instance[str(one.instance.path)].append((k, one))
    volume = np.full(plan.geometry.shape, OUTSIDE_HU, dtype=np.int16)
    damaged: set[int] = set()
    done = 0
    pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="decode")
    try:
        futures = [pool.submit(_decode_instance, wanted, plan, limits, volume) for wanted in by_instance.values()]
        for future in as_completed(futures):
            damaged.update(future.result())
            done += 1
            on_fraction(done / len(futures))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return volume, frozenset(damaged)


def _decode_instance(
    wanted: Iterable[tuple[int, Slice]], plan: GridPlan, limits: ImagingLimits, volume: HuArray
) -> list[int]:
    """Decode the wanted frames of one instance into their places; the k of those that failed."""
    places = {one.frame.index: (k, one) for k, one in wanted}
    remaining = dict(places)
    failed: list[int] = []
    instance = next(iter(places.values()))[1].instance
    try:
        with instance.path.open("rb") as file:
            source = inflated_dataset(file, limits) if instance.deflated else file
            for index, stored in enumerate(stored_frames(instance, source)):
                if index not in remaining:
                    continue
                k, one = remaining.pop(index)
                try:
                    plane = to_hounsfield(decode_frame(stored, instance.pixels), one)
                    _place(plane, k, plan, volume)
                except CorruptInstance:
                    failed.append(k)
    except (CorruptInstance, NoPixelData, OSError, ValueError, EOFError, struct.error):
        pass  # what is left in `remaining` is reported as damaged
    return failed + [k for k, _ in remaining.values()]


def to_hounsfield(stored: StoredArray, one: Slice) -> HuArray:
    """Stored values to HU, padding and a scanner's filling set to -1024."""
    slope, intercept = one.frame.slope or 1.0, one.frame.intercept or 0.0
    pixels = one.instance.pixels
    if slope == 1.0 and intercept.is_integer() and abs(intercept) <= _INT16.max:
        low, high = int(stored.min()) + intercept, int(stored.max()) + intercept
        if _INT16.min <= low and high <= _INT16.max:
            hu: HuArray = stored.astype(np.int16)  # may wrap, and wraps back with the sum, which fits
            hu += np.int16(intercept)
        else:
            hu = np.clip(stored.astype(np.int64) + int(intercept), _INT16.min, _INT16.max).astype(np.int16)
    else:
        exact = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        hu = np.clip(np.rint(exact), _INT16.min, _INT16.max).astype(np.int16)
    hu[hu < _NO_PHYSICS_BELOW_HU] = OUTSIDE_HU
    padding = believed_padding(pixels, slope, intercept)
    if padding is not None:
        hu[(stored >= padding[0]) & (stored <= padding[1])] = OUTSIDE_HU
    return hu


def believed_padding(pixels: PixelFormat, slope: float, intercept: float) -> tuple[int, int] | None:
    """Padding range of the header, unless it reaches into values that tissue has."""
    if pixels.padding is None:
        return None
    low, high = (value * slope + intercept for value in pixels.padding)
    inside = low <= _PADDING_PLAUSIBLE_HU[1] and high >= _PADDING_PLAUSIBLE_HU[0]
    return None if inside else pixels.padding


def _place(plane: HuArray, k: int, plan: GridPlan, volume: HuArray) -> None:
    """Write one decoded plane into slice k of the canonical volume."""
    if plan.transpose:
        plane = plane.T
    plane = plane[:: -1 if plan.flip_j else 1, :: -1 if plan.flip_i else 1]
    if plan.shift_rows is None:
        volume[k] = plane
        return
    whole, fraction = divmod(float(plan.shift_rows[k]), 1.0)
    start, rows = int(whole), plane.shape[0]
    if fraction < 1e-6:
        volume[k, start : start + rows] = plane
        return
    mixed = plane[1:] * np.float32(1 - fraction) + plane[:-1] * np.float32(fraction)
    volume[k, start] = plane[0]
    volume[k, start + 1 : start + rows] = np.rint(mixed).astype(np.int16)
