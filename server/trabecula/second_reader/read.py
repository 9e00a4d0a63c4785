"""Running end-to-end models beside the measurement."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from trabecula.anatomy import Anatomy, ModelUse, VertebraInstance
from trabecula.assessment.assessment import Assessment, Category
from trabecula.calibration.calibration import Calibration
from trabecula.calibration.density_result import VertebraResult
from trabecula.errors import ModelError
from trabecula.imaging.study import Acquisition, CtVolume
from trabecula.onnx_runtime import ort
from trabecula.outcome import Notice, Severity, Stage
from trabecula.second_reader.crop import Box, crop_around
from trabecula.second_reader.manifest import SecondReaderBundle, SecondReaderManifest, load_bundle
from trabecula.second_reader.reading import Agreement, LevelScore, ReferenceStandard, SecondReading
from trabecula.segmentation.session import choose_provider
from trabecula.segmentation.settings import Provider, RuntimeSettings

DISAGREES: Final = "second-reader-disagrees"
_STANDARDS: Final = {
    ReferenceStandard.QCT: "QCT",
    ReferenceStandard.DXA: "DXA",
    ReferenceStandard.SIMULATION: "simulated images, not patients",
}
_POSITIVE: Final[Mapping[str, frozenset[Category]]] = {
    Category.OSTEOPOROSIS_RANGE.value: frozenset({Category.OSTEOPOROSIS_RANGE, Category.SEVERE_RANGE_SUSPECTED}),
    Category.LOW_BONE_DENSITY_RANGE.value: frozenset(
        {Category.OSTEOPOROSIS_RANGE, Category.SEVERE_RANGE_SUSPECTED, Category.LOW_BONE_DENSITY_RANGE}
    ),
}
"""Categories on the positive side of what a model answers for."""


@dataclass(frozen=True, eq=False)
class SecondReader:
    """A loaded model; safe to share between threads."""

    manifest: SecondReaderManifest
    provider: Provider
    _session: ort.InferenceSession
    load_s: float = 0.0
    """What opening it took, its first run included."""

    @property
    def use(self) -> ModelUse:
        m = self.manifest
        return ModelUse(m.name, m.version, m.sha256, "second reader, beside the measurement", self.provider.value)

    def score(self, box: Box) -> float:
        """The model's answer for one box, 0 .. 1.

        Raises:
            ModelError: if the model fails or does not give one finite value.
        """
        m = self.manifest
        try:
            (result,) = self._session.run([m.output.name], {m.input.name: box[None, None]})
        except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
            raise ModelError(f"{m.name} failed: {type(error).__name__}", model=m.name) from error
        if np.size(result) != 1 or not np.isfinite(result).all():
            raise ModelError(f"{m.name} does not give one number", model=m.name)
        value = float(np.asarray(result, dtype=np.float64).reshape(()))
        if m.output.form == "logit":
            return float(1.0 / (1.0 + np.exp(-np.clip(value, -60.0, 60.0))))
        if not 0.0 <= value <= 1.0:
            raise ModelError(f"{m.name} gives {value:g} for a probability", model=m.name)
        return value


def load_second_readers(models_dir: Path, names: Sequence[str], runtime: RuntimeSettings) -> tuple[SecondReader, ...]:
    """Load the bundles of these folder names; none is loaded that is not named.

    Raises:
        ModelError: if there is no such bundle or it cannot be used.
        ModelChecksumMismatch: if its ONNX file is not the one its manifest names.
    """
    root = models_dir.resolve()
    found = []
    for name in names:
        folder = (root / name).resolve()
        if folder.parent != root or not folder.is_dir():
            raise ModelError(f"there is no second reader {name!r} among the models", bundle=name)
        found.append(open_second_reader(load_bundle(folder), runtime))
    return tuple(found)


def open_second_reader(bundle: SecondReaderBundle, runtime: RuntimeSettings) -> SecondReader:
    """Load a checked bundle into onnxruntime and run it once on an empty box.

    Raises:
        ModelError: if onnxruntime cannot load it, or its inputs and outputs are not the manifest's.
    """
    began_s = time.perf_counter()
    manifest = bundle.manifest
    provider = choose_provider(runtime.providers, ort.get_available_providers())
    providers = [provider.value] + ([Provider.CPU.value] if provider is not Provider.CPU else [])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(bundle.onnx, options, providers=providers)
    except Exception as error:  # onnxruntime raises bare RuntimeError subclasses of its own for any fault
        raise ModelError(f"onnxruntime cannot load {manifest.name}: {error}", model=manifest.name) from error
    inputs, outputs = {node.name for node in session.get_inputs()}, {node.name for node in session.get_outputs()}
    if inputs != {manifest.input.name} or manifest.output.name not in outputs:
        raise ModelError(f"{manifest.name} has inputs {sorted(inputs)}, outputs {sorted(outputs)}", model=manifest.name)
    reader = SecondReader(manifest, Provider(session.get_providers()[0]), session)
    reader.score(np.zeros(manifest.input.shape, dtype=np.float32))
    return replace(reader, load_s=time.perf_counter() - began_s)


def read_second(
    volume: CtVolume,
    anatomy: Anatomy,
    acquisition: Acquisition,
    calibration: Calibration,
    vertebrae: Sequence[VertebraResult],
    assessment: Assessment,
    readers: Sequence[SecondReader],
) -> tuple[SecondReading, ...]:
    """Ask every second reader, and say how its answer stands to the measured one.

    Raises:
        ModelError: if a model fails while running.
    """
    found = []
    for reader in readers:
        usable = _usable(anatomy, vertebrae, reader.manifest)
        unfit = _unfit(acquisition, calibration, assessment, usable, reader.manifest)
        scores: tuple[LevelScore, ...] = ()
        if not unfit:
            spec = reader.manifest.input
            scores = tuple(
                LevelScore(v.level, reader.score(crop_around(volume.hu, volume.geometry, v, spec))) for v in usable
            )
        found.append(_reading(reader, scores, assessment, unfit))
    return tuple(found)


def notices(readings: Sequence[SecondReading]) -> tuple[Notice, ...]:
    """A warning for every second reader that disagrees."""
    return tuple(
        Notice(DISAGREES, Stage.ASSESSMENT, Severity.WARNING, reading.statement)
        for reading in readings
        if reading.agreement is Agreement.DISAGREES
    )


def _usable(
    anatomy: Anatomy, vertebrae: Sequence[VertebraResult], manifest: SecondReaderManifest
) -> list[VertebraInstance]:
    """Whole vertebrae of the model's levels that the measurement does not exclude."""
    excluded = {v.level for v in vertebrae if v.excluded}
    found = (anatomy.vertebra(level) for level in manifest.scope.levels if level not in excluded)
    return [v for v in found if v is not None and v.complete]


def _unfit(
    acquisition: Acquisition,
    calibration: Calibration,
    assessment: Assessment,
    usable: Sequence[VertebraInstance],
    manifest: SecondReaderManifest,
) -> str:
    """Why the model must not be shown this scan; empty when it may."""
    scope = manifest.scope
    if assessment.category is Category.NOT_CLASSIFIED:
        return "no range is named for this patient or scan"
    if acquisition.kvp is None or not scope.kvp[0] <= acquisition.kvp <= scope.kvp[1]:
        shown = "not known" if acquisition.kvp is None else f"{acquisition.kvp:g} kV"
        return f"the tube voltage is {shown}; the model reads {scope.kvp[0]:g} to {scope.kvp[1]:g} kV"
    if acquisition.spectral_filter.value != "none":
        return "the beam is tin-filtered"
    if calibration.contrast_enhanced and not scope.contrast:
        return "contrast medium was given"
    thickness = acquisition.slice_thickness_mm or acquisition.slice_spacing_mm
    if thickness > scope.max_slice_mm:
        return f"slices are {thickness:g} mm thick; the model reads up to {scope.max_slice_mm:g} mm"
    if len(usable) < scope.fewest_levels:
        levels = ", ".join(level.value for level in scope.levels)
        return f"fewer than {scope.fewest_levels} of {levels} can be used"
    return ""


def _reading(reader: SecondReader, scores: tuple[LevelScore, ...], assessment: Assessment, unfit: str) -> SecondReading:
    m = reader.manifest
    score = _combined([each.score for each in scores], m)
    positive = None if score is None else score >= m.output.cut_off
    agreement = Agreement.NOT_READ if positive is None else _agreement(positive, assessment, m)
    return SecondReading(
        model_name=m.name,
        model_version=m.version,
        sha256=m.sha256,
        provider=reader.provider.value,
        question=m.question,
        reference_standard=m.reference.standard,
        reference_definition=m.reference.definition,
        cut_off=m.output.cut_off,
        scores=scores,
        score=score,
        positive=positive,
        agreement=agreement,
        statement=_statement(m, score, positive, agreement, unfit),
        not_read_because=unfit or None,
        limits=m.limits,
    )


def _combined(scores: Sequence[float], manifest: SecondReaderManifest) -> float | None:
    if not scores:
        return None
    return max(scores) if manifest.output.combine == "max" else sum(scores) / len(scores)


def _agreement(positive: bool, assessment: Assessment, manifest: SecondReaderManifest) -> Agreement:
    sides = _POSITIVE[manifest.output.answers_for]
    measured = assessment.between or (assessment.category,)
    answers = {category in sides for category in measured}
    if len(answers) > 1:
        return Agreement.UNDECIDED
    return Agreement.AGREES if answers == {positive} else Agreement.DISAGREES


def _statement(
    manifest: SecondReaderManifest, score: float | None, positive: bool | None, agreement: Agreement, unfit: str
) -> str:
    name = f"Second reader {manifest.name} {manifest.version} (against {_STANDARDS[manifest.reference.standard]})"
    if score is None:
        return f"{name} was not asked: {unfit}."
    said = "yes" if positive else "no"
    text = f"{name} answers {said} to '{manifest.question}' (score {score:.2f}, cut-off {manifest.output.cut_off:g})"
    return {
        Agreement.AGREES: f"{text}; the measurement agrees.",
        Agreement.UNDECIDED: f"{text}; the measurement is indeterminate there. The measurement stands.",
        Agreement.DISAGREES: f"{text}; the measurement does not agree. The measurement stands; a reader should look.",
    }[agreement]
