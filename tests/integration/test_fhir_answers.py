"""What the facade answers, judged by others: an independent client, the R4 schema, npm ``fhir`` and Medplum."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from fhir_guide import MISSING, VALIDATORS, validators_missing
from fhir_judges import npm_faults, schema_faults
from live_http import LiveHttp, live_http
from record_samples import SYSTEM, publish_sample

from trabecula.service.http.options import HttpOptions
from trabecula.work.database import Database

Json = dict[str, Any]
PATIENT = f"{SYSTEM}|SAMPLE-0001"

pytestmark = pytest.mark.skipif(validators_missing(), reason=MISSING)


async def test_an_independent_client_finds_its_way(database: Database, tmp_path: Path) -> None:
    await publish_sample(database)
    async with live_http(database, tmp_path, auth=True) as site:
        token = site.issuer.token(site.fhir, "system/*.rs")
        process = await asyncio.create_subprocess_exec(
            "node", str(VALIDATORS / "client.mjs"), site.fhir, token, PATIENT, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0
    seen = json.loads(out)
    assert seen["fhirVersion"] == "4.0.1"
    assert {"Observation", "DiagnosticReport", "PlanDefinition"} <= set(seen["types"])
    assert (seen["total"], seen["observations"], seen["distinct"], seen["pages"]) == (11, 11, 11, 3)
    assert seen["posted"] == ["match DiagnosticReport", *["include Observation"] * 11]
    assert (seen["read"], seen["vread"], seen["history"], seen["resolved"]) == (True, "1", "history", "Observation")
    assert seen["applied"] == "CarePlan with actions"
    assert seen["missing"] == "404 OperationOutcome"
    assert seen["unknown"] == "400 OperationOutcome"
    assert seen["creating"] == "405 OperationOutcome"
    assert seen["wrongToken"] == "401 OperationOutcome"


async def answers(site: LiveHttp) -> dict[str, Json]:
    """One of each kind of answer."""
    report = (await site.get("DiagnosticReport")).json()["entry"][0]["resource"]["id"]
    paths = {
        "capability": "metadata",
        "search": "Observation?_count=3",
        "with_includes": "DiagnosticReport?_include=DiagnosticReport:result&_revinclude=Provenance:target",
        "empty": "Observation?code=nothing",
        "lenient": "Device?colour=red",
        "counted": "Observation?_summary=count",
        "history": f"DiagnosticReport/{report}/_history",
        "not_found": "Observation/nothing",
        "bad_search": "Observation?colour=red",
        "apply": f"PlanDefinition/opportunistic-ct-bone/$apply?subject={PATIENT}",
        "apply_one_rule": f"PlanDefinition/low-muscle/$apply?subject={PATIENT}",
        "artefacts": "PlanDefinition?_id=low-muscle",
        "trail": "AuditEvent",
    }
    found = {}
    for name, path in paths.items():
        lenient = {"prefer": "handling=lenient"} if name == "lenient" else {}
        found[name] = (await site.get(path, headers=lenient)).json()
    uid = samples.identity().study_instance_uid
    study = {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}}
    body = {"resourceType": "Parameters", "parameter": [{"name": "study", "valueReference": study}]}
    found["screen_bone"] = (await site.client.post(f"{site.fhir}/ImagingStudy/$screen-bone", json=body)).json()
    twice = [{"name": "subject", "valueString": PATIENT}] * 2
    body = {"resourceType": "Parameters", "parameter": twice}
    url = f"{site.fhir}/PlanDefinition/opportunistic-ct-bone/$apply"
    found["apply_two"] = (await site.client.post(url, json=body)).json()
    return found


async def test_every_kind_of_answer_is_valid_r4(database: Database, tmp_path: Path) -> None:
    await publish_sample(database)
    options = HttpOptions(public_base_url="https://results.hospital.test")
    async with live_http(database, tmp_path, options=options) as site:
        found = await answers(site)
    async with live_http(database, tmp_path, auth=True) as site:
        found["secured_capability"] = (await site.get("metadata")).json()
        found["no_token"] = (await site.get("Observation")).json()
    by_schema = {name: faults for name, each in found.items() if (faults := schema_faults(each))}
    assert by_schema == {}
    by_others = {name: faults for name, faults in (await asyncio.to_thread(npm_faults, found)).items() if faults}
    assert by_others == {}
