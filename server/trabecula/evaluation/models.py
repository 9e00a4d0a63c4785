"""Which models are judged: those given, and the installed ones for the kinds not given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trabecula.anatomy import ModelUse
from trabecula.calibration.calibrate import CalibrationModel, load_calibration
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.errors import ModelError
from trabecula.evaluation.reference import VERTEBRA, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.imaging.limits import ImagingLimits
from trabecula.model_files import MANIFEST_NAME
from trabecula.segmentation import RuntimeSettings, SegmentationModels, load_models
from trabecula.segmentation.bundle import find_bundles
from trabecula.segmentation.nnunet.labels import read_target
from trabecula.segmentation.nnunet.session import NnunetSession
from trabecula.segmentation.session import ModelSession
from trabecula.texts import parse_json

_MADE_BY_THE_PROGRAM = frozenset({"outside", "body", "table", "metal"})
"""Labels that need no channel."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The chain whose anatomy is evaluated."""

    segmentation: SegmentationModels
    calibration: CalibrationModel
    constants: ClinicalConstants
    limits: ImagingLimits
    runtime: RuntimeSettings

    @property
    def sessions(self) -> tuple[ModelSession | NnunetSession, ...]:
        """Every loaded segmentation model."""
        own = (self.segmentation.coarse, self.segmentation.fine)
        return (*(session for session in own if session is not None), *self.segmentation.full)

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models as results name them."""
        return tuple(session.use(f"{session.manifest.kind} segmentation") for session in self.sessions)

    @property
    def structures(self) -> frozenset[str]:
        """Structures that at least one model has a channel for, or that the program finds by itself."""
        names = set().union(*(_structures(session) for session in self.sessions))
        if VERTEBRA_BODY in names or VERTEBRA_POSTERIOR in names:
            names.add(VERTEBRA)
        return frozenset(names) | _MADE_BY_THE_PROGRAM

    @property
    def flag_below(self) -> float:
        """Level confidence under which the report warns."""
        return self.segmentation.settings.levels.low_confidence


def load_judged(bundles: Sequence[Path], models_dir: Path, runtime: RuntimeSettings, limits: ImagingLimits) -> Judged:
    """Load the given bundles, and the installed ones for the kinds that are not given.

    Imported networks (kind ``full``) take the place of both passes; several of them work together, the first one's
    word counts most.

    Raises:
        ModelError: if a bundle cannot be used, or the bundles do not go together.
    """
    chosen = list(_chosen(bundles, models_dir))
    with tempfile.TemporaryDirectory(prefix="trabecula-evaluate-") as scratch:
        names = [f"{number}-{folder.name}" for number, folder in enumerate(chosen)]
        for name, folder in zip(names, chosen, strict=True):
            (Path(scratch) / name).symlink_to(folder.resolve(), target_is_directory=True)
        segmentation = load_models(Path(scratch), runtime, names)
    return Judged(segmentation, load_calibration(models_dir, runtime), load_constants(), limits, runtime)


def _chosen(bundles: Sequence[Path], models_dir: Path) -> Iterable[Path]:
    kinds = [_kind(folder) for folder in bundles]
    if "full" in kinds:
        return bundles
    for kind in set(kinds):
        if kinds.count(kind) > 1:
            raise ModelError(f"two bundles of kind {kind}", kind=kind)
    return (find_bundles(models_dir) | dict(zip(kinds, bundles, strict=True))).values()


def _structures(session: ModelSession | NnunetSession) -> frozenset[str]:
    """Names of what a model looks for; vertebrae by part."""
    if isinstance(session, ModelSession):
        return frozenset(session.manifest.outputs.logits.channels)
    targets = [read_target(label.target) for label in session.manifest.nnunet.labels]
    names = {target.structure.name.lower() for target in targets if target.structure is not None}
    if any(target.vertebra for target in targets):
        names |= {VERTEBRA_BODY, VERTEBRA_POSTERIOR}
    return frozenset(names)


def _kind(folder: Path) -> str:
    try:
        manifest = parse_json((folder / MANIFEST_NAME).read_bytes())
        return str(manifest["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder.name} is no model bundle", bundle=folder.name) from error
