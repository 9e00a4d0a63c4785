"""From settings to what a worker of an archive campaign does, and to what its results rest on."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trabecula import __version__
from trabecula.archive.fetch import Fetch, FetchLimits, Pull
from trabecula.archive.pseudonyms import Pseudonyms
from trabecula.archive.results import Versions
from trabecula.archive.study import ReadStudy
from trabecula.clinical import load_constants
from trabecula.config import Settings
from trabecula.service.library_logs import route_library_logs
from trabecula.service.logs import configure_logs
from trabecula.telemetry.events import ModelLoaded
from trabecula.work.scratch import Scratch

SHOWN_DIGITS = 16
"""Of a model's SHA-256, in results."""


@dataclass(frozen=True)
class LoadReadStudy:
    """Loads the models and gives what reads one study; called in each worker, on this machine or another."""

    settings: Settings
    root: Path | None
    scratch: Path
    """Folder that the workers of one machine share; what killed ones left in it goes when the next one starts."""
    pseudonyms: Pseudonyms

    def __call__(self) -> ReadStudy:
        if multiprocessing.parent_process() is not None:  # a child starts with Python's own logs
            configure_logs(self.settings.log_level)
            route_library_logs(self.settings.log_level)
        # Imported here: the driver itself needs neither models nor onnxruntime.
        from trabecula.service.engine import bind, imaging_limits, load, models_loaded

        engine = load(self.settings)
        models = models_loaded(engine)
        limits = imaging_limits(self.settings)
        fetch = Fetch(
            self.root,
            Scratch(self.scratch),
            FetchLimits(limits.max_files, limits.max_total_bytes),
            study_pull(self.settings),
        )
        screen = bind(self.settings, engine)
        return ReadStudy(screen, fetch, versions_of(self.settings, models), self.pseudonyms, models)


def study_pull(settings: Settings) -> Pull | None:
    """How studies come from the PACS that the settings name; None when they name none.

    Raises:
        ConfigurationError: if the name is not that of a DICOMweb destination.
        DestinationsFileError: if the destinations cannot be read.
    """
    from trabecula.delivery.archive import archive_destination, pull_files
    from trabecula.delivery.destinations import read_destinations
    from trabecula.delivery.pacs.pull import PullLimits

    destination = archive_destination(read_destinations(settings.destinations_file), settings.dicomweb_archive)
    if destination is None:
        return None
    limits = PullLimits(settings.max_instances, settings.max_study_bytes)
    return partial(pull_files, destination=destination, limits=limits, keys_dir=settings.client_keys_dir)


def versions_of(settings: Settings, models: Sequence[ModelLoaded]) -> Versions:
    """What the results rest on.

    Raises:
        ClinicalDataError: if the level profile cannot be read.
        OSError: if a file of the site cannot be read.
    """
    return Versions(
        software_version=__version__,
        clinical_data_version=load_constants(profile=settings.level_profile).version,
        models=" ".join(f"{each.name}@{each.version}:{each.digest[:SHOWN_DIGITS]}" for each in models),
        settings=_settings_digest(settings),
    )


def _settings_digest(settings: Settings) -> str:
    """What else decides a number: profile, calibration, scanner history, execution provider, slabs, limits."""
    digest = hashlib.sha256()
    facts = (
        settings.level_profile,
        settings.second_readers,
        settings.execution_provider,
        settings.inference_max_voxels,
        settings.max_instances,
    )
    digest.update(repr(facts).encode())
    profile = Path(settings.level_profile)
    for path in (
        profile if profile.suffix == ".toml" else None,
        settings.calibration_file,
        settings.scanner_history_file,
    ):
        digest.update(b"-" if path is None else hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
