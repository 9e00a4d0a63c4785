"""Segmentation stage: a CT volume in, named anatomy out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trabecula.anatomy import Anatomy
from trabecula.errors import ModelError
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal
from trabecula.progress import ProgressListener, no_progress
from trabecula.segmentation.bundle import find_bundles, load_bundle
from trabecula.segmentation.pipeline import segment_with
from trabecula.segmentation.predict import session_predictor
from trabecula.segmentation.session import ModelSession, open_session
from trabecula.segmentation.settings import Provider, RuntimeSettings, SegmentationSettings

__all__ = [
    "Provider",
    "RuntimeSettings",
    "SegmentationModels",
    "SegmentationSettings",
    "load_models",
    "segment",
]


@dataclass(frozen=True, eq=False)
class SegmentationModels:
    """The loaded models; one value for the whole process, safe to share between threads."""

    coarse: ModelSession
    fine: ModelSession | None
    settings: SegmentationSettings = field(default_factory=SegmentationSettings)


def load_models(models_dir: Path, runtime: RuntimeSettings) -> SegmentationModels:
    """Load the newest coarse and, where there is one, fine bundle among the folders in ``models_dir``.

    Raises:
        ModelChecksumMismatch: if a model file is not the one its manifest names.
        ModelError: if there is no coarse bundle, or a bundle cannot be used.
    """
    folders = find_bundles(models_dir)
    if "coarse" not in folders:
        raise ModelError("no coarse segmentation model is installed")
    fine = folders.get("fine")
    return SegmentationModels(
        open_session(load_bundle(folders["coarse"]), runtime),
        open_session(load_bundle(fine), runtime) if fine else None,
    )


def segment(
    volume: CtVolume, models: SegmentationModels, progress: ProgressListener = no_progress
) -> Anatomy | Refusal:
    """Segment a scan and name its vertebrae.

    Refuses with ``body-not-found``, ``spine-not-found``, ``levels-inconsistent`` or ``level-not-in-view`` (none of
    ``models.settings.wanted_levels``). ``progress`` is called between tiles and may raise to stop.

    Raises:
        ModelError: if a model fails while running.
    """
    uses = [models.coarse.use("whole-scan anatomy and spine coordinate")]
    if models.fine is not None:
        uses.append(models.fine.use("fine anatomy around T10 to L2"))
    fine = None if models.fine is None else session_predictor(models.fine)
    return segment_with(volume, session_predictor(models.coarse), fine, tuple(uses), models.settings, progress)
