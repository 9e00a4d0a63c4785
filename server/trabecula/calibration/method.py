"""The one interface of all calibration methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trabecula.calibration.calibration import Calibration, CalibrationMethod
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.ground import Ground
from trabecula.calibration.model import CalibrationModel
from trabecula.calibration.site import SiteCorrections
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition
from trabecula.outcome import Refusal


@dataclass(frozen=True)
class Scan:
    """Everything that a method may look at."""

    findings: ScanFindings
    ground: Ground
    acquisition: Acquisition
    model: CalibrationModel
    constants: ClinicalConstants
    site: SiteCorrections


@dataclass(frozen=True)
class NotOffered:
    """This scan does not allow the method; the next one may be tried."""

    because: str


Verdict = Calibration | NotOffered | Refusal
"""A refusal ends the choice: going on with another method would hide what the site must mend."""


class Calibrator(Protocol):
    """A way from HU to density. The closed set is :data:`trabecula.calibration.profile.Method`."""

    @property
    def method(self) -> CalibrationMethod: ...

    def calibrate(self, scan: Scan) -> Verdict:
        """Calibrate the scan, or say why not."""
        ...
