"""Settings of the segmentation stage: how models run, and what the column logic assumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from trabecula.anatomy import Level
from trabecula.segmentation.variants import VariantPriors


class Provider(StrEnum):
    """Execution providers that may be asked for; the value is onnxruntime's name."""

    CPU = "CPUExecutionProvider"
    OPENVINO = "OpenVINOExecutionProvider"
    CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class RuntimeSettings:
    """How onnxruntime runs every model of the process."""

    threads: int = 0
    """Threads within one operator; 0 leaves the choice to onnxruntime (one per physical core)."""
    providers: tuple[Provider, ...] = (Provider.CPU,)
    """Preferred first. Those that are not installed are passed over; CPU is always the last resort."""
    memory_arena: bool = True
    """Keep onnxruntime's CPU arena within one run (faster). It is given back after each run."""
    warm_start: bool = True
    """Run each model once on a smallest input at load time, so that the first study is not slower."""
    max_voxels: int = 1_500_000
    """A network that would take the whole scan at once works in slabs where the scan has more voxels on the network's
    grid: it bounds the memory. A chest has about 0.9 million at 4 mm."""


@dataclass(frozen=True)
class ColumnSettings:
    """What is assumed of a vertebral column when single vertebrae are looked for.

    Not clinical constants: none of these enters a measurement. Spacings are wide brackets around adult
    disc-to-disc distances (about 18 mm at T1 to 40 mm at L4); widths and weights were chosen on the label
    maps beside the project (three subjects) and are checked by the tests on oracle and synthetic columns.
    """

    min_length_mm: float = 40.0
    """A shorter column is no column."""
    bridge_mm: float = 44.0
    """Longest stretch without any vertebra that is still bridged."""
    body_radius_mm: float = 34.0
    """Vertebral body voxels lie within this distance of the centre line."""
    posterior_radius_mm: float = 75.0
    """Posterior elements lie within this distance of the centre line."""
    spacing_range_mm: tuple[float, float] = (14.0, 48.0)
    """Disc centre to disc centre."""
    spacing_typical_mm: float = 26.0
    """Used where the model gives no spine coordinate."""
    spacing_by_level_mm: tuple[tuple[float, float], ...] = ((3, 16), (8, 19), (14, 24), (19, 30), (22, 36), (24, 37))
    """(level ordinal, disc-to-disc distance); read off the three label maps, rounded."""
    person_sizes: tuple[float, ...] = (0.8, 0.9, 1.0, 1.12, 1.26)
    """Sizes of a person that are tried, in units of these distances."""
    person_log_sd: float = 0.1
    """Spread of ln(size) between persons."""
    spacing_log_sd: float = 0.2
    """Spread of ln(spacing) about these values in a person of known size."""
    cut_cost: float = 0.8
    """Evidence that a disc must bring; less speaks against it. A clear one has 1 to 2."""
    spacing_change_log_sd: float = 0.13
    """Spread of ln(spacing / next spacing) between neighbours."""
    least_piece_mm3: float = 150.0
    """A piece of posterior elements apart from its own vertebra that is smaller goes to the vertebra it touches."""
    vote_reach_mm: float = 8.0
    """So near to the plane between two bodies a model's offsets decide to which a voxel belongs."""
    vote_spacing_mm: float = 2.5
    """Offsets on a coarser grid are too blurred for that."""
    disc_reach_mm: float = 9.0
    """No disc is further than this from the plane between two bodies."""
    min_disc_evidence: float = 0.3
    """A disc with less evidence than this share of that of the clear ones is there for even spacing only."""
    max_unsupported_share: float = 0.34
    """More such discs than this: the vertebrae cannot be counted."""
    min_partial_mm: float = 6.0
    """A shorter stub beyond the first or last disc is not counted as a vertebra."""


@dataclass(frozen=True)
class UsualPlace:
    """Where a landmark is in most people."""

    ordinal: float
    """Level at whose height it is (8.0 the middle of T1, 8.5 the disc below)."""
    sd: float
    """Spread between people and readings, in levels."""
    outlier: float
    """Probability that what was taken for it says nothing (collapsed lung, effusion, a segmentation gone wrong)."""


@dataclass(frozen=True)
class LevelSettings:
    """Reliability of the evidence for levels, and so the calibration of ``level_confidence``.

    How people are built is in the clinical data file (``variants``); the rest is how well the models read it, and is
    fitted to and checked on views of rendered scans whose levels are known (docs/benchmarks/levels.md).
    """

    variants: VariantPriors = field(default_factory=VariantPriors.published)
    evidence_weight: float = 0.9
    """Power to which all likelihoods are raised; below one where signs err together more than they are told to."""
    coordinate_bias: float = 0.0
    """Mean error of the coarse model's spine coordinate, in levels."""
    coordinate_bias_sd: float = 0.55
    """Spread, over scans, of that mean error."""
    coordinate_noise_sd: float = 0.4
    """Of one vertebra about the column's mean error, in levels; errors of neighbours are taken as independent."""
    coordinate_outlier: float = 0.05
    """Probability that the coordinate says nothing about the level."""
    lowest_rib: tuple[float, float, float] = (0.16, 0.77, 0.05)
    """Lowest rib read one vertebra too high, right, one too low, where it is seen on both sides."""
    lowest_rib_one_side: tuple[float, float, float] = (0.12, 0.58, 0.25)
    """The same where it is seen on one side only: a transverse process is taken for a rib more often."""
    highest_rib: tuple[float, float, float] = (0.22, 0.45, 0.23)
    """Highest rib read one vertebra too high, right, one too low."""
    rib_beyond: tuple[float, float] = (0.1, 0.02)
    """Likelihood of ribs read one vertebra, or more, beyond the last, and of none read where there are some."""
    bare_least_vertebrae: int = 2
    """Whole vertebrae in view before the absence of ribs says something."""
    rib_volume_mm3: float = 1000.0
    """Rib volume beside a body, both sides together, that counts as an attached rib. On the four real CTs a true L1
    had up to 400 mm3 (transverse processes), a true T12 from 2600; on phantoms of small patients from 1100."""
    rib_side_volume_mm3: float = 500.0
    """With so much on each side it is seen on both sides."""
    lung_apex: UsualPlace = UsualPlace(8.4, 0.75, 0.06)
    """Five real CTs and one label map: 8.0 to 9.1, mean of both sides."""
    lung_base: UsualPlace = UsualPlace(18.9, 1.0, 0.1)
    """The same: 17.9 to 19.4; depends on breath and disease."""
    sacrum: tuple[float, float, float] = (0.06, 0.85, 0.06)
    """Beginning of the sacrum read one vertebra too high, right, one too low."""
    length_by_level_mm: tuple[tuple[float, float], ...] = (
        (3, 16), (8, 20), (12, 23), (15, 24.5), (17, 27), (18, 29), (19, 31), (20, 33), (21, 35), (22, 35.5), (24, 35),
    )  # fmt: skip
    """(level ordinal, disc-to-disc distance) of a person of middle size; three label maps, five real CTs."""
    length_log_sd: float = 0.08
    """Spread of ln(length) of one vertebra within a person, readings included."""
    person_log_sd: float = 0.1
    """Spread of ln(size) between adults."""
    size_least_vertebrae: int = 4
    size_outlier: float = 0.1
    miscount: float = 0.008
    """Probability, for one place, that a vertebra was missed or counted twice, where nothing speaks for it."""
    miscount_log_sd: float = 0.16
    """Spread of ln(length) against its neighbours' in a column counted right."""
    unseen_disc_factor: float = 6.0
    """So much likelier where a disc was placed without evidence."""
    local_misfit: float = 1.25
    """A vertebra whose coordinate is further than this from the column's own bias is named less surely, in levels."""
    jump_weight: float = 1.0
    """Weight of jumps of the spine coordinate as a sign of miscounts."""
    counted_levels: tuple[Level, ...] = tuple(Level.from_ordinal(n) for n in range(18, 22))
    """T11 to L2: where the rest conflicts, these shall be named right."""
    counted_weight: float = 3.0
    alternative_probability: float = 0.1
    """Other names at least so likely are said."""
    unusual_reason: float = 0.15
    """A build of the patient that explains another name at least so often is given as its reason."""
    unusual_probability: float = 0.5
    """A build of the patient out of the ordinary that is at least so likely is said."""
    low_confidence: float = 0.8
    """Below this a notice says so."""
    slope_range: tuple[float, float] = (0.6, 1.6)
    """Steps of the coordinate per vertebra that are put down to the model; beyond, vertebrae are missed or doubled."""
    max_residual: float = 0.75
    """A vertebra whose coordinate is further than this from its place in the sequence does not fit, in levels."""
    max_misfit_fraction: float = 0.34
    """More vertebrae than this that do not fit: the ordering cannot be made consistent."""


CLINICAL_LEVELS = tuple(Level.from_ordinal(n) for n in range(Level.T8.ordinal, Level.L4.ordinal + 1))
"""Levels for which the project has a use: T8..T10 have conversions, T11..L4 are or are near the target."""

FINE_LEVELS = (Level.T10, Level.T11, Level.T12, Level.L1, Level.L2)
"""Levels that the fine pass is meant for."""


@dataclass(frozen=True)
class BodySettings:
    """How the body is told from air and table."""

    threshold_hu: float = -350.0
    """Above: body, at the coarse grid's resolution."""
    air_hu: float = -500.0
    """Below, within a few millimetres of the skin: outside, at the scan's own resolution."""
    min_volume_ml: float = 1000.0
    """A smaller largest object is not a trunk."""
    limb_fraction: float = 0.03
    """Separate objects above this fraction of the trunk's volume (arms) count as body too."""
    metal_hu: float = 2500.0
    known_metal_hu: float = 1000.0
    """The same where a model sees metal or cement."""
    fat_below_hu: float = 20.0
    """Denser voxels in the subcutaneous fat are skin or vessel; far enough from fat that noise seldom gets there."""
    muscle_above_hu: float = -70.0
    """Lighter voxels in muscle are fat between its fibres."""
    metal_min_volume_mm3: float = 8.0


@dataclass(frozen=True)
class SoftTissueSettings:
    """How muscle and fat of the wall are told apart on the coarse grid, for models that do not.

    Not clinical constants: these labels say where a compartment is; areas and their windows are composition's.
    """

    muscle_hu: tuple[float, float] = (-20.0, 150.0)
    fat_hu: tuple[float, float] = (-190.0, -30.0)
    skin_mm: float = 6.0
    """Soft tissue nearer to the surface is skin."""
    least_muscle_mm3: float = 2000.0
    muscle_reach_mm: float = 40.0
    """Muscle further than this from bone and cavity (gland of the breast, arms) is not the trunk's."""
    fascia_mm: float = 14.0
    """Gaps of muscle and bone up to twice as wide are bridged by fascia."""


@dataclass(frozen=True)
class FineBoxSettings:
    """Extent of the fine pass about the centre line of the column, in mm."""

    lateral_mm: float = 56.0
    anterior_mm: float = 44.0
    posterior_mm: float = 78.0
    along_mm: float = 14.0
    """Beyond the first and last disc."""
    trim_mm: float = 4.5
    """Rim of the box whose labels are not used."""


@dataclass(frozen=True)
class SegmentationSettings:
    """All settings of the stage that are not about onnxruntime."""

    column: ColumnSettings = field(default_factory=ColumnSettings)
    levels: LevelSettings = field(default_factory=LevelSettings)
    body: BodySettings = field(default_factory=BodySettings)
    soft_tissue: SoftTissueSettings = field(default_factory=SoftTissueSettings)
    fine_box: FineBoxSettings = field(default_factory=FineBoxSettings)
    wanted_levels: tuple[Level, ...] = CLINICAL_LEVELS
    """With none of these in view the study is refused (``level-not-in-view``)."""
    label_grid_factor: int = 2
    """Coarse probabilities are interpolated onto a grid finer by this factor before labels are taken."""
    threads: int = 1
    """Threads that label the scan's voxels, plane by plane."""
