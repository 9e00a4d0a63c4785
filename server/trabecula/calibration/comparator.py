"""The mass-attenuation comparator's graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trabecula.anatomy import ModelUse
from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.model_bundle import find_bundles, open_graph
from trabecula.errors import ModelError
from trabecula.model_files import read_onnx
from trabecula.onnx_runtime import ort
from trabecula.segmentation.settings import RuntimeSettings

_KIND: Final = "calibration-comparator"
_OUTPUTS: Final = ("energy_kev", "r_squared", "constant_mg_cm3", "linear_mg_cm3_per_hu", "quadratic_mg_cm3_per_hu2")


@dataclass(frozen=True)
class MixtureCurve:
    """K2HPO4 density, mg/cm3, as ``constant + linear * HU + quadratic * HU^2``."""

    energy_kev: float
    r_squared: float
    constant_mg_cm3: float
    linear_mg_cm3_per_hu: float
    quadratic_mg_cm3_per_hu2: float


@dataclass(frozen=True, eq=False)
class MassAttenuationModel:
    """The comparator's graph; safe to share between threads."""

    use: ModelUse
    tissues: tuple[ReferenceTissue, ...]
    fewest_tissues: int
    _session: ort.InferenceSession

    def curve(self, measured_hu: Mapping[ReferenceTissue, float]) -> MixtureCurve:
        """Fit the tissues given; those missing are left out.

        Raises:
            ModelError: if fewer than the model needs are given.
        """
        mask = np.array([float(tissue in measured_hu) for tissue in self.tissues])
        if mask.sum() < self.fewest_tissues:
            raise ModelError("too few tissues for the mass-attenuation method", needed=self.fewest_tissues)
        hu = np.array([measured_hu.get(tissue, 0.0) for tissue in self.tissues])
        outputs = self._session.run(list(_OUTPUTS), {"measured_hu": hu, "mask": mask})
        return MixtureCurve(*(float(value[0]) for value in outputs))


def load_mass_attenuation(models_dir: Path, runtime: RuntimeSettings) -> MassAttenuationModel | None:
    """Load the comparator's bundle; None where a site has taken it away.

    Raises:
        ModelError: if there are several, the manifest is incomplete, or onnxruntime cannot run the file.
    """
    found = find_bundles(models_dir, _KIND)
    if not found:
        return None
    if len(found) > 1:
        raise ModelError(f"one bundle of kind {_KIND} is allowed, {len(found)} found", bundles=len(found))
    folder, manifest = found[0]
    try:
        name, version, sha256 = str(manifest["name"]), str(manifest["version"]), str(manifest["sha256"])
        file = str(manifest["file"])
        tissues = tuple(ReferenceTissue(tissue) for tissue in manifest["tissues"])
        fewest = int(manifest["fewest_tissues"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"manifest of {folder.name} is incomplete", bundle=folder.name) from error
    session, provider = open_graph(read_onnx(folder, file, sha256, folder.name), folder.name, runtime)
    return MassAttenuationModel(ModelUse(name, version, sha256, "calibration", provider), tissues, fewest, session)
