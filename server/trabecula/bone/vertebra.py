"""Values that the bone stage hands on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trabecula.anatomy import Level, Vector


class ExclusionReason(StrEnum):
    """Why a vertebra, or a part of its region, is left out. Published: reasons are added, never changed."""

    FRACTURE = "fracture"
    CEMENT = "cement"
    HARDWARE = "hardware"
    LESION = "lesion"
    OUT_OF_VIEW = "out-of-view"
    ROI_TOO_SMALL = "roi-too-small"
    IMPLAUSIBLE = "implausible"
    DEGENERATION = "degeneration"
    BONE_ISLAND = "bone-island"
    LYTIC_AREA = "lytic-area"
    SCHMORL_NODE = "schmorl-node"
    REVIEWER = "reviewer"
    """A person left it out when signing the result off."""


@dataclass(frozen=True)
class Exclusion:
    """One thing left out of the density, with the figure that decided and the rule it was held against."""

    reason: ExclusionReason
    whole: bool
    """True: the vertebra does not count. False: this part of its region was cut out, the rest counts."""
    text: str
    """For a reader, in words, with the figures."""
    rule: str
    """Id of the rule in the clinical data file; empty where none is needed."""
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    volume_mm3: float | None = None
    """Cut out of the region, for parts."""


class DeformityKind(StrEnum):
    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


class DeformityStatus(StrEnum):
    """What the shape speaks for. Never more than a suspicion: a person confirms."""

    NONE = "none"
    VARIANT = "variant"
    """Height is lost, but as normal variants lose it."""
    POSSIBLE = "possible"
    SUSPECTED = "suspected"
    NOT_ASSESSED = "not-assessed"


class ShapeVariant(StrEnum):
    MILD_WEDGING = "mild-wedging"
    SHORT_HEIGHT = "short-height"
    SHARED_SHAPE = "shape-shared-with-neighbours"
    SCHMORL_NODE = "schmorl-node"
    CUPIDS_BOW = "cupids-bow"


@dataclass(frozen=True)
class Deformity:
    """Vertebral deformity after Genant, from fitted endplates; suspected, for confirmation by a person."""

    status: DeformityStatus
    kind: DeformityKind | None
    grade: int
    """Genant 0 .. 3 by the largest loss of height; 0 where the loss is none or within its error."""
    probability: float | None
    """That height loss is 20 % or more, given the errors of the heights; of nothing else."""
    height_loss: float | None
    """Largest loss over anterior, middle and posterior height, as a fraction."""
    anterior_to_posterior: float | None
    middle_to_posterior: float | None
    posterior_to_neighbours: float | None
    """Posterior height over what up to six neighbours make expect."""
    superior_depression_mm: float | None
    inferior_depression_mm: float | None
    """Deepest point of the smooth endplate below the line between its anterior and posterior rims."""
    variants: tuple[ShapeVariant, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class CortexMeasurement:
    """Shell of the vertebral body's side walls, deconvolved for the point spread. A measurement, not a class."""

    resolved: bool
    """False: the scan cannot resolve the shell, and the numbers below but for the limit are None."""
    why_not: str
    """Empty when resolved."""
    thickness_mm: float | None
    """Of a shell that has ``assumed_attenuation_hu`` throughout."""
    thickness_standard_uncertainty_mm: float | None
    attenuation_hu: float | None
    """Mean over the outer layer of ``layer_mm``, shell and marrow under it, as an ideal scanner would show it."""
    attenuation_standard_uncertainty_hu: float | None
    layer_mm: float
    assumed_attenuation_hu: float
    blur_fwhm_mm: float
    """Full width at half maximum of the point spread at the wall; shells below it show by their mass alone."""
    blur_source: str
    sectors: int
    """Directions around the body that entered."""


@dataclass(frozen=True)
class RoiGrowth:
    """How the region grew because noise asked for it."""

    noise_hu: float
    """Standard deviation of noise per voxel, from differences between neighbouring slices."""
    target_standard_error_hu: float
    """Of the mean, by noise alone."""
    standard_error_before_hu: float
    standard_error_after_hu: float
    volume_before_mm3: float
    volume_after_mm3: float
    slices_before: int
    slices_after: int
    change_hu: float
    """Of the region's mean."""


@dataclass(frozen=True)
class TrabecularRoi:
    """The region whose mean is the vertebra's trabecular HU: an elliptic cylinder in the mid-body."""

    centre_lps_mm: Vector
    superior: Vector
    left: Vector
    anterior: Vector
    half_width_mm: float
    """Semi-axis along ``left``."""
    half_depth_mm: float
    """Semi-axis along ``anterior``."""
    half_height_mm: float
    volume_mm3: float
    """Volume of the voxels kept after islands, vein and calcified spots are cut out."""


@dataclass(frozen=True)
class VertebraMeasurement:
    """Attenuation and shape of one vertebral body."""

    level: Level
    level_confidence: float
    hu_mean: float | None
    """Robust mean trabecular attenuation, HU as on the scan; None when no ROI could be placed."""
    hu_sd: float | None
    hu_standard_error: float | None
    """Of the mean, spatial correlation of noise allowed for, HU."""
    roi_voxels: int
    roi: TrabecularRoi | None
    height_anterior_mm: float | None
    height_middle_mm: float | None
    height_posterior_mm: float | None
    excluded: tuple[ExclusionReason, ...]
    """Empty when the vertebra counts towards the means."""
    height_rim_standard_uncertainty_mm: float | None = None
    """Of the anterior and of the posterior height."""
    height_middle_standard_uncertainty_mm: float | None = None
    deformity: Deformity | None = None
    exclusions: tuple[Exclusion, ...] = ()
    """Everything left out, whole or in part, with why; ``excluded`` lists the reasons of the whole ones."""
    cortex: CortexMeasurement | None = None
    roi_growth: RoiGrowth | None = None
    """None when noise did not ask for a larger region."""
