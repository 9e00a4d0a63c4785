"""A DICOMweb archive on loopback that answers QIDO-RS and WADO-RS with files that steer the fake screening chain."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SmallArchive:
    """Studies by UID: the order that their one instance gives (see ``fake_screens``)."""

    studies: dict[str, bytes] = field(default_factory=dict)
    port: int = 0
    pulls: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    """While clear, answers to WADO-RS wait."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"


@contextmanager
def small_archive() -> Iterator[SmallArchive]:
    """Serve for the time of the block."""
    archive = SmallArchive()
    archive.hold.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.split("?")[0].split("/")
            order = archive.studies.get(path[3]) if len(path) > 3 else None
            if order is None:
                self._send(404, "text/plain", b"")
            elif path[-1] == "series":
                series = {
                    "0020000E": {"vr": "UI", "Value": [f"{path[3]}.1"]},
                    "00080060": {"vr": "CS", "Value": ["CT"]},
                }
                series["00201209"] = {"vr": "IS", "Value": [1]}  # type: ignore[dict-item]
                self._send(200, "application/dicom+json", json.dumps([series]).encode())
            else:
                archive.hold.wait(30)
                archive.pulls.append(path[3])
                body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + order + b"\n\r\n--B--\r\n"
                self._send(200, 'multipart/related; type="application/dicom"; boundary=B', body)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    archive.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield archive
    finally:
        archive.hold.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
