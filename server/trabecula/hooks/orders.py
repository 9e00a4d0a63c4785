"""The orders that suggestions carry: a new DXA, a draft with its reason, a draft taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from trabecula.hooks import chart_codes
from trabecula.hooks.chart import OwnCopies
from trabecula.hooks.policy import CardPolicy
from trabecula.hooks.requests import Context
from trabecula.hooks.results import ShownResult
from trabecula.hooks.wording import reason_text
from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import ProjectSystem

Json = dict[str, Any]

_DXA_CODE: Final = codes.concept(
    *codes.DXA_ORDER["coding"],
    codes.coding(chart_codes.SCT, "241686001", "Dual energy X-ray photon absorptiometry"),
    text=codes.DXA_ORDER["text"],
)
_REQUESTERS: Final = ("Practitioner/", "PractitionerRole/")


def dxa_order(context: Context, result: ShownResult, own: OwnCopies, policy: CardPolicy, at: datetime) -> Json:
    """A draft ServiceRequest for the clinician to sign, with this CT as its reason and the rule that asks for it."""
    encounter = None if context.encounter_id is None else {"reference": f"Encounter/{context.encounter_id}"}
    by_user = context.user_id.startswith(_REQUESTERS)
    return {
        "resourceType": "ServiceRequest",
        **_instantiates(result, policy),
        "status": "draft",
        "intent": "order",
        "category": [codes.IMAGING_ORDER],
        "priority": "routine",
        "code": _DXA_CODE,
        "subject": {"reference": f"Patient/{context.patient_id}"},
        **({} if encounter is None else {"encounter": encounter}),
        "authoredOn": at.isoformat(timespec="seconds"),
        **({"requester": {"reference": context.user_id}} if by_user else {}),
        "reasonCode": [_reason_code(result, policy)],
        "reasonReference": [_reason_reference(result, own)],
    }


def with_reason(order: Mapping[str, Any], result: ShownResult, own: OwnCopies, policy: CardPolicy) -> Json | None:
    """The draft with the result added to its reasons, all else as it was; None when it is there already."""
    reference = _reason_reference(result, own)
    known = _list(order.get("reasonReference"))
    if any(_same(each, reference) for each in known):
        return None
    return {
        **order,
        "reasonCode": [*_list(order.get("reasonCode")), _reason_code(result, policy)],
        "reasonReference": [*known, reference],
    }


def _instantiates(result: ShownResult, policy: CardPolicy) -> Json:
    canonicals = list(dict.fromkeys(policy.canonical(due.plan_definition) for due in result.due))
    return {"instantiatesCanonical": canonicals} if canonicals else {}


def _reason_code(result: ShownResult, policy: CardPolicy) -> Json:
    system = f"{policy.fhir_base_url}/CodeSystem/{ProjectSystem.CATEGORY.value}"
    coding = () if result.category is None else (codes.coding(system, result.category.value),)
    return codes.concept(*coding, text=reason_text(result))


def _reason_reference(result: ShownResult, own: OwnCopies) -> Json:
    """The EHR's own copy of the report where it has one, else the report by the identifier we gave it."""
    literal = own.references.get(result.report_urn)
    if literal is not None:
        return {"reference": literal, "type": "DiagnosticReport"}
    identifier = {"system": codes.URI, "value": result.report_urn}
    return {"type": "DiagnosticReport", "identifier": identifier, "display": "Opportunistic CT bone assessment"}


def _same(known: object, reference: Json) -> bool:
    if not isinstance(known, Mapping):
        return False
    by_reference = "reference" in reference and known.get("reference") == reference["reference"]
    identifier = known.get("identifier")
    value = identifier.get("value") if isinstance(identifier, Mapping) else None
    return by_reference or (value is not None and value == reference.get("identifier", {}).get("value"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
