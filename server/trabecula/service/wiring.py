"""What the packages beside the service put into it: each adds its line here, and nowhere else.

* A *result sink* writes inside the transaction that ends a screening with a result.
* A *task* is work of the queue, started by :func:`trabecula.work.queue.defer` or by its own clock.
"""

# ruff: noqa: ARG001 - each line takes what it needs of these
from __future__ import annotations

from collections.abc import Sequence

from trabecula.config import Settings
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.queue import Task
from trabecula.work.runner import ResultSink


def result_sinks(settings: Settings) -> Sequence[ResultSink]:
    """In the order they are called."""
    return ()


def queue_tasks(settings: Settings, database: Database, content: ContentStore) -> Sequence[Task]:
    """Tasks of every queue but the screenings' own."""
    return ()
