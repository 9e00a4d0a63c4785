"""Which models are judged: those given, and the installed ones for the kinds not given."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trabecula.anatomy import ModelUse
from trabecula.calibration.calibrate import CalibrationModel, load_calibration
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.errors import ModelError
from trabecula.evaluation.reference import VERTEBRA, VERTEBRA_BODY, VERTEBRA_POSTERIOR
from trabecula.imaging.limits import ImagingLimits
from trabecula.segmentation import RuntimeSettings, SegmentationModels, load_models
from trabecula.segmentation.bundle import MANIFEST_NAME, find_bundles
from trabecula.segmentation.session import ModelSession

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
    def sessions(self) -> tuple[ModelSession, ...]:
        """Every loaded segmentation model."""
        values = (getattr(self.segmentation, field.name) for field in dataclasses.fields(self.segmentation))
        return tuple(value for value in values if isinstance(value, ModelSession))

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models as results name them."""
        return tuple(session.use(f"{session.manifest.kind} segmentation") for session in self.sessions)

    @property
    def structures(self) -> frozenset[str]:
        """Structures that at least one model has a channel for, or that the program finds by itself."""
        channels = {name for session in self.sessions for name in session.manifest.outputs.logits.channels}
        if VERTEBRA_BODY in channels or VERTEBRA_POSTERIOR in channels:
            channels.add(VERTEBRA)
        return frozenset(channels) | _MADE_BY_THE_PROGRAM

    @property
    def flag_below(self) -> float:
        """Level confidence under which the report warns."""
        return self.segmentation.settings.levels.low_confidence


def load_judged(bundles: Sequence[Path], models_dir: Path, runtime: RuntimeSettings, limits: ImagingLimits) -> Judged:
    """Load the given bundles, and for every kind that is not among them the one that ``models_dir`` has.

    Raises:
        ModelError: if a bundle cannot be used, or two of them are of one kind.
    """
    chosen = dict(find_bundles(models_dir))
    given: dict[str, Path] = {}
    for folder in bundles:
        kind = _kind(folder)
        if kind in given:
            raise ModelError(f"two bundles of kind {kind}", kind=kind)
        given[kind] = folder
    chosen |= given
    with tempfile.TemporaryDirectory(prefix="trabecula-evaluate-") as scratch:
        for kind, folder in chosen.items():
            (Path(scratch) / kind).symlink_to(folder.resolve(), target_is_directory=True)
        segmentation = load_models(Path(scratch), runtime)
    return Judged(segmentation, load_calibration(models_dir, runtime), load_constants(), limits, runtime)


def _kind(folder: Path) -> str:
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
        return str(manifest["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder.name} is no model bundle", bundle=folder.name) from error
