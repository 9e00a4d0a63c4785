"""The RPCs: each converts its request, asks the core, converts the answer."""

# ruff: noqa: N802, ARG002 - method names and arguments are gRPC's
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from trabecula.service import messages
from trabecula.service.convert import report_to_proto
from trabecula.service.core import ScreeningCore
from trabecula.v1 import screening_pb2 as pb
from trabecula.v1 import screening_pb2_grpc
from trabecula.work.reading import Filters
from trabecula.work.records import MEDIA_TYPES

CHUNK_BYTES: Final = 256 * 1024


class ScreeningServicer(screening_pb2_grpc.ScreeningServiceServicer):  # type: ignore[misc]
    """``trabecula.v1.ScreeningService`` over a :class:`ScreeningCore`."""

    def __init__(self, core: ScreeningCore) -> None:
        self._core = core

    async def SubmitStudy(
        self, request_iterator: AsyncIterator[pb.SubmitStudyRequest], context: Any
    ) -> pb.SubmitStudyResponse:
        record = await self._core.submit(messages.upload_from_proto(request_iterator))
        return pb.SubmitStudyResponse(screening_id=record.screening_id, state=messages.state_to_proto(record.state))

    async def GetScreening(self, request: pb.GetScreeningRequest, context: Any) -> pb.GetScreeningResponse:
        record = await self._core.get(request.screening_id)
        report = await self._core.report(record)
        return pb.GetScreeningResponse(
            summary=messages.summary_to_proto(record), report=report_to_proto(report) if report else None
        )

    async def WatchScreening(
        self, request: pb.WatchScreeningRequest, context: Any
    ) -> AsyncIterator[pb.WatchScreeningResponse]:
        async for record in self._core.watch(request.screening_id):
            yield pb.WatchScreeningResponse(summary=messages.summary_to_proto(record))

    async def ListScreenings(self, request: pb.ListScreeningsRequest, context: Any) -> pb.ListScreeningsResponse:
        filters = Filters(states=messages.states_from_proto(request.states))
        records, token = await self._core.list(request.page_size, request.page_token, filters)
        return pb.ListScreeningsResponse(
            summaries=[messages.summary_to_proto(record) for record in records], next_page_token=token
        )

    async def CancelScreening(self, request: pb.CancelScreeningRequest, context: Any) -> pb.CancelScreeningResponse:
        record = await self._core.cancel(request.screening_id)
        return pb.CancelScreeningResponse(state=messages.state_to_proto(record.state))

    async def GetDocument(self, request: pb.GetDocumentRequest, context: Any) -> AsyncIterator[pb.GetDocumentResponse]:
        kind = messages.kind_from_proto(request.kind)
        total_bytes, pieces = await self._core.document(request.screening_id, kind)
        first = pb.GetDocumentResponse(media_type=MEDIA_TYPES[kind], total_bytes=total_bytes)
        async for piece in pieces:
            for start in range(0, len(piece), CHUNK_BYTES):
                first.data = piece[start : start + CHUNK_BYTES]
                yield first
                first = pb.GetDocumentResponse()
