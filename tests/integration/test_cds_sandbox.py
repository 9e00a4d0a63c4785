"""The calls that the official CDS Hooks Sandbox makes, as a browser was seen to make them (cds-hooks/sandbox@3b7e255).

Its own key signs its tokens and is public; here another key stands in for it under the Sandbox's issuer, key id and key
address, because a private key, even a published one, is not ours to keep.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from cds_ehr import Signer, patient
from cds_schema import check_answer
from cds_site import CdsSite, cds_site, clients_file

from trabecula.assessment.assessment import Category
from trabecula.config import Settings
from trabecula.hooks.services import Hook
from trabecula.hooks.store import stats
from trabecula.work.database import Database

ISS = "https://sandbox.cds-hooks.org"
JKU = "https://sandbox.cds-hooks.org/.well-known/jwks.json"
KID = "44823f3d-0b01-4a6c-a80e-b9d3e8a7226f"
ORIGIN = "http://localhost:8080"
EMPTY = {"resourceType": "Bundle", "type": "searchset", "total": 0}


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[CdsSite]:
    signer = Signer(kid=KID)
    settings = Settings(cds_clients_file=clients_file(tmp_path, signer, iss=ISS, jku=JKU))
    async with cds_site(database, settings, signer, origins=(ORIGIN,)) as running:
        yield running


def headers(site: CdsSite, url: str) -> dict[str, str]:
    """A token with the Sandbox's five claims and four headers, and what the browser adds."""
    now = round(time.time())
    token = site.signer.token(url, header={"jku": JKU}, iss=ISS, exp=now + 300, iat=now)
    return {
        "accept": "application/json",
        "authorization": f"Bearer {token}",
        "origin": ORIGIN,
        "referer": f"{ORIGIN}/",
        "content-type": "application/json",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0",
    }


def request(hook: Hook, **context: Any) -> dict[str, Any]:
    """No fhirAuthorization, a FHIR server in plain http, empty Bundles without entries."""
    keys = ("dxa", "problems", "orders", "dxaResults", "ctbone")
    return {
        "hookInstance": str(uuid.uuid4()),
        "hook": hook.value,
        "fhirServer": "http://localhost:8891",
        "context": {"patientId": "p1", "userId": "Practitioner/COREPRACTITIONER1", **context},
        "prefetch": {"patient": patient(birthDate="1958-02-03", gender="female"), **dict.fromkeys(keys, EMPTY)},
    }


def imaging_order(*coding: dict[str, str]) -> dict[str, Any]:
    """The draft of its imaging screen; before anything is picked its code is an empty coding."""
    order = {
        "resourceType": "ServiceRequest",
        "id": "example-request-id",
        "status": "draft",
        "intent": "plan",
        "code": {"coding": list(coding) or [{}]},
        "subject": {"reference": "Patient/p1"},
        "reasonCode": [],
    }
    draft_orders = {"resourceType": "Bundle", "entry": [{"resource": order}]}
    return {"selections": ["ServiceRequest/example-request-id"], "draftOrders": draft_orders}


async def sent(site: CdsSite, hook: Hook, body: dict[str, Any]) -> list[dict[str, Any]]:
    url = site.address(hook)
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    allowed = await site.http.options(
        url, headers={**asked, "access-control-request-headers": "authorization,content-type"}
    )
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    answer = await site.http.post(url, json=body, headers=headers(site, url))
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    check_answer(answer.json())
    found: list[dict[str, Any]] = answer.json()["cards"]
    return found


async def add_low_result(site: CdsSite) -> None:
    report = samples.reported()
    assert report.assessment is not None
    await site.add_result(replace(report, assessment=replace(report.assessment, category=Category.OSTEOPOROSIS_RANGE)))


async def test_a_session_on_the_patient_view(site: CdsSite) -> None:
    await add_low_result(site)
    url = f"{site.url}/cds-services"
    services = (await site.http.get(url, headers=headers(site, url))).json()["services"]
    assert [each["id"] for each in services if each["hook"] == "patient-view"] == ["trabecula-patient-view"]
    (card,) = await sent(site, Hook.PATIENT_VIEW, request(Hook.PATIENT_VIEW))
    assert card["suggestions"][0]["label"] == "Order DXA"
    feedback = f"{site.address(Hook.PATIENT_VIEW)}/feedback"
    accepted = {
        "card": card["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": card["suggestions"][0]["uuid"]}],
        "outcomeTimestamp": "2026-11-22T22:48:19.827Z",
    }
    reason = next(each for each in card["overrideReasons"] if each["code"] == "patient-refuses")
    dismissed = {
        "card": card["uuid"],
        "outcome": "overridden",
        "outcomeTimestamp": "2026-11-22T22:48:22.669Z",
        "overrideReason": {"reason": {"code": reason["code"], "system": reason["system"]}},
    }
    for item in (accepted, dismissed):
        answer = await site.http.post(feedback, json={"feedback": [item]}, headers=headers(site, feedback))
        assert answer.status_code == 200
    async with site.database.transaction() as connection:
        (found,) = await stats(connection)
    assert (found.shown, found.accepted, found.overridden, found.reasons) == (1, 0, 1, {"patient-refuses": 1})


async def test_a_session_on_the_imaging_screen(site: CdsSite) -> None:
    await add_low_result(site)
    hook, cpt = Hook.ORDER_SELECT, "http://www.ama-assn.org/go/cpt"
    assert await sent(site, hook, request(hook, **imaging_order())) == []
    ct = imaging_order({"code": "71250", "display": "Computed tomography, thorax", "system": cpt})
    assert len(await sent(site, hook, request(hook, **ct))) == 1
    head = imaging_order({"code": "70450", "display": "Computed tomography, head or brain", "system": cpt})
    assert await sent(site, hook, request(hook, **head)) == []
    dxa = imaging_order({"code": "77080", "display": "Dual-energy densitometry", "system": cpt})
    (card,) = await sent(site, hook, request(hook, **dxa))
    assert card["suggestions"][0]["actions"][0]["resource"]["id"] == "example-request-id"


async def test_a_prescription_is_signed_without_a_word(site: CdsSite) -> None:
    await add_low_result(site)
    medication = {"resourceType": "MedicationRequest", "id": "request-123", "status": "draft", "intent": "order"}
    orders = {"draftOrders": {"resourceType": "Bundle", "entry": [{"resource": medication}]}}
    assert await sent(site, Hook.ORDER_SIGN, request(Hook.ORDER_SIGN, **orders)) == []
