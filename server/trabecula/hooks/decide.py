"""From a patient's results and the chart to cards: pure functions, one for each thing a card can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from trabecula.assessment.assessment import Category
from trabecula.hooks.cards import (
    Action,
    Card,
    CardKind,
    Coding,
    Indicator,
    Link,
    Source,
    Suggestion,
    card_uuid,
    reasons,
    suggestion_uuid,
)
from trabecula.hooks.chart import FHIR_ID, Chart, DxaDone, DxaOrder, is_chest_ct_order, is_dxa_order
from trabecula.hooks.choose import FRACTURE_SEVERITY, severity, speaking
from trabecula.hooks.orders import dxa_order, with_reason
from trabecula.hooks.policy import CardPolicy
from trabecula.hooks.requests import Context, HookRequest, Json
from trabecula.hooks.results import ShownResult
from trabecula.hooks.services import Hook, Need, Service
from trabecula.hooks.wording import (
    chart_remarks,
    ct,
    density,
    detail,
    duplicate_detail,
    duplicate_summary,
    summary,
)
from trabecula.outputs.r4.codes import ProjectSystem

Cards = tuple[Card, ...]

_ACTION_REASONS: Final = reasons(
    "action-completed",
    "indication-order-exists",
    "patient-ineligible",
    "patient-contraindication",
    "patient-refuses",
    "risk-benefit-ratio",
    "action-not-priority",
    "limited-time",
    "inappropriate-recipient",
    "recipient-does-not-trust",
)
_DUPLICATE_REASONS: Final = reasons("patient-ineligible", "risk-benefit-ratio", "recipient-does-not-trust")


@dataclass(frozen=True, eq=False)
class Question:
    """One call with all that is known for it."""

    service: Service
    request: HookRequest
    policy: CardPolicy
    now: datetime
    waived: frozenset[Need] = frozenset()
    """What this EHR cannot give by the operator's word: done without, and the card says so."""

    @property
    def context(self) -> Context:
        return self.request.context


def needs(service: Service, context: Context) -> tuple[Need, ...]:
    """What a decision needs in this context, of the service's own; empty when no card can come of it."""
    drafts = context.selected if service.hook is Hook.ORDER_SELECT else context.draft_orders
    if service.hook is Hook.ORDER_SIGN:
        return service.required if any(map(_is_dxa, drafts)) else ()
    if service.hook is Hook.ORDER_SELECT:
        if any(map(_is_dxa, drafts)):
            return (Need.PATIENT,)
        return service.required if any(map(_is_chest_ct, drafts)) else ()
    return service.required


def decide(question: Question, results: Sequence[ShownResult], chart: Chart) -> Cards:
    """The cards of a call.

    Args:
        question: the call.
        results: all that is stored of the patient; empty where the patient is not matched.
        chart: what the EHR knows.
    """
    hook = question.service.hook
    if hook is Hook.ORDER_SIGN:
        return duplicate_card(question, chart)
    result = speaking(results, chart.own.withdrawn)
    if result is None:
        return ()
    if hook is Hook.ORDER_SELECT and any(map(_is_dxa, question.context.selected)):
        return reason_card(question, result, chart)
    return result_card(question, result, chart)


def result_card(question: Question, result: ShownResult, chart: Chart) -> Cards:
    """A result that nobody has acted on; none when DXA is done or ordered, or osteoporosis is known."""
    recent = recent_dxa(chart.dxa or (), question)
    known = chart.problems is not None and chart.problems.osteoporosis
    if severity(result) == 0 or recent is not None or chart.orders or known:
        return ()
    if any(map(_is_dxa, question.context.draft_orders)):
        return ()
    uuid = _uuid(question, CardKind.CONFIRM, result.screening_id)
    unread = tuple(need.value for need in question.service.required if need in question.waived)
    remarks = chart_remarks(chart.problems, _undated(chart), unread, question.policy.recent_months)
    if chart.encounter_fracture:
        remarks = ("A fracture is among the diagnoses of this encounter.", *remarks)
    return (
        Card(
            uuid=uuid,
            kind=CardKind.CONFIRM,
            summary=summary(result),
            indicator=_indicator(result, chart),
            detail=detail(result, remarks),
            source=_source(result, question.policy),
            suggestions=_order_dxa(question, uuid, result, chart),
            links=(_report_link(result, question.policy),),
            override_reasons=_ACTION_REASONS,
            screening_id=result.screening_id,
        ),
    )


def reason_card(question: Question, result: ShownResult, chart: Chart) -> Cards:
    """The result as the reason of the DXA that was picked."""
    value = density(result)
    if severity(result) == 0 or value is None:
        return ()
    picked = [each for each in question.context.selected if _is_dxa(each)]
    updates = [with_reason(each, result, chart.own, question.policy) for each in picked]
    actions = tuple(
        Action("update", "Put the CT's bone density on the DXA order as its reason", resource=each)
        for each in updates
        if each is not None
    )
    if not actions:
        return ()
    uuid = _uuid(question, CardKind.REASON, result.screening_id)
    suggestion = Suggestion(suggestion_uuid(uuid, "reason"), "Add the CT's bone density as the reason", actions)
    return (
        Card(
            uuid=uuid,
            kind=CardKind.REASON,
            summary=f"{ct(result)} measured a bone density of {value}: a reason for this DXA",
            indicator=Indicator.INFO,
            detail=detail(result),
            source=_source(result, question.policy),
            suggestions=(suggestion,),
            links=(_report_link(result, question.policy),),
            override_reasons=reasons("recipient-does-not-trust", "limited-time"),
            screening_id=result.screening_id,
        ),
    )


def duplicate_card(question: Question, chart: Chart) -> Cards:
    """A warning when the DXA that is being signed is on file, or ordered already."""
    drafts = [each for each in question.context.draft_orders if _is_dxa(each)]
    if not drafts:
        return ()
    done = recent_dxa(chart.dxa or (), question)
    others = _other_orders(chart.orders or (), drafts)
    if done is None and not others:
        return ()
    about = "|".join(str(each.get("id")) for each in drafts)
    uuid = _uuid(question, CardKind.DUPLICATE, about)
    removals = tuple(
        Action("delete", "Remove the DXA order", resource_id=f"ServiceRequest/{each['id']}")
        for each in drafts
        if FHIR_ID.fullmatch(str(each.get("id"))) and isinstance(each.get("id"), str)
    )
    remove = Suggestion(suggestion_uuid(uuid, "remove"), "Remove the DXA order", removals)
    return (
        Card(
            uuid=uuid,
            kind=CardKind.DUPLICATE,
            summary=duplicate_summary(done),
            indicator=Indicator.WARNING,
            detail=duplicate_detail(done, others, question.policy),
            source=Source("Trabecula: the patient's own chart", _topic(question.policy)),
            suggestions=(remove,) if removals else (),
            override_reasons=_DUPLICATE_REASONS,
        ),
    )


def recent_dxa(done: Sequence[DxaDone], question: Question) -> DxaDone | None:
    """The newest DXA that is too young to be repeated; months count from the month of the DXA."""
    limit = _months(question.now.date()) - question.policy.recent_months
    return next((each for each in done if each.on is not None and _months(each.on) >= limit), None)


def _months(day: date) -> int:
    return 12 * day.year + day.month


def _undated(chart: Chart) -> bool:
    return any(each.on is None for each in chart.dxa or ())


def _other_orders(orders: Sequence[DxaOrder], drafts: Sequence[Json]) -> int:
    """Orders beside the drafts themselves; one draft of several is no duplicate of itself."""
    own = {each.get("id") for each in drafts}
    return sum(each.id is None or each.id not in own for each in orders) + len(drafts) - 1


def _is_dxa(order: Json) -> bool:
    return order.get("resourceType") == "ServiceRequest" and is_dxa_order(order)


def _is_chest_ct(order: Json) -> bool:
    return order.get("resourceType") == "ServiceRequest" and is_chest_ct_order(order)


def _uuid(question: Question, kind: CardKind, about: str) -> str:
    return card_uuid(question.request.hook_instance, question.service.id, kind, about)


def _indicator(result: ShownResult, chart: Chart) -> Indicator:
    """Critical when low density and a fracture come together, on the CT or in this encounter."""
    together = result.category is Category.SEVERE_RANGE_SUSPECTED
    if together or (chart.encounter_fracture and severity(result) > 1):
        return Indicator.CRITICAL
    return Indicator.WARNING if severity(result) >= FRACTURE_SEVERITY else Indicator.INFO


def _order_dxa(question: Question, uuid: str, result: ShownResult, chart: Chart) -> tuple[Suggestion, ...]:
    if not result.due:
        return ()
    order = dxa_order(question.context, result, chart.own, question.policy, question.now)
    action = Action("create", "Order a DXA of the axial skeleton with this CT as its reason", resource=order)
    return (Suggestion(suggestion_uuid(uuid, "order-dxa"), "Order DXA", (action,), recommended=True),)


def _report_link(result: ShownResult, policy: CardPolicy) -> Link:
    return Link("Open the CT bone report", policy.report_url(result.screening_id))


def _source(result: ShownResult, policy: CardPolicy) -> Source:
    cited = f"; {result.due[0].citation}" if result.due else ""
    return Source(f"Trabecula, opportunistic CT{cited}", _topic(policy))


def _topic(policy: CardPolicy) -> Coding:
    system = f"{policy.fhir_base_url}/CodeSystem/{ProjectSystem.ACTION.value}"
    return Coding(system, "dxa-confirmation", "DXA of hip and spine, or QCT")
