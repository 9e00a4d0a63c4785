"""What the driver of PostgreSQL raises, as errors of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from procrastinate.exceptions import ConnectorException
from psycopg import Error, OperationalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from trabecula.errors import DatabaseUnavailable, Overloaded
from trabecula.work.disk import DISK_FULL_RETRY_S


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """A lost or refused connection, and a full disk, as errors of ours; faults of SQL stay what they are."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("every connection of the pool is in use") from error
    except DBAPIError as error:
        _raise_translated(error, error.orig, error.connection_invalidated)
        raise
    except Error as error:  # the driver's own, where SQLAlchemy is not between
        _raise_translated(error, error, False)
        raise
    except ConnectorException as error:  # the queue's own, around the driver's
        _raise_translated(error, error.__cause__, False)
        raise


def is_lost(driver: BaseException | None) -> bool:
    """Whether the driver tells of a lost or refused connection: classes 08 (connection), 57P (shutdown, not yet up) and
    53300 (too many connections); PostgreSQL, appendix A. An error of the connection itself has no state."""
    state = _state(driver)
    if state is None:
        return isinstance(driver, OperationalError)
    return state.startswith(("08", "57P")) or state == "53300"


def _state(driver: BaseException | None) -> str | None:
    return getattr(driver, "sqlstate", None)


def _raise_translated(error: Exception, driver: BaseException | None, invalidated: bool) -> None:
    state = _state(driver)
    if invalidated or is_lost(driver):
        raise DatabaseUnavailable(f"{type(driver).__name__} {state or ''}".strip()) from error
    if state == "53100":
        raise Overloaded("the database's disk is full", retry_after_s=DISK_FULL_RETRY_S) from error
