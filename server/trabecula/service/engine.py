"""From settings to a loaded engine, for the service's workers and for ``trabecula screen``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from trabecula.calibration.profile import CalibrationProfile
from trabecula.calibration.scanner_history import read_history
from trabecula.calibration.site_file import default_profile, read_profile
from trabecula.config import Settings, bundle_names, threads_per_worker
from trabecula.delivery.destinations import What, read_destinations
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions
from trabecula.outputs.r4 import FhirOptions
from trabecula.patient import PatientContext
from trabecula.progress import ProgressListener
from trabecula.report import Screening
from trabecula.screening import Engine, load_engine, screen
from trabecula.segmentation.settings import Provider, RuntimeSettings
from trabecula.service.model_cards import read_model_cards
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.runner import LoadedPerform, Perform, ScreenFunction, perform


def load_screen(settings: Settings) -> ScreenFunction:
    """Load the models and bind them to :func:`trabecula.screening.screen`; raises as :func:`load` does."""
    return bind(settings, load(settings))


def load(settings: Settings) -> Engine:
    """Load the models and constants that the settings name.

    Raises:
        ModelError: if a bundle is missing, damaged or does not match its sha256.
        SiteFileError: if the site's calibration file or scanner history cannot be used.
    """
    site_profile(settings)  # a file that cannot be used stops the start, not the first study
    provider = Provider[settings.execution_provider.upper()]
    return load_engine(
        settings.models_dir,
        RuntimeSettings(
            threads=threads_per_worker(settings),
            providers=(provider,),
            memory_arena=settings.memory_arena,
            warm_start=settings.warm_start,
            max_voxels=settings.inference_max_voxels,
        ),
        imaging_limits(settings),
        bundle_names(settings),
        profile=settings.level_profile,
        second_readers=[name.strip() for name in (settings.second_readers or "").split(",") if name.strip()],
    )


def bind(settings: Settings, engine: Engine) -> ScreenFunction:
    """:func:`trabecula.screening.screen` with this engine."""

    def bound(
        paths: Sequence[Path], patient: PatientContext, progress: ProgressListener, *, keep_anatomy: bool
    ) -> Screening:
        # read anew for each study: phantom scans are added while the service runs
        profile = site_profile(settings)
        limits = replace(engine.limits, accept_virtual_unenhanced=bool(profile.site.virtual_unenhanced))
        ready = replace(engine, calibration_profile=profile, limits=limits)
        return screen(paths, ready, patient, progress, keep_anatomy=keep_anatomy)

    return bound


def site_profile(settings: Settings) -> CalibrationProfile:
    """The site's calibration profile as its files stand now.

    Raises:
        SiteFileError: if a file that the settings name cannot be used.
    """
    history = None if settings.scanner_history_file is None else read_history(settings.scanner_history_file)
    if settings.calibration_file is not None:
        return read_profile(settings.calibration_file, history)
    return default_profile(history)


def load_perform(settings: Settings) -> Perform:
    """What a worker does with a job; raises as :func:`load_screen` does."""
    dicom = (DicomOptions(), imaging_limits(settings)) if writes_dicom(settings) else None
    engine = load(settings)
    run = partial(perform, bind(settings, engine), fhir_options(settings), dicom=dicom)
    return LoadedPerform(run, models_loaded(engine))


def models_loaded(engine: Engine) -> tuple[ModelLoaded, ...]:
    """The models of an engine, and what opening each took."""
    parts = engine.segmentation
    networks = [each for each in (parts.coarse, parts.fine) if each is not None]
    purpose = "loaded"
    loaded = [(each.use(purpose), each.load_s) for each in networks]
    loaded += [(each.use(purpose), each.load_s) for each in parts.full]
    loaded += [(each.use, each.load_s) for each in engine.second_readers]
    loaded.append((engine.calibration.use, engine.calibration.load_s))
    return tuple(ModelLoaded(use.name, use.version, use.sha256, load_s) for use, load_s in loaded)


def imaging_limits(settings: Settings) -> ImagingLimits:
    return ImagingLimits(max_instances=settings.max_instances, threads=threads_per_worker(settings))


def writes_dicom(settings: Settings) -> bool:
    """Whether DICOM results are written: as said, else when a PACS sends studies or is to get results, or an EHR is
    to get the report as a PDF.

    Raises:
        DestinationsFileError: if the destinations cannot be read.
    """
    if settings.dicom_results != "auto":
        return settings.dicom_results == "on"
    destinations = read_destinations(settings.destinations_file)
    wanted = (each.kind in ("dimse", "stow") or What.DOCUMENTS in each.send for each in destinations)
    return settings.dimse_listen is not None or any(wanted)


def fhir_options(settings: Settings) -> FhirOptions:
    return FhirOptions(
        base_url=settings.fhir_base_url,
        patient_identifier_system=settings.fhir_patient_identifier_system,
        accession_system=settings.fhir_accession_system,
        declare_profiles=settings.fhir_declare_profiles,
        model_cards=read_model_cards(settings.models_dir),
    )
