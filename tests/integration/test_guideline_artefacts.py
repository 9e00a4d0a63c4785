"""The published rules as FHIR: valid by independent judges, R4 only, and there when the program is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fhir.resources.R4B import get_fhir_model_class

Json = dict[str, Any]

VALIDATORS = Path(__file__).resolve().parents[1] / "validators"
SCHEMA = VALIDATORS / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4" / "fhir.schema.json"
FHIR = Path(__file__).resolve().parents[2] / "fhir"
KINDS = ("plandefinitions", "activitydefinitions", "structuredefinitions", "codesystems")
needs_node = pytest.mark.skipif(
    not SCHEMA.is_file() or shutil.which("node") is None,
    reason="FHIR VALIDATORS MISSING: install Node.js >= 20 and run `npm ci` in tests/validators",
)


def artefacts() -> dict[str, Json]:
    return {
        f"{kind}/{path.stem}": json.loads(path.read_text(encoding="utf-8"))
        for kind in KINDS
        for path in sorted((FHIR / kind).glob("*.json"))
    }


def errors_by_node(named: dict[str, Json]) -> dict[str, list[str]]:
    done = subprocess.run(
        ["node", str(VALIDATORS / "validate.cjs")], input=json.dumps(named), capture_output=True, text=True,
        timeout=300, check=True,
    )  # fmt: skip
    verdicts = json.loads(done.stdout)
    return {
        name: [
            f"{judge}: {message['where']}: {message['what']}"
            for judge, messages in verdict.items()
            for message in messages
            if message["severity"] in {"error", "fatal"}
        ]
        for name, verdict in verdicts.items()
    }


@pytest.mark.parametrize("name", artefacts())
def test_an_artefact_is_read_by_its_r4_class_and_names_itself(name: str) -> None:
    document = artefacts()[name]
    get_fhir_model_class(document["resourceType"]).model_validate(document)
    assert document["id"] == name.split("/")[1]
    assert document["url"].endswith(f"/{document['resourceType']}/{document['id']}")
    assert "subjectCanonical" not in json.dumps(document), "R4B only"


@needs_node
def test_artefacts_fit_the_r4_schema() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for name, document in artefacts().items():
        judge = jsonschema.Draft6Validator(
            {"$ref": f"#/definitions/{document['resourceType']}", "definitions": schema["definitions"]}
        )
        assert [error.message[:200] for error in judge.iter_errors(document)] == [], name


@needs_node
def test_artefacts_pass_required_codes_cardinalities_and_invariants() -> None:
    named = artefacts()
    assert errors_by_node(named) == {name: [] for name in named}


@needs_node
def test_the_judges_see_a_fault() -> None:
    broken = json.loads(json.dumps(artefacts()["plandefinitions/osta-raised"]))
    broken["action"][0]["condition"][0]["kind"] = "perhaps"
    assert errors_by_node({"broken": broken})["broken"]


@pytest.mark.slow
def test_an_installed_wheel_finds_rules_profiles_and_the_example_reader(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    root = FHIR.parent
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "from trabecula.assessment.rules import load_rules; from trabecula.clinical import profile_names;"
        "from trabecula.assets import models_dir; import trabecula;"
        "print(trabecula.__file__, len(load_rules()), profile_names(), models_dir())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    rules = len(list((FHIR / "plandefinitions").glob("*.json"))) - 1
    assert str(tmp_path / "site") in done.stdout.split()[0]
    assert f" {rules} ('acr', 'cn-2024')" in done.stdout
    assert (tmp_path / "site" / "trabecula" / "_models" / "second-reader-example-v1" / "manifest.json").is_file()
