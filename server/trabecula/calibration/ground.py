"""What every method needs before it calibrates: beam, contrast, marrow, kernel, slices, as named steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trabecula.calibration.beam import KnownBeam, known_beam, marrow_correction_hu, switched, to_120kvp
from trabecula.calibration.calibration import CorrectionName, CorrectionStep, ReferenceTissue
from trabecula.calibration.contrast import ContrastFinding, Phase, bone_correction, find_contrast
from trabecula.calibration.findings import ScanFindings
from trabecula.calibration.model import CalibrationModel
from trabecula.calibration.patient_size import PatientSize
from trabecula.calibration.sections import SLAB_MM
from trabecula.calibration.site import SiteCorrections, VirtualUnenhancedMap
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import Acquisition, SpectralFilter
from trabecula.outcome import Notice, Severity, Stage


@dataclass(frozen=True)
class Ground:
    """The beam and the corrections that do not depend on the method."""

    size: PatientSize
    beam: KnownBeam
    contrast: ContrastFinding
    contrast_step: CorrectionStep
    marrow_step: CorrectionStep
    kernel_step: CorrectionStep
    slice_step: CorrectionStep
    before: tuple[CorrectionStep, ...]
    """Steps that came before calibration: averaging by noise, completion of a cut body."""
    bone_map: VirtualUnenhancedMap | None
    """The site's map where the image is virtual unenhanced; no soft tissue is a reference then."""
    to_120kvp_gain: float
    to_120kvp_offset_hu: float
    notices: tuple[Notice, ...]

    @property
    def after(self) -> tuple[CorrectionStep, ...]:
        """Steps between HU' and density."""
        return self.contrast_step, self.marrow_step, self.kernel_step, self.slice_step


def lay_ground(
    findings: ScanFindings,
    size: PatientSize,
    acquisition: Acquisition,
    model: CalibrationModel,
    constants: ClinicalConstants,
    site: SiteCorrections,
) -> Ground:
    """Beam and corrections of a scan whose spectrum can be told (and which the site can map, if it is virtual)."""
    bone_map = map_for(acquisition, site)
    if bone_map is not None:
        acquisition = replace(
            acquisition,
            kvp=bone_map.equivalent_kvp,
            spectral_filter=SpectralFilter.NONE,
        )
    beam = known_beam(acquisition, size, model, constants, site.without)
    aorta = findings.samples.get(ReferenceTissue.AORTIC_BLOOD)
    aorta_hu = None if aorta is None else aorta.hu
    if bone_map is None:
        contrast = find_contrast(aorta_hu, findings.organs, acquisition.contrast, beam.iodine_ratio(), constants)
    else:
        contrast = ContrastFinding(Phase.UNENHANCED, "unenhanced: virtual unenhanced image, mapped", False, ())
    steps = (
        bone_correction(contrast, aorta_hu, findings.organs, beam, constants, site),
        _marrow_step(beam, constants),
        _kernel_step(acquisition, constants, site),
        _slice_step(acquisition, constants),
    )
    wash, marrow, kernel, slices = (switched(step, site.without) for step in steps)
    if bone_map is not None:
        wash = replace(wash, added_standard_uncertainty=bone_map.residual_sd_hu)
    gain, offset = to_120kvp(beam, constants)
    return Ground(
        size=size,
        beam=beam,
        contrast=contrast,
        contrast_step=wash,
        marrow_step=marrow,
        kernel_step=kernel,
        slice_step=slices,
        before=tuple(switched(step, site.without) for step in _steps_before(findings, size, bone_map, constants)),
        bone_map=bone_map,
        to_120kvp_gain=gain,
        to_120kvp_offset_hu=offset,
        notices=(*contrast.notices, *_beam_notices(acquisition, beam, size, model)),
    )


def in_force(step: CorrectionStep) -> CorrectionStep:
    """The step as it acts: nothing where it is switched off."""
    return step if step.applied else replace(step, amount=0.0, added_standard_uncertainty=0.0)


def _steps_before(
    findings: ScanFindings, size: PatientSize, bone_map: VirtualUnenhancedMap | None, constants: ClinicalConstants
) -> tuple[CorrectionStep, ...]:
    steps = []
    if findings.averaging_mm is not None:
        source = constants["calibration.averaging"].source
        steps.append(CorrectionStep(CorrectionName.NOISE, findings.averaging_mm - SLAB_MM, "mm", source, 0.0))
    if size.truncated:
        source = constants["calibration.size"].source
        steps.append(
            CorrectionStep(CorrectionName.FIELD_OF_VIEW, size.added_cm, "cm", source, size.standard_uncertainty_cm)
        )
    if bone_map is not None:
        at_hu = constants.number("calibration.virtual_unenhanced_at")
        taken_off = at_hu - (bone_map.slope * at_hu + bone_map.intercept_hu)
        steps.append(
            CorrectionStep(CorrectionName.VIRTUAL_UNENHANCED, taken_off, "HU", bone_map.source, bone_map.residual_sd_hu)
        )
    return tuple(steps)


def map_for(acquisition: Acquisition, site: SiteCorrections) -> VirtualUnenhancedMap | None:
    """The site's map for this scanner's virtual unenhanced images; None where there is none or none is needed."""
    if not acquisition.virtual_unenhanced:
        return None
    fits = (m for m in site.virtual_unenhanced if not m.station_hashes or acquisition.station_hash in m.station_hashes)
    return next(fits, None)


def _marrow_step(beam: KnownBeam, constants: ClinicalConstants) -> CorrectionStep:
    amount, spread = marrow_correction_hu(beam, constants)
    source = constants["density.marrow_fat_fraction"].source
    return CorrectionStep(CorrectionName.MARROW, amount, "HU", source, spread)


def _kernel_step(acquisition: Acquisition, constants: ClinicalConstants, site: SiteCorrections) -> CorrectionStep:
    """The site's own shift for the kernel class, else the mean shift of the data file."""
    kernel = acquisition.kernel_class
    fitted = site.kernels.get(kernel)
    if fitted is not None:
        amount, spread, source = fitted.amount_mg_cm3, fitted.standard_uncertainty_mg_cm3, fitted.source
    else:
        amount = constants.row("density.kernel_shift").number(kernel.value)
        spread = constants.row("density.kernel_standard_uncertainty").number(kernel.value)
        source = constants["density.kernel_standard_uncertainty"].source
    return CorrectionStep(CorrectionName.KERNEL, amount, "mg/cm3", source, spread)


def _slice_step(acquisition: Acquisition, constants: ClinicalConstants) -> CorrectionStep:
    thickness = acquisition.slice_thickness_mm
    row, shift = constants.row("density.slice_standard_uncertainty"), constants.row("density.slice_shift")
    if thickness is None:
        kind = "unknown_mg_cm3"
    else:
        kind = "thin_mg_cm3" if thickness <= row.number("thin_up_to_mm") else "thick_mg_cm3"
    source = constants["density.slice_standard_uncertainty"].source
    return CorrectionStep(CorrectionName.SLICE_THICKNESS, shift.number(kind), "mg/cm3", source, row.number(kind))


def _notice(code: str, severity: Severity, message: str) -> Notice:
    return Notice(code, Stage.CALIBRATION, severity, message)


def _beam_notices(
    acquisition: Acquisition, beam: KnownBeam, size: PatientSize, model: CalibrationModel
) -> tuple[Notice, ...]:
    notices = []
    if acquisition.kvp is None:
        message = f"The header names no tube voltage; {beam.kvp:.0f} kV was assumed and the uncertainty widened."
        notices.append(_notice("tube-voltage-unknown", Severity.WARNING, message))
    if acquisition.spectral_filter is SpectralFilter.UNKNOWN:
        message = "The header does not name the X-ray filter; none beyond the usual aluminium was assumed."
        notices.append(_notice("filter-unknown", Severity.INFORMATION, message))
    if size.truncated:
        message = "The field of view cuts the body: its size, and with it the mineral slope, is less certain."
        notices.append(_notice("body-truncated", Severity.WARNING, message))
    low, high = model.diameter_range_cm
    if not low <= size.water_equivalent_diameter_cm <= high:
        message = f"The body's size is outside {low:.0f} to {high:.0f} cm; the nearest size was used."
        notices.append(_notice("size-outside-table", Severity.WARNING, message))
    return tuple(notices)
