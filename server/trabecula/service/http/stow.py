"""Studies by STOW-RS (PS3.18 10.5): the same journal, the same study-is-complete rule as C-STORE."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, MultipartParseError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trabecula.errors import (
    Draining,
    InvalidRequest,
    LimitExceeded,
    ResourceNotFound,
    TrabeculaError,
    UnsupportedMediaType,
)
from trabecula.imaging.instance import CT_CLASSES
from trabecula.imaging.limits import ImagingLimits
from trabecula.service.admission import Admission
from trabecula.service.auth.scopes import Permission
from trabecula.service.dimse.reception import Instance, Reception, read_instance
from trabecula.service.dimse.statuses import StoreStatus, status_of
from trabecula.service.http.access import Door
from trabecula.service.http.guard import admit_upload
from trabecula.work.records import Source

Json = dict[str, Any]

STOW_PATH: Final = "/dicom-web/studies"
DICOM_JSON: Final = "application/dicom+json"
LONGEST_S: Final = 900.0
"""For one request."""
_UID: Final = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Stow:
    """The handler. Bodies are read as they come; one instance at a time is in memory."""

    reception: Reception
    door: Door
    accepting: Callable[[], Awaitable[bool]]
    limits: ImagingLimits
    max_instance_bytes: int
    max_instances: int
    """Parts of one request."""
    uploads: Admission
    """Counts the requests under way."""

    def routes(self) -> list[BaseRoute]:
        """Addresses, for the HTTP application."""
        return [
            Route(STOW_PATH, self.store_instances, methods=["POST"]),
            Route(f"{STOW_PATH}/{{study_uid}}", self.store_instances, methods=["POST"]),
        ]

    async def store_instances(self, request: Request) -> Response:
        """Keep the instances of a request; those that are named as stored are durable.

        Raises:
            Unauthenticated, Forbidden: without a token that may create imaging studies.
            UnsupportedMediaType: if it is no multipart of DICOM files.
            Overloaded, Draining: when none can be taken now.
        """
        entry = await self.door.enter_whole(request, "create", "ImagingStudy", Permission.CREATE)
        if not await self.accepting():
            raise Draining
        study_uid = request.path_params.get("study_uid")
        if study_uid is not None and not _UID.fullmatch(study_uid):
            raise ResourceNotFound
        admit_upload(request, entry.principal.client_id, known=not entry.principal.unrestricted)
        with self.uploads.upload():  # each holds an instance in memory
            taken = await self._receive(request, study_uid)
        await entry.note(patients=())
        return taken.response()

    async def _receive(self, request: Request, study_uid: str | None) -> _Taken:
        request.scope["deadline"].reschedule(asyncio.get_running_loop().time() + LONGEST_S)
        parts = _Parts(self.max_instance_bytes, self.max_instances)
        parser = _parser(request.headers.get("content-type", ""), parts)
        taken = _Taken()
        try:
            async for chunk in request.stream():
                await asyncio.to_thread(parser.write, chunk)
                for data in parts.whole():
                    await self._take(data, study_uid, taken)
        except MultipartParseError:
            raise InvalidRequest(field="body") from None
        if not parts.ended or not taken.count:
            raise InvalidRequest(field="body")
        return taken

    async def _take(self, data: bytes, study_uid: str | None, taken: _Taken) -> None:
        try:
            instance = await asyncio.to_thread(read_instance, data, Source.DICOMWEB, self.limits)
        except TrabeculaError as error:
            taken.refuse(None, status_of(error))
            return
        if instance.sop_class not in CT_CLASSES:
            taken.refuse(instance, StoreStatus.SOP_CLASS_NOT_SUPPORTED)
        elif study_uid not in (None, instance.study_uid):
            taken.refuse(instance, StoreStatus.DATA_SET_MISMATCH)
        else:
            try:
                await self.reception.take(instance)
                taken.keep(instance)
            except TrabeculaError as error:
                status = status_of(error)
                if status is StoreStatus.FAULT:
                    raise
                taken.refuse(instance, status, error)


@dataclass
class _Taken:
    """What became of each instance."""

    kept: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    no_room: TrabeculaError | None = None

    @property
    def count(self) -> int:
        return len(self.kept) + len(self.refused)

    def keep(self, instance: Instance) -> None:
        self.kept.append(_reference(instance))

    def refuse(self, instance: Instance | None, status: StoreStatus, error: TrabeculaError | None = None) -> None:
        reference = {} if instance is None else _reference(instance)
        self.refused.append({**reference, "00081197": {"vr": "US", "Value": [int(status)]}})
        if status is StoreStatus.OUT_OF_RESOURCES:
            self.no_room = error

    def response(self) -> Response:
        """200 all, 202 some, 409 none (PS3.18 table 10.5.3-1); raises what says that none can be taken now."""
        if not self.kept and self.no_room is not None:
            raise self.no_room
        body = {
            **({"00081198": {"vr": "SQ", "Value": self.refused}} if self.refused else {}),
            **({"00081199": {"vr": "SQ", "Value": self.kept}} if self.kept else {}),
        }
        status = 409 if not self.kept else 202 if self.refused else 200
        return Response(json.dumps(body), status, media_type=DICOM_JSON)


class _Parts:
    """Files of a multipart body, one after the other."""

    def __init__(self, max_instance_bytes: int, max_parts: int) -> None:
        self._limit = max_instance_bytes
        self._parts_left = max_parts
        self._buffer = bytearray()
        self._whole: list[bytes] = []
        self.ended = False

    def data(self, data: bytes, start: int, end: int) -> None:
        self._buffer += data[start:end]
        if len(self._buffer) > self._limit:
            raise LimitExceeded(instance_bytes_at_most=self._limit)

    def part_end(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise LimitExceeded(instances="more than a study may have")
        self._whole.append(bytes(self._buffer))
        self._buffer.clear()

    def end(self) -> None:
        self.ended = True

    def whole(self) -> Iterator[bytes]:
        """Those that are complete by now, each once."""
        while self._whole:
            yield self._whole.pop(0)


def _reference(instance: Instance) -> Json:
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class]},
        "00081155": {"vr": "UI", "Value": [instance.sop_uid]},
    }


def _parser(content_type: str, parts: _Parts) -> MultipartParser:
    message = Message()
    message["content-type"] = content_type
    boundary, kind = message.get_param("boundary"), message.get_param("type", "application/dicom")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise UnsupportedMediaType
    if str(kind).strip('"').lower() != "application/dicom":
        raise UnsupportedMediaType
    callbacks: Any = {"on_part_data": parts.data, "on_part_end": parts.part_end, "on_end": parts.end}
    try:
        return MultipartParser(boundary.encode(), callbacks)
    except FormParserError:  # a boundary longer than any may be
        raise UnsupportedMediaType from None
