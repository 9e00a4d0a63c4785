"""Running an imported network on a scan: nnU-Net's own preprocessing, sliding window and way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from math import ceil

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.segmentation.nnunet.resample import Shape, coarse_axis, new_shape, resample_image, top_labels
from trabecula.segmentation.nnunet.spec import NetworkInput, Normalisation

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Integers = npt.NDArray[np.uint16]
Network = Callable[[Floats], Floats]
"""(patch) normalised float32 in, (C, patch) logits out."""
_CANONICAL = ("S", "P", "L")
_SAME_AXIS = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
_PEAK = 10.0


@dataclass(frozen=True, eq=False)
class NetworkLabels:
    """A network's answer on the scan's own grid."""

    labels: Integers
    """(K, J, I) label numbers of the network."""
    certainty: npt.NDArray[np.float64]
    """By label number: mean softmax probability where the network chose that label; 0 where it never did."""


def predict_labels(
    hu: npt.NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    spec: NetworkInput,
    network: Network,
    on_fraction: Callable[[float], None],
) -> NetworkLabels:
    """Label a scan.

    Args:
        hu: (K, J, I) CT numbers on a canonical grid (foot to head, anterior to posterior, right to left).
        spacing_mm: of that grid.
        network: called once per tile and mirroring.
        on_fraction: called with the fraction done before the first and after each pass of the network; may raise to
            stop.
    """
    image = _network_order(hu, spec)
    first, second, third = (_SAME_AXIS[axis] for axis in spec.axes)
    spacing = (spacing_mm[first], spacing_mm[second], spacing_mm[third])
    box = non_zero_box(image)
    cropped = image[box]
    size = new_shape(_shape(cropped), spacing, spec.spacing_mm)
    apart = coarse_axis(spec.resampling, spacing, spec.spacing_mm)
    normalise = _normaliser(cropped, spec.normalisation)
    across = apart or 0
    data = resample_image(
        lambda n: normalise(np.take(cropped, [n], axis=across).squeeze(across), n, across),
        _shape(cropped),
        size,
        spec.resampling,
        apart,
    )
    logits = sliding_window(data, spec, network, on_fraction)
    labels = np.zeros(image.shape, dtype=np.uint16)
    apart = coarse_axis(spec.resampling_logits, spec.spacing_mm, spacing)
    inside = labels[box]
    for axis, n, plane in top_labels(logits, _shape(cropped), spec.resampling_logits, apart):
        inside[(slice(None),) * axis + (n,)] = plane
    return NetworkLabels(_canonical_order(labels, spec), label_certainty(logits))


def _network_order(array: npt.NDArray[np.int16], spec: NetworkInput) -> npt.NDArray[np.int16]:
    """A canonical array with the network's axes (a view)."""
    turned = array.transpose([_SAME_AXIS[axis] for axis in spec.axes])
    return turned[tuple(slice(None, None, 1 if axis in _CANONICAL else -1) for axis in spec.axes)]


def _canonical_order(array: Integers, spec: NetworkInput) -> Integers:
    turned = array[tuple(slice(None, None, 1 if axis in _CANONICAL else -1) for axis in spec.axes)]
    return np.ascontiguousarray(turned.transpose(np.argsort([_SAME_AXIS[axis] for axis in spec.axes])))


def _shape(array: npt.NDArray[np.generic]) -> Shape:
    first, second, third = array.shape
    return first, second, third


def non_zero_box(image: npt.NDArray[np.generic]) -> tuple[slice, slice, slice]:
    """Smallest box that holds every value other than 0; the whole image where there is none."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.flatnonzero((image != 0).any(axis=others))
        box.append(slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, image.shape[axis]))
    return box[0], box[1], box[2]


def _normaliser(
    image: npt.NDArray[np.int16], how: Normalisation
) -> Callable[[npt.NDArray[np.int16], int, int], Floats]:
    """Function of a plane of CT numbers, its index and its axis to normalised values."""
    mask = None
    if how.scheme == "ct":
        low, high, mean, std = how.low, how.high, how.mean, how.std
    else:
        low, high = float(image.min()), float(image.max())
        if how.scheme == "z-score":
            mask = ndimage.binary_fill_holes(image != 0) if how.non_zero_only else None
            values = image if mask is None else image[mask]
            mean, std = float(values.mean(dtype=np.float64)), max(float(values.std(dtype=np.float64)), 1e-8)
        elif how.scheme == "rescale-0-1":
            mean, std = low, max(high - low, 1e-8)
        else:
            mean, std = 0.0, 1.0

    def normalise(plane: npt.NDArray[np.int16], index: int, axis: int) -> Floats:
        values = np.clip(plane.astype(np.float32), low, high)
        values -= np.float32(mean)
        values /= np.float32(std)
        if mask is None:
            return values
        return np.where(mask.take(index, axis=axis), values, plane.astype(np.float32))

    return normalise


def sliding_window(data: Floats, spec: NetworkInput, network: Network, on_fraction: Callable[[float], None]) -> Halves:
    """Logits of a normalised image: Gaussian-weighted mean over overlapping tiles, each the mean over mirrorings.

    Sums are kept in half precision, as nnU-Net keeps them: for 118 labels that is what fits into memory.

    Returns:
        (C, K, J, I) logits for ``data``.
    """
    before = [max(0, p - n) // 2 for p, n in zip(spec.patch, data.shape, strict=True)]
    after = [max(0, p - n) - b for p, n, b in zip(spec.patch, data.shape, before, strict=True)]
    padded = np.pad(data, list(zip(before, after, strict=True)))
    corners = list(product(*(tile_starts(n, p, spec.step) for n, p in zip(padded.shape, spec.patch, strict=True))))
    flips = [axes for count in range(len(spec.mirror_axes) + 1) for axes in combinations(spec.mirror_axes, count)]
    weight = tile_weight(spec.patch)
    total = np.zeros(padded.shape, dtype=np.float16)
    out: Halves | None = None
    on_fraction(0.0)
    done, passes = 0, len(corners) * len(flips)
    for corner in corners:
        place = tuple(slice(start, start + side) for start, side in zip(corner, spec.patch, strict=True))
        tile = padded[place]
        answer: Floats | None = None
        for axes in flips:
            logits = network(np.ascontiguousarray(np.flip(tile, axes)))
            logits = np.flip(logits, tuple(1 + axis for axis in axes))
            answer = logits.copy() if answer is None else answer + logits
            done += 1
            on_fraction(done / passes)
        assert answer is not None  # noqa: S101  (there is at least the pass without mirroring)
        answer *= weight.astype(np.float32) / np.float32(len(flips))
        if out is None:
            out = np.zeros((len(answer), *padded.shape), dtype=np.float16)
        here = out[(slice(None), *place)]
        np.add(here, answer, out=here, casting="same_kind")
        total[place] += weight
    assert out is not None  # noqa: S101  (there is at least one tile)
    out /= total
    return out[(slice(None), *(slice(b, b + n) for b, n in zip(before, data.shape, strict=True)))]


def tile_starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    """First indices of the tiles along an axis (``compute_steps_for_sliding_window``)."""
    count = ceil((size - patch) / (patch * step)) + 1
    if count <= 1:
        return (0,)
    return tuple(round((size - patch) / (count - 1) * n) for n in range(count))


def tile_weight(patch: Shape) -> Halves:
    """Importance of each voxel of a tile (``compute_gaussian``): a Gaussian of an eighth of the side, highest 10, and
    nowhere 0."""
    point = np.zeros(patch)
    point[tuple(side // 2 for side in patch)] = 1.0
    gauss = ndimage.gaussian_filter(point, [side / 8 for side in patch], mode="constant")
    weight: Halves = (gauss / gauss.max() * _PEAK).astype(np.float16)
    weight[weight == 0] = weight[weight > 0].min()
    return weight


def label_certainty(logits: Halves) -> npt.NDArray[np.float64]:
    """By channel: mean softmax probability of the voxels where that channel is the highest; 0 where it never is."""
    channels = len(logits)
    total, count = np.zeros(channels), np.zeros(channels)
    for n in range(logits.shape[1]):
        plane = logits[:, n].astype(np.float32).reshape(channels, -1)
        top = plane.argmax(axis=0)
        plane -= plane.max(axis=0)
        probability = 1 / np.exp(plane, out=plane).sum(axis=0)
        total += np.bincount(top, weights=probability, minlength=channels)
        count += np.bincount(top, minlength=channels)
    return np.asarray(total / np.maximum(count, 1))
