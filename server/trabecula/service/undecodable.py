"""Bytes that are no message of the method that they were sent to: the client's fault, and told as such.

gRPC itself would answer UNKNOWN, with the name of a Python class in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from trabecula.errors import InvalidRequest
from trabecula.service.status import rich_status

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_UNDECODABLE: Final = object()


def decodable(handler: Handler) -> Handler:
    """The handler; its function raises InvalidRequest for a request that cannot be decoded."""
    make, inner = _parts(handler)

    def single(request: Any, context: Any) -> Any:
        return inner(_checked(request), context)

    def stream(requests: AsyncIterable[Any], context: Any) -> Any:
        return inner(_all_checked(requests), context)

    return make(
        stream if handler.request_streaming else single,
        _tolerant(handler.request_deserializer),
        handler.response_serializer,
    )


def answering(handler: Handler) -> Handler:
    """The handler of a service that is not ours; InvalidRequest becomes its status."""
    make, inner = _parts(handler)

    async def one(request: Any, context: Any) -> Any:
        try:
            return await _awaited(inner(request, context))
        except InvalidRequest as error:
            await context.abort_with_status(rpc_status.to_status(rich_status(error)))

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for response in inner(request, context):
                yield response
        except InvalidRequest as error:
            await context.abort_with_status(rpc_status.to_status(rich_status(error)))

    return make(many if handler.response_streaming else one, handler.request_deserializer, handler.response_serializer)


async def _awaited(answer: Any) -> Any:
    return await answer if isinstance(answer, Awaitable) else answer


def _parts(handler: Handler) -> tuple[Callable[..., Handler], Callable[..., Any]]:
    make: Callable[..., Handler] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return make, inner


def _tolerant(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if decode is None:
        return None

    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return _UNDECODABLE

    return decoded


def _checked(request: Any) -> Any:
    if request is _UNDECODABLE:
        raise InvalidRequest(field="message", must_be="a message of this method")
    return request


async def _all_checked(requests: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)
