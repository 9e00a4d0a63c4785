"""QCT phantoms: what the certificate of one specimen says of its rods."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Any

from trabecula.calibration.calibration import DensityScale
from trabecula.errors import SiteFileError


class PhantomKind(StrEnum):
    MINDWAYS_MODEL_3_CT = "mindways-model-3-ct"
    MINDWAYS_MODEL_3_QA = "mindways-model-3-qa"
    QRM_BDC_3 = "qrm-bdc-3"
    QRM_BDC_6 = "qrm-bdc-6"
    IMAGE_ANALYSIS_QCT_3D_PLUS = "image-analysis-qct-3d-plus"
    B_MAS_200 = "b-mas-200"
    SIEMENS_OSTEO = "siemens-osteo"


class FitForm(StrEnum):
    """How rods become a line."""

    MINDWAYS = "mindways"
    """HU less water equivalent against density: solid K2HPO4 rods (QCT PRO guide 5.0)."""
    LINEAR = "linear"
    TWO_POINT = "two-point"
    """(H - Hw) / (Hk - Hw) * Ck, the form of the review (He 2026, doi 10.12677/acm.2026.1631129)."""


@dataclass(frozen=True)
class CertifiedRod:
    name: str
    density_mg_cm3: float
    """On the certificate's scale."""
    water_equivalent_mg_cm3: float | None = None


@dataclass(frozen=True)
class PhantomCertificate:
    """One specimen."""

    kind: PhantomKind
    serial: str
    scale: DensityScale
    form: FitForm
    rods: tuple[CertifiedRod, ...]
    """In the order they lie in, from either side."""
    rod_radius_mm: float | None = None
    pitch_mm: float | None = None
    """Distance between the middles of neighbours."""

    def __post_init__(self) -> None:
        if len(self.rods) < 2 or len({rod.density_mg_cm3 for rod in self.rods}) < 2:
            raise SiteFileError("a phantom needs two rods of different density", phantom=self.kind.value)
        if self.form is FitForm.MINDWAYS and any(rod.water_equivalent_mg_cm3 is None for rod in self.rods):
            raise SiteFileError("the Mindways form needs water equivalents", phantom=self.kind.value)
        if self.form is FitForm.TWO_POINT and len(self.rods) != 2:
            raise SiteFileError("the two-point form has two rods", phantom=self.kind.value)


def read_certificate(entry: Mapping[str, Any]) -> PhantomCertificate:
    """One ``[[phantom]]`` table of a data or site file.

    Raises:
        SiteFileError: if a field is missing or cannot be read.
    """
    try:
        rods = tuple(
            CertifiedRod(
                str(rod["name"]),
                float(rod["density"]),
                None if rod.get("water_equivalent") is None else float(rod["water_equivalent"]),
            )
            for rod in entry["rods"]
        )
        return PhantomCertificate(
            PhantomKind(entry["kind"]),
            str(entry["serial"]),
            DensityScale(entry["scale"]),
            FitForm(entry["form"]),
            rods,
            _optional(entry, "rod_radius_mm"),
            _optional(entry, "pitch_mm"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SiteFileError(f"a phantom cannot be read: {error}", table="phantom") from error


def _optional(entry: Mapping[str, Any], name: str) -> float | None:
    return None if entry.get(name) is None else float(entry[name])


@lru_cache(maxsize=1)
def example_certificates() -> tuple[PhantomCertificate, ...]:
    """The packaged specimens, one of each kind; no site's own."""
    text = (resources.files(__package__) / "phantoms.toml").read_text(encoding="utf-8")
    return tuple(read_certificate(entry) for entry in tomllib.loads(text)["phantom"])


def example_certificate(kind: PhantomKind) -> PhantomCertificate:
    """The packaged specimen of a kind."""
    return next(each for each in example_certificates() if each.kind is kind)
