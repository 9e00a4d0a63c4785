"""Write a phantom: DICOM series, truth.json and, when wanted, the label map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.phantom.dicom import SeriesWriter
from trabecula.phantom.render import ScanGrid, build_patient, render, scan_grid, scanned
from trabecula.phantom.spec import PhantomSpec
from trabecula.phantom.truth import PhantomTruth, phantom_truth

SERIES_FOLDER: Final = "dicom"
TRUTH_FILE: Final = "truth.json"
LABELS_FILE: Final = "labels.nii.gz"


def ignore_progress(fraction: float) -> None:
    """Listener for callers that do not care."""


def write_phantom(
    spec: PhantomSpec, out: Path, progress: Callable[[float], None] = ignore_progress, *, labels: bool = False
) -> PhantomTruth:
    """Make the phantom and write it under ``out``: ``dicom/NNNN.dcm``, ``truth.json``, ``labels.nii.gz``.

    Args:
        progress: called with the fraction done, 0 .. 1.
        labels: write the canonical labels of :mod:`trabecula.anatomy` on the CT grid as well.

    Raises:
        InvalidPhantomSpec: by the spec's own checks, before anything is written.
        OSError: if ``out`` cannot be written.
    """
    progress(0.0)
    patient = build_patient(spec)
    grid = scan_grid(patient)
    writer = SeriesWriter(spec, grid, out / SERIES_FOLDER)
    slices = len(grid.z_mm)
    label_volume = np.zeros((slices, len(grid.y_mm), len(grid.x_mm)), dtype=np.uint8) if labels else None
    for slab in render(patient, grid):
        for n, hu in enumerate(scanned(patient, grid, slab)):
            writer.write(slab.first + n, hu)
        if label_volume is not None:
            label_volume[slab.first : slab.first + len(slab.labels)] = slab.labels
        progress(0.95 * min(1.0, (slab.first + len(slab.labels)) / slices))
    if label_volume is not None:
        _write_labels(label_volume, grid, out / LABELS_FILE)
    truth = phantom_truth(patient, grid, writer.study_uid, writer.series_uid)
    (out / TRUTH_FILE).write_text(truth.to_json(), encoding="utf-8")
    progress(1.0)
    return truth


def _write_labels(labels: npt.NDArray[np.uint8], grid: ScanGrid, path: Path) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing((float(grid.pixel_mm), float(grid.pixel_mm), float(grid.slice_mm)))
    image.SetOrigin((float(grid.x_mm[0]), float(grid.y_mm[0]), float(grid.z_mm[0])))
    SimpleITK.WriteImage(image, str(path), useCompression=True)
