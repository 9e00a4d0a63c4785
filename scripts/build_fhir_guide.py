"""Write the guide's examples by the program's own converters, build ``fhir/`` with SUSHI, keep what it makes.

What SUSHI makes lies in ``fhir/generated``, for the service to serve.

Snapshots are left out there: they are R4's own text again. ``npm ci`` in ``tests/validators`` first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from fhir_guide import EXAMPLES, GENERATED, as_text, built_guide, generated_documents  # noqa: E402
from fhir_page import PAGE, tables, with_tables  # noqa: E402
from fhir_samples import examples  # noqa: E402


def main() -> None:
    write(EXAMPLES, examples())
    documents = generated_documents(built_guide())
    write(GENERATED, documents)
    definitions = {each["id"]: each for each in documents.values() if each["resourceType"] == "StructureDefinition"}
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), tables(definitions)), encoding="utf-8")


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
