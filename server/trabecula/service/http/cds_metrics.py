"""CDS Hooks in numbers. Labels come from closed sets only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from trabecula.hooks.cards import Card
from trabecula.hooks.requests import Feedback
from trabecula.hooks.services import Service
from trabecula.hooks.store import reason_label

BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)


class CdsMetrics:
    """Counters of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "trabecula_cds_calls_total", "Calls of CDS Hooks.", ("call", "outcome"), registry=registry
        )
        self._time = Histogram(
            "trabecula_cds_answer_seconds", "From call to answer.", ("call",), buckets=BUCKETS_S, registry=registry
        )
        self._cards = Counter(
            "trabecula_cds_cards_total", "Cards shown.", ("hook", "kind", "indicator"), registry=registry
        )
        self._feedback = Counter(
            "trabecula_cds_feedback_total", "What became of cards.", ("hook", "outcome", "reason"), registry=registry
        )

    def called(self, call: str, outcome: str, seconds: float) -> None:
        """A call has ended. ``call`` is a hook, ``discovery`` or ``feedback``; ``outcome`` ``ok`` or an error code."""
        self._calls.labels(call, outcome).inc()
        self._time.labels(call).observe(seconds)

    def shown(self, service: Service, cards: Iterable[Card]) -> None:
        """Cards were sent."""
        for card in cards:
            self._cards.labels(service.hook.value, card.kind.value, card.indicator.value).inc()

    def answered(self, service: Service, items: Iterable[Feedback]) -> None:
        """Feedback has come that was not there before."""
        for item in items:
            outcome = "accepted" if item.accepted else "overridden"
            reason = reason_label(item.accepted, item.reason_system, item.reason_code)
            self._feedback.labels(service.hook.value, outcome, reason).inc()
