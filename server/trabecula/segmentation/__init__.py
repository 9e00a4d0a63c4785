"""Segmentation stage: a CT volume in, named anatomy out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trabecula.anatomy import Anatomy
from trabecula.errors import ModelError
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal, Stage
from trabecula.progress import ProgressListener, no_progress
from trabecula.segmentation.bundle import Bundle, FullManifest, find_bundles, load_bundle
from trabecula.segmentation.full import NETWORKS_SHARE, segment_full
from trabecula.segmentation.nnunet.labels import read_target
from trabecula.segmentation.nnunet.session import NnunetSession, open_nnunet
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
    """The loaded models; one value for the whole process, safe to share between threads.

    Either ``coarse`` (and ``fine``), or the imported networks in ``full``.
    """

    coarse: ModelSession | None
    fine: ModelSession | None
    settings: SegmentationSettings = field(default_factory=SegmentationSettings)
    full: tuple[NnunetSession, ...] = ()


def load_models(models_dir: Path, runtime: RuntimeSettings, names: Sequence[str] = ()) -> SegmentationModels:
    """Load segmentation bundles from the folders in ``models_dir``.

    Args:
        names: folders to load: imported networks, the one whose word counts most first, or a coarse and a fine
            bundle. Empty: the newest coarse and, where there is one, fine bundle.

    Raises:
        ModelChecksumMismatch: if a model file is not the one its manifest names.
        ModelError: if there is no coarse bundle, a bundle cannot be used, or the bundles do not go together.
    """
    folders = [models_dir / name for name in names] if names else list(find_bundles(models_dir).values())
    bundles = [load_bundle(folder) for folder in folders]
    kinds = [bundle.manifest.kind for bundle in bundles]
    if "full" in kinds:
        return _imported(bundles, runtime)
    if kinds.count("coarse") != 1 or kinds.count("fine") > 1:
        raise ModelError("no coarse segmentation model is installed" if not names else "one coarse bundle is needed")
    opened = {bundle.manifest.kind: open_session(bundle, runtime) for bundle in bundles}
    return SegmentationModels(opened["coarse"], opened.get("fine"), _settings(runtime))


def _settings(runtime: RuntimeSettings) -> SegmentationSettings:
    return SegmentationSettings(threads=max(1, runtime.threads))


def _imported(bundles: Sequence[Bundle], runtime: RuntimeSettings) -> SegmentationModels:
    """Imported networks, at least one of which names vertebrae."""
    targets = [
        read_target(label.target)
        for bundle in bundles
        if isinstance(bundle.manifest, FullManifest)
        for label in bundle.manifest.nnunet.labels
    ]
    if any(not isinstance(bundle.manifest, FullManifest) for bundle in bundles):
        raise ModelError("imported networks are not used together with coarse or fine bundles")
    if not any(target.level is not None for target in targets):
        raise ModelError("none of the chosen networks names the levels of vertebrae")
    networks = tuple(open_nnunet(bundle, runtime) for bundle in bundles)
    return SegmentationModels(None, None, _settings(runtime), networks)


def segment(
    volume: CtVolume, models: SegmentationModels, progress: ProgressListener = no_progress
) -> Anatomy | Refusal:
    """Segment a scan and name its vertebrae.

    Refuses with ``body-not-found``, ``spine-not-found``, ``levels-inconsistent`` or ``level-not-in-view`` (none of
    ``models.settings.wanted_levels``). ``progress`` is called between tiles and may raise to stop.

    Raises:
        ModelError: if a model fails while running.
    """
    if models.coarse is None:
        return _segment_imported(volume, models, progress)
    uses = [models.coarse.use("whole-scan anatomy and spine coordinate")]
    if models.fine is not None:
        uses.append(models.fine.use("fine anatomy around T10 to L2"))
    fine = None if models.fine is None else session_predictor(models.fine)
    return segment_with(volume, session_predictor(models.coarse), fine, tuple(uses), models.settings, progress)


def _segment_imported(volume: CtVolume, models: SegmentationModels, progress: ProgressListener) -> Anatomy | Refusal:
    answers = []
    for number, session in enumerate(models.full):
        share = NETWORKS_SHARE / len(models.full)

        def tell(fraction: float, start: float = share * number, width: float = share) -> None:
            progress(Stage.SEGMENTATION, start + width * fraction)

        targets = [read_target(label.target) for label in session.manifest.nnunet.labels]
        answers.append((session.predict(volume, tell), targets))
    anatomy = segment_full(volume, answers, models.settings, progress)
    if isinstance(anatomy, Refusal):
        return anatomy
    return replace(anatomy, models=tuple(session.use("whole-scan anatomy and levels") for session in models.full))
