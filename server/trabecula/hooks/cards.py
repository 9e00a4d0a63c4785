"""CDS Hooks cards as values, and as JSON (https://cds-hooks.hl7.org/2.0/#cds-service-response)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]

SUMMARY_LIMIT: Final = 140
"""A summary is shorter than this many characters."""
CARD_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:trabecula:cds-hooks:card")
NON_ADHERENCE: Final = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"


class Indicator(StrEnum):
    """Urgency, rising."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class CardKind(StrEnum):
    """What a card is about."""

    CONFIRM = "confirm"
    """A result that calls for a next step."""
    REASON = "reason"
    """The result as the reason of an order that was picked."""
    DUPLICATE = "duplicate"
    """A DXA that is done or ordered already."""


@dataclass(frozen=True)
class Coding:
    system: str
    code: str
    display: str

    def as_json(self) -> Json:
        return {"system": self.system, "code": self.code, "display": self.display}


@dataclass(frozen=True, eq=False)
class Action:
    """``create`` and ``update`` carry a resource, ``delete`` the id of one (``Type/id``)."""

    type: str
    description: str
    resource: Json | None = None
    resource_id: str | None = None

    def as_json(self) -> Json:
        target = {"resourceId": self.resource_id} if self.resource is None else {"resource": self.resource}
        return {"type": self.type, "description": self.description, **target}


@dataclass(frozen=True, eq=False)
class Suggestion:
    uuid: str
    label: str
    actions: tuple[Action, ...]
    recommended: bool = False

    def as_json(self) -> Json:
        return {
            "label": self.label,
            "uuid": self.uuid,
            "isRecommended": self.recommended,
            "actions": [action.as_json() for action in self.actions],
        }


@dataclass(frozen=True)
class Link:
    """An absolute address that the EHR opens in a browser."""

    label: str
    url: str

    def as_json(self) -> Json:
        # some EHR libraries insist on the last one, which the specification leaves out or in
        return {"label": self.label, "url": self.url, "type": "absolute", "autoLaunchable": False}


@dataclass(frozen=True)
class Source:
    label: str
    topic: Coding
    url: str | None = None

    def as_json(self) -> Json:
        address = {} if self.url is None else {"url": self.url}
        return {"label": self.label, **address, "topic": self.topic.as_json()}


@dataclass(frozen=True, eq=False)
class Card:
    uuid: str
    kind: CardKind
    summary: str
    indicator: Indicator
    detail: str
    """Markdown."""
    source: Source
    suggestions: tuple[Suggestion, ...] = ()
    links: tuple[Link, ...] = ()
    override_reasons: tuple[Coding, ...] = ()
    screening_id: str | None = None
    """The result it speaks of; not sent."""

    def as_json(self) -> Json:
        return {
            "uuid": self.uuid,
            "summary": self.summary,
            "indicator": self.indicator.value,
            "detail": self.detail,
            "source": self.source.as_json(),
            **_given("suggestions", [each.as_json() for each in self.suggestions]),
            # At most one may be chosen, and never more than one is recommended.
            **({"selectionBehavior": "at-most-one"} if self.suggestions else {}),
            **_given("overrideReasons", [each.as_json() for each in self.override_reasons]),
            **_given("links", [each.as_json() for each in self.links]),
        }


def card_uuid(hook_instance: str, service_id: str, kind: CardKind, about: str) -> str:
    """The same card in the same hook instance has the same id, so that feedback on a repeated call counts once.

    Args:
        about: what the card speaks of: a screening, an order.
    """
    return str(uuid.uuid5(CARD_NAMESPACE, "|".join((hook_instance, service_id, kind.value, about))))


def suggestion_uuid(card: str, name: str) -> str:
    """Id of a card's suggestion."""
    return str(uuid.uuid5(uuid.UUID(card), name))


def _given(name: str, items: list[Json]) -> Json:
    return {name: items} if items else {}


_REASONS: Final[dict[str, str]] = {
    "action-completed": "Recommended action was already completed",
    "indication-order-exists": "Patient has indication/order for intended action",
    "patient-ineligible": "Patient does not meet eligibility for recommended action",
    "patient-contraindication": "Patient has a contraindication",
    "patient-refuses": "Patient refuses",
    "risk-benefit-ratio": "Risk outweighs benefit for this patient",
    "action-not-priority": "Not a priority now",
    "limited-time": "Not enough time",
    "wrong-time-workflow": "Wrong moment in the workflow",
    "inappropriate-recipient": "I am not the right recipient",
    "recipient-does-not-trust": "I do not trust this result",
    "too-costly-uncovered": "Too costly or not covered",
}
"""HL7's codes (https://build.fhir.org/ig/HL7/cds-hooks/CodeSystem-non-adherence-reason-codes.html)."""


def reasons(*codes: str) -> tuple[Coding, ...]:
    """Override reasons by code."""
    return tuple(Coding(NON_ADHERENCE, code, _REASONS[code]) for code in codes)


KNOWN_REASONS: Final = frozenset(_REASONS)
"""The closed set of labels that metrics count overrides by."""
