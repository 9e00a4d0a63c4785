"""The DICOM port below the association: who may connect how often, and how large and how slow a PDU may be.

pynetdicom reads each PDU (PS3.8 9.3) to its end, however long it says that it is and however slowly it comes; it does
the TLS handshake in the thread that accepts; and it counts a connection that has not said a word as an association.
Each of these would let somebody who may do nothing here keep the site's scanners out.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import structlog
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.fsm import InvalidEventError, StateMachine
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from trabecula.telemetry.faults import describe_fault

MAXIMUM_PDU_BYTES: Final = 128 * 1024
"""What peers are told (PS3.8 D.1)."""
MOST_PDU_BYTES: Final = 1024 * 1024
"""What is read of a PDU at most: requests for an association are longer than data, with all their contexts."""
ACSE_TIMEOUT_S: Final = 15.0
"""For the handshake, the first byte, and the request for an association (ARTIM, PS3.8 9.1.5)."""
SPARE_CONNECTIONS: Final = 64
"""Beside those of the associations that are allowed: they have said nothing yet, or are about to be refused."""
SPARE_OF_ADDRESS: Final = 16
TELL_S: Final = 10.0
"""Between two words in the log about connections that found no room."""
_CHUNK_BYTES: Final = 65_536
_IDLE: Final = "Sta1"
"""No connection, and none on its way (PS3.8 9.2.1)."""


class Entity(AE):
    """An application entity that counts associations, not connections."""

    @property
    def maximum_associations(self) -> int:
        """Associations at once, beside the connections that are none, or none any more: those take nobody's place."""
        acceptors = (each for each in self.active_associations if each.is_acceptor)
        return self._maximum_associations + sum(not is_open(each) for each in acceptors)

    @maximum_associations.setter
    def maximum_associations(self, value: int) -> None:
        self._maximum_associations = value

    def make_server(self, *args: Any, **named: Any) -> Any:
        """A :class:`Connections` whatever kind is asked for."""
        return super().make_server(*args, **{**named, "server_class": Connections, "request_handler": _Handler})


def is_open(association: Association) -> bool:
    """Whether a peer has asked for it, and it was neither refused nor has it ended."""
    ended = association.is_rejected or association.is_aborted or association.is_released
    return association.requestor.primitive is not None and association.is_alive() and not ended


def close_connection(association: Association) -> None:
    """End it without a word."""
    if isinstance(association.dul.socket, BoundedSocket):
        association.dul.socket.shut()


class _StateMachine(StateMachine):
    """Ends the association where the library would end a thread with a traceback."""

    def do_action(self, event: str) -> None:
        try:
            super().do_action(event)
        except InvalidEventError:
            structlog.get_logger().info("dimse-out-of-sequence")
            self._end()
        except Exception as error:
            # The last resort of this thread: a message that cannot be decoded may raise whatever pydicom raises.
            structlog.get_logger().warning("dimse-undecodable", fault=describe_fault(error))
            self._end()
        if self.current_state == _IDLE and self.dul.assoc.requestor.primitive is None:
            # No request will come, and the association's thread waits for one: None is what a wait that timed out gives
            self.dul.to_user_queue.put(None)  # type: ignore[arg-type] # typed for primitives alone

    def _end(self) -> None:
        close_connection(self.dul.assoc)
        self.current_state = _IDLE
        self.dul.kill_dul()


class BoundedSocket(AssociationSocket):
    """Reads what is not too long and does not take too long."""

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer when the peer ends the connection.

        Raises:
            OSError: after it has closed the connection, when there are too many, or they do not come in time.
        """
        if nr_bytes > MOST_PDU_BYTES:
            self._give_up("dimse-pdu-too-long")
        if self.socket is None:
            raise ConnectionError
        established = self.assoc.is_established
        deadline = time.monotonic() + ((self.assoc.network_timeout if established else None) or ACSE_TIMEOUT_S)
        received = bytearray()
        while len(received) < nr_bytes:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self._give_up("dimse-pdu-too-slow")
            self.socket.settimeout(left_s)
            try:
                piece = self.socket.recv(min(_CHUNK_BYTES, nr_bytes - len(received)))
            except TimeoutError:
                self._give_up("dimse-pdu-too-slow")
            if not piece:
                break
            received += piece
        return received

    def _give_up(self, event: str) -> None:
        structlog.get_logger().warning(event)
        self.shut()
        raise ConnectionError(event)

    def shut(self) -> None:
        """Close the connection without a word to the state machine."""
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class Connections(ThreadedAssociationServer):
    """Accepts at once, whatever those do who came before."""

    daemon_threads = True
    request_queue_size = 128
    """Connections that the kernel holds until they are accepted; with a few, a burst makes others wait for seconds."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._guard = threading.Lock()
        self._waiting: dict[socket.socket, str] = {}
        self._told_s = -TELL_S
        super().__init__(*args, **named)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The connection as it came; TLS is spoken in its own thread."""
        listening: Any = self.socket
        connection, address = listening.accept()
        return connection, address

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Whether there is room for one more connection, of this address too."""
        address = str(client_address[0])
        allowed = getattr(self.ae, "_maximum_associations", 1)
        places = (each.requestor.address_info for each in self.active_associations)
        open_ones = [place.address for place in places if place is not None]
        with self._guard:
            open_ones += self._waiting.values()
        room = len(open_ones) < 2 * allowed + SPARE_CONNECTIONS
        if room and open_ones.count(address) < allowed + SPARE_OF_ADDRESS:
            return True
        if time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            structlog.get_logger().warning("dimse-too-many-connections")
        return False

    def server_close(self) -> None:
        super().server_close()
        with self._guard:
            for connection in self._waiting:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def waiting(self, connection: socket.socket, address: str) -> Iterator[None]:
        """While it has said nothing."""
        with self._guard:
            self._waiting[connection] = address
        try:
            yield
        finally:
            with self._guard:
                self._waiting.pop(connection, None)


class _Handler(RequestHandler):
    """One connection, in a thread of its own until its association has threads."""

    request: Any
    server: Connections

    def handle(self) -> None:
        """Wait for the first byte; a connection that says nothing costs no more than this thread."""
        raw = self.request
        try:
            with self.server.waiting(raw, str(self.client_address[0])):
                self.request = _spoken_to(raw, self.server.ssl_context, time.monotonic() + ACSE_TIMEOUT_S)
        except (OSError, ValueError):  # it closed, was too slow, or does not speak TLS as we do
            raw.close()
            return
        super().handle()

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.event_queue.get_nowait()  # what the socket said that is replaced here
        association.dul.socket = BoundedSocket(association, client_socket=self.request)
        association.dul.state_machine = _StateMachine(association.dul)
        association.run = partial(_run, association)  # type: ignore[method-assign]
        return association


def _run(association: Association) -> None:
    """The association's thread: whatever ends it ends the connection and the connection's own thread too."""
    try:
        threading.Thread.run(association)
    except Exception as error:
        # The last resort of this thread: pynetdicom negotiates as if every request held what the standard asks for.
        structlog.get_logger().warning("dimse-undecodable", fault=describe_fault(error))
    finally:
        close_connection(association)
        association.dul.kill_dul()


def _spoken_to(connection: socket.socket, context: ssl.SSLContext | None, deadline_s: float) -> socket.socket:
    """The connection once the peer has said something, in TLS where that is spoken here.

    Raises:
        OSError: if nothing comes before the deadline, on the monotonic clock.
    """
    if context is None:
        _wait(connection, "read", deadline_s)
        return connection
    connection.setblocking(False)
    wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        while True:
            try:
                wrapped.do_handshake()
                break
            except ssl.SSLWantReadError:
                _wait(wrapped, "read", deadline_s)
            except ssl.SSLWantWriteError:
                _wait(wrapped, "write", deadline_s)
        if not wrapped.pending():
            _wait(wrapped, "read", deadline_s)
    except BaseException:
        wrapped.close()
        raise
    wrapped.setblocking(True)
    return wrapped


def _wait(connection: socket.socket, what: str, deadline_s: float) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLIN if what == "read" else select.POLLOUT)
    if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
        raise TimeoutError
