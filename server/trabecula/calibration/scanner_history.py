"""A scanner's history of phantom scans and maintenance: values, and the file that the site owns."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from trabecula.calibration.calibration import DensityScale
from trabecula.calibration.phantom_fit import PhantomFit
from trabecula.errors import SiteFileError
from trabecula.imaging.study import Acquisition, KernelClass, SpectralFilter
from trabecula.texts import parse_json

_FORMAT: Final = 1


@dataclass(frozen=True)
class ScannerKey:
    """A scanner in one mode: phantom scans of another mode say nothing about it."""

    station_hash: str
    kvp: float
    spectral_filter: SpectralFilter
    kernel_class: KernelClass

    @classmethod
    def of(cls, acquisition: Acquisition) -> ScannerKey | None:
        """Key of a scan; None when the header does not name scanner and tube voltage."""
        if acquisition.station_hash is None or acquisition.kvp is None:
            return None
        return cls(acquisition.station_hash, acquisition.kvp, acquisition.spectral_filter, acquisition.kernel_class)


@dataclass(frozen=True)
class PhantomScan:
    """One scan of a phantom."""

    key: ScannerKey
    day: date
    fit: PhantomFit
    water_equivalent_diameter_cm: float
    """Of what lay in the scanner: the mineral slope depends on it."""
    phantom: str = ""
    """Kind and serial number."""


@dataclass(frozen=True)
class Maintenance:
    """Tube change, upgrade, recalibration: phantom scans from before no longer hold after it."""

    station_hash: str
    day: date
    what: str


@dataclass(frozen=True)
class ScannerHistory:
    scans: tuple[PhantomScan, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()

    def of_mode(self, key: ScannerKey, kvp_tolerance: float) -> tuple[PhantomScan, ...]:
        """Scans in this mode, oldest first."""
        alike = (
            scan
            for scan in self.scans
            if (scan.key.station_hash, scan.key.spectral_filter, scan.key.kernel_class)
            == (key.station_hash, key.spectral_filter, key.kernel_class)
            and abs(scan.key.kvp - key.kvp) <= kvp_tolerance
        )
        return tuple(sorted(alike, key=lambda scan: scan.day))


class HistoryEvent(StrEnum):
    """Kinds of lines in the file."""

    PHANTOM_SCAN = "phantom-scan"
    MAINTENANCE = "maintenance"


def read_history(path: Path) -> ScannerHistory:
    """Read the site's file; one that does not exist yet is an empty history.

    Raises:
        SiteFileError: if it is not such a file.
    """
    if not path.exists():
        return ScannerHistory()
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise SiteFileError("scanner history of another format", format=ascii(document["format"])[:40])
        return ScannerHistory(
            tuple(_scan(entry) for entry in document["phantom_scans"]),
            tuple(_maintenance(entry) for entry in document["maintenance"]),
        )
    except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise SiteFileError(f"the scanner history cannot be read: {error}") from error


def write_history(history: ScannerHistory, path: Path) -> None:
    """Write the file whole, beside it first, so that a crash leaves the old one."""
    document = history_document(history)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)


def history_document(history: ScannerHistory) -> dict[str, Any]:
    """The file's content."""
    return {
        "format": _FORMAT,
        "phantom_scans": [scan_document(scan) for scan in sorted(history.scans, key=lambda s: s.day)],
        "maintenance": [
            {"station_hash": event.station_hash, "day": event.day.isoformat(), "what": event.what}
            for event in sorted(history.maintenance, key=lambda e: e.day)
        ],
    }


def scan_document(scan: PhantomScan) -> dict[str, Any]:
    """One phantom scan as it stands in the file."""
    fit = scan.fit
    return {
        "station_hash": scan.key.station_hash,
        "kvp": scan.key.kvp,
        "spectral_filter": scan.key.spectral_filter.value,
        "kernel_class": scan.key.kernel_class.value,
        "day": scan.day.isoformat(),
        "phantom": scan.phantom,
        "water_equivalent_diameter_cm": scan.water_equivalent_diameter_cm,
        "scale": fit.scale.value,
        "slope_hu_per_mg_cm3": fit.slope_hu_per_mg_cm3,
        "offset_hu": fit.offset_hu,
        "slope_variance": fit.slope_variance,
        "offset_variance_hu2": fit.offset_variance_hu2,
        "slope_offset_covariance": fit.slope_offset_covariance,
        "r_squared": fit.r_squared,
        "residual_sd_hu": fit.residual_sd_hu,
    }


_FIT_NUMBERS: Final = (
    "slope_hu_per_mg_cm3",
    "offset_hu",
    "slope_variance",
    "offset_variance_hu2",
    "slope_offset_covariance",
    "r_squared",
    "residual_sd_hu",
)


def _scan(entry: dict[str, Any]) -> PhantomScan:
    key = ScannerKey(
        str(entry["station_hash"]),
        float(entry["kvp"]),
        SpectralFilter(entry["spectral_filter"]),
        KernelClass(entry["kernel_class"]),
    )
    fit = PhantomFit(DensityScale(entry["scale"]), *(float(entry[name]) for name in _FIT_NUMBERS))
    diameter_cm = float(entry["water_equivalent_diameter_cm"])
    return PhantomScan(key, date.fromisoformat(entry["day"]), fit, diameter_cm, str(entry.get("phantom", "")))


def _maintenance(entry: dict[str, Any]) -> Maintenance:
    return Maintenance(str(entry["station_hash"]), date.fromisoformat(entry["day"]), str(entry["what"]))
