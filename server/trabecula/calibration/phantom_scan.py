"""A scan of a QCT phantom, with or without a body in it, to an entry of the scanner's history."""

from __future__ import annotations

from datetime import date

import numpy as np
from scipy import ndimage

from trabecula.anatomy import Anatomy, Structure
from trabecula.calibration.certificates import PhantomCertificate
from trabecula.calibration.patient_size import water_equivalent_size
from trabecula.calibration.phantom_fit import fit_phantom
from trabecula.calibration.rods import find_rods
from trabecula.calibration.scanner_history import PhantomScan, ScannerKey
from trabecula.calibration.sections import take_sections
from trabecula.calibration.synchronous import poor_fit
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import CtStudy, CtVolume
from trabecula.outcome import Refusal, RefusalCode, Stage

_BODY_HU = -400
"""Between air and any tissue, water or plastic."""


def phantom_scan_of(
    study: CtStudy, certificate: PhantomCertificate, constants: ClinicalConstants
) -> PhantomScan | Refusal:
    """Find the rods and fit them; everything that attenuates counts towards the size.

    Refuses when the header does not name scanner, tube voltage and day, when the rods are not found, or when they do
    not lie on a line.
    """
    key, acquired = ScannerKey.of(study.acquisition), study.acquisition.acquired_at
    if key is None or acquired is None:
        return _refusal("the header does not name scanner, tube voltage and date")
    anatomy = _everything(study.volume)
    rods = find_rods(study.volume, anatomy, (certificate,), constants, whole_picture=True)
    if rods is None:
        return _refusal(f"the rods of the {certificate.kind.value} were not found")
    fit = fit_phantom(certificate, rods.rods, constants)
    problem = poor_fit(fit, constants)
    if problem is not None:
        return _refusal(problem)
    size = water_equivalent_size(take_sections(study.volume, anatomy, constants), constants)
    if size is None:
        return _refusal("nothing is in the picture")
    phantom = f"{certificate.kind.value} {certificate.serial}"
    return PhantomScan(key, date.fromisoformat(acquired[:10]), fit, size.water_equivalent_diameter_cm, phantom)


def _everything(volume: CtVolume) -> Anatomy:
    """Labels without a patient: whatever attenuates is BODY, thin things such as the table's shell left out."""
    solid = volume.hu > _BODY_HU
    for k in range(solid.shape[0]):
        solid[k] = ndimage.binary_opening(solid[k], iterations=3)
    labels = np.where(solid, np.uint8(Structure.BODY), np.uint8(Structure.OUTSIDE))
    return Anatomy(labels, volume.geometry, (), (), ())


def _refusal(problem: str) -> Refusal:
    return Refusal(
        RefusalCode.CALIBRATION_REFERENCES_REJECTED,
        Stage.CALIBRATION,
        f"This scan cannot be added to the scanner's history: {problem}.",
        "Scan the phantom as the site scans patients, and name its certificate in the calibration file.",
    )
