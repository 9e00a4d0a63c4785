"""A real PACS for tests: Debian's Orthanc with its DICOMweb plugin, on the loopback interface."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "ORTHANC MISSING: scripts/install-debian-packages.sh installs orthanc and orthanc-dicomweb"
START_S = 60.0


def orthanc_missing() -> bool:
    return shutil.which("Orthanc") is None or not PLUGIN.exists()


@dataclass(frozen=True)
class Orthanc:
    """One running PACS, called ORTHANC."""

    http_port: int
    dicom_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def call(self, method: str, path: str, body: object = None, content: bytes | None = None) -> Any:
        """Its own REST interface."""
        answer = httpx.request(method, f"{self.url}{path}", json=body, content=content, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def take(self, folder: Path) -> None:
        """Put every file of a folder in."""
        for path in sorted(folder.iterdir()):
            self.call("POST", "/instances", content=path.read_bytes())

    def forward(self, study_uid: str, port: int, title: str = "TRABECULA") -> dict[str, Any]:
        """Send the CT series of a study by C-STORE to an AE on this machine, as a routing rule would; raises when it
        was not taken."""
        self.call("PUT", "/modalities/peer", {"AET": title, "Host": "127.0.0.1", "Port": port, "Timeout": 60})
        query = {"StudyInstanceUID": study_uid, "Modality": "CT"}
        series = self.call("POST", "/tools/find", {"Level": "Series", "Query": query})
        answer: dict[str, Any] = self.call("POST", "/modalities/peer/store", {"Resources": series, "Synchronous": True})
        return answer

    def instances(self, study_uid: str) -> list[dict[str, Any]]:
        """Simplified tags of every instance of a study."""
        found = self.call(
            "POST", "/tools/find", {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}, "Expand": True}
        )
        return [{**each["MainDicomTags"], "id": each["ID"]} for each in found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_orthanc(folder: Path) -> Iterator[Orthanc]:
    """Starts it, empty; stopped at the end of the block."""
    orthanc = Orthanc(free_port(), free_port(), folder / "log.txt")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": orthanc.http_port,
        "DicomPort": orthanc.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpThreadsCount": 4,
        "OverwriteInstances": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with orthanc.log.open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(orthanc, process)
            yield orthanc
        finally:
            process.terminate()
            process.wait(30)


def _wait(orthanc: Orthanc, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            orthanc.call("GET", "/dicom-web/studies")
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(orthanc.log.read_text()[-2000:])
