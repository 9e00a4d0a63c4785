"""Cards of the models as the FHIR results name them."""

from __future__ import annotations

import json
from pathlib import Path

from trabecula.assets import models_dir
from trabecula.service.model_cards import MAX_CARD_BYTES, read_model_cards


def bundle(folder: Path, name: str, card: bytes | None = b"# Card\n", manifest: object = None) -> None:
    (folder / name).mkdir(parents=True)
    known = {"name": name, "version": "1.0.0", "sha256": "a" * 64} if manifest is None else manifest
    (folder / name / "manifest.json").write_text(json.dumps(known))
    if card is not None:
        (folder / name / "MODEL_CARD.md").write_bytes(card)


def test_every_built_in_model_has_a_card_with_the_hash_of_its_manifest() -> None:
    cards = {card.name: card for card in read_model_cards(models_dir())}
    assert {"coarse-v1", "fine-v1", "calibration-phantomless"} <= set(cards)
    for folder in models_dir().iterdir():
        if (folder / "manifest.json").is_file():
            manifest = json.loads((folder / "manifest.json").read_text())
            assert cards[manifest["name"]].model_sha256 == manifest["sha256"]
            assert cards[manifest["name"]].markdown == (folder / "MODEL_CARD.md").read_bytes()


def test_what_has_no_card_or_no_usable_manifest_is_passed_over(tmp_path: Path) -> None:
    bundle(tmp_path, "good")
    bundle(tmp_path, "without-card", card=None)
    bundle(tmp_path, "large", card=b"x" * (MAX_CARD_BYTES + 1))
    bundle(tmp_path, "nameless", manifest={"version": "1"})
    bundle(tmp_path, "list", manifest=[1])
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "MODEL_CARD.md").write_text("# Card")
    assert [card.name for card in read_model_cards(tmp_path)] == ["good"]
    assert read_model_cards(tmp_path / "nowhere") == ()
