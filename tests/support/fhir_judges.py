"""Judges of FHIR that are not ours: the R4 JSON schema, npm ``fhir`` and Medplum with the guide's profiles."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import jsonschema
from fhir_guide import VALIDATORS, built_guide

Json = dict[str, Any]

SCHEMA = VALIDATORS / "node_modules" / "@medplum" / "definitions" / "dist" / "fhir" / "r4" / "fhir.schema.json"


@cache
def _schema(resource_type: str) -> jsonschema.Draft6Validator:
    definitions = json.loads(SCHEMA.read_text(encoding="utf-8"))["definitions"]
    return jsonschema.Draft6Validator({"$ref": f"#/definitions/{resource_type}", "definitions": definitions})


def schema_faults(resource: Json) -> list[str]:
    """What the R4 JSON schema finds."""
    judge = _schema(resource["resourceType"])
    return [f"{list(error.path)}: {error.message[:200]}" for error in judge.iter_errors(resource)]


def npm_faults(named: Mapping[str, Json], *, profiles: bool = True) -> dict[str, list[str]]:
    """What npm ``fhir`` and Medplum find in each resource; in a bundle also in every resource of it by itself.

    Inside a bundle Medplum passes over invariants on choice types, obs-6 among them.

    Args:
        profiles: hold each resource to the profiles it names, as the guide has them.
    """
    parts = {
        name: [resource, *(entry["resource"] for entry in resource.get("entry", []))]
        for name, resource in named.items()
    }
    flat = {f"{name}#{index}": part for name, found in parts.items() for index, part in enumerate(found)}
    verdicts = _validate(flat, [str(built_guide())] if profiles else [])
    found: dict[str, list[str]] = {name: [] for name in named}
    for key, verdict in verdicts.items():
        found[key.rsplit("#", 1)[0]].extend(_errors(verdict))
    return found


def _validate(flat: Mapping[str, Json], arguments: list[str]) -> dict[str, dict[str, list[Json]]]:
    done = subprocess.run(
        ["node", str(VALIDATORS / "validate.cjs"), *arguments],
        input=json.dumps(flat), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts: dict[str, dict[str, list[Json]]] = json.loads(done.stdout)
    return verdicts


def _errors(verdict: dict[str, list[Json]]) -> Iterator[str]:
    """What the two call an error, and references to a wrong type, which Medplum only warns of."""
    for judge, messages in verdict.items():
        for message in messages:
            what = str(message["what"])
            if message["severity"] in {"error", "fatal"} or "Invalid reference" in what:
                yield f"{judge}: {message['where']}: {what}"
