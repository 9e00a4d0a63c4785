"""Build ``fhir/`` with SUSHI and keep what it makes in ``fhir/generated``, for the service to serve.

Snapshots are left out there: they are R4's own text again. ``npm ci`` in ``tests/validators`` first.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fhir_guide import GENERATED, GUIDE, generated_documents, run_sushi  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        run_sushi(GUIDE, Path(made), snapshot=False)
        documents = generated_documents(Path(made))
    GENERATED.mkdir(exist_ok=True)
    for path in GENERATED.glob("*.json"):
        path.unlink()
    for name, document in documents.items():
        (GENERATED / name).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(documents)} documents in {GENERATED.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
