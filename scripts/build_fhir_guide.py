"""Write the guide's examples by the program's own converters, build ``fhir/`` with SUSHI, keep what it makes.

What SUSHI makes lies in ``fhir/generated``, for the service to serve.

Snapshots are left out there: they are R4's own text again. ``npm ci`` in ``tests/validators`` first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fhir_guide import EXAMPLES, GENERATED, GUIDE, as_text, generated_documents, run_sushi  # noqa: E402
from fhir_samples import examples  # noqa: E402


def main() -> None:
    write(EXAMPLES, examples())
    with tempfile.TemporaryDirectory() as made:
        run_sushi(GUIDE, Path(made), snapshot=False)
        documents = generated_documents(Path(made))
    write(GENERATED, documents)


def write(folder: Path, documents: dict[str, dict[str, Any]]) -> None:
    """The documents, and nothing else, as the JSON files of a folder."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, document in documents.items():
        (folder / name).write_text(as_text(document), encoding="utf-8")
    sys.stdout.write(f"{len(documents)} documents in {folder.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
