"""The imaging stage: DICOM files in, the best series for bone work out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from trabecula.errors import InputError
from trabecula.imaging.facts import read_facts
from trabecula.imaging.grid import GridPlan
from trabecula.imaging.instance import Instance, Slice
from trabecula.imaging.intake import Intake, take_in
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.refusals import refuse, warn
from trabecula.imaging.scoring import RankedStack, as_candidates, rank
from trabecula.imaging.series import decode_series
from trabecula.imaging.stacks import build_stacks
from trabecula.imaging.study import Acquisition, CtStudy, CtVolume, StudyRefused
from trabecula.outcome import Refusal, RefusalCode, Stage
from trabecula.progress import HEADERS_SHARE, ProgressListener, no_progress

_CHATTY = ("pydicom", "pydicom.pixels.decoders.base", "openjpeg.decode")


def read_study(
    paths: Sequence[Path], limits: ImagingLimits, progress: ProgressListener = no_progress
) -> CtStudy | StudyRefused:
    """Read one CT study from any mix of files and folders and decode the series that suits bone work best.

    Raises NoDicomFound, CorruptInstance, NoPixelData, ImplausibleSize, MixedPatients, MixedStudies,
    UnsupportedTransferSyntax, LimitExceeded, and whatever the listener raises. At most one volume is in memory.
    """
    with _quiet_libraries():
        progress(Stage.IMAGING, 0.0)
        intake = take_in(paths, limits, lambda done: progress(Stage.IMAGING, HEADERS_SHARE * done))
        study = _best_series(intake, limits, progress)
        progress(Stage.IMAGING, 1.0)
        return study


def _best_series(intake: Intake, limits: ImagingLimits, progress: ProgressListener) -> CtStudy | StudyRefused:
    """Rank all stacks and decode the best one that decodes."""
    framed = [one for one in intake.instances if one.frames]
    if not framed:
        return _nothing_to_rank(intake, limits)
    ranked, fault = _ranked(framed, limits)
    notices = intake.notices
    if unplaced := len(intake.instances) - len(framed):
        text = f"{unplaced} instance(s) could not be used: their frames are not described."
        notices += (warn("instances-dropped", text),)
    if fault is not None:
        notices += (warn("series-not-decodable", f"A series was left out: {fault.code}."),)
    refused: tuple[Refusal, ...] = ()
    for candidate in ranked:
        if candidate.plan is None:
            continue
        try:
            outcome = decode_series(
                candidate.stack,
                candidate.plan,
                limits,
                lambda done: progress(Stage.IMAGING, HEADERS_SHARE + (1 - HEADERS_SHARE) * done),
            )
        except InputError as error:
            fault = fault or error
            notices += (warn("series-not-decodable", f"A series that ranked higher was left out: {error.code}."),)
            continue
        if isinstance(outcome, tuple):
            refused = refused or outcome
            continue
        return CtStudy(
            volume=CtVolume(outcome.hu, outcome.plan.geometry),
            acquisition=_acquisition(candidate, outcome.plan),
            identity=candidate.facts.identity,
            candidates=as_candidates(ranked, candidate),
            notices=notices + outcome.notices,
        )
    if fault is not None and not refused:
        raise fault
    refused = refused or _most_telling(ranked)
    return StudyRefused(refused, ranked[0].facts.identity, as_candidates(ranked, None), notices)


def _ranked(instances: Sequence[Instance], limits: ImagingLimits) -> tuple[list[RankedStack], InputError | None]:
    """All stacks whose header can be read, best first, and the first fault among the others."""
    ranked: list[RankedStack] = []
    fault: InputError | None = None
    for stack in build_stacks(instances):
        try:
            ranked.append(rank(stack, read_facts(stack.middle, limits), limits))
        except InputError as error:
            fault = fault or error
    return sorted(ranked, key=lambda one: one.order), fault


def _most_telling(ranked: Sequence[RankedStack]) -> tuple[Refusal, ...]:
    """Refusals of the stack that came nearest to use: judged last in the order of checks, then the largest."""
    order = [
        RefusalCode.LOCALIZER_ONLY,
        RefusalCode.DERIVED_ONLY,
        RefusalCode.NO_AXIAL_SERIES,
        RefusalCode.NOT_HOUNSFIELD,
        RefusalCode.TOO_FEW_SLICES,
    ]

    def nearness(one: RankedStack) -> tuple[int, int]:
        code = one.refusals[0].code
        return (order.index(code) if code in order else len(order), len(one.stack.slices))

    return max(ranked, key=nearness).refusals


def _nothing_to_rank(intake: Intake, limits: ImagingLimits) -> StudyRefused:
    code = RefusalCode.NO_AXIAL_SERIES if intake.instances else RefusalCode.NOT_CT
    known = (*intake.instances, *intake.others)
    placed = next((Slice(one, one.frames[0]) for one in known if one.frames), None)
    identity = read_facts(placed, limits).identity if placed else None
    return StudyRefused((refuse(code),), identity, (), intake.notices)


def _acquisition(chosen: RankedStack, plan: GridPlan) -> Acquisition:
    facts = chosen.facts
    frame = plan.slices[len(plan.slices) // 2].frame
    return Acquisition(
        kvp=facts.kvp,
        spectral_filter=facts.spectral_filter,
        kernel=facts.kernel,
        kernel_class=facts.kernel_class,
        slice_thickness_mm=frame.thickness_mm,
        slice_spacing_mm=plan.geometry.spacing_mm[0],
        pixel_spacing_mm=(frame.pixel_spacing[0], frame.pixel_spacing[1]),
        reconstruction_diameter_mm=facts.reconstruction_diameter_mm,
        contrast=facts.contrast,
        exposure_mas=facts.exposure_mas,
        ctdi_vol_mgy=facts.ctdi_vol_mgy,
        manufacturer=facts.manufacturer,
        model=facts.model,
        station_hash=facts.station_hash,
        acquired_at=facts.acquired_at,
        virtual_unenhanced=chosen.virtual_unenhanced,
    )


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the libraries' own complaints out of the process's logs while they read: they quote header values."""

    def drop(_record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in _CHATTY]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)
