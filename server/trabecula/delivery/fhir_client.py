"""A destination's FHIR interactions, with the access token where it wants one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode, urljoin

from trabecula.delivery.answers import Answer, Setback, Verdict, expect_ok, verdict_of
from trabecula.delivery.capability import Capability, parse_capability
from trabecula.delivery.resource_set import parse_literal
from trabecula.delivery.smart import TokenSource
from trabecula.delivery.transport import FHIR_JSON, Transport, resource_in

Json = dict[str, Any]
Clock = Callable[[], datetime]

MOST_PAGES: Final = 5


@dataclass(frozen=True)
class FhirClient:
    """Reads and writes at one base address. The token goes nowhere else: no redirect or foreign link is followed."""

    base_url: str
    transport: Transport
    clock: Clock
    tokens: TokenSource | None = None

    @property
    def base(self) -> str:
        return self.base_url.rstrip("/")

    async def call(
        self, method: str, path: str, *, body: Json | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One interaction; a 401 is answered by one new token.

        Raises:
            Setback: when there is no whole answer, or no token.
        """
        url = f"{self.base}/{path}" if path else self.base
        if self.tokens is None:
            return await self.transport.send(method, url, body=body, headers=headers)
        token = await self.tokens.token()
        answer = await self._with(token, method, url, body, headers)
        if answer.status != 401:
            return answer
        token = await self.tokens.token(refused=token)
        return await self._with(token, method, url, body, headers)

    async def _with(
        self, token: str, method: str, url: str, body: Json | None, headers: Mapping[str, str] | None
    ) -> Answer:
        sent = {**(headers or {}), "authorization": f"Bearer {token}"}
        return await self.transport.send(method, url, body=body, headers=sent)

    async def write(
        self,
        method: str,
        path: str,
        body: Json,
        *,
        headers: Mapping[str, str] | None = None,
        resource_type: str | None = None,
    ) -> Answer:
        """A create, update or transaction that succeeded.

        Raises:
            Setback: by the table of answers.
        """
        answer = await self.call(method, path, body=body, headers=headers)
        return accepted(answer, self.clock(), resource_type)

    async def capability(self) -> Capability:
        """What the server says it can do.

        Raises:
            Setback: PARK when it says so in no usable way.
        """
        answer = await self.call("GET", "metadata", headers={"accept": FHIR_JSON})
        if verdict_of(answer) in (Verdict.LOWER, Verdict.PARK):
            raise Setback(Verdict.PARK, "no-capability-statement", status=answer.status, outcome=answer.outcome)
        return parse_capability(resource_in(accepted(answer, self.clock()), "CapabilityStatement"))

    async def read(self, resource_type: str, identity: str) -> Json | None:
        """The resource, or None where there is none."""
        answer = await self.call("GET", f"{resource_type}/{identity}")
        if answer.status in (404, 410):
            return None
        return resource_in(accepted(answer, self.clock()), resource_type)

    async def search(self, resource_type: str, parameters: Mapping[str, str]) -> list[Json]:
        """The matches of a search, all pages.

        Raises:
            Setback: PARK when there are more pages than any honest search of ours has; else as :meth:`write`.
        """
        path = f"{resource_type}?{urlencode(parameters)}"
        found: list[Json] = []
        for _ in range(MOST_PAGES):
            answer = accepted(await self.call("GET", path), self.clock())
            bundle = resource_in(answer, "Bundle")
            found += [each for each in _matches(bundle) if each.get("resourceType") == resource_type]
            following = self._next(bundle)
            if following is None:
                return found
            path = following
        raise Setback(Verdict.PARK, "search-endless")

    def _next(self, bundle: Json) -> str | None:
        """Path of the next page below our base; a link to elsewhere is not followed and the search not believed."""
        links = objects_in(bundle.get("link"))
        url = next((str(each.get("url", "")) for each in links if each.get("relation") == "next"), None)
        if url is None:
            return None
        try:
            whole = urljoin(f"{self.base}/", url)
        except ValueError:
            raise Setback(Verdict.PARK, "search-elsewhere") from None
        if not whole.startswith((f"{self.base}/", f"{self.base}?")):
            raise Setback(Verdict.PARK, "search-elsewhere")
        return whole.removeprefix(self.base).removeprefix("/")


def accepted(answer: Answer, now: datetime, resource_type: str | None = None) -> Answer:
    """The answer of a success; a token that is refused even when new is a fault that may pass.

    Raises:
        Setback: by the table of answers.
    """
    if verdict_of(answer) is Verdict.UNAUTHORIZED:
        raise Setback(Verdict.RETRY, "unauthorized", status=401, outcome=answer.outcome)
    return expect_ok(answer, now, resource_type)


def _matches(bundle: Json) -> list[Json]:
    return [
        each["resource"]
        for each in objects_in(bundle.get("entry"))
        if isinstance(each.get("resource"), dict) and _is_match(each.get("search"))
    ]


def _is_match(search: object) -> bool:
    return not isinstance(search, dict) or search.get("mode", "match") == "match"


def objects_in(value: object) -> list[Json]:
    """The objects of what should be a list of them."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def created_id(answer: Answer, resource_type: str) -> str | None:
    """The id a server gave, by its Location or the resource it sent back."""
    return location_id(answer.location, resource_type) or body_id(answer.body, resource_type)


def location_id(location: object, resource_type: str) -> str | None:
    """``.../Type/id`` or ``.../Type/id/_history/1``."""
    if not isinstance(location, str):
        return None
    parts = location.partition("/_history/")[0].split("/")
    found = parse_literal("/".join(parts[-2:]))
    return found[1] if found is not None and found[0] == resource_type else None


def body_id(body: object, resource_type: str) -> str | None:
    """The id of a resource that a server sent back, where it can be part of an address (R4, datatypes: id)."""
    if not isinstance(body, dict) or body.get("resourceType") != resource_type:
        return None
    found = parse_literal(f"{resource_type}/{body.get('id')}")
    return found[1] if found is not None and isinstance(body["id"], str) else None
