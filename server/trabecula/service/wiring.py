"""What the packages beside the service put into it: each adds its line here, and nowhere else.

* A *result sink* writes inside the transaction that ends a screening with a result.
* A *task* is work of the queue, started by :func:`trabecula.work.queue.defer` or by its own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from trabecula.clinical import load_constants
from trabecula.config import Settings
from trabecula.delivery.archive import archive_destination, open_archive
from trabecula.delivery.destinations import StowDestination, read_destinations
from trabecula.delivery.pacs.pull import PullLimits
from trabecula.delivery.tasks import delivery_tasks, keeps_screening
from trabecula.drift.evaluate import DriftRules
from trabecula.drift.reference import read_references
from trabecula.drift.store import keep_series
from trabecula.drift.upkeep import evaluation_task
from trabecula.hooks.upkeep import sweep_task
from trabecula.record.retention import forget_resources
from trabecula.service.follow_up import follow_up, result_sink
from trabecula.service.screen_requests import PullWork
from trabecula.telemetry.dispatch import nobody
from trabecula.telemetry.events import Listener
from trabecula.work.clock import utc_now
from trabecula.work.content import ContentStore
from trabecula.work.database import Database
from trabecula.work.gc import RetentionRules, collection_task, policy_of
from trabecula.work.queue import Task
from trabecula.work.runner import ResultSink
from trabecula.work.store import ScreeningStore


def result_sinks(settings: Settings) -> Sequence[ResultSink]:
    """In the order they are called."""
    return (result_sink(follow_up(settings)), keep_series)


def queue_tasks(
    settings: Settings, database: Database, content: ContentStore, tell: Listener = nobody
) -> Sequence[Task]:
    """Tasks of every queue but the screenings' own."""
    destinations = read_destinations(settings.destinations_file)
    archive = archive_destination(destinations, settings.dicomweb_archive)
    return (
        *delivery_tasks(destinations, database, content, settings.client_keys_dir, tell),
        *([] if archive is None else [_pulls(archive, settings, database, content)]),
        sweep_task(database, settings.cds_card_retention_s),
        collection_task(database, content, policy_of(settings), retention_rules()),
        _drift(settings, database),
    )


def _drift(settings: Settings, database: Database) -> Task:
    """The evaluation of drift; a reference that cannot be read fails the job, and the service works on."""
    return evaluation_task(
        database,
        partial(read_references, settings.models_dir, settings.drift_reference_file),
        DriftRules.of(load_constants()),
        settings.drift_window_days,
        settings.drift_retention_s,
    )


def _pulls(archive: StowDestination, settings: Settings, database: Database, content: ContentStore) -> Task:
    """Studies asked for by their UID (``$screen-bone``)."""
    limits = PullLimits(settings.max_instances, settings.max_study_bytes)
    pull = open_archive(archive, content, limits, settings.client_keys_dir, utc_now)
    return PullWork(database, ScreeningStore(database, content=content), pull).task()


def retention_rules() -> RetentionRules:
    """What the packages ask of retention: what was not delivered is kept."""
    return RetentionRules(blockers=(keeps_screening(),), forget=(forget_resources,))
