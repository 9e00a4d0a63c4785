"""``anatomy.nii.gz`` and ``anatomy.labels.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK

from trabecula.anatomy import Anatomy, LabelMeaning
from trabecula.geometry import Geometry
from trabecula.outputs.masks.sides import meaning_with_sides, with_sides

VOLUME_FILE: Final = "anatomy.nii.gz"
LABELS_FILE: Final = "anatomy.labels.json"


def write_masks(anatomy: Anatomy, out: Path) -> None:
    """Write the label volume on the CT's grid, and what each number in it means, into an existing folder.

    The volume is the canonical grid of the scan (axes foot to head, front to back, right to left; NIfTI
    stores them in the order i, j, k and in RAS, which SimpleITK sees to). Paired structures are told apart
    as ``sides`` says. The JSON is a list of ``{id, structure, level, part, side}`` of the labels present.

    Raises:
        OSError: if the disk does not take the files.
    """
    labels = with_sides(anatomy)
    SimpleITK.WriteImage(
        _image(labels, anatomy.geometry), str(out / VOLUME_FILE), useCompression=True, compressionLevel=4
    )
    present = sorted(set().union(*(np.unique(plane).tolist() for plane in labels)))
    rows = [_row(meaning_with_sides(label)) for label in present]
    (out / LABELS_FILE).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _image(labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], geometry: Geometry) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(labels)
    k_mm, j_mm, i_mm = geometry.spacing_mm
    image.SetSpacing((i_mm, j_mm, k_mm))
    image.SetOrigin(tuple(float(value) for value in geometry.affine[:3, 3]))
    # columns of the direction matrix are the unit vectors of i, j, k in LPS
    direction = geometry.affine[:3, :3][:, ::-1] / np.array([i_mm, j_mm, k_mm])
    image.SetDirection(tuple(float(value) for value in direction.ravel()))
    return image


def _row(meaning: LabelMeaning) -> dict[str, int | str | None]:
    return {
        "id": meaning.label,
        "structure": meaning.structure,
        "level": meaning.level,
        "part": meaning.part,
        "side": meaning.side,
    }
