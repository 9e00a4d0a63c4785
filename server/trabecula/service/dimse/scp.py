"""The provider on the network. pynetdicom runs it in threads; the bridge to the event loop is :class:`_Bridge`."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from trabecula import __version__
from trabecula.config import Settings, split_address
from trabecula.errors import ConfigurationError, TooManyRequests, TrabeculaError
from trabecula.imaging.limits import ImagingLimits
from trabecula.record.audit import Access, AccessListener
from trabecula.service.dimse.connections import ACSE_TIMEOUT_S, MAXIMUM_PDU_BYTES, Entity, close_connection, is_open
from trabecula.service.dimse.contexts import STORAGE, supported_contexts
from trabecula.service.dimse.peers import Peers, parse_peers
from trabecula.service.dimse.reception import Instance, Reception, read_instance
from trabecula.service.dimse.statuses import StoreStatus, status_of
from trabecula.service.limits import ClientLimits
from trabecula.service.tls_files import following_context
from trabecula.telemetry.faults import describe_fault
from trabecula.work.records import Source

DOOR: Final = "dimse"
STORE_TIMEOUT_S: Final = 60.0
"""How long one instance may take to become durable before the sender is told to try again."""
MOST_REFERENCED: Final = 20_000
"""Instances in one request for storage commitment."""
MOST_COMMAND_BYTES: Final = 64 * 1024
"""Of one message (PS3.7 6.3); a command is some hundred bytes."""
IMPLEMENTATION_CLASS_UID: Final = UID("1.2.826.0.1.3680043.8.498.45787841905188114249811422213212665817")
IMPLEMENTATION_VERSION: Final = f"TRABECULA_{__version__}"[:16]
_P_DATA: Final = b"\x04"
_OF_COMMAND, _LAST = 1, 2
_LOGGERS: Final = ("pynetdicom", "pydicom")
_COMMITMENT_FAILED, _COMMITMENT_SUCCESS = 2, 1
_NO_SUCH_INSTANCE, _CLASS_CONFLICT = 0x0112, 0x0119

_T = TypeVar("_T")


class _Bridge:
    """Runs coroutines of the service's loop from pynetdicom's threads, and waits for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def wait_for(self, coroutine: Callable[[], Awaitable[_T]]) -> _T:
        """Raises what it raises; TimeoutError when it takes too long, and it is cancelled."""

        async def run() -> _T:
            return await coroutine()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result(STORE_TIMEOUT_S)
        except FutureTimeout:
            future.cancel()
            raise


@dataclass
class _Caller:
    """One association."""

    allowed: bool
    studies: set[str] = field(default_factory=set)
    pending_bytes: int = 0
    """Since the last instance was whole."""
    command_bytes: int = 0
    """Of the command set that is not whole yet."""
    cut_off: bool = False
    """It sent more than it may."""
    title: str = ""
    address: str = ""
    counted_as: str | None = None
    """Under which name the association is one of its peer's."""
    is_open: Callable[[], bool] = lambda: False


class DimseServer:
    """C-ECHO, C-STORE and storage commitment for a site's peers."""

    def __init__(
        self,
        reception: Reception,
        settings: Settings,
        clients: ClientLimits | None = None,
        listeners: Sequence[AccessListener] = (),
    ) -> None:
        """Args:
            clients: how many associations each peer may have open and begin; None sets no such limit.
            listeners: told of each study that an association brings, before its first instance is acknowledged.

        Raises:
            ConfigurationError: when the peers cannot be read.
        """
        self._clients = clients
        self._listeners = tuple(listeners)
        self.port = 0
        """Where it listens, once started."""
        self._reception = reception
        self._settings = settings
        self._peers = parse_peers(settings.dimse_peers)
        self._callers: WeakKeyDictionary[Association, _Caller] = WeakKeyDictionary()
        self._guard = threading.Lock()
        self._limits = ImagingLimits()
        self._server: ThreadedAssociationServer | None = None
        self._bridge: _Bridge | None = None
        self._ae = _entity(settings, self._peers)

    def start(self) -> None:
        """Listen; to be called on the event loop that the reception lives on.

        Raises:
            ConfigurationError: if the address is taken or the TLS files cannot be used.
        """
        _silence_libraries()
        self._bridge = _Bridge(asyncio.get_running_loop())
        address = split_address(self._settings.dimse_listen or "")
        handlers: list[EventHandlerType] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_DATA_RECV, self._on_data),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_ACTION, self._on_commitment),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        try:
            server = self._ae.start_server(
                (address[0].strip("[]"), address[1]),
                block=False,
                evt_handlers=handlers,
                ssl_context=_tls(self._settings),
            )
        except OSError as error:
            raise ConfigurationError(dimse_listen=self._settings.dimse_listen) from error
        self._server = server
        if server is not None and server.socket is not None:
            self.port = int(server.socket.getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end all associations."""
        await asyncio.to_thread(self._ae.shutdown)
        self._server = None

    # What happens on an association; all of it in pynetdicom's threads

    def _caller(self, association: Association) -> _Caller:
        with self._guard:
            return self._callers.setdefault(association, _Caller(allowed=False))

    def _on_requested(self, event: Event) -> None:
        request = event.assoc.requestor
        primitive = request.primitive
        title = "" if primitive is None else str(getattr(primitive, "calling_ae_title", ""))
        caller = _Caller(allowed=False, title=title.strip(), address=str(request.address))
        with self._guard:
            self._callers[event.assoc] = caller
        if self._peers.allows(title, caller.address):
            caller.allowed = self._has_room(event.assoc, caller, f"ae {title.strip()}")

    def _has_room(self, association: Association, caller: _Caller, name: str) -> bool:
        """Whether a peer may have one more association."""
        if self._clients is None:
            return True
        with self._guard:
            live = [each for each in self._callers.values() if each.counted_as == name and each.is_open()]
            caller.counted_as, caller.is_open = name, partial(is_open, association)
        try:
            self._clients.client(DOOR, name)
            self._clients.check_uploads(DOOR, len(live))
        except TooManyRequests:
            return False
        return True

    def _on_established(self, event: Event) -> None:
        if not self._caller(event.assoc).allowed:
            structlog.get_logger().warning("dimse-peer-refused")
            event.assoc.abort()

    def _on_data(self, event: Event) -> None:
        """An instance that grows without end is cut off while it comes, before it fills the memory."""
        caller = self._caller(event.assoc)
        if caller.cut_off:  # it has been told, and goes on
            close_connection(event.assoc)
            return
        caller.pending_bytes += len(event.data)
        most = self._settings.dimse_max_instance_bytes + MAXIMUM_PDU_BYTES
        if _count_command(event.data, caller) > MOST_COMMAND_BYTES:
            structlog.get_logger().warning("dimse-command-too-large")
        elif caller.pending_bytes > most:
            structlog.get_logger().warning("dimse-instance-too-large")
        else:
            return
        caller.cut_off = True
        event.assoc.abort()

    def _on_echo(self, event: Event) -> int:
        caller = self._caller(event.assoc)
        caller.pending_bytes = 0
        return int(StoreStatus.SUCCESS) if caller.allowed else int(StoreStatus.NOT_AUTHORIZED)

    def _on_store(self, event: Event) -> Dataset | int:
        caller = self._caller(event.assoc)
        caller.pending_bytes = 0
        if not caller.allowed:
            return int(StoreStatus.NOT_AUTHORIZED)
        if event.request.AffectedSOPClassUID not in STORAGE:
            return int(StoreStatus.SOP_CLASS_NOT_SUPPORTED)
        try:
            instance = _instance(event, self._limits)
            if instance is None:
                return int(StoreStatus.DATA_SET_MISMATCH)
            self._wait(lambda: self._reception.take(instance))
            if instance.study_uid not in caller.studies:
                self._wait(lambda: self._note(caller))
        except TrabeculaError as error:
            return _answer(error)
        except FutureTimeout:
            return int(StoreStatus.OUT_OF_RESOURCES)
        except Exception as error:
            structlog.get_logger().error("dimse-fault", fault=describe_fault(error))
            return int(StoreStatus.FAULT)
        caller.studies.add(instance.study_uid)
        return int(StoreStatus.SUCCESS)

    async def _note(self, caller: _Caller) -> None:
        """Tell that a peer has brought a study; whose it is, is not known before it is read."""
        access = Access(
            at=datetime.now(UTC),
            interaction="create",
            action="C",
            resource_type="ImagingStudy",
            client_id=caller.title,
            client_address=caller.address,
            request_id=str(uuid.uuid4()),
        )
        for listener in self._listeners:
            await listener(access)

    def _on_released(self, event: Event) -> None:
        studies = sorted(self._caller(event.assoc).studies)
        if studies:
            self._wait(lambda: self._reception.released(studies))

    def _on_closed(self, event: Event) -> None:
        with self._guard:
            self._callers.pop(event.assoc, None)

    def _on_commitment(self, event: Event) -> tuple[int, Dataset | None]:
        """Storage commitment (PS3.4 J): what was received is promised, at once and on the same association."""
        caller = self._caller(event.assoc)
        caller.pending_bytes = 0
        if not caller.allowed:
            return 0x0124, None
        if event.action_type != 1:
            return 0x0123, None
        request = event.action_information
        references = _references(request)
        if "TransactionUID" not in request or not references:
            return 0x0115, None
        try:
            known = self._wait(lambda: self._reception.committed(references))
        except (TrabeculaError, FutureTimeout):
            return 0x0213, None
        report = _commitment_report(str(request.TransactionUID), references, known)
        threading.Thread(target=_send_report, args=(event.assoc, report), daemon=True).start()
        return 0x0000, None

    def _wait(self, coroutine: Callable[[], Awaitable[_T]]) -> _T:
        if self._bridge is None:
            raise RuntimeError("start() comes first")
        return self._bridge.wait_for(coroutine)


def _entity(settings: Settings, peers: Peers) -> AE:
    entity = Entity(settings.dimse_ae_title)
    entity.supported_contexts = supported_contexts()
    entity.require_called_aet = True
    entity.require_calling_aet = peers.ae_titles
    entity.maximum_associations = settings.dimse_max_associations
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    entity.acse_timeout = ACSE_TIMEOUT_S
    entity.network_timeout = settings.dimse_idle_timeout_s
    entity.dimse_timeout = settings.dimse_idle_timeout_s
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    return entity


def _count_command(pdu: bytes, caller: _Caller) -> int:
    """Bytes of the command set under way, with what this PDU holds of it (P-DATA-TF, PS3.8 9.3.5 and E.2)."""
    at = 6
    while pdu[:1] == _P_DATA and at + 6 <= len(pdu):
        length, control = int.from_bytes(pdu[at : at + 4], "big"), pdu[at + 5]
        if control & _OF_COMMAND:
            caller.command_bytes = 0 if control & _LAST else caller.command_bytes + length
        at += 4 + max(length, 2)
    return caller.command_bytes


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """TLS of the DICOM port; certificate and clients' authority are those that the files hold at each connection."""
    certificate, key, authority = (
        settings.dimse_tls_certificate_file,
        settings.dimse_tls_key_file,
        settings.dimse_tls_client_ca_file,
    )
    if certificate is None:
        return None
    chain = certificate

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain, key)
        if authority is not None:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    try:
        return following_context(make, [path for path in (certificate, key, authority) if path is not None])
    except OSError as error:
        raise ConfigurationError(setting="TRABECULA_DIMSE_TLS_CERTIFICATE_FILE", must_be="usable") from error


def _instance(event: Event, limits: ImagingLimits) -> Instance | None:
    """The instance with its identifiers; None when it is not the one that the command announces.

    Raises:
        CorruptInstance: if it cannot be read, or does not name its study.
    """
    instance = read_instance(event.encoded_dataset(), Source.DIMSE, limits)
    request: Any = event.request
    announced = (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
    return instance if (instance.sop_class, instance.sop_uid) == announced else None


def _answer(error: TrabeculaError) -> Dataset:
    """Status with a comment that names no patient."""
    answer = Dataset()
    answer.Status = int(status_of(error))
    answer.ErrorComment = error.client_message[:64]
    return answer


def _references(request: Dataset) -> dict[str, str]:
    """SOP classes by SOP Instance UID."""
    items = request.get("ReferencedSOPSequence") or []
    return {
        str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
        for item in items[:MOST_REFERENCED]
        if "ReferencedSOPInstanceUID" in item and "ReferencedSOPClassUID" in item
    }


def _commitment_report(transaction_uid: str, references: dict[str, str], known: dict[str, str]) -> Dataset:
    report = Dataset()
    report.TransactionUID = transaction_uid
    good, bad = [], []
    for sop_uid, sop_class in references.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
        if known.get(sop_uid) == sop_class:
            good.append(item)
        else:
            item.FailureReason = _CLASS_CONFLICT if sop_uid in known else _NO_SUCH_INSTANCE
            bad.append(item)
    if good:
        report.ReferencedSOPSequence = good
    if bad:
        report.FailedSOPSequence = bad
    return report


def _send_report(association: Association, report: Dataset) -> None:
    """N-EVENT-REPORT; a peer that went away meanwhile asks again."""
    event_type = _COMMITMENT_FAILED if "FailedSOPSequence" in report else _COMMITMENT_SUCCESS
    uid: Any = "1.2.840.10008.1.20.1.1"
    try:
        association.send_n_event_report(report, event_type, StorageCommitmentPushModel, uid)
    except (RuntimeError, ValueError, AttributeError) as error:
        structlog.get_logger().warning("dimse-commitment-not-reported", fault=describe_fault(error))


def _silence_libraries() -> None:
    """They log addresses, AE titles and, at debug, data sets: only warnings' bare fact is of use, and ours say it."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
