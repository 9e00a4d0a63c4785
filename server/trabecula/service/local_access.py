"""Accesses by the command line straight on the database: recorded like those over the network."""

from __future__ import annotations

import os
import pwd
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from trabecula.config import Settings
from trabecula.record.audit import Access, CallListener, Outcome, keep_accesses
from trabecula.service.auth.callers import Caller
from trabecula.service.auth.calls import CALLS, EVERYTHING
from trabecula.service.call_accesses import INSTALLATION, access_of
from trabecula.v1 import admin_pb2
from trabecula.work.database import Database

CLIENT: Final = "command line"
_SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name


def local_user() -> str:
    """Who runs this process: the account's name, or its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def note_local_call(keep: CallListener, method: str, request: Any, response: Any) -> None:
    """Record one method of the operators' service that ran in this process."""
    name = f"/{_SERVICE}/{method}"
    seen = tuple(dict.fromkeys(CALLS[name].screenings(request, response)))
    caller = Caller(CLIENT, EVERYTHING, local_user())
    access = access_of(name, caller, str(uuid.uuid4()), seen, Outcome.SUCCESS)
    if access is not None:
        await keep(access, seen)


async def note_local(settings: Settings, database: Database, access: Access) -> None:
    """Record an access by a command, straight on the database."""
    await keep_accesses(database, settings.fhir_base_url.rstrip("/"))(access)


def on_installation(what: str) -> Access:
    """Something done to the whole installation, under the name that the operators' service has for it."""
    return replace(local_access("operation", "E", INSTALLATION), query=what)


def local_access(interaction: str, action: str, resource_type: str, resource_id: str | None = None) -> Access:
    """An access by a command that is none of the operators' service."""
    return Access(
        at=datetime.now(UTC),
        interaction=interaction,
        action=action,
        resource_type=resource_type,
        client_id=CLIENT,
        client_address=None,
        request_id=str(uuid.uuid4()),
        resource_id=resource_id,
        subject=local_user(),
    )
