"""Where the files that travel with the program lie: in the installed package, or in the checkout beside it."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def models_dir() -> Path:
    """Folder of the built-in model bundles."""
    packaged = _PACKAGE / "_models"
    return packaged if packaged.is_dir() else _CHECKOUT / "models"


def fhir_dir() -> Path:
    """Folder of the FHIR artefacts."""
    packaged = _PACKAGE / "_fhir"
    return packaged if packaged.is_dir() else _CHECKOUT / "fhir"
