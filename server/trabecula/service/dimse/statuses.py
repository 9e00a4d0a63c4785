"""What is answered when: the one table of C-STORE statuses (PS3.4 B.2.3, PS3.7 C)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from trabecula.errors import (
    ContentMissing,
    ContentUnavailable,
    CorruptInstance,
    DatabaseError,
    Draining,
    ImplausibleSize,
    LimitExceeded,
    Overloaded,
    TrabeculaError,
)


class StoreStatus(IntEnum):
    """Statuses of C-STORE that this service gives."""

    SUCCESS = 0x0000
    """The instance is durable."""
    NOT_AUTHORIZED = 0x0124
    """The peer may not call from its address."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """Not a CT image."""
    OUT_OF_RESOURCES = 0xA700
    """No room now, or the service is stopping: send it again later."""
    DATA_SET_MISMATCH = 0xA900
    """The data set is not the instance that the command announces."""
    CANNOT_UNDERSTAND = 0xC000
    """The data set cannot be read, or does not name its study."""
    OVER_LIMIT = 0xC100
    """The instance or its study is over a limit; sending it again does not help."""
    FAULT = 0xC110
    """A fault of the program."""


STATUS_OF: Final[tuple[tuple[type[TrabeculaError], StoreStatus], ...]] = (
    (Draining, StoreStatus.OUT_OF_RESOURCES),
    (Overloaded, StoreStatus.OUT_OF_RESOURCES),
    (DatabaseError, StoreStatus.OUT_OF_RESOURCES),
    (ContentUnavailable, StoreStatus.OUT_OF_RESOURCES),
    (ContentMissing, StoreStatus.OUT_OF_RESOURCES),
    (LimitExceeded, StoreStatus.OVER_LIMIT),
    (ImplausibleSize, StoreStatus.OVER_LIMIT),
    (CorruptInstance, StoreStatus.CANNOT_UNDERSTAND),
)
"""The first class that fits decides."""


def status_of(error: TrabeculaError) -> StoreStatus:
    return next((status for kind, status in STATUS_OF if isinstance(error, kind)), StoreStatus.FAULT)
