"""The SR after a person's decision: a new version takes the place of the one among the screening's documents.

A PACS keeps the versions that it was sent; here the newest one is kept, and each names the one before it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC
from io import BytesIO
from typing import Final

import structlog
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.assembly import as_reviewed
from trabecula.errors import ContentDamaged, ContentMissing
from trabecula.outputs.dicom.results import encode
from trabecula.outputs.dicom.sr import Outcome, Review, observer, reviewed
from trabecula.programme.sign_off import SignedResult
from trabecula.programme.states import Decision
from trabecula.work.content import ContentStore
from trabecula.work.content_guard import hold
from trabecula.work.packing import packed, read_document
from trabecula.work.records import ContentRef, DocumentKind
from trabecula.work.schema import document

OUTCOMES: Final = {
    Decision.ACCEPT: Outcome.ACCEPTED,
    Decision.CORRECT: Outcome.CORRECTED,
    Decision.REJECT: Outcome.REJECTED,
}


async def sign_document(
    connection: AsyncConnection, content: ContentStore, result: SignedResult, organization: str | None
) -> bool:
    """Put the version that follows from a decision in the place of the SR, in the decision's transaction.

    Args:
        organization: that answers for signed results.

    Returns:
        False when the screening has no SR, or its bytes are lost: the decision counts all the same.

    Raises:
        ContentUnavailable: if the content store is away.
    """
    screening_id = result.review.screening_id
    kinds = (DocumentKind.DICOM_SR.value, DocumentKind.DICOM_SEG.value)
    query = select(document.c.kind, document.c.sha256, document.c.size_bytes).where(
        document.c.screening_id == screening_id, document.c.kind.in_(kinds)
    )
    kept = {row.kind: ContentRef(row.sha256, row.size_bytes) for row in await connection.execute(query)}
    if DocumentKind.DICOM_SR.value not in kept:
        return False
    try:
        files = {kind: await read_document(content, DocumentKind(kind), ref) for kind, ref in kept.items()}
    except (ContentMissing, ContentDamaged) as error:
        structlog.get_logger().error("document not signed", screening_id=screening_id, code=error.code)
        return False
    made = await asyncio.to_thread(_signed, files, result, organization)
    ref = await content.put(await asyncio.to_thread(packed, made))
    await hold(connection, content, [ref])
    await connection.execute(
        update(document)
        .where(document.c.screening_id == screening_id, document.c.kind == DocumentKind.DICOM_SR.value)
        .values(sha256=ref.sha256, size_bytes=ref.size_bytes)
    )
    return True


def _signed(files: dict[str, bytes], result: SignedResult, organization: str | None) -> bytes:
    made = result.review
    before = _read(files[DocumentKind.DICOM_SR.value])
    seg = files.get(DocumentKind.DICOM_SEG.value)
    at = made.reviewed_at.astimezone(UTC).isoformat(timespec="seconds")
    place = organization or str(before.get("InstitutionName", "") or "")
    decision = Review(
        OUTCOMES[made.decision],
        observer(made.reviewer.name, place, at, made.version),
        level_shift=made.corrections.level_shift,
        reason=made.comment,
    )
    report = as_reviewed(result.report)
    return encode(reviewed(before, report, decision, None if seg is None else _read(seg)))


def _read(file: bytes) -> Dataset:
    return dcmread(BytesIO(file), stop_before_pixels=True)
