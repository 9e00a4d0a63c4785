"""Independent judges of the FHIR bundle: R4 JSON schema, npm ``fhir``, Medplum's validator and Medplum's server.

They need ``npm ci`` in ``tests/validators``; without it these tests are skipped, loudly.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import report_samples as samples

from trabecula.outputs.r4 import FhirOptions, to_bundle

Json = dict[str, Any]

FOLDER = Path(__file__).resolve().parents[1] / "validators"
SCHEMA = FOLDER / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4" / "fhir.schema.json"

pytestmark = pytest.mark.skipif(
    not SCHEMA.is_file() or shutil.which("node") is None,
    reason="FHIR VALIDATORS MISSING: install Node.js >= 20 and run `npm ci` in tests/validators",
)


@cache
def bundles() -> dict[str, Json]:
    options = FhirOptions(patient_reference="Patient/p1", page_html=b"<!DOCTYPE html>")
    made = {name: to_bundle(report) for name, report in samples.all_reports().items()}
    return {**made, "matched_patient": to_bundle(samples.reported(), options)}


def run(script: str, value: Any) -> Any:
    done = subprocess.run(
        ["node", str(FOLDER / script)],
        input=json.dumps(value),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@cache
def schema_validator() -> jsonschema.Draft6Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return jsonschema.Draft6Validator({"$ref": "#/definitions/Bundle", "definitions": schema["definitions"]})


def with_literal_references(bundle: Json) -> Json:
    """The bundle as a server stores it, ``urn:uuid:`` replaced by ``Type/id``, so that targets' types are checked."""
    text = json.dumps(bundle)
    for entry in bundle["entry"]:
        resource = entry["resource"]
        text = text.replace(f'"reference": "urn:uuid:{resource["id"]}"', f'"reference": "{entry["request"]["url"]}"')
    changed: Json = json.loads(text)
    return changed


def faults(verdict: dict[str, list[Json]], resource: Json) -> Iterator[str]:
    """What the two npm validators call an error, and references to a wrong type, which Medplum only warns of."""
    for judge, messages in verdict.items():
        for message in messages:
            what = str(message["what"])
            if "ras-2" in what and "probabilityDecimal" not in json.dumps(resource):
                continue  # Medplum 4.5.2 fires ras-2 (probability <= 100) where there is no probability
            if message["severity"] in {"error", "fatal"} or "Invalid reference" in what:
                yield f"{judge}: {message['where']}: {what}"


def judged(named: dict[str, Json]) -> dict[str, list[str]]:
    """Faults of each resource; of a bundle also of every resource in it by itself.

    Inside a bundle Medplum passes over invariants on choice types, obs-6 among them.
    """
    parts = {
        name: [resource, *(entry["resource"] for entry in resource.get("entry", []))]
        for name, resource in named.items()
    }
    flat = {f"{name}#{index}": part for name, found in parts.items() for index, part in enumerate(found)}
    verdicts = run("validate.cjs", flat)
    found: dict[str, list[str]] = {name: [] for name in named}
    for key, verdict in verdicts.items():
        found[key.split("#")[0]].extend(faults(verdict, flat[key]))
    return found


def broken(change: str) -> Json:
    """A good bundle with one thing wrong in its first Observation."""
    bundle = copy.deepcopy(bundles()["reported"])
    observation = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation")
    if change == "status":
        observation["status"] = "bogus"
    elif change == "unknown field":
        observation["colour"] = "blue"
    elif change == "missing code":
        del observation["code"]
    elif change == "value and absence":
        observation["dataAbsentReason"] = {"text": "none"}
    elif change == "performer is a device":
        observation["performer"] = [observation["device"]]
    elif change == "unit as number":
        observation["valueQuantity"]["unit"] = 5
    return bundle


@pytest.mark.parametrize("name", bundles())
def test_bundle_fits_the_r4_schema(name: str) -> None:
    errors = [f"{list(error.path)}: {error.message[:200]}" for error in schema_validator().iter_errors(bundles()[name])]
    assert errors == []


def test_bundles_pass_required_codes_cardinalities_and_invariants() -> None:
    named = {name: with_literal_references(bundle) for name, bundle in bundles().items()}
    assert judged(named) == {name: [] for name in named}


def test_published_code_systems_are_valid(repository: Path) -> None:
    paths = sorted((repository / "fhir" / "codesystems").glob("*.json"))
    named = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    assert len(named) > 5
    assert judged(named) == {name: [] for name in named}


@pytest.mark.parametrize("change", ["status", "unknown field", "missing code", "unit as number"])
def test_schema_judge_notices(change: str) -> None:
    assert list(schema_validator().iter_errors(broken(change)))


def test_npm_judges_notice() -> None:
    changes = ["status", "missing code", "value and absence", "performer is a device"]
    verdicts = judged({change: with_literal_references(broken(change)) for change in changes})
    assert all(verdicts[change] for change in changes), verdicts


def test_a_server_takes_it_twice_and_keeps_one_copy() -> None:
    bundle = bundles()["reported"]
    once, twice = run("post.cjs", [bundle]), run("post.cjs", [bundle, bundle])
    assert twice["answers"] == [["200"] * len(bundle["entry"])] * 2
    count = {kind: len(found) for kind, found in once["stored"].items()}
    assert count == {kind: len(found) for kind, found in twice["stored"].items()}
    assert sum(count.values()) == len(bundle["entry"])
    (report,) = once["stored"]["DiagnosticReport"]
    stored = {f"Observation/{resource['id']}" for resource in once["stored"]["Observation"]}
    assert {result["reference"] for result in report["result"]} == stored


def test_a_server_takes_a_refusal_beside_a_result_of_the_same_study() -> None:
    stored = run("post.cjs", [bundles()["reported"], bundles()["refused"]])["stored"]
    assert len(stored["DiagnosticReport"]) == 2
    assert len(stored["ImagingStudy"]) == 1
