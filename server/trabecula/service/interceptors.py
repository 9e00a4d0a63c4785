"""What every RPC passes through: errors become statuses, and calls are counted and timed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn, TypeAlias

import grpc
import structlog
from grpc_status import rpc_status
from prometheus_client import CollectorRegistry, Counter, Histogram

from trabecula.errors import TrabeculaError, Unforeseen
from trabecula.service.status import rich_status, status_code
from trabecula.service.undecodable import answering, decodable
from trabecula.telemetry.faults import describe_fault
from trabecula.telemetry.tracing import Tracing

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_log = structlog.get_logger(__name__)

_LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")
OTHER_SERVICES: Final = ("/grpc.health.", "/grpc.reflection.")
"""Not counted: probes would drown the calls of clients."""


FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
"""The service's own, and not a client's."""


class CallMetrics:
    """RPC metrics under the names that public dashboards know (go-grpc-middleware)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("grpc_server_started_total", "RPCs started.", _LABELS, registry=registry)
        self.handled = Counter("grpc_server_handled_total", "RPCs ended.", (*_LABELS, "grpc_code"), registry=registry)
        self.received = Counter("grpc_server_msg_received_total", "Messages received.", _LABELS, registry=registry)
        self.sent = Counter("grpc_server_msg_sent_total", "Messages sent.", _LABELS, registry=registry)
        self.handling = Histogram("grpc_server_handling_seconds", "Time to the end.", _LABELS, registry=registry)


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """The outermost loop of every call: nothing but a status leaves it."""

    def __init__(self, metrics: CallMetrics, tracing: Tracing) -> None:
        self._metrics = metrics
        self._tracing = tracing

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return handler
        handler = decodable(handler)
        if method.startswith(OTHER_SERVICES):
            return answering(handler)
        return _wrapped(handler, _Call(self._metrics, self._tracing, method, _call_type(handler)))


class _Call:
    """Counting, timing and error handling of one method."""

    def __init__(self, metrics: CallMetrics, tracing: Tracing, method: str, call_type: str) -> None:
        self._tracing = tracing
        self._name = method.removeprefix("/")
        service, _, name = method.removeprefix("/").partition("/")
        self._metrics = metrics
        self._labels = (call_type, service, name)

    @contextmanager
    def observed(self, context: Context) -> Iterator[_Outcome]:
        outcome = _Outcome()
        given = dict(context.invocation_metadata() or ()).get("traceparent")
        self._metrics.started.labels(*self._labels).inc()
        started = time.perf_counter()
        try:
            with self._tracing.request(self._name, given if isinstance(given, str) else None) as span:
                try:
                    yield outcome
                finally:
                    span.ended(_go_style(outcome.code), fault=outcome.code in FAULTS)
        finally:
            self._metrics.handled.labels(*self._labels, _go_style(outcome.code)).inc()
            self._metrics.handling.labels(*self._labels).observe(time.perf_counter() - started)

    def received(self, request: Any) -> Any:
        """The request, counted; a stream of them is counted as it is read."""
        counter = self._metrics.received.labels(*self._labels)
        if not isinstance(request, AsyncIterable):
            counter.inc()
            return request

        async def counted() -> AsyncIterator[Any]:
            async for message in request:
                counter.inc()
                yield message

        return counted()

    def sent(self) -> None:
        """A response went out."""
        self._metrics.sent.labels(*self._labels).inc()


class _Outcome:
    """Code of a call; cancelled unless it comes to an end."""

    code: grpc.StatusCode = grpc.StatusCode.CANCELLED

    async def abort(self, context: Context, error: Exception) -> NoReturn:
        """End the call with the status of the error."""
        if not isinstance(error, TrabeculaError):
            _log.error("unforeseen fault in a call", fault=describe_fault(error))
            error = Unforeseen()
        self.code = status_code(type(error))
        await context.abort_with_status(  # type: ignore[attr-defined]
            rpc_status.to_status(rich_status(error))
        )
        raise AssertionError("abort raises")


def _wrapped(handler: Handler, call: _Call) -> Handler:
    inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return with_behaviour(handler, _streaming(inner, call) if handler.response_streaming else _single(inner, call))


def with_behaviour(handler: Handler, behaviour: Callable[..., Any]) -> Handler:
    """The handler with another behaviour of the same shape."""
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def _single(inner: Callable[..., Awaitable[Any]], call: _Call) -> Callable[..., Awaitable[Any]]:
    async def behaviour(request: Any, context: Context) -> Any:
        with call.observed(context) as outcome:
            try:
                response = await inner(call.received(request), context)
            except Exception as error:
                await outcome.abort(context, error)
            outcome.code = grpc.StatusCode.OK
            call.sent()
            return response

    return behaviour


def _streaming(inner: Callable[..., AsyncIterator[Any]], call: _Call) -> Callable[..., AsyncIterator[Any]]:
    async def behaviour(request: Any, context: Context) -> AsyncIterator[Any]:
        with call.observed(context) as outcome:
            try:
                async for response in inner(call.received(request), context):
                    yield response
                    call.sent()
            except Exception as error:
                await outcome.abort(context, error)
            outcome.code = grpc.StatusCode.OK

    return behaviour


def _call_type(handler: Handler) -> str:
    return {
        (False, False): "unary",
        (True, False): "client_stream",
        (False, True): "server_stream",
        (True, True): "bidi_stream",
    }[handler.request_streaming, handler.response_streaming]


def _go_style(code: grpc.StatusCode) -> str:
    """``INVALID_ARGUMENT`` as ``InvalidArgument``, and ``OK`` as it is."""
    return code.name if code is grpc.StatusCode.OK else "".join(word.title() for word in code.name.split("_"))
