"""Second-reader bundles: a folder with an ONNX file and the manifest that says what it reads and answers for.

``python -m trabecula.second_reader`` writes the JSON Schema of the manifest to standard output; the published copy is
``models/second-reader.schema.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from trabecula.anatomy import Level
from trabecula.model_files import read_manifest, read_onnx
from trabecula.second_reader.reading import ReferenceStandard

KIND: Final = "second-reader"
_MAX_MODEL_BYTES: Final = 512 << 20

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(ge=4, le=256)]
Text = Annotated[str, Field(min_length=10, max_length=2000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CropSpec(_Part):
    """The box around a vertebral body's centre that the model sees. Triples are along (k, j, i)."""

    name: str
    """Input of the ONNX model, float32 of shape (1, 1, K, J, I)."""
    shape: tuple[Side, Side, Side]
    spacing_mm: tuple[Positive, Positive, Positive]
    axes: Literal["body", "patient"]
    """``body``: k along the vertebra's own height axis towards the head, j towards the back, i towards the left.
    ``patient``: the same along the patient's axes (LPS)."""
    clip_hu: tuple[Finite, Finite]
    mean_hu: Finite
    std_hu: Positive
    """The model gets (clipped HU - mean_hu) / std_hu; HU are those of the scan, not calibrated."""
    pad_hu: Finite
    """Where the box reaches past the scan."""

    @model_validator(mode="after")
    def _check(self) -> CropSpec:
        if self.clip_hu[0] >= self.clip_hu[1]:
            raise ValueError("clip_hu is empty")
        return self


class AnswerSpec(_Part):
    """How the output is read."""

    name: str
    """Output of the ONNX model with one value."""
    form: Literal["probability", "logit"]
    answers_for: Literal["osteoporosis-range", "low-bone-density-range"]
    """A positive answer says that the density lies in this range or lower."""
    cut_off: Annotated[float, Field(gt=0, lt=1)]
    """Scores at or above it are positive."""
    combine: Literal["mean", "max"]
    """How the vertebrae are put together."""


class ReferenceSpec(_Part):
    """What the model was taught and judged against."""

    standard: ReferenceStandard
    definition: Text
    """E.g. ``QCT of L1 and L2, mean below 80 mg/cm3 K2HPO4``."""


class ScopeSpec(_Part):
    """Scans that the model may be shown; on others it is not run, and the report says why."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1)]
    fewest_levels: Annotated[int, Field(ge=1)] = 1
    kvp: tuple[Positive, Positive]
    contrast: bool
    """Whether contrast-enhanced scans may be read."""
    max_slice_mm: Positive

    @field_validator("levels")
    @classmethod
    def _once(cls, levels: tuple[Level, ...]) -> tuple[Level, ...]:
        if len(set(levels)) != len(levels):
            raise ValueError("a level is named twice")
        return levels

    @model_validator(mode="after")
    def _check(self) -> ScopeSpec:
        if self.kvp[0] > self.kvp[1] or self.fewest_levels > len(self.levels):
            raise ValueError("kvp is empty, or more levels are asked for than there are")
        return self


class SecondReaderManifest(_Part):
    """``manifest.json`` of a second reader."""

    schema_version: Literal["1"]
    kind: Literal["second-reader"]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$")]
    file: Annotated[str, Field(min_length=1, max_length=200)]
    """The ONNX file, inside the bundle's folder."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: str
    question: Text
    """What a positive answer means, as a phrase for the report."""
    limits: Text
    """What the model is not for; shown beside every answer."""
    input: CropSpec
    output: AnswerSpec
    reference: ReferenceSpec
    scope: ScopeSpec
    performance: dict[str, JsonValue]
    """Sensitivity, specificity and AUC with their sample; not read by the server, but asked for."""
    training: dict[str, JsonValue]
    """How the model was made; not read by the server."""

    @field_validator("performance")
    @classmethod
    def _measured(cls, performance: dict[str, JsonValue]) -> dict[str, JsonValue]:
        missing = {"sensitivity", "specificity", "auc", "cases"} - performance.keys()
        if missing:
            raise ValueError(f"performance lacks {sorted(missing)}")
        return performance


@dataclass(frozen=True)
class SecondReaderBundle:
    """A checked bundle, ready to be handed to the runtime."""

    manifest: SecondReaderManifest
    onnx: bytes
    """Content of the ONNX file: what was checked is what is run."""


def load_bundle(folder: Path) -> SecondReaderBundle:
    """Read and check one bundle, as strictly as segmentation bundles are.

    Raises:
        ModelChecksumMismatch: if the ONNX file is not the one the manifest names.
        ModelError: if the manifest is wrong, the file is missing, too large or outside the folder, or the model uses
            operators that onnxruntime does not bring along or data outside the file.
    """
    manifest = read_manifest(folder, SecondReaderManifest.model_validate_json)
    return SecondReaderBundle(
        manifest, read_onnx(folder, manifest.file, manifest.sha256, manifest.name, most_bytes=_MAX_MODEL_BYTES)
    )


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a second reader's ``manifest.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SecondReaderManifest.model_json_schema()}
