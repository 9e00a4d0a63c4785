"""What the clients were told, kept outside the service: the other side of every comparison."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fault_studies import Kind


@dataclass
class Entry:
    """One submission of one client."""

    key: str
    kind: Kind
    accepted: set[str] = field(default_factory=set)
    """Ids that the service answered with; more than one would be a fault."""
    sends: int = 0
    answers: int = 0
    given_up: bool = False
    """The client got no answer; it may or may not have been accepted."""
    cancel_asked: bool = False
    seen_ends: list[str] = field(default_factory=list)
    """Ended states that the service has told a client, in order."""


class Ledger:
    """Thread-safe; every change is also appended to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self.answers: Counter[str] = Counter()
        """Errors that submissions were answered with: status, and the service's own reason."""

    def sending(self, key: str, kind: Kind) -> None:
        with self._lock:
            entry = self._entries.setdefault(key, Entry(key, kind))
            entry.sends += 1
            self._write("sending", key=key)

    def accepted(self, key: str, screening_id: str) -> None:
        with self._lock:
            entry = self._entries[key]
            entry.accepted.add(screening_id)
            entry.answers += 1
            self._write("accepted", key=key, id=screening_id)

    def answer(self, code: str, reason: str) -> None:
        with self._lock:
            self.answers[f"{code} {reason}".strip()] += 1

    def given_up(self, key: str, why: str) -> None:
        with self._lock:
            self._entries[key].given_up = True
            self._write("given up", key=key, why=why)

    def cancel_asked(self, key: str) -> None:
        with self._lock:
            self._entries[key].cancel_asked = True
            self._write("cancel asked", key=key)

    def seen_end(self, key: str, state: str) -> None:
        with self._lock:
            self._entries[key].seen_ends.append(state)
            self._write("seen to end", key=key, state=state)

    def fault(self, name: str, **facts: object) -> None:
        with self._lock:
            self._write("FAULT", name=name, **facts)

    def entries(self) -> list[Entry]:
        with self._lock:
            return [Entry(**{**asdict(entry), "kind": entry.kind}) for entry in self._entries.values()]

    def _write(self, event: str, **facts: object) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps({"at_s": round(time.time(), 3), "event": event, **facts}, default=str) + "\n")
