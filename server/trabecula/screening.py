"""The story on one page: a DICOM study in, a screening out.

Each stage is a function from values to values. A stage that cannot go on returns a refusal,
which ends the story as a result like any other; exceptions are faults (:mod:`trabecula.errors`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from trabecula.assembly import Findings, assemble, with_identity
from trabecula.assessment.assess import assess
from trabecula.assessment.recommend import recommend
from trabecula.assessment.rules import load_rules
from trabecula.bone.measure import measure_vertebrae
from trabecula.calibration.calibrate import CalibrationModel, calibrate, load_calibration
from trabecula.calibration.density import measure_density
from trabecula.calibration.profile import DEFAULT_PROFILE as DEFAULT_CALIBRATION
from trabecula.calibration.profile import CalibrationProfile
from trabecula.clinical import DEFAULT_PROFILE, ClinicalConstants, load_constants
from trabecula.composition.measure import measure_levels
from trabecula.evidence import build_views
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import StudyRefused
from trabecula.outcome import Refusal, Stage
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener, StageClock, no_progress
from trabecula.report import Screening
from trabecula.second_reader.read import SecondReader, load_second_readers, read_second
from trabecula.segmentation import RuntimeSettings, SegmentationModels, load_models, segment


@dataclass(frozen=True, eq=False)
class Engine:
    """What is loaded once and shared by every screening."""

    segmentation: SegmentationModels
    calibration: CalibrationModel
    constants: ClinicalConstants
    limits: ImagingLimits
    calibration_profile: CalibrationProfile = DEFAULT_CALIBRATION
    """Calibration methods in order of preference, and what the site has fitted."""
    second_readers: tuple[SecondReader, ...] = ()
    """End-to-end models that are asked beside the measurement; none unless named."""


def load_engine(
    models_dir: Path,
    runtime: RuntimeSettings,
    limits: ImagingLimits,
    segmentation: Sequence[str] = (),
    *,
    profile: str | Path = DEFAULT_PROFILE,
    second_readers: Sequence[str] = (),
) -> Engine:
    """Load and check models and constants.

    Args:
        segmentation: bundles that segment, as :func:`trabecula.segmentation.load_models` takes them.
        profile: level profile by name, or the path of a site's own.
        second_readers: bundles in ``models_dir`` to ask beside the measurement.

    Raises:
        ModelError: if a bundle is missing, damaged or does not match its sha256.
        ClinicalDataError: if constants, profile or rules cannot be used.
    """
    load_rules()
    return Engine(
        segmentation=load_models(models_dir, runtime, segmentation),
        calibration=load_calibration(models_dir, runtime),
        constants=load_constants(profile=profile),
        limits=limits,
        second_readers=load_second_readers(models_dir, second_readers, runtime),
    )


def screen(
    paths: Sequence[Path],
    engine: Engine,
    patient: PatientContext = PatientContext(),  # noqa: B008 - frozen
    progress: ProgressListener = no_progress,
    *,
    keep_anatomy: bool = False,
) -> Screening:
    """Screen one study.

    Args:
        paths: files or folders with the study's DICOM instances.
        engine: loaded models, constants and limits.
        patient: what is known beside the images; the DICOM header fills what it leaves open.
        progress: told where the work is; may raise ``Cancelled``.
        keep_anatomy: keep the label volume in the evidence (for masks).

    Raises:
        InputError: if the files cannot be read as one patient's CT study.
        Cancelled: from the progress listener.
    """
    clock = StageClock(progress)
    constants = engine.constants
    conclude = partial(
        assemble,
        engine_models=(engine.calibration.use, *(reader.use for reader in engine.second_readers)),
        constants=constants,
        clock=clock,
    )

    with clock.stage(Stage.IMAGING) as tell:
        study = read_study(paths, engine.limits, tell)
    if isinstance(study, StudyRefused):
        return conclude(Findings.of_refused_study(study, patient))
    patient = with_identity(patient, study.identity)
    findings = Findings.of_study(study, patient)

    with clock.stage(Stage.SEGMENTATION) as tell:
        anatomy = segment(study.volume, engine.segmentation, tell)
    if isinstance(anatomy, Refusal):
        return conclude(findings.refused(anatomy))
    findings = replace(findings, anatomy=anatomy, keep_anatomy=keep_anatomy)

    with clock.stage(Stage.BONE):
        measured = measure_vertebrae(study.volume, anatomy, constants, study.acquisition)
    if isinstance(measured, Refusal):
        return conclude(findings.refused(measured))

    with clock.stage(Stage.CALIBRATION):
        calibration = calibrate(
            study.volume, anatomy, study.acquisition, engine.calibration, constants, engine.calibration_profile
        )
    if isinstance(calibration, Refusal):
        return conclude(findings.refused(calibration))

    with clock.stage(Stage.DENSITY):
        vertebrae, density = measure_density(measured, calibration, constants)

    with clock.stage(Stage.COMPOSITION):
        measured_levels = measure_levels(study.volume, anatomy, calibration, patient, constants)
        composition = tuple(level.values for level in measured_levels)
        tissue = {level.values.slice_index: level.tissue for level in measured_levels}
        views = build_views(study.volume, anatomy, vertebrae, tissue)

    with clock.stage(Stage.ASSESSMENT):
        assessment = assess(density, vertebrae, composition, calibration, study.acquisition, patient, constants)
        second = read_second(
            study.volume, anatomy, study.acquisition, calibration, vertebrae, assessment, engine.second_readers
        )

    with clock.stage(Stage.RECOMMENDATION):
        recommendations = recommend(assessment, density, vertebrae, composition, patient, constants)

    return conclude(
        replace(
            findings,
            vertebrae=vertebrae,
            density=density,
            calibration=calibration,
            composition=composition,
            assessment=assessment,
            recommendations=recommendations,
            second_readings=second,
            views=views,
        )
    )
