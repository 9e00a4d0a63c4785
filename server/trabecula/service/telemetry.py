"""Who listens to the events of one process."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from trabecula.config import Role, Settings
from trabecula.delivery.destinations import read_destinations
from trabecula.delivery.sink import WHAT
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.dispatch import Dispatcher
from trabecula.telemetry.events import Outcome
from trabecula.telemetry.logs import log_event
from trabecula.telemetry.metrics import MetricsListener


@dataclass(frozen=True)
class Watch:
    """What a process is watched by."""

    metrics: Metrics
    tell: Dispatcher


def watch(settings: Settings, registry: CollectorRegistry) -> Watch:
    """Metrics and logs, on this registry.

    Raises:
        DestinationsFileError: if the destinations cannot be read.
    """
    metrics = Metrics(registry)
    works = settings.role in (Role.ALL, Role.WORKER)
    counting = MetricsListener(metrics, settings.workers if works else 0, _delivered(settings))
    return Watch(metrics, Dispatcher((counting, log_event)))


def _delivered(settings: Settings) -> frozenset[Outcome]:
    """Outcomes that some destination wants."""
    wanted = {what for each in read_destinations(settings.destinations_file) for what in each.send}
    return frozenset(Outcome(status.value) for status, what in WHAT.items() if what in wanted)
