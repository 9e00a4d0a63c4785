"""From a result to deliveries: what each destination wants of it, in the transaction that ends the screening."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.delivery.destinations import Destination, DicomObject, FhirDestination, What
from trabecula.delivery.outbox import NewDelivery, enqueue
from trabecula.delivery.resource_set import Json, from_bundle
from trabecula.delivery.sending import TOPICS
from trabecula.report import ReportStatus
from trabecula.work.records import DocumentKind, Job, ScreeningRecord
from trabecula.work.runner import Completion, ResultSink

WHAT: Final = {ReportStatus.REPORTED: What.RESULTS, ReportStatus.REFUSED: What.REFUSALS}


def delivery_sink(destinations: Sequence[Destination], clock: Callable[[], datetime]) -> ResultSink:
    """A result sink that puts a delivery into the outbox for every destination that wants the result."""

    async def sink(connection: AsyncConnection, record: ScreeningRecord, job: Job, completion: Completion) -> None:
        what = WHAT[completion.status]
        wanting = [each for each in destinations if what in each.send]
        if not wanting:
            return
        bundle: Json = {}
        if any(isinstance(each, FhirDestination) for each in wanting):
            bundle = await asyncio.to_thread(_read, job.results / DocumentKind.BUNDLE_JSON.value)
        await enqueue_everywhere(
            connection,
            wanting,
            chain=completion.report.screening_id,
            screening_id=record.screening_id,
            topic=TOPICS[what],
            bundle=bundle,
            now=clock(),
            new_documents=tuple(DicomObject),
        )

    return sink


async def enqueue_everywhere(
    connection: AsyncConnection,
    destinations: Sequence[Destination],
    *,
    chain: str,
    screening_id: str | None,
    topic: str,
    bundle: Json,
    now: datetime,
    new_documents: Collection[DicomObject] = (),
) -> list[str]:
    """Send a version of a result to these destinations; gives the deliveries' ids.

    Args:
        connection: of the transaction that makes the version.
        destinations: all of them get it; a PACS only when it wants one of the ``new_documents``.
        chain: id of the result, the report's screening id: its versions keep their order.
        screening_id: row of the screening; a PACS gets its documents.
        topic: why it goes out, for operators: ``result``, ``refusal``, ``sign-off``, ``correction`` ...
        bundle: the whole result as it is now, as a Bundle of any type.
        now: time of the version.
        new_documents: those of the screening's DICOM objects that are new as well.
    """
    resources = from_bundle(bundle)
    return [
        await enqueue(
            connection,
            NewDelivery(
                destination=each.name,
                chain=chain,
                screening_id=screening_id,
                topic=topic,
                resources=resources if isinstance(each, FhirDestination) else None,
            ),
            now,
        )
        # in one order for all transactions, or two of them could wait for each other
        for each in sorted(destinations, key=lambda each: each.name)
        if isinstance(each, FhirDestination) or not set(new_documents).isdisjoint(each.objects)
    ]


def _read(path: Path) -> Json:
    bundle: Json = json.loads(path.read_bytes())
    return bundle
