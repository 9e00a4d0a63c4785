"""ASGI middleware outside of all others: each request is a span, named by its operation and never by its address."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from trabecula.telemetry.tracing import Tracing


class Traced:
    """An application whose requests are traced."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        status = 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracing.request("http", given.decode("latin-1")) as span:
            try:
                await self._app(scope, receive, watched)
            finally:
                endpoint = scope.get("endpoint")
                operation = getattr(endpoint, "operation", None) or getattr(endpoint, "__name__", "none")
                span.named(f"http {operation}")
                span.ended(str(status), fault=status >= 500)
