"""The cards of the installed models, for the FHIR results that name them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trabecula.model_files import MANIFEST_NAME, MAX_MANIFEST_BYTES
from trabecula.outputs.r4 import ModelCard
from trabecula.texts import parse_json

CARD_NAME: Final = "MODEL_CARD.md"
MAX_CARD_BYTES: Final = 512 << 10


def read_model_cards(folder: Path) -> tuple[ModelCard, ...]:
    """Cards of the bundles in a folder, by name of bundle. A bundle without a card, or with no manifest, has none.

    Whether a bundle can be used is the engine's affair, not asked here.
    """
    bundles = sorted(path.parent for path in folder.glob(f"*/{CARD_NAME}")) if folder.is_dir() else []
    return tuple(card for bundle in bundles if (card := _card(bundle)) is not None)


def _card(bundle: Path) -> ModelCard | None:
    try:
        with (bundle / MANIFEST_NAME).open("rb") as manifest_file, (bundle / CARD_NAME).open("rb") as card_file:
            manifest = parse_json(manifest_file.read(MAX_MANIFEST_BYTES))
            markdown = card_file.read(MAX_CARD_BYTES + 1)
        name, version, sha256 = (str(manifest[field]) for field in ("name", "version", "sha256"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if len(markdown) > MAX_CARD_BYTES else ModelCard(name, version, sha256, markdown)
