"""Studies from an archive by DICOMweb: QIDO-RS says what there is, WADO-RS gives it (PS3.18 10.4, 10.6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final, TypeVar

import httpx
import stamina
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, MultipartParseError

from trabecula.delivery.answers import Answer, Setback, Verdict, expect_ok
from trabecula.delivery.pacs.stow import DICOM_JSON, request
from trabecula.delivery.smart import Clock, TokenSource
from trabecula.delivery.transport import Transport, expect_plain
from trabecula.errors import (
    ArchiveRefused,
    ArchiveUnavailable,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    OutboundRefused,
)
from trabecula.work.content import ContentStore
from trabecula.work.records import ContentRef
from trabecula.work.staging import Staging

SERIES_UID: Final = "0020000E"
MODALITY: Final = "00080060"
INSTANCES: Final = "00201209"
ANY_SYNTAX: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""As stored: nothing is transcoded for us."""
MOST_SERIES: Final = 500
MOST_ANNOUNCED: Final = 10**9
ATTEMPTS: Final = 3
_UID: Final = re.compile(r"[0-9.]{1,64}")
_GONE: Final = (httpx.codes.NOT_FOUND, httpx.codes.GONE)
_TAKEN_IN: Final = "CT"

_T = TypeVar("_T")


@dataclass(frozen=True)
class PullLimits:
    """What one study may be."""

    max_instances: int
    max_study_bytes: int


@dataclass(frozen=True)
class DicomwebArchive:
    """One archive; a :class:`trabecula.service.screen_requests.StudyPuller`."""

    base_url: str
    transport: Transport
    content: ContentStore
    limits: PullLimits
    clock: Clock
    tokens: TokenSource | None = None

    async def __call__(self, study_uid: str) -> Sequence[ContentRef]:
        """The CT instances of a study, durable in the content store.

        A connection that breaks, and a server that is busy, is tried again up to three times for each series.

        Raises:
            InvalidRequest: if it is no UID.
            NotFound: if the archive does not have the study, or it has no CT series.
            LimitExceeded: if the study is over a limit.
            ArchiveUnavailable: if the archive does not answer.
            ArchiveRefused: if it does not let us read.
            Overloaded: if there is no room for the study here.
        """
        if not _UID.fullmatch(study_uid):
            raise InvalidRequest(field="study")
        series = await self._series(study_uid)
        refs: list[ContentRef] = []
        for series_uid in series:
            refs += await self._pull_series(study_uid, series_uid, refs)
        if not refs:
            raise NotFound
        return refs

    async def _series(self, study_uid: str) -> list[str]:
        """CT series by QIDO-RS; their instances are counted before any is fetched."""
        url = f"{self._base}/studies/{study_uid}/series?includefield={INSTANCES}&limit={MOST_SERIES}"
        answer = await self._retried(lambda: self._get_json(url))
        if answer.status in (*_GONE, httpx.codes.NO_CONTENT):
            raise NotFound
        rows = (answer.body or {}).get("items") or []
        chosen = [row for row in rows if isinstance(row, dict) and _first(row, MODALITY) == _TAKEN_IN]
        announced = sum(_count(_first(row, INSTANCES)) for row in chosen)
        if announced > self.limits.max_instances:
            raise LimitExceeded(instances=announced, at_most=self.limits.max_instances)
        uids = list(dict.fromkeys(str(_first(row, SERIES_UID)) for row in chosen))
        if not uids:
            raise NotFound
        return [uid for uid in uids if _UID.fullmatch(uid)]

    async def _pull_series(self, study_uid: str, series_uid: str, known: Sequence[ContentRef]) -> list[ContentRef]:
        url = f"{self._base}/studies/{study_uid}/series/{series_uid}"

        async def once() -> list[ContentRef]:
            staging = self.content.stage()
            try:
                room = PullLimits(
                    self.limits.max_instances - len(known),
                    self.limits.max_study_bytes - sum(ref.size_bytes for ref in known),
                )
                await self._stream(url, _Parts(staging, room))
                return list(await asyncio.to_thread(staging.commit))
            finally:
                await asyncio.to_thread(staging.discard)

        return await self._retried(once)

    async def _stream(self, url: str, parts: _Parts) -> None:
        limits = self.transport.limits
        built = self.transport.client.build_request("GET", url, headers=await self._headers(ANY_SYNTAX))
        try:
            async with asyncio.timeout(limits.attempt_timeout_s):
                response = await self.transport.client.send(built, stream=True)
                try:
                    if response.status_code in _GONE:
                        raise NotFound
                    expect_ok(Answer(response.status_code, None), self.clock())
                    expect_plain(response)
                    parser = _parser(response.headers.get("content-type", ""), parts)
                    async for chunk in response.aiter_bytes():
                        await asyncio.to_thread(parser.write, chunk)
                finally:
                    await response.aclose()
        except MultipartParseError as error:
            raise Setback(Verdict.RETRY, "answer-unusable") from error
        except OutboundRefused as error:
            raise Setback(Verdict.PARK, "address-refused") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Setback(Verdict.RETRY, "timed-out") from error
        except (httpx.TransportError, httpx.StreamError, httpx.DecodingError) as error:
            raise Setback(Verdict.RETRY, "connection") from error
        if not parts.ended:
            raise Setback(Verdict.RETRY, "answer-unusable")

    async def _get_json(self, url: str) -> Answer:
        answer = await request(self.transport, "GET", url, headers=await self._headers(DICOM_JSON))
        return answer if answer.status in _GONE else expect_ok(answer, self.clock())

    async def _headers(self, accept: str) -> dict[str, str]:
        headers = {"accept": accept, "accept-encoding": "identity", "user-agent": "trabecula"}
        if self.tokens is not None:
            headers["authorization"] = f"Bearer {await self.tokens.token()}"
        return headers

    async def _retried(self, once: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async for attempt in stamina.retry_context(on=_passes, attempts=ATTEMPTS, wait_initial=0.5, wait_max=10.0):
                with attempt:
                    return await once()
        except Setback as error:
            if error.verdict is Verdict.RETRY:
                raise ArchiveUnavailable(reason=error.reason) from error
            raise ArchiveRefused(reason=error.reason) from error
        raise ArchiveUnavailable  # never reached: the last attempt raises

    @property
    def _base(self) -> str:
        return self.base_url.rstrip("/")


class _Parts:
    """Parts of a multipart answer on their way into the content store."""

    def __init__(self, staging: Staging, limits: PullLimits) -> None:
        self._staging = staging
        self._limits = limits
        self._instances = 0
        self._bytes = 0
        self.ended = False

    def data(self, data: bytes, start: int, end: int) -> None:
        self._bytes += end - start
        if self._bytes > self._limits.max_study_bytes:
            raise LimitExceeded(at_most_bytes=self._limits.max_study_bytes)
        self._staging.write(data[start:end])

    def part_end(self) -> None:
        self._instances += 1
        if self._instances > self._limits.max_instances:
            raise LimitExceeded(at_most=self._limits.max_instances)
        self._staging.end_file()

    def end(self) -> None:
        self.ended = True


def _parser(content_type: str, parts: _Parts) -> MultipartParser:
    """Raises Setback when the answer is no multipart."""
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
        raise Setback(Verdict.RETRY, "answer-unusable")
    callbacks: Any = {"on_part_data": parts.data, "on_part_end": parts.part_end, "on_end": parts.end}
    try:
        return MultipartParser(boundary.encode(), callbacks)
    except FormParserError as error:  # a boundary longer than any may be
        raise Setback(Verdict.RETRY, "answer-unusable") from error


def _passes(error: Exception) -> bool:
    """Whether it may pass by itself."""
    return isinstance(error, Setback) and error.verdict is Verdict.RETRY


def _count(number: object) -> int:
    """Of instances, as an archive announces them; what it cannot mean counts as nothing, for all is counted again."""
    return number if isinstance(number, int) and 0 < number < MOST_ANNOUNCED else 0


def _first(row: dict[str, Any], tag: str) -> object:
    element = row.get(tag)
    value = element.get("Value") if isinstance(element, dict) else None
    return value[0] if isinstance(value, list) and value else None
