"""The calibration graph: an ONNX file that fits the line and looks up the spectrum's table.

Bundle of kind ``calibration``: ``manifest.json`` and the ONNX file it names. A site may replace it by one with its
own table; columns are named in the manifest.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from trabecula.anatomy import ModelUse
from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.comparator import MassAttenuationModel, load_mass_attenuation
from trabecula.calibration.model_bundle import find_bundles, open_graph
from trabecula.errors import ModelError
from trabecula.model_files import read_onnx
from trabecula.onnx_runtime import ort
from trabecula.segmentation.settings import RuntimeSettings

DoubleArray = npt.NDArray[np.float64]

_MINERAL, _IODINE = "mineral-slope", "iodine-slope"
_RED, _YELLOW = "red-marrow", "yellow-marrow"
_LEAN, _FAT = "composed-bone-lean", "composed-bone-fat"
_TISSUES: Final = tuple(tissue for tissue in ReferenceTissue if tissue is not ReferenceTissue.OUTSIDE_AIR)
_COLUMNS: Final = frozenset({_MINERAL, _IODINE, _RED, _YELLOW, _LEAN, _FAT, *_TISSUES})


@dataclass(frozen=True)
class Beam:
    """Tube voltage, tin filter, and the patient's size as a thickness of water."""

    kvp: float
    tin: bool
    diameter_cm: float


_ANY_BEAM: Final = Beam(120.0, False, 25.0)  # for runs whose answer does not depend on it


@dataclass(frozen=True)
class Spectrum:
    """What a beam makes of materials, from first principles."""

    slope_hu_per_mg_cm3: float
    """Of K2HPO4 in solution."""
    slope_standard_uncertainty: float
    iodine_hu_per_mg_ml: float
    tissue_hu: MappingProxyType[ReferenceTissue, float]
    """Model tissues, only good for differences between beams; air is -1000 in any."""
    red_marrow_hu: float
    yellow_marrow_hu: float

    lean_bone_hu: float
    fat_bone_hu: float
    """Trabecular bone of some 100 mg/cm3 put together from apatite, collagen, and marrow without fat or all fat."""

    def marrow_hu(self, fat_fraction: float) -> float:
        """Marrow without mineral, ICRU-44's red and yellow mixed."""
        return (1.0 - fat_fraction) * self.red_marrow_hu + fat_fraction * self.yellow_marrow_hu

    def composed_bone_hu(self, fat_fraction: float) -> float:
        """Trabecular bone put together from its parts at body temperature."""
        return (1.0 - fat_fraction) * self.lean_bone_hu + fat_fraction * self.fat_bone_hu


@dataclass(frozen=True)
class Observation:
    """A material seen at ``measured_hu`` that ought to be at ``nominal_hu``."""

    measured_hu: float
    nominal_hu: float
    variance_hu2: float


@dataclass(frozen=True)
class Line:
    """``nominal = gain * measured + offset_hu`` with the covariance of its two parameters."""

    gain: float
    offset_hu: float
    gain_variance: float
    offset_variance_hu2: float
    covariance_hu: float

    def at(self, hu: float) -> float:
        return self.gain * hu + self.offset_hu

    def variance_at(self, hu: float) -> float:
        return self.gain_variance * hu * hu + 2.0 * self.covariance_hu * hu + self.offset_variance_hu2


@dataclass(frozen=True, eq=False)
class CalibrationModel:
    """A loaded calibration bundle; safe to share between threads."""

    use: ModelUse
    kvp_range: tuple[float, float]
    diameter_range_cm: tuple[float, float]
    anchor_beam: Beam
    anchor: Spectrum
    """The beam in which nominal reference HU are given, and whose reading defines density."""
    _columns: tuple[str, ...]
    _session: ort.InferenceSession
    mass_attenuation: MassAttenuationModel | None = None
    """The comparator, where its bundle is installed."""
    load_s: float = 0.0
    """What reading, checking and opening it took."""

    def spectrum(self, beam: Beam, slope_relative_uncertainty: float) -> Spectrum:
        """Look up a beam; the table's edges hold outside its range."""
        return _look_up(self._session, "spectrum", self._columns, beam, slope_relative_uncertainty)

    def fit(self, observations: Sequence[Observation]) -> Line:
        """Weighted least squares of nominal on measured HU.

        Raises:
            ModelError: if fewer than two different observations make the line undetermined.
        """
        names = ["gain", "offset_hu", "covariance"]
        gain, offset, covariance = self._session.run(names, _feed(observations, _ANY_BEAM, 0.0))
        if not np.isfinite(covariance).all():
            raise ModelError("the calibration line is not determined by its observations")
        return Line(
            float(gain), float(offset), float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])
        )


def load_calibration(models_dir: Path, runtime: RuntimeSettings) -> CalibrationModel:
    """Load the calibration bundle found in ``models_dir``.

    Raises:
        ModelError: if there is not exactly one, its manifest is incomplete, or onnxruntime cannot run it.
        ModelChecksumMismatch: if the ONNX file is not the one its manifest announces.
    """
    began_s = time.perf_counter()
    found = find_bundles(models_dir, "calibration")
    if len(found) != 1:
        raise ModelError(f"one calibration bundle is needed, {len(found)} found", bundles=len(found))
    folder, manifest = found[0]
    try:
        name, version, sha256 = str(manifest["name"]), str(manifest["version"]), str(manifest["sha256"])
        file = str(manifest["file"])
        columns = tuple(str(c) for c in manifest["columns"])
        kvp_low, kvp_high = (float(v) for v in manifest["kvp_range"])
        cm_low, cm_high = (float(v) for v in manifest["diameter_range_cm"])
        place = manifest["anchor"]
        anchor_beam = Beam(float(place["kvp"]), bool(place["tin"]), float(place["diameter_cm"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"manifest of {folder.name} is incomplete", bundle=folder.name) from error
    if missing := _COLUMNS - set(columns):
        raise ModelError(f"manifest of {folder.name} lacks the columns {sorted(missing)}", bundle=folder.name)
    session, provider = open_graph(read_onnx(folder, file, sha256, folder.name), folder.name, runtime)
    try:
        anchor = _look_up(session, "spectrum_anchor", columns, _ANY_BEAM, 0.0)
    except Exception as error:  # onnxruntime raises subclasses of its own for any fault
        raise ModelError(f"{folder.name} cannot be run: {type(error).__name__}", bundle=folder.name) from error
    use = ModelUse(name, version, sha256, "calibration", provider)
    comparator = load_mass_attenuation(models_dir, runtime)
    return CalibrationModel(
        use,
        (kvp_low, kvp_high),
        (cm_low, cm_high),
        anchor_beam,
        anchor,
        columns,
        session,
        comparator,
        time.perf_counter() - began_s,
    )


def _feed(observations: Sequence[Observation], beam: Beam, slope_relative_uncertainty: float) -> dict[str, DoubleArray]:
    rows = [(o.measured_hu, o.nominal_hu, o.variance_hu2, 1.0) for o in observations] or [(0.0, 0.0, 1.0, 0.0)]
    columns = np.ascontiguousarray(np.asarray(rows, dtype=np.float64).T)
    scalars = {
        "kvp": beam.kvp,
        "tin": float(beam.tin),
        "diameter_cm": beam.diameter_cm,
        "slope_relative_uncertainty": slope_relative_uncertainty,
    }
    return {
        **dict(zip(("measured_hu", "nominal_hu", "variance_hu2", "mask"), columns, strict=True)),
        **{name: np.asarray(value, dtype=np.float64) for name, value in scalars.items()},
    }


def _look_up(
    session: ort.InferenceSession, output: str, columns: tuple[str, ...], beam: Beam, slope_relative_uncertainty: float
) -> Spectrum:
    values, slope_uncertainty = session.run(
        [output, "slope_standard_uncertainty"], _feed((), beam, slope_relative_uncertainty)
    )
    row = {name: float(value) for name, value in zip(columns, values, strict=True)}
    tissues = MappingProxyType({tissue: row[tissue.value] for tissue in _TISSUES})
    return Spectrum(
        row[_MINERAL],
        float(slope_uncertainty),
        row[_IODINE],
        tissues,
        row[_RED],
        row[_YELLOW],
        row[_LEAN],
        row[_FAT],
    )
