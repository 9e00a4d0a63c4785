"""Who asks, what they may, and the note that they asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request

from trabecula.errors import Forbidden, Unauthenticated
from trabecula.record.audit import Access, AccessListener, Outcome
from trabecula.record.store import Stored
from trabecula.service.auth.scopes import Permission, Reach
from trabecula.service.auth.tokens import ANYBODY, Principal, TokenVerifier
from trabecula.service.http.guard import admit
from trabecula.service.http.options import HttpOptions

_ACTION: Final = {
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "search-type": "E",
    "operation": "E",
    "create": "C",
    "update": "U",
}


@dataclass(frozen=True)
class Door:
    """Checks tokens and tells the listeners of each access."""

    options: HttpOptions
    verifier: TokenVerifier | None
    """None while authorization is switched off."""
    listeners: Sequence[AccessListener] = ()

    async def principal(self, request: Request) -> Principal:
        """Who asks.

        Raises:
            Unauthenticated: without a token that can be accepted.
            TooManyRequests: if its client asks for too much.
        """
        if self.verifier is None:
            admit(request, ANYBODY.client_id, known=False)
            return ANYBODY
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated
        principal = await self.verifier.verify(token.strip(), self.options.audiences(request))
        admit(request, principal.client_id)
        return principal

    async def enter(self, request: Request, interaction: str, resource_type: str, permission: Permission) -> Entry:
        """Let a request in, as far as its token reaches.

        Raises:
            Unauthenticated: without a token that can be accepted.
            Forbidden: if its scopes do not reach this type; noted like any access.
        """
        principal = await self.principal(request)
        reach = principal.reach(resource_type, permission)
        entry = Entry(self, request, principal, reach, interaction, resource_type)
        if reach is Reach.NONE:
            await entry.note(outcome=Outcome.REFUSED)
            raise Forbidden(scope=f"system/{resource_type}.{permission.value}")
        return entry

    async def enter_whole(
        self, request: Request, interaction: str, resource_type: str, permission: Permission
    ) -> Entry:
        """As :meth:`enter`, for what a patient's token never reaches."""
        entry = await self.enter(request, interaction, resource_type, permission)
        if entry.reach is not Reach.ALL:
            await entry.note(outcome=Outcome.REFUSED)
            raise Forbidden(scope=f"system/{resource_type}.{permission.value}")
        return entry


@dataclass(frozen=True)
class Entry:
    """One request that was let in."""

    door: Door
    request: Request
    principal: Principal
    reach: Reach
    interaction: str
    resource_type: str

    async def note(
        self,
        *,
        resource_id: str | None = None,
        patients: Iterable[str | None] = (),
        query: str | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        action: str | None = None,
    ) -> None:
        """Tell of the access, before its answer goes out."""
        client = self.request.client
        access = Access(
            at=datetime.now(UTC),
            interaction=self.interaction,
            action=action or _ACTION[self.interaction],
            resource_type=self.resource_type,
            client_id=self.principal.client_id,
            client_address=None if client is None else client.host,
            request_id=self.request.scope.get("request_id", "-"),
            outcome=outcome,
            resource_id=resource_id,
            subject=self.principal.subject,
            patients=tuple(dict.fromkeys(name for name in patients if name)),
            query=query,
        )
        for listener in self.door.listeners:
            await listener(access)

    async def note_seen(self, seen: Iterable[Stored], *, query: str) -> None:
        """Tell of a search and of each patient it showed."""
        await self.note(patients=(each.patient for each in seen), query=query)
