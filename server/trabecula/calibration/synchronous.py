"""Synchronous calibration: a QCT phantom in the same scan, under the patient."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.calibration.build import PhantomLine, build_from_phantom
from trabecula.calibration.calibration import CalibrationMethod
from trabecula.calibration.method import NotOffered, Scan, Verdict
from trabecula.calibration.phantom_fit import PhantomFit, fit_phantom
from trabecula.clinical import ClinicalConstants
from trabecula.outcome import Notice, Severity, Stage


@dataclass(frozen=True)
class SynchronousPhantom:
    """Line through the rods that were found (``ScanFindings.rods``)."""

    @property
    def method(self) -> CalibrationMethod:
        return CalibrationMethod.SYNCHRONOUS_PHANTOM

    def calibrate(self, scan: Scan) -> Verdict:
        """Fit the rods; not offered when none were found or the fit fails its quality gates."""
        found = scan.findings.rods
        if found is None:
            return NotOffered("no phantom of the site was found in the picture")
        fit = fit_phantom(found.certificate, found.rods, scan.constants)
        problem = poor_fit(fit, scan.constants)
        if problem is not None:
            return NotOffered(problem)
        spread = scan.constants.row("calibration.phantom")
        line = PhantomLine(
            fit=fit,
            slope_relative_uncertainty=spread.number("relative_standard_uncertainty"),
            offset_uncertainty_hu=spread.number("offset_standard_uncertainty_hu"),
            source=f"{found.certificate.kind.value} {found.certificate.serial}",
        )
        return build_from_phantom(scan, self.method, line, notices=fit_notices(fit, scan.constants))


def poor_fit(fit: PhantomFit, constants: ClinicalConstants) -> str | None:
    """Why a phantom's line may not be used; None when it may."""
    stop = constants.row("calibration.phantom").number("stop_r_squared")
    if fit.r_squared < stop:
        return f"the rods do not lie on a line (R squared {fit.r_squared:.3f}, below {stop:.2f})"
    return None


def fit_notices(fit: PhantomFit, constants: ClinicalConstants) -> tuple[Notice, ...]:
    """A warning for a fit that is usable and not good."""
    warn = constants.row("calibration.phantom").number("warn_r_squared")
    if fit.r_squared >= warn:
        return ()
    message = f"The phantom's rods lie poorly on a line (R squared {fit.r_squared:.3f}, below {warn:.2f})."
    return (Notice("phantom-fit-poor", Stage.CALIBRATION, Severity.WARNING, message),)
