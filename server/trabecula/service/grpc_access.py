"""What every RPC passes before its servicer sees it: who calls, whether they may, how often; and the record of it."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog

from trabecula.errors import Forbidden, TrabeculaError, Unauthenticated
from trabecula.record.audit import CallListener, Outcome
from trabecula.service.auth.callers import Caller, CallerCheck, address_of
from trabecula.service.auth.calls import CALLS, CallRule
from trabecula.service.call_accesses import access_of
from trabecula.service.interceptors import OTHER_SERVICES, Context, Handler, with_behaviour
from trabecula.service.limits import ClientLimits
from trabecula.telemetry.faults import describe_fault

DOOR: Final = "grpc"
UPLOADS: Final = frozenset({"/trabecula.v1.ScreeningService/SubmitStudy"})
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SCREENING_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class AccessInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Inside :class:`trabecula.service.interceptors.CallInterceptor`, which turns what it raises into statuses.

    Health and reflection pass: they know nothing of patients, and reflection has its own switch.
    """

    def __init__(self, check: CallerCheck, limits: ClientLimits, keep: CallListener) -> None:
        self._check = check
        self._limits = limits
        self._keep = keep

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(OTHER_SERVICES):
            return handler
        guarded = _Guarded(method, CALLS[method], self._check, self._limits, self._keep)
        inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        return with_behaviour(
            handler, guarded.streaming(inner) if handler.response_streaming else guarded.single(inner)
        )


@dataclass(frozen=True)
class _Guarded:
    """One method behind the door."""

    method: str
    rule: CallRule
    check: CallerCheck
    limits: ClientLimits
    keep: CallListener

    def single(self, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def behaviour(request: Any, context: Context) -> Any:
            async with self._entered(request, context) as caller:
                response = await inner(request, context)
                await self._note(caller, context, request, response)
                return response

        return behaviour

    def streaming(self, inner: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def behaviour(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._entered(request, context) as caller:
                responses, noted = aiter(inner(request, context)), False
                while True:
                    try:
                        response = await _before_the_end(caller, anext(responses))
                    except StopAsyncIteration:
                        return
                    if not noted:
                        await self._note(caller, context, request, response)
                        noted = True
                    yield response

        return behaviour

    @asynccontextmanager
    async def _entered(self, request: Any, context: Context) -> AsyncIterator[Caller]:
        """Who calls, let in for the time of the block."""
        peer = context.peer()
        self.limits.address(DOOR, address_of(peer))
        caller = await self.check.caller(tuple(context.invocation_metadata() or ()), peer, context.auth_context())
        if self.rule.scope not in caller.scopes:
            await self._note_end(caller, context, request, Outcome.REFUSED)
            raise Forbidden(scope=self.rule.scope.value)
        self.limits.client(DOOR, caller.counted_as)
        async with AsyncExitStack() as stack:
            stack.enter_context(self.limits.call(DOOR, caller.counted_as))
            if self.method in UPLOADS:
                stack.enter_context(self.limits.upload(DOOR, caller.counted_as))
            yield caller

    async def _note(self, caller: Caller, context: Context, request: Any, response: Any) -> None:
        """Tell of an access, before its answer goes out."""
        seen = tuple(dict.fromkeys(self.rule.screenings(request, response)))
        await self._keep_access(caller, context, seen, Outcome.SUCCESS)

    async def _note_end(self, caller: Caller, context: Context, request: Any, outcome: Outcome) -> None:
        """Tell of what was asked for in vain. Nothing was shown, so a record that fails stops nothing."""
        asked = getattr(request, "screening_id", "")
        named = (asked,) if _SCREENING_ID.fullmatch(asked) else ()
        try:
            await self._keep_access(caller, context, named, outcome)
        except TrabeculaError as error:
            structlog.get_logger().error("access not recorded", fault=describe_fault(error))

    async def _keep_access(self, caller: Caller, context: Context, seen: Sequence[str], outcome: Outcome) -> None:
        access = access_of(self.method, caller, _request_id(context), seen, outcome)
        if access is not None:
            await self.keep(access, seen)


async def _before_the_end(caller: Caller, following: Awaitable[Any]) -> Any:
    """The next message, while the caller's token is in force.

    Raises:
        Unauthenticated: when it ends.
    """
    if caller.expires_at_s is None:
        return await following
    try:
        async with asyncio.timeout(max(0.0, caller.expires_at_s - time.time())):
            return await following
    except TimeoutError:
        raise Unauthenticated(why="token expired") from None


def _request_id(context: Context) -> str:
    """The client's, when it is harmless."""
    sent = next((value for name, value in context.invocation_metadata() or () if name == "x-request-id"), None)
    return sent if isinstance(sent, str) and _REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())
