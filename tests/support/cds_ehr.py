"""An EHR for tests of CDS Hooks: signs tokens, builds requests and charts, and makes stored results.

Importable from any test. Nothing here is a copy of a real chart.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from trabecula.assessment.assessment import Category
from trabecula.hooks.cards import Card
from trabecula.hooks.chart import Chart, Problems
from trabecula.hooks.decide import Cards, Question, decide
from trabecula.hooks.policy import CardPolicy
from trabecula.hooks.requests import Context, HookRequest
from trabecula.hooks.results import DueRule, ShownResult
from trabecula.hooks.services import SERVICES, Hook, Service

Json = dict[str, Any]

BASE = "https://ct.hospital.example"
ISS = "https://ehr.hospital.example"
JKU = "https://ehr.hospital.example/.well-known/jwks.json"
SYSTEM = "urn:oid:1.2.36.146.595.217.0.1"
MRN = "SAMPLE-0001"
PATIENT_ID = "p1"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
POLICY = CardPolicy(BASE, "https://trabecula.example/fhir", 23)
RULE = DueRule(
    "confirm-osteoporosis-range",
    "https://trabecula.example/fhir/PlanDefinition/confirm-osteoporosis-range|1.0.0",
    "Confirm by DXA of hip and spine or by QCT.",
    "He N, Li Y, Hu L. Adv Clin Med 2026;16(3):3233-3242",
)
KNOWN = Chart(dxa=(), orders=(), problems=Problems())
"""A chart that was read and says nothing of bone."""


class Signer:
    """An EHR's keys."""

    def __init__(self, algorithm: str = "ES384", kid: str = "key-1") -> None:
        self.algorithm = algorithm
        parameters = {"kid": kid, "use": "sig", "alg": algorithm}
        if algorithm.startswith("ES"):
            self.key: ECKey | RSAKey = ECKey.generate_key("P-384", parameters)
        else:
            self.key = RSAKey.generate_key(2048, parameters)
        self.kid = kid

    def jwks(self) -> Json:
        """The public half."""
        return KeySet([self.key]).as_dict(private=False)  # type: ignore[list-item]

    def token(self, audience: object, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token as CDS Hooks asks for; a claim or header given as None is left out."""
        now = int(time.time())
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", "jku": JKU, **(header or {})}
        body = {"iss": ISS, "aud": audience, "exp": now + 300, "iat": now, "jti": str(uuid.uuid4()), **claims}
        registry = JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jwt.encode(_given(head), _given(body), self.key, registry=registry)


def _given(values: Mapping[str, Any]) -> Json:
    return {name: value for name, value in values.items() if value is not None}


def service(hook: Hook) -> Service:
    return next(each for each in SERVICES if each.hook is hook)


def result(category: Category | None = Category.OSTEOPOROSIS_RANGE, **changes: Any) -> ShownResult:
    """A preliminary result in the osteoporosis range."""
    values: Json = {
        "screening_id": "7f1f7c3e-3c0e-5b6a-9a68-0c8f3c1f0a01",
        "report_id": "0b7f1f7c-3c0e-5b6a-9a68-0c8f3c1f0a02",
        "status": "preliminary",
        "issued_at": datetime(2026, 3, 14, 12, tzinfo=UTC),
        "study_uid": "1.2.3",
        "acquired_on": date(2026, 3, 14),
        "category": category,
        "statement": "Trabecular density is in the osteoporosis range; this is no diagnosis.",
        "density_mg_cm3": 71.4,
        "standard_uncertainty_mg_cm3": 5.8,
        "scale": "K2HPO4",
        "due": (RULE,),
    }
    return ShownResult(**{**values, **changes})


def question(hook: Hook = Hook.PATIENT_VIEW, **changes: Any) -> Question:
    """A call. ``drafts`` and ``selections`` go into the context."""
    drafts = tuple(changes.pop("drafts", ()))
    selections = tuple(changes.pop("selections", (f"ServiceRequest/{each.get('id')}" for each in drafts)))
    context = Context(PATIENT_ID, "Practitioner/doc", changes.pop("encounter_id", None), selections, drafts)
    request = HookRequest(hook, "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea", context, {})
    return Question(service(hook), request, POLICY, changes.pop("now", NOW), **changes)


def cards(
    results: Sequence[ShownResult], chart: Chart = KNOWN, hook: Hook = Hook.PATIENT_VIEW, **changes: Any
) -> Cards:
    """What is decided."""
    return decide(question(hook, **changes), results, chart)


def only(found: Sequence[Card]) -> Card:
    (card,) = found
    return card


def draft(code: str = "83012-5", system: str = "http://loinc.org", **changes: Any) -> Json:
    """A draft order; of a DXA unless told otherwise."""
    return {
        "resourceType": "ServiceRequest",
        "id": "draft-1",
        "status": "draft",
        "intent": "order",
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT_ID}"},
        **changes,
    }


def dxa_report(on: str | None, **changes: Any) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": "dxa-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "38269-7"}]},
        "subject": {"reference": f"Patient/{PATIENT_ID}"},
        **({} if on is None else {"effectiveDateTime": on}),
        **changes,
    }


def condition(system: str, code: str, **changes: Any) -> Json:
    active = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}
    return {
        "resourceType": "Condition",
        "clinicalStatus": active,
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": f"Patient/{PATIENT_ID}"},
        **changes,
    }


def patient(system: str = SYSTEM, value: str = MRN, **changes: Any) -> Json:
    identifiers = [{"system": system, "value": value}]
    return {"resourceType": "Patient", "id": PATIENT_ID, "identifier": identifiers, **changes}


def bundle(*resources: Json, following: str | None = None) -> Json:
    """A page of a search's answer."""
    link = {} if following is None else {"link": [{"relation": "next", "url": following}]}
    return {"resourceType": "Bundle", "type": "searchset", **link, "entry": [{"resource": each} for each in resources]}


def prefetch(**changes: Any) -> Json:
    """A whole prefetch of a chart without a word on bone; a key given as ``...`` is left out."""
    empty = dict.fromkeys(("dxa", "dxaResults", "problems", "orders", "ctbone"), bundle())
    found = {"patient": patient(), **empty, **changes}
    return {key: value for key, value in found.items() if value is not ...}


def call(hook: Hook = Hook.PATIENT_VIEW, *, context: Json | None = None, **changes: Any) -> Json:
    """The body of a call."""
    of_hook: dict[Hook, Json] = {
        Hook.PATIENT_VIEW: {},
        Hook.ORDER_SELECT: {"selections": ["ServiceRequest/draft-1"], "draftOrders": bundle(draft())},
        Hook.ORDER_SIGN: {"draftOrders": bundle(draft())},
        Hook.ENCOUNTER_DISCHARGE: {"encounterId": "e1"},
    }
    return {
        "hook": hook.value,
        "hookInstance": str(uuid.uuid4()),
        "context": {"userId": "Practitioner/doc", "patientId": PATIENT_ID, **of_hook[hook], **(context or {})},
        "prefetch": prefetch(),
        **changes,
    }
