"""Who listens to the events of one process."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from trabecula.config import Role, Settings
from trabecula.delivery.destinations import read_destinations
from trabecula.delivery.sink import WHAT
from trabecula.errors import ConfigurationError
from trabecula.telemetry.catalogue import Metrics
from trabecula.telemetry.dispatch import Dispatcher
from trabecula.telemetry.events import Outcome
from trabecula.telemetry.logs import log_event
from trabecula.telemetry.metrics import MetricsListener
from trabecula.telemetry.tracing import NoTracing, Tracing


@dataclass(frozen=True)
class Watch:
    """What a process is watched by."""

    metrics: Metrics
    tracing: Tracing
    tell: Dispatcher


def watch(settings: Settings, registry: CollectorRegistry) -> Watch:
    """Metrics on this registry, logs, and traces where the settings ask for them.

    Raises:
        ConfigurationError: if traces are asked for and cannot be sent from here.
        DestinationsFileError: if the destinations cannot be read.
    """
    metrics = Metrics(registry)
    works = settings.role in (Role.ALL, Role.WORKER)
    counting = MetricsListener(metrics, settings.workers if works else 0, _delivered(settings))
    tracing = tracing_of(settings)
    return Watch(metrics, tracing, Dispatcher((counting, log_event, tracing)))


def tracing_of(settings: Settings) -> Tracing:
    """Where spans go.

    Raises:
        ConfigurationError: if they are asked for and the extra ``otel`` is not installed, or a file cannot be read.
    """
    if settings.traces_endpoint is None:
        return NoTracing()
    try:
        from trabecula.telemetry.otel import OtelTracing
    except ImportError as error:
        raise ConfigurationError(setting="TRABECULA_TRACES_ENDPOINT", needs="pip install 'trabecula[otel]'") from error
    return OtelTracing(
        settings.traces_endpoint,
        settings.traces_service_name,
        settings.traces_sample_ratio,
        settings.traces_ca_file,
    )


def _delivered(settings: Settings) -> frozenset[Outcome]:
    """Outcomes that some destination wants."""
    wanted = {what for each in read_destinations(settings.destinations_file) for what in each.send}
    return frozenset(Outcome(status.value) for status, what in WHAT.items() if what in wanted)
