"""The site's calibration file (TOML): methods in order, phantoms, fitted corrections."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trabecula.calibration.asynchronous import Asynchronous, WhenStale
from trabecula.calibration.calibration import CalibrationMethod, CorrectionName
from trabecula.calibration.certificates import PhantomCertificate, read_certificate
from trabecula.calibration.hu_only import HuOnly
from trabecula.calibration.mass_attenuation import MassAttenuation
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.profile import CalibrationProfile, Method
from trabecula.calibration.reference_sets import REFERENCE_SETS
from trabecula.calibration.scanner_history import ScannerHistory
from trabecula.calibration.site import (
    ContrastRegression,
    KernelShift,
    SiteCorrections,
    Vessel,
    VirtualUnenhancedMap,
)
from trabecula.calibration.synchronous import SynchronousPhantom
from trabecula.errors import SiteFileError
from trabecula.imaging.study import KernelClass
from trabecula.texts import parse_toml

_KEYS: Final = frozenset(
    {"methods", "when_stale", "without", "phantom", "contrast", "virtual_unenhanced", "kernel", "name"}
)


def read_profile(path: Path, history: ScannerHistory | None = None) -> CalibrationProfile:
    """Read a site's calibration file; ``history`` makes the asynchronous method available.

    Raises:
        SiteFileError: if it cannot be read, names something unknown, or asks for a method without its data.
    """
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SiteFileError(f"the calibration file cannot be read: {error}") from error
    return parse_profile(document, history, path.stem)


def parse_profile(document: Mapping[str, Any], history: ScannerHistory | None, name: str) -> CalibrationProfile:
    """Profile from the file's content; raises as :func:`read_profile` does."""
    unknown = document.keys() - _KEYS
    if unknown:
        raise SiteFileError(f"unknown entries {sorted(unknown)}", entries=len(unknown))
    phantoms = tuple(read_certificate(entry) for entry in document.get("phantom", ()))
    try:
        stale = WhenStale(document.get("when_stale", WhenStale.REFUSE.value))
        wanted = [CalibrationMethod(text) for text in document.get("methods", ())]
        site = SiteCorrections(
            contrast=_contrast(document["contrast"]) if "contrast" in document else None,
            virtual_unenhanced=tuple(_virtual(entry) for entry in document.get("virtual_unenhanced", ())),
            kernels={KernelClass(kind): _kernel(entry) for kind, entry in document.get("kernel", {}).items()},
            without=frozenset(CorrectionName(text) for text in document.get("without", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SiteFileError(f"the calibration file has an entry that cannot be used: {error}") from error
    wanted = wanted or _default_order(phantoms, history)
    methods = tuple(_method(kind, phantoms, history, stale) for kind in wanted)
    return CalibrationProfile(methods, site, phantoms, str(document.get("name", name)))


def _default_order(phantoms: Sequence[PhantomCertificate], history: ScannerHistory | None) -> list[CalibrationMethod]:
    """What the site has data for, best first."""
    return [
        *([CalibrationMethod.SYNCHRONOUS_PHANTOM] if phantoms else ()),
        *([CalibrationMethod.ASYNCHRONOUS] if history is not None else ()),
        CalibrationMethod.PHANTOMLESS,
        CalibrationMethod.HU_ONLY,
    ]


def default_profile(history: ScannerHistory | None) -> CalibrationProfile:
    """Profile of a site that has no calibration file."""
    return parse_profile({}, history, "default")


def _method(
    kind: CalibrationMethod,
    phantoms: Sequence[PhantomCertificate],
    history: ScannerHistory | None,
    when_stale: WhenStale,
) -> Method:
    if kind is CalibrationMethod.SYNCHRONOUS_PHANTOM:
        if not phantoms:
            raise SiteFileError("the method needs a [[phantom]] with its certificate", method=kind.value)
        return SynchronousPhantom()
    if kind is CalibrationMethod.ASYNCHRONOUS:
        if history is None:
            raise SiteFileError("the method needs a scanner history (scanner_history_file)", method=kind.value)
        return Asynchronous(history, when_stale)
    simple: dict[CalibrationMethod, Callable[[], Method]] = {
        CalibrationMethod.HU_ONLY: HuOnly,
        CalibrationMethod.MASS_ATTENUATION: MassAttenuation,
    }
    if kind in simple:
        return simple[kind]()
    return Phantomless(next(each for each in REFERENCE_SETS if each.method is kind))


def _contrast(entry: Mapping[str, Any]) -> ContrastRegression:
    low, high = entry["vessel_range_hu"]
    return ContrastRegression(
        Vessel(entry["vessel"]),
        float(entry["slope"]),
        float(entry["intercept_hu"]),
        float(entry["residual_sd_hu"]),
        (float(low), float(high)),
        float(entry["kvp"]),
        str(entry["source"]),
    )


def _virtual(entry: Mapping[str, Any]) -> VirtualUnenhancedMap:
    return VirtualUnenhancedMap(
        float(entry["slope"]),
        float(entry["intercept_hu"]),
        float(entry["residual_sd_hu"]),
        float(entry["equivalent_kvp"]),
        tuple(str(each) for each in entry.get("station_hashes", ())),
        str(entry["source"]),
    )


def _kernel(entry: Mapping[str, Any]) -> KernelShift:
    return KernelShift(float(entry["amount_mg_cm3"]), float(entry["standard_uncertainty_mg_cm3"]), str(entry["source"]))
