"""Reading from the EHR what its prefetch left out, within a budget of time.

The token goes to the FHIR server that the site lists for this EHR, and to no other address: not to a redirect, not to
a following page elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote, urljoin

import httpx

from trabecula.errors import OutboundRefused
from trabecula.hooks.prefetch import Given, read_answer
from trabecula.hooks.requests import FhirAccess
from trabecula.outbound import get_limited
from trabecula.texts import parse_foreign_json

MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
MAX_PAGES: Final = 5


class EhrReader(Protocol):
    async def __call__(self, access: FhirAccess, addresses: Mapping[str, str], budget_s: float) -> Mapping[str, Given]:
        """Read several addresses at once, each by its key; what cannot be read in time is not in the answer."""


def reader(client: httpx.AsyncClient) -> EhrReader:
    """A reader on a guarded client (:func:`trabecula.outbound.guarded_client`)."""

    async def read_all(access: FhirAccess, addresses: Mapping[str, str], budget_s: float) -> Mapping[str, Given]:
        found: dict[str, Given] = {}

        async def one(key: str, address: str) -> None:
            given = await _all_pages(client, access, f"{access.server}/{address}")
            if given is not None:
                found[key] = given

        tasks = [asyncio.create_task(one(key, address)) for key, address in addresses.items()]
        try:
            await asyncio.wait(tasks, timeout=budget_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return found

    return read_all


async def _all_pages(client: httpx.AsyncClient, access: FhirAccess, url: str) -> Given | None:
    """None when a page cannot be read; what there is beyond :data:`MAX_PAGES` stays named as the next page."""
    resources: list[Mapping[str, Any]] = []
    for _ in range(MAX_PAGES):
        page = await _page(client, access, url)
        if page is None:
            return None
        resources += page.resources
        if page.following is None:
            return Given(tuple(resources))
        try:
            url = urljoin(url, page.following)
        except ValueError:
            return None
    return Given(tuple(resources), url)


async def _page(client: httpx.AsyncClient, access: FhirAccess, url: str) -> Given | None:
    if not _below(url, access.server):
        return None
    headers = [("Accept", "application/fhir+json")]
    if access.token is not None:
        headers.append(("Authorization", f"Bearer {access.token}"))
    try:
        response, body = await get_limited(client, url, max_bytes=MAX_ANSWER_BYTES, headers=headers)
        return read_answer(parse_foreign_json(body)) if response.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, OutboundRefused, ValueError):
        return None


def _below(url: str, server: str) -> bool:
    """Whether an address lies on the server, without a way out of it."""
    path = url.removeprefix(server).partition("?")[0]
    return url.startswith((f"{server}/", f"{server}?")) and ".." not in unquote(path) and "\\" not in path
