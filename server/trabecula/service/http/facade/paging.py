"""Links to following pages: sealed, so that no criterion shows in an address and none can be changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.errors import InvalidRequest
from trabecula.record.schema import page_key
from trabecula.record.search import Position
from trabecula.work.database import Database

PARAMETER: Final = "_page"
VALID_S: Final = 3600
_HEADER: Final = {"alg": "dir", "enc": "A256GCM"}
_MAX: Final = 8000


@dataclass(frozen=True)
class PageToken:
    """Where a search goes on."""

    resource_type: str
    pairs: tuple[tuple[str, str], ...]
    position: Position


class PageSeal:
    """Seals and opens page tokens under the key that all replicas share."""

    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._key: OctKey | None = None

    async def seal(self, token: PageToken) -> str:
        """The token as text for an address."""
        value = token.position.value
        payload = {
            "t": token.resource_type,
            "p": [list(pair) for pair in token.pairs],
            "v": None if value is None else value.isoformat(),
            "s": token.position.seq,
            "e": int(self._now()) + VALID_S,
        }
        key = await self._the_key()
        return jwe.encrypt_compact(_HEADER, json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"), key)

    async def open(self, text: str, resource_type: str) -> PageToken:
        """The token again.

        Raises:
            InvalidRequest: if it is not one of ours, is for another type, or has expired.
        """
        refused = InvalidRequest(field=PARAMETER, why="not a page of this search, or too old: search again")
        if len(text) > _MAX:
            raise refused
        try:
            opened = jwe.decrypt_compact(text, await self._the_key(), algorithms=list(_HEADER.values())).plaintext
            payload: dict[str, Any] = json.loads(opened or b"{}")
        except (JoseError, ValueError, TypeError):
            raise refused from None
        if payload["t"] != resource_type or payload["e"] < self._now():
            raise refused
        value = None if payload["v"] is None else datetime.fromisoformat(payload["v"])
        pairs = tuple((str(name), str(each)) for name, each in payload["p"])
        return PageToken(resource_type, pairs, Position(value, int(payload["s"])))

    async def _the_key(self) -> OctKey:
        if self._key is None:
            async with self._database.transaction() as connection:
                self._key = OctKey.import_key(json.loads(await _read_or_make(connection)))
        return self._key


async def _read_or_make(connection: AsyncConnection) -> str:
    fresh = OctKey.generate_key(256).as_dict(private=True)
    row = {"id": 1, "key": json.dumps(fresh), "created_at": func.now()}
    await connection.execute(insert(page_key).values(**row).on_conflict_do_nothing(index_elements=["id"]))
    return str((await connection.execute(select(page_key.c.key).where(page_key.c.id == 1))).scalar_one())
