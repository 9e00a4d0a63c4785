"""What the image itself holds for calibration: reference tissues, organs, patient size, noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from trabecula.anatomy import Anatomy
from trabecula.calibration.calibration import CorrectionName, ReferenceTissue
from trabecula.calibration.certificates import PhantomCertificate
from trabecula.calibration.organs import Organ, OrganSample, take_organs
from trabecula.calibration.patient_size import PatientSize, water_equivalent_size
from trabecula.calibration.rods import FoundRods, find_rods
from trabecula.calibration.samples import Sample, averaging_mm, soft_tissue_noise_hu, take_samples
from trabecula.calibration.sections import take_sections
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import CtVolume


@dataclass(frozen=True)
class ScanFindings:
    """Everything that was measured in one scan; a tissue or organ that is absent was not looked for."""

    samples: Mapping[ReferenceTissue, Sample]
    size: PatientSize | None
    """None when no body is in the picture."""
    organs: Mapping[Organ, OrganSample] = field(default_factory=dict)
    noise_hu: float | None = None
    """Standard deviation of one voxel in soft tissue."""
    averaging_mm: float | None = None
    """Foot-to-head thickness that reference values were averaged over."""
    rods: FoundRods | None = None
    """Rods of a phantom of the site under the body; None when none was looked for or found."""


def find_in_scan(
    volume: CtVolume,
    anatomy: Anatomy,
    constants: ClinicalConstants,
    without: frozenset[CorrectionName] = frozenset(),
    phantoms: tuple[PhantomCertificate, ...] = (),
) -> ScanFindings:
    """Measure a scan once, for whichever method will calibrate it.

    ``without`` switches averaging by noise and completion of a cut body off; rods are looked for when the site has
    ``phantoms``.
    """
    sections = take_sections(volume, anatomy, constants)
    noise_hu = soft_tissue_noise_hu(sections)
    thickness_mm = averaging_mm(None if CorrectionName.NOISE in without else noise_hu, constants)
    sections = take_sections(volume, anatomy, constants, thickness_mm)
    return ScanFindings(
        samples=MappingProxyType(take_samples(sections, constants)),
        size=water_equivalent_size(sections, constants, complete=CorrectionName.FIELD_OF_VIEW not in without),
        organs=MappingProxyType(take_organs(sections, constants)),
        noise_hu=noise_hu,
        averaging_mm=thickness_mm,
        rods=find_rods(volume, anatomy, phantoms, constants) if phantoms else None,
    )
