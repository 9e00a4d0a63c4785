"""Spans to a collector by OpenTelemetry (the extra ``otel``), imported only where the settings ask for it.

Attributes are ids of this service, codes of closed sets and counts; names follow
https://opentelemetry.io/docs/specs/semconv/ where it has one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import singledispatchmethod
from pathlib import Path
from threading import Lock
from typing import Final

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from trabecula import __version__
from trabecula.errors import ConfigurationError
from trabecula.telemetry import events
from trabecula.telemetry.context import in_trace, read_traceparent
from trabecula.telemetry.events import Event

PREFIX: Final = "trabecula."
EXPORT_S: Final = 5.0
"""What one attempt at sending may take."""
NS: Final = 1_000_000_000
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OtelTracing:
    """A :class:`trabecula.telemetry.tracing.Tracing` that sends by OTLP over gRPC."""

    def __init__(self, endpoint: str, service_name: str, sample_ratio: float, ca_file: Path | None = None) -> None:
        """Args:
        endpoint: ``http://host:port`` or ``https://host:port``.

        Raises:
            ConfigurationError: if the authority's file cannot be read.
        """
        secure, address = endpoint.startswith("https://"), endpoint.partition("://")[2].rstrip("/")
        exporter = OTLPSpanExporter(
            endpoint=address,
            insecure=not secure,
            credentials=_credentials(ca_file) if secure else None,
            timeout=EXPORT_S,
        )
        self._provider = TracerProvider(
            resource=Resource({"service.name": service_name, "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_S * 1000))
        self._tracer = self._provider.get_tracer("trabecula", __version__)
        self._attempts: dict[tuple[str, int], Span] = {}
        self._lock = Lock()  # stages end in threads

    @contextmanager
    def request(self, name: str, traceparent: str | None) -> Iterator[_Request]:
        span = self._tracer.start_span(name, _context(read_traceparent(traceparent)), SpanKind.SERVER)
        served = _Request(span)
        try:
            with in_trace(_traceparent(span)):
                yield served
        finally:
            span.end()

    def close(self) -> None:
        self._provider.shutdown()

    def __call__(self, event: Event) -> None:
        self._on(event)

    @singledispatchmethod
    def _on(self, event: Event) -> None:
        """Events that are no spans."""

    @_on.register
    def _(self, event: events.ScreeningQueued) -> None:
        if event.accepted_s is not None:
            attributes = {"screening_id": event.screening_id}
            self._past("accept", event.trace, SpanKind.INTERNAL, event.accepted_s, attributes).end()

    @_on.register
    def _(self, event: events.AttemptStarted) -> None:
        attributes = _named({"screening_id": event.screening_id, "attempt": event.attempt, "waited_s": event.waited_s})
        span = self._tracer.start_span("screening", _context(event.trace), SpanKind.CONSUMER, attributes)
        with self._lock:
            self._attempts[event.screening_id, event.attempt] = span

    @_on.register
    def _(self, event: events.StageEnded) -> None:
        span = self._attempt(event.screening_id, event.attempt)
        if span is not None:
            passage = event.passage
            start = int(passage.started_at_s * NS)
            within = set_span_in_context(span)
            child = self._tracer.start_span(passage.stage.value, within, start_time=start)
            child.end(start + int(passage.seconds * NS))

    @_on.register
    def _(self, event: events.StageFailed) -> None:
        span = self._attempt(event.screening_id, event.attempt)
        if span is not None:
            span.set_attributes(_named({"failed_in": event.stage.value}) | {"error.type": event.reason})
            span.set_status(Status(StatusCode.ERROR))

    @_on.register
    def _(self, event: events.ScreeningEnded) -> None:
        span = self._attempt(event.screening_id, event.attempt)
        if span is not None:
            span.set_attributes(_named({"outcome": event.outcome.value}))

    @_on.register
    def _(self, event: events.AttemptEnded) -> None:
        with self._lock:
            span = self._attempts.pop((event.screening_id, event.attempt), None)
        if span is not None:
            span.end()

    @_on.register
    def _(self, event: events.DeliveryEnded) -> None:
        attributes: dict[str, str | int] = {
            "destination": event.destination,
            "destination_kind": event.kind.value,
            "delivery_id": event.delivery_id,
            "attempt": event.attempt,
            "outcome": event.outcome.value,
        }
        if event.screening_id is not None:
            attributes["screening_id"] = event.screening_id
        span = self._past("deliver", event.trace, SpanKind.CLIENT, event.seconds, attributes)
        if event.reason is not None:
            span.set_attribute("error.type", event.reason)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _attempt(self, screening_id: str, attempt: int) -> Span | None:
        with self._lock:
            return self._attempts.get((screening_id, attempt))

    def _past(
        self, name: str, trace: str | None, kind: SpanKind, seconds: float, attributes: Mapping[str, str | int]
    ) -> Span:
        """A span of what has just ended."""
        start = time.time_ns() - int(seconds * NS)
        return self._tracer.start_span(name, _context(trace), kind, _named(attributes), start_time=start)


class _Request:
    """A :class:`trabecula.telemetry.tracing.RequestSpan`."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def named(self, name: str) -> None:
        self._span.update_name(name)

    def ended(self, code: str, *, fault: bool) -> None:
        self._span.set_attributes(_named({"status": code}))
        if fault:
            self._span.set_status(Status(StatusCode.ERROR))


def _credentials(ca_file: Path | None) -> grpc.ChannelCredentials:
    try:
        return grpc.ssl_channel_credentials(None if ca_file is None else ca_file.read_bytes())
    except OSError as error:
        raise ConfigurationError(setting="TRABECULA_TRACES_CA_FILE", must_be="a file that can be read") from error


def _named(attributes: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    return {f"{PREFIX}{name}": value for name, value in attributes.items()}


def _context(traceparent: str | None) -> Context:
    """The parent's context; an empty one for a trace that begins here."""
    return _PROPAGATOR.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


def _traceparent(span: Span) -> str:
    context = span.get_span_context()
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{int(context.trace_flags):02x}"
