"""Reference histograms: those that come with the calibration model, and those that a site freezes of its own series."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trabecula.calibration.model_bundle import find_bundles
from trabecula.drift.features import FEATURES
from trabecula.errors import DriftReferenceError
from trabecula.model_files import read_verified
from trabecula.texts import parse_json

MANIFEST_FIELD: Final = "reference_histograms"
MOST_BYTES: Final = 1 << 20
OTHER: Final = "other"
_NAMES: Final = frozenset(each.name for each in FEATURES)

Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bins(_Part):
    """A numeric histogram. The outer bins are open: ``counts`` has one more than ``edges``."""

    edges: Annotated[tuple[Finite, ...], Field(min_length=1, max_length=100)]
    counts: Annotated[tuple[Count, ...], Field(min_length=2, max_length=101)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("counts must be one more than edges")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")
        if not any(self.counts):
            raise ValueError("a histogram of nothing")
        return self

    def count(self, values: Sequence[float]) -> tuple[int, ...]:
        """Values by bin; one that lies on an edge belongs to the bin above it."""
        found = Counter(bisect_right(self.edges, value) for value in values)
        return tuple(found[index] for index in range(len(self.counts)))


class Words(_Part):
    """A histogram of words. What is none of them counts as ``other``, the last."""

    words: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(min_length=1, max_length=100)]
    counts: Annotated[tuple[Count, ...], Field(min_length=2, max_length=101)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.counts) != len(self.words) + 1 or len(set(self.words)) != len(self.words):
            raise ValueError("counts must be one more than words, and each word stand there once")
        if not any(self.counts):
            raise ValueError("a histogram of nothing")
        return self

    def count(self, values: Sequence[str]) -> tuple[int, ...]:
        """Values by word."""
        found = Counter(value if value in self.words else OTHER for value in values)
        return (*(found[word] for word in self.words), found[OTHER])


class ReferenceFile(_Part):
    """What a manifest or a site's file holds."""

    format: Annotated[int, Field(ge=1, le=1)]
    population: Annotated[str, Field(min_length=10, max_length=1000)]
    """Who or what the series were; said with every verdict."""
    source: Annotated[str, Field(min_length=10, max_length=1000)]
    verified: bool
    """Whether the series were real ones whose quality somebody has looked at."""
    features: dict[str, Bins | Words]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(set(self.features) - _NAMES):
            raise ValueError(f"unknown feature {unknown[0]!r}")
        for each in FEATURES:
            if each.name in self.features and isinstance(self.features[each.name], Bins) is not each.numeric:
                raise ValueError(f"{each.name} has the wrong kind of histogram")
        return self


@dataclass(frozen=True)
class Histogram:
    """The reference of one feature, and where it comes from."""

    counts: Bins | Words
    reference: str
    """``calibration-phantomless 1.1.0 (sha256 ...)`` or ``site (sha256 ...)``."""
    population: str
    verified: bool


Reference = Mapping[str, Histogram]


def read_references(models_dir: Path, site_file: Path | None) -> Reference:
    """References by feature; a site's own wins over the model's.

    Raises:
        ModelError: if the calibration bundle cannot be read or is not what its manifest says.
        DriftReferenceError: if the histograms cannot be used.
    """
    found: dict[str, Histogram] = {}
    for folder, manifest in find_bundles(models_dir, "calibration"):
        content = manifest.get(MANIFEST_FIELD)
        if content is not None:
            # the histograms belong to these weights: other weights under this manifest are no reference
            read_verified(folder / Path(str(manifest["file"])).name, str(manifest["sha256"]))
            found |= _histograms(content, f"{manifest['name']} {manifest['version']}", folder.name)
    if site_file is not None:
        found |= _histograms(_read(site_file), "site", site_file.name)
    return found


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DriftReferenceError(f"{path.name} is too large", file=path.name)
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DriftReferenceError(f"{path.name} cannot be read", file=path.name) from error


def _histograms(content: object, name: str, file: str) -> dict[str, Histogram]:
    try:
        parsed = ReferenceFile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DriftReferenceError(f"{file}: {where}: {first['msg']}", file=file) from error
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    label = f"{name} (sha256 {digest})"
    return {
        feature: Histogram(counts, label, parsed.population, parsed.verified)
        for feature, counts in parsed.features.items()
    }


def freeze(
    rows: Sequence[Mapping[str, Any]], population: str, source: str, *, least: int, bins: int, verified: bool = False
) -> ReferenceFile:
    """Histograms of these series; a feature with fewer than ``least`` values gets none.

    Numeric bins hold about the same number of values each, so that none is empty by its place alone; where values
    repeat (kVp, slice thickness), bins are fewer.
    """
    features: dict[str, Bins | Words] = {}
    for feature in FEATURES:
        values = feature.values(rows)
        if len(values) >= least:
            features[feature.name] = _bins(values, bins) if feature.numeric else _words(values)
    return ReferenceFile(format=1, population=population, source=source, verified=verified, features=features)


def _bins(values: Sequence[float], bins: int) -> Bins:
    inner = np.quantile(np.asarray(values), np.arange(1, bins) / bins, method="linear")
    edges = tuple(sorted({float(f"{edge:.6g}") for edge in inner}))
    empty = Bins(edges=edges, counts=(1,) * (len(edges) + 1))
    return Bins(edges=edges, counts=empty.count(values))


def _words(values: Sequence[str]) -> Words:
    found = Counter(values)
    words = tuple(sorted(found))
    return Words(words=words, counts=(*(found[word] for word in words), 0))
