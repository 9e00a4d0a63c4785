"""Retention of results: what the record lets go with a screening."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.record.schema import resource, resource_history, result


async def forget_resources(connection: AsyncConnection, screening_ids: Sequence[str]) -> None:
    """Delete every version of the resources of these screenings; the record of access (AuditEvent) stays."""
    for table in (resource, resource_history, result):
        await connection.execute(delete(table).where(table.c.screening_id.in_(screening_ids)))
