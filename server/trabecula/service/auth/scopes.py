"""SMART App Launch scopes (2.2, section "Scopes for requesting FHIR resources").

``system/Observation.rs``: context, type, and the letters c, r, u, d, s in that order. A scope with a query part
(``?category=...``) is narrower than what is checked here, so it grants nothing rather than too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SCOPE: Final = re.compile(
    r"(?P<context>system|user|patient)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<letters>(?=.)c?r?u?d?s?|read|write|\*)",
    re.ASCII,
)
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}
NOT_IN_WILDCARD: Final = frozenset({"AuditEvent"})
"""Types that ``*`` does not reach: who looked at what is asked for by name."""


class Context(StrEnum):
    SYSTEM = "system"
    USER = "user"
    PATIENT = "patient"


class Permission(StrEnum):
    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


class Reach(StrEnum):
    """How far an access goes."""

    NONE = "none"
    PATIENT = "patient"
    """Only what belongs to the token's patient."""
    ALL = "all"


@dataclass(frozen=True)
class Grant:
    context: Context
    resource_type: str
    """``*`` for all but those of :data:`NOT_IN_WILDCARD`."""
    permissions: frozenset[Permission]

    def covers(self, resource_type: str, permission: Permission) -> bool:
        named = self.resource_type == resource_type
        wild = self.resource_type == "*" and resource_type not in NOT_IN_WILDCARD
        return (named or wild) and permission in self.permissions


def parse_scopes(scopes: Iterable[str], *, v1: bool = False) -> tuple[Grant, ...]:
    """The grants among the scopes; what is not understood grants nothing.

    Args:
        v1: whether ``.read``, ``.write`` and ``.*`` of SMART v1 count.
    """
    found = []
    for scope in scopes:
        match = _SCOPE.fullmatch(scope)
        if match is None:
            continue
        letters = match["letters"]
        if letters in _V1:
            if not v1:
                continue
            letters = _V1[letters]
        found.append(Grant(Context(match["context"]), match["type"], frozenset(Permission(each) for each in letters)))
    return tuple(found)


def reach(grants: Iterable[Grant], resource_type: str, permission: Permission) -> Reach:
    """The widest reach that the grants give."""
    contexts = {grant.context for grant in grants if grant.covers(resource_type, permission)}
    if contexts & {Context.SYSTEM, Context.USER}:
        return Reach.ALL
    return Reach.PATIENT if contexts else Reach.NONE


SUPPORTED: Final = (
    "system/*.rs",
    "system/*.r",
    "system/*.s",
    "system/DiagnosticReport.crs",
    "system/Observation.c",
    "system/Task.rus",
    "system/AuditEvent.rs",
    "user/*.rs",
    "user/DiagnosticReport.rus",
    "user/Task.rus",
    "patient/*.rs",
)
"""As told in ``smart-configuration``."""
