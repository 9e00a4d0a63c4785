"""Reading and searching: the endpoints of the record and of the artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from trabecula.errors import InvalidRequest, ResourceNotFound
from trabecula.record.keys import reference_key
from trabecula.record.parameters import OF_NO_PATIENT, parameters_of, values_at
from trabecula.record.search import (
    Criteria,
    KeyClause,
    Page,
    fetch,
    ids_of,
    in_compartment,
    search,
    total,
)
from trabecula.record.store import Identity, Stored, history, is_identity, read, vread
from trabecula.service.auth.scopes import Permission, Reach
from trabecula.service.auth.tokens import Principal
from trabecula.service.http.access import Door, Entry
from trabecula.service.http.facade.artefacts import Artefacts
from trabecula.service.http.facade.bundles import address, history_bundle, link, searchset
from trabecula.service.http.facade.capability import capability_statement
from trabecula.service.http.facade.interactions import ARTEFACT_TYPES, RECORD_TYPES, Interaction
from trabecula.service.http.facade.negotiate import (
    check_acceptable,
    decoded,
    read_form,
    resource_response,
    wants_strict,
)
from trabecula.service.http.facade.paging import PARAMETER, PageSeal, PageToken
from trabecula.service.http.facade.query import MAX_PARAMETERS, Chain, Pairs, Query, parse_query
from trabecula.service.http.options import HttpOptions
from trabecula.service.http.outcomes import json_response
from trabecula.work.database import Database

Json = dict[str, Any]

MOST_INCLUDED: Final = 5000
MOST_REVERSE: Final = 1000
HISTORY_PAGE: Final = 50


@dataclass(frozen=True)
class Resources:
    """Read, vread, history and search."""

    options: HttpOptions
    database: Database
    door: Door
    artefacts: Artefacts
    seal: PageSeal
    started_at: datetime
    screening: bool
    """Whether ``$screen-bone`` is offered."""

    async def metadata(self, request: Request) -> Response:
        """The CapabilityStatement; open to all."""
        check_acceptable(request)
        base = self.options.fhir_base(request)
        statement = capability_statement(self.options, self.artefacts, base, self.started_at, screening=self.screening)
        return json_response(statement, headers={"Cache-Control": "max-age=300"})

    async def read(self, request: Request) -> Response:
        """``GET [type]/[id]``"""
        check_acceptable(request)
        kind, identity = _identity(request)
        if kind in ARTEFACT_TYPES:
            return self._artefact(request, kind, identity)
        entry = await self._enter(request, Interaction.READ, kind)
        async with self.database.transaction() as connection:
            await self._check_reach(connection, entry, (kind, identity))
            found = await read(connection, kind, identity)
        await entry.note(resource_id=identity, patients=(found.patient,))
        return resource_response(request, found, self.options.fhir_base(request))

    async def vread(self, request: Request) -> Response:
        """``GET [type]/[id]/_history/[version]``"""
        check_acceptable(request)
        kind, identity = _identity(request)
        entry = await self._enter(request, Interaction.VREAD, kind)
        version = request.path_params["version"]
        if not (version.isascii() and version.isdecimal() and len(version) < 10):
            raise ResourceNotFound
        async with self.database.transaction() as connection:
            await self._check_reach(connection, entry, (kind, identity))
            found = await vread(connection, kind, identity, int(version))
        await entry.note(resource_id=identity, patients=(found.patient,))
        return resource_response(request, found, self.options.fhir_base(request), current=False)

    async def history(self, request: Request) -> Response:
        """``GET [type]/[id]/_history``: newest first; ``_before`` is set by the next link."""
        check_acceptable(request)
        kind, identity = _identity(request)
        entry = await self._enter(request, Interaction.HISTORY, kind)
        before = request.query_params.get("_before", "")
        count = request.query_params.get("_count", str(HISTORY_PAGE))
        if not _is_number(count) or (before and not _is_number(before)):
            raise InvalidRequest(field="_count")
        limit = max(1, min(int(count), HISTORY_PAGE))
        async with self.database.transaction() as connection:
            await self._check_reach(connection, entry, (kind, identity))
            found = await history(connection, kind, identity, limit=limit + 1, before=int(before) if before else None)
        page = found[:limit]
        await entry.note(resource_id=identity, patients=(each.patient for each in page))
        base = self.options.fhir_base(request)
        path = f"{kind}/{identity}/_history"
        links = [link("self", address(base, path, [("_before", before)] if before else []))]
        if len(found) > limit:
            links.append(
                link("next", address(base, path, [("_count", str(limit)), ("_before", str(page[-1].version))]))
            )
        whole = None if before or len(found) > limit else len(page)
        return json_response(history_bundle(base, links, page, whole), headers=_PRIVATE)

    async def search(self, request: Request) -> Response:
        """``GET [type]?...``"""
        check_acceptable(request)
        return await self._search(request, decoded(request.url.query))

    async def search_by_post(self, request: Request) -> Response:
        """``POST [type]/_search``: the criteria lie in the body, where no log sees them."""
        check_acceptable(request)
        return await self._search(request, [*decoded(request.url.query), *await read_form(request)])

    async def _search(self, request: Request, pairs: Pairs) -> Response:
        kind = request.path_params["type"]
        if kind in ARTEFACT_TYPES:
            return self._artefacts(request, kind, pairs)
        entry = await self._enter(request, Interaction.SEARCH, kind)
        query, page_token = await self._query(request, kind, pairs)
        base = self.options.fhir_base(request)
        async with self.database.transaction() as connection:
            criteria = await _resolved(connection, query, entry)
            if page_token is not None:
                criteria = replace(criteria, after=page_token.position)
            page = Page((), None) if query.count_only else await search(connection, criteria)
            count = await _total(connection, query, criteria, page, first=page_token is None)
            included = await _included(connection, query, page.matches, entry.principal)
        await entry.note_seen([*page.matches, *included], query=urlencode(query.understood))
        links = [link("self", address(base, kind, query.understood))]
        if page.next is not None:
            sealed = await self.seal.seal(PageToken(kind, query.understood, page.next))
            links.append(link("next", address(base, kind, [(PARAMETER, sealed)])))
        text = searchset(
            base, links, page.matches, included, total=count, issues=_passed_over(query), elements=query.elements
        )
        return json_response(text, headers=_PRIVATE)

    async def _query(self, request: Request, kind: str, pairs: Pairs) -> tuple[Query, PageToken | None]:
        sealed = [value for name, value in pairs if name == PARAMETER]
        if not sealed:
            return parse_query(kind, pairs, strict=wants_strict(request)), None
        if len(sealed) > 1 or any(name not in (PARAMETER, "_format", "_pretty") for name, _ in pairs):
            raise InvalidRequest(field=PARAMETER, why="goes alone")
        token = await self.seal.open(sealed[0], kind)
        return parse_query(kind, token.pairs, strict=True), token

    async def _enter(self, request: Request, interaction: Interaction, kind: str) -> Entry:
        if interaction not in RECORD_TYPES.get(kind, ()):
            raise ResourceNotFound
        permission = Permission.SEARCH if interaction is Interaction.SEARCH else Permission.READ
        return await self.door.enter(request, interaction.value, kind, permission)

    async def _check_reach(self, connection: AsyncConnection, entry: Entry, identity: Identity) -> None:
        """A patient's token sees its own patient's; that others exist is not told."""
        if entry.reach is Reach.ALL or identity[0] in OF_NO_PATIENT:
            return
        if not await in_compartment(connection, identity, entry.principal.compartment):
            raise ResourceNotFound

    def _artefact(self, request: Request, kind: str, identity: str) -> Response:
        found = self.artefacts.read(kind, identity)
        headers = {"ETag": found.etag, "Cache-Control": "max-age=300"}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return json_response(found.text, headers=headers)

    def _artefacts(self, request: Request, kind: str, pairs: Pairs) -> Response:
        if len(pairs) > MAX_PARAMETERS:
            raise InvalidRequest(why="too many parameters", at_most=MAX_PARAMETERS)
        found = self.artefacts.search(kind, pairs, strict=wants_strict(request))
        base = self.options.fhir_base(request)
        stored = [Stored(each.type, each.id, 1, self.started_at, False, each.text) for each in found]
        links = [link("self", address(base, kind, pairs))]
        return json_response(searchset(base, links, stored, total=len(stored)))


_PRIVATE: Final = {"Cache-Control": "no-store"}


def _identity(request: Request) -> Identity:
    kind, identity = request.path_params["type"], request.path_params["id"]
    if not is_identity(kind, identity):
        raise ResourceNotFound
    return kind, identity


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


async def _resolved(connection: AsyncConnection, query: Query, entry: Entry) -> Criteria:
    """The criteria with chains looked up, held to the token's patient."""
    clauses = [*query.criteria.keys, *[await _of_chain(connection, chain) for chain in query.chains]]
    held = entry.reach is Reach.PATIENT and entry.resource_type not in OF_NO_PATIENT
    compartment = entry.principal.compartment if held else None
    return replace(query.criteria, keys=tuple(clauses), compartment=compartment)


async def _of_chain(connection: AsyncConnection, chain: Chain) -> KeyClause:
    keys = list(chain.direct_keys)
    for target in chain.targets:
        ids = await ids_of(connection, target, chain.identifier_keys)
        keys += [reference_key(chain.parameter, f"{target}/{identity}") for identity in ids]
    return KeyClause(tuple(keys), selective=True)


async def _total(
    connection: AsyncConnection, query: Query, criteria: Criteria, page: Page, *, first: bool
) -> int | None:
    """How many match; only with the first page, where it is asked for or cheap."""
    if not first or (query.total == "none" and not query.count_only):
        return None
    if page.next is None and not query.count_only:
        return len(page.matches)
    if query.total == "accurate" or query.count_only:
        return await total(connection, criteria, up_to=None)
    return await total(connection, criteria)


async def _included(
    connection: AsyncConnection, query: Query, matches: Sequence[Stored], principal: Principal
) -> tuple[Stored, ...]:
    """What the matches refer to and what refers to them, as far as the token reaches."""
    wanted: dict[Identity, None] = {}
    for source, parameter, target in query.includes:
        for match in matches:
            if match.type == source:
                wanted |= dict.fromkeys(_targets(match, parameter, target))
    for match in matches:
        wanted.pop((match.type, match.id), None)
    found: list[Stored] = []
    for kind in sorted({identity[0] for identity in wanted}):
        reach = principal.reach(kind, Permission.READ)
        identities = [identity for identity in wanted if identity[0] == kind][:MOST_INCLUDED]
        if reach is not Reach.NONE:
            found += await fetch(connection, identities, compartment=_compartment(principal, reach, kind))
    for source, parameter in query.reverse_includes:
        reach = principal.reach(source, Permission.SEARCH)
        if reach is not Reach.NONE and matches:
            keys = tuple(reference_key(parameter, f"{each.type}/{each.id}") for each in matches)
            criteria = Criteria(
                source,
                (KeyClause(keys, selective=True),),
                compartment=_compartment(principal, reach, source),
                count=MOST_REVERSE,
            )
            found += (await search(connection, criteria)).matches
    return tuple({(each.type, each.id): each for each in found}.values())


def _compartment(principal: Principal, reach: Reach, kind: str) -> tuple[UUID, ...] | None:
    return principal.compartment if reach is Reach.PATIENT and kind not in OF_NO_PATIENT else None


def _targets(match: Stored, parameter: str, wanted: str | None) -> list[Identity]:
    """Types and ids that a match refers to by a parameter."""
    content = match.content
    found = []
    for path in parameters_of(match.type)[parameter].paths:
        for value in values_at(content, path):
            parts = str(value.get("reference", "")).split("/") if isinstance(value, dict) else []
            if len(parts) == 2 and parts[0] in RECORD_TYPES and wanted in (None, parts[0]):
                found.append((parts[0], parts[1]))
    return found


def _passed_over(query: Query) -> list[Json]:
    """A warning for each parameter that was passed over."""
    return [
        {
            "severity": "warning",
            "code": "not-supported",
            "details": {"text": f"The parameter {name} was passed over."},
        }
        for name in query.ignored
    ]
