"""What an evaluation found: ``results.json`` and its JSON Schema.

``python -m trabecula.evaluation`` writes the schema; the published copy is ``docs/evaluation.schema.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from trabecula.anatomy import Level, ModelUse
from trabecula.errors import InvalidReport
from trabecula.evaluation.case import ReferenceKind

RESULTS_VERSION: Final = "1.0.0"
JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DECIMALS: Final = 4


class Outcome(StrEnum):
    """How a case ended."""

    SCORED = "scored"
    REFUSED = "refused"
    """The chain refused the scan: a result, counted as such."""
    FAILED = "failed"
    """The case could not be used or a model failed; ``fault`` says why."""


@dataclass(frozen=True)
class Overlap:
    """One region, predicted against reference."""

    dice: float
    """2 * intersection / (predicted + reference)."""
    surface_mean_mm: float | None
    """Mean symmetric surface distance; None when either is empty or has no surface in view."""
    surface_95_mm: float | None
    """95 % Hausdorff distance: the larger of the two directed 95th percentiles."""
    reference_ml: float
    predicted_ml: float


@dataclass(frozen=True)
class RoiScore:
    """The trabecular region placed with predicted labels against that placed with reference labels."""

    dice: float
    """Overlap of the two elliptic cylinders."""
    superior_mm: float
    """Offset of the predicted region's centre along the reference region's superior axis."""
    anterior_mm: float
    left_mm: float


@dataclass(frozen=True)
class Measured:
    """One vertebra measured twice on the same CT: with the reference's anatomy and with the predicted one."""

    hu_reference: float | None
    hu_predicted: float | None
    hu_difference: float | None
    """Predicted minus reference: the trabecular HU error caused by segmentation."""
    vbmd_reference_mg_cm3: float | None
    vbmd_predicted_mg_cm3: float | None
    vbmd_difference_mg_cm3: float | None
    """The same in density, each with the calibration that its own anatomy gave."""
    excluded_reference: tuple[str, ...]
    """Why the vertebra does not count in the measurement with the reference's anatomy; empty when it counts."""
    excluded_predicted: tuple[str, ...]
    roi: RoiScore | None


@dataclass(frozen=True)
class VertebraScore:
    """One vertebra of the reference, and the predicted one that lies over it, whatever its name."""

    level: Level
    whole_in_view: bool
    """The reference's body does not touch the edge of the images. Others are not scored for level."""
    found: bool
    """Some predicted body overlaps it (Dice of the bodies at least 0.3, one to one)."""
    named: Level | None
    off_by: int | None
    """Levels by which the name is wrong: positive is named too low (towards the feet)."""
    level_confidence: float | None
    flagged: bool | None
    """The confidence is below the limit under which the report warns."""
    whole: Overlap | None
    """Body and posterior elements together."""
    body: Overlap | None
    posterior: Overlap | None
    centre_distance_mm: float | None
    measured: Measured | None
    parts_by_our_cut: bool = False
    """The reference had the vertebra in one label: ``body`` and ``posterior`` rest on our cut."""


@dataclass(frozen=True)
class ExtraVertebra:
    """A predicted vertebra that lies over none of the reference's."""

    named: Level
    level_confidence: float
    flagged: bool


@dataclass(frozen=True)
class StructureScore:
    structure: str
    overlap: Overlap


@dataclass(frozen=True)
class AreaPair:
    tissue: str
    reference_cm2: float | None
    predicted_cm2: float | None
    difference_cm2: float | None


@dataclass(frozen=True)
class CompositionScore:
    """Muscle and fat at one level, by name: measured with the predicted and with the reference's anatomy."""

    level: Level
    slice_distance_mm: float
    """Between the slices that the two anatomies choose."""
    areas: tuple[AreaPair, ...]


@dataclass(frozen=True)
class ScanDifference:
    """The scan's own figures, predicted minus reference; None where either could not be had."""

    vbmd_mean_mg_cm3: float | None
    """Mean over the levels that count, by each anatomy's own names: wrong names and exclusions are in it."""
    lumbar_equivalent_mg_cm3: float | None
    calibration_gain: float | None
    calibration_offset_hu: float | None


@dataclass(frozen=True)
class RefusalFound:
    code: str
    stage: str
    message: str


@dataclass(frozen=True)
class PictureFile:
    kind: str
    """``sagittal``, ``coronal``, ``axial``, ``detail`` or ``vertebra`` (close-up for the failure gallery)."""
    level: Level | None
    file: str
    """SVG file, relative to ``results.json``."""
    title: str
    caption: str


@dataclass(frozen=True)
class CaseResult:
    """One case. Lists are empty and values None where the outcome leaves nothing to say."""

    name: str
    folder: str
    fingerprint: str
    reference: ReferenceKind
    source: str
    licence: str
    transitional: str | None
    notes: tuple[str, ...]
    outcome: Outcome
    refusals: tuple[RefusalFound, ...] = ()
    """Of the prediction; with outcome ``scored``, of a stage after segmentation."""
    reference_refusals: tuple[RefusalFound, ...] = ()
    """Of the measurement with the reference's anatomy."""
    fault: str | None = None
    slices: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    """Along (k, j, i)."""
    segmentation_s: float | None = None
    """Wall time of the segmentation stage."""
    segmentation_cpu_s: float | None = None
    """Processor time of it, all threads together: what stays the same on a busy machine."""
    peak_memory_mib: float | None = None
    """Largest resident memory of the process during segmentation, CT and models included; None: not known here."""
    levels_in_reference: tuple[Level, ...] = ()
    vertebrae: tuple[VertebraScore, ...] = ()
    extra: tuple[ExtraVertebra, ...] = ()
    structures: tuple[StructureScore, ...] = ()
    reference_only: tuple[str, ...] = ()
    """Structures that the reference has and the models have no channel for."""
    composition: tuple[CompositionScore, ...] = ()
    scan: ScanDifference | None = None
    level_evidence: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    """Codes of the segmentation's notices."""
    pictures: tuple[PictureFile, ...] = ()


@dataclass(frozen=True)
class Machine:
    """What the times were measured on."""

    system: str
    processors: int
    threads: int
    """Given to onnxruntime within one operator; 0: its own choice."""


@dataclass(frozen=True)
class EvaluationResults:
    """``results.json``."""

    schema_version: str
    software_version: str
    clinical_data_version: str
    created_at: str
    """ISO 8601, UTC."""
    models: tuple[ModelUse, ...]
    machine: Machine
    flag_below: float
    """Level confidence under which a vertebra is flagged."""
    cases: tuple[CaseResult, ...]


@cache
def _adapter() -> TypeAdapter[EvaluationResults]:
    return TypeAdapter(EvaluationResults)


def to_json(results: EvaluationResults) -> str:
    """The results as JSON text, floats to four decimals."""
    document = _rounded(_adapter().dump_python(results, mode="json"))
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str | bytes) -> EvaluationResults:
    """Inverse of :func:`to_json`, up to rounding.

    Raises:
        InvalidReport: if the text is not such a document or its major version is another one.
    """
    try:
        results = _adapter().validate_json(text)
    except ValidationError as error:
        raise InvalidReport(f"{error.error_count()} faults in results.json", faults=error.error_count()) from None
    if results.schema_version.split(".")[0] != RESULTS_VERSION.split(".")[0]:
        raise InvalidReport(expected_version=RESULTS_VERSION)
    return results


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``results.json``."""
    schema = _adapter().json_schema(mode="serialization")
    identity = {"$schema": JSON_SCHEMA_DIALECT, "$id": f"urn:trabecula:schema:evaluation-results:{RESULTS_VERSION}"}
    return {**identity, **schema, "title": "Trabecula evaluation results"}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
