"""A real FHIR R4 server for tests: Medplum's router behind HTTP, holding resources to the profiles they name."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fhir_guide import VALIDATORS, built_guide

Json = dict[str, Any]


@dataclass(frozen=True)
class FhirServer:
    """A running server, ``with FhirServer.start() as server``. It keeps what it is sent in memory."""

    url: str
    """Base address, ``http://127.0.0.1:PORT``; no slash at the end."""
    process: subprocess.Popen[str]

    @classmethod
    def start(
        cls, *, profiles: Path | None = None, update_create: bool = True, transactions: bool = True, codes: bool = True
    ) -> Self:
        """Start one on a free port.

        Args:
            profiles: folder of StructureDefinitions with snapshots; the project's own guide unless given.
            update_create: whether ``PUT`` of an unknown id creates; /metadata says which.
            transactions: whether it takes transaction Bundles; /metadata says which.
            codes: whether npm ``fhir`` judges required codes beside Medplum.
        """
        command = ["node", str(VALIDATORS / "server.cjs"), "--profiles", str(profiles or built_guide())]
        switches = {"--no-update-create": update_create, "--no-transactions": transactions, "--no-codes": codes}
        command += [switch for switch, on in switches.items() if not on]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the FHIR server did not start, exit status {process.wait()}"
        return cls(f"http://127.0.0.1:{json.loads(line)['port']}", process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def reset(self) -> None:
        """Forget every resource."""
        self.call("POST", "/__reset")

    def stored(self) -> dict[str, list[Json]]:
        """Every current resource by type."""
        _, found = self.call("GET", "/__stored")
        return dict(found)

    def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, Json]:
        """One request; status and JSON of the answer, whatever the status."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/fhir+json", **headers},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
