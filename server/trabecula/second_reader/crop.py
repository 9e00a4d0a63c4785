"""The box of the scan that an end-to-end model sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trabecula.anatomy import VertebraInstance
from trabecula.geometry import FloatArray, Geometry
from trabecula.second_reader.manifest import CropSpec

Box = npt.NDArray[np.float32]


def crop_around(
    hu: npt.NDArray[np.int16],
    geometry: Geometry,
    vertebra: VertebraInstance,
    spec: CropSpec,
) -> Box:
    """The normalised box about a vertebral body's centre.

    Args:
        hu: (K, J, I) attenuation as scanned.
        geometry: of the same grid.
        vertebra: centre and axes.
        spec: shape, spacing and normalisation.

    Returns:
        (K, J, I) float32 of ``spec.shape``; k foot to head, j front to back, i right to left.
    """
    centre = np.asarray(vertebra.centroid_lps_mm)
    offsets = [(np.arange(n) - (n - 1) / 2.0) * mm for n, mm in zip(spec.shape, spec.spacing_mm, strict=True)]
    up, back, left = _axes(vertebra, spec)
    points = (
        centre
        + offsets[0][:, None, None, None] * up
        + offsets[1][None, :, None, None] * back
        + offsets[2][None, None, :, None] * left
    )
    return _normalised(_sampled(hu, geometry.lps_to_index(points), spec), spec)


def _axes(vertebra: VertebraInstance, spec: CropSpec) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unit vectors towards the head, the back and the left, in LPS."""
    if spec.axes == "patient":
        return np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    up, back = np.asarray(vertebra.superior), -np.asarray(vertebra.anterior)
    return up, back, np.cross(back, up)


def _sampled(hu: npt.NDArray[np.int16], index: FloatArray, spec: CropSpec) -> npt.NDArray[np.float32]:
    """Means over about a voxel of the box, so that noise falls as the spacing says, with padding outside."""
    low = np.maximum(np.floor(index.min(axis=(0, 1, 2))).astype(int) - 4, 0)
    high = np.minimum(np.ceil(index.max(axis=(0, 1, 2))).astype(int) + 5, hu.shape)
    if np.any(low >= high):
        return np.full(spec.shape, spec.pad_hu, dtype=np.float32)
    block = hu[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    step = [float(np.linalg.norm(np.diff(index, axis=axis).reshape(-1, 3)[0])) for axis in range(3)]
    # A Gaussian of half the step in grid voxels is what an average over the step spreads.
    sigma = [max(0.0, 0.3 * (along - 1.0)) for along in step]
    smooth = ndimage.gaussian_filter(block, sigma) if any(sigma) else block
    found: npt.NDArray[np.float32] = ndimage.map_coordinates(
        smooth,
        np.moveaxis(index - low, -1, 0),
        output=np.float32,
        order=1,
        mode="constant",
        cval=spec.pad_hu,
        prefilter=False,
    )
    return found


def _normalised(box: npt.NDArray[np.float32], spec: CropSpec) -> Box:
    normal: Box = ((np.clip(box, *spec.clip_hu) - spec.mean_hu) / spec.std_hu).astype(np.float32)
    return normal
