"""Model bundles: a folder with an ONNX file and the manifest that says how to feed and read it.

``python -m trabecula.segmentation`` writes the JSON Schema of the manifest to standard output; the published copy is
``models/manifest.schema.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    field_validator,
    model_validator,
)

from trabecula.anatomy import Structure
from trabecula.errors import ModelError
from trabecula.model_files import MANIFEST_NAME, read_manifest, read_onnx
from trabecula.segmentation.nnunet.labels import read_target
from trabecula.segmentation.nnunet.spec import NnunetSpec
from trabecula.texts import parse_json

VERTEBRA_BODY: Final = "vertebra_body"
VERTEBRA_POSTERIOR: Final = "vertebra_posterior"
DISC: Final = "intervertebral_disc"
BACKGROUND: Final = "background"
"""Channel of a model that looks at few structures: none of those that it knows."""
CHANNEL_NAMES: Final = (
    *(structure.name.lower() for structure in Structure),
    VERTEBRA_BODY,
    VERTEBRA_POSTERIOR,
    BACKGROUND,
)
"""Every name a logits channel may have."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Voxels = Annotated[int, Field(ge=1, le=1024)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Part):
    """How a volume is brought to the network. Triples are along (k, j, i) of the canonical grid."""

    name: str
    spacing_mm: tuple[Positive, Positive, Positive]
    orientation: Literal["foot-head,anterior-posterior,right-left"]
    clip_hu: tuple[Finite, Finite]
    mean_hu: Finite
    std_hu: Positive
    size_multiple: Voxels
    """Each side of the input must be a multiple of this."""
    resampling: str | None = None
    """How the training data came to this spacing, in words; not read by the server."""
    pad_hu: Finite
    """Fills up to the multiple."""
    max_patch: tuple[Voxels, Voxels, Voxels] | None
    """Largest input in voxels; larger volumes are tiled. None: the whole volume at once."""
    overlap: Annotated[float, Field(ge=0, le=0.9)]
    """Least share of a tile that its neighbour covers too."""

    @model_validator(mode="after")
    def _check(self) -> InputSpec:
        if self.clip_hu[0] >= self.clip_hu[1]:
            raise ValueError("clip_hu is empty")
        if self.max_patch and any(side % self.size_multiple for side in self.max_patch):
            raise ValueError("max_patch is not a multiple of size_multiple")
        return self


class LogitsSpec(_Part):
    """The output with one channel per structure."""

    name: str
    channels: Annotated[tuple[str, ...], Field(min_length=2)]

    @field_validator("channels")
    @classmethod
    def _known(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(channels) - set(CHANNEL_NAMES)
        if unknown:
            raise ValueError(f"unknown channel {min(unknown)!r}")
        if len(set(channels)) != len(channels):
            raise ValueError("a channel is named twice")
        return channels


class CoordinateSpec(_Part):
    """The output that says, at each vertebra voxel, where on the spine it lies.

    Level ordinal (C1 = 1, T12 = 19, L1 = 20) = offset + scale * value; whole numbers at the bodies' centres.
    """

    name: str
    offset: Finite
    scale: Finite


class OffsetSpec(_Part):
    """The output that says, at each vertebra voxel, where the centre of its own vertebral body lies.

    Three channels along (k, j, i) of the canonical grid; mm = scale_mm * value.
    """

    name: str
    scale_mm: Positive


class OutputSpec(_Part):
    logits: LogitsSpec
    spine_coordinate: CoordinateSpec | None = None
    vertebra_offset: OffsetSpec | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Outputs of the ONNX model that are read: logits, then coordinate and offset where there are any."""
        more = (self.spine_coordinate, self.vertebra_offset)
        return (self.logits.name, *(spec.name for spec in more if spec is not None))


class _Head(_Part):
    schema_version: Literal["1"]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}$")]
    file: Annotated[str, Field(min_length=1, max_length=200)]
    """The ONNX file, inside the bundle's folder."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    training: dict[str, JsonValue]
    """How the model was made; not read by the server."""
    reference_histograms: dict[str, JsonValue] | None = None
    """HU histograms of the training data by structure, for drift checks."""
    licence: str


class Manifest(_Head):
    """``manifest.json`` of the project's own segmentation models."""

    kind: Literal["coarse", "fine"]
    input: InputSpec
    outputs: OutputSpec

    @model_validator(mode="after")
    def _has_spine(self) -> Manifest:
        needed = {VERTEBRA_BODY} | ({"spinal_canal"} if self.kind == "coarse" else set())
        missing = needed - set(self.outputs.logits.channels)
        if missing:
            raise ValueError(f"a {self.kind} model needs the channel {min(missing)!r}")
        return self


class FullManifest(_Head):
    """``manifest.json`` of an imported nnU-Net that labels the whole scan in one pass."""

    kind: Literal["full"]
    nnunet: NnunetSpec

    @model_validator(mode="after")
    def _known_targets(self) -> FullManifest:
        for label in self.nnunet.labels:
            read_target(label.target)
        return self


AnyManifest = Annotated[Manifest | FullManifest, Field(discriminator="kind")]
_MANIFESTS: Final[TypeAdapter[Manifest | FullManifest]] = TypeAdapter(AnyManifest)


@dataclass(frozen=True)
class Bundle:
    """A checked model, ready to be handed to the runtime."""

    manifest: Manifest | FullManifest
    onnx: bytes
    """Content of the ONNX file: what was checked is what is run."""


def load_bundle(folder: Path) -> Bundle:
    """Read and check one bundle.

    Raises:
        ModelChecksumMismatch: if the ONNX file is not the one the manifest names.
        ModelError: if the manifest is wrong, the file is missing or lies outside the folder, or the model uses
            operators that onnxruntime does not bring along or data outside the file.
    """
    manifest = read_manifest(folder, _MANIFESTS.validate_json)
    return Bundle(manifest, read_onnx(folder, manifest.file, manifest.sha256, manifest.name))


def find_bundles(models_dir: Path) -> dict[str, Path]:
    """Newest segmentation bundle of each kind (``coarse``, ``fine``) among the folders in ``models_dir``.

    Newest is by the manifest's version, its runs of digits compared as numbers. Folders with other manifests are
    passed over.
    """
    newest: dict[str, tuple[list[int], Path]] = {}
    for path in sorted(models_dir.glob(f"*/{MANIFEST_NAME}")):
        try:
            head = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise ModelError(f"manifest of {path.parent.name} cannot be read", bundle=path.parent.name) from error
        kind = head.get("kind") if isinstance(head, dict) else None
        if kind not in ("coarse", "fine"):
            continue
        version = _version_key(str(head.get("version", "")))
        if kind not in newest or version >= newest[kind][0]:
            newest[kind] = (version, path.parent)
    return {kind: folder for kind, (_, folder) in newest.items()}


def _version_key(version: str) -> list[int]:
    return [int(run) for run in "".join(c if c.isdigit() else " " for c in version).split()]


def manifest_schema() -> dict[str, JsonValue]:
    """JSON Schema (draft 2020-12) of ``manifest.json``."""
    schema: dict[str, JsonValue] = _MANIFESTS.json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
