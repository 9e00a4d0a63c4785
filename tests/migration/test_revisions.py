"""Every step of the tables, forward and back, on a real PostgreSQL, with data in it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from database import DatabaseServer
from sqlalchemy import Connection, Engine, create_engine, text

import trabecula
from trabecula.work.database import sync_engine
from trabecula.work.migrate import current_revision, downgrade, head, revisions, upgrade
from trabecula.work.schema import METADATA

PACKAGE = Path(trabecula.__file__).parent
for module in PACKAGE.rglob("*schema.py"):  # each puts its tables on METADATA
    importlib.import_module(".".join(module.with_suffix("").relative_to(PACKAGE.parent).parts))

QUEUE = "procrastinate"
NEIGHBOURS = list(zip(("base", *revisions()), revisions(), strict=False))

DATA = """
INSERT INTO screening (id, source, fingerprint, instances, total_bytes, submitted_at, state, ended_at, patient)
    VALUES ('00000000-0000-4000-8000-000000000001', 'grpc', repeat('0', 64), 2, 10, now(), 'reported', now(), '{}'),
           ('00000000-0000-4000-8000-000000000002', 'dimse', repeat('1', 64), 1, 5, now(), 'queued', NULL, '{"a": 1}');
INSERT INTO instance SELECT id, 0, repeat('a', 64), 5 FROM screening;
INSERT INTO document SELECT id, 'report.json', repeat('b', 64), 7 FROM screening WHERE state = 'reported';
INSERT INTO transition (screening_id, at, event, state, attempt) SELECT id, now(), 'accept', 'queued', 0 FROM screening;
INSERT INTO procrastinate_jobs (task_name, queue_name, queueing_lock, args)
    SELECT 'screening.run', 'screening', id, jsonb_build_object('screening_id', id)
    FROM screening WHERE state = 'queued';
"""
KEPT = (
    "SELECT (to_jsonb(s) - 'traceparent')::text, (SELECT count(*) FROM instance),"
    " (SELECT count(*) FROM procrastinate_jobs) FROM screening s"
)
"""Without the column that a revision adds."""


@pytest.fixture
def engine(database_server: DatabaseServer) -> Iterator[Engine]:
    """Of a database without our tables."""
    name = database_server.create("template1")
    made = sync_engine({**database_server.parameters, "dbname": name})
    yield made
    made.dispose()
    database_server.drop(name)


def objects(connection: Connection) -> set[str]:
    """Everything in the schema, by kind and name."""
    found = connection.execute(
        text(
            "SELECT 'class ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " UNION SELECT 'routine ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " UNION SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace"
            " UNION SELECT 'constraint ' || conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        )
    )
    return set(found.scalars()) - {
        "class alembic_version",
        "class alembic_version_pkc",
        "type alembic_version",
        "type _alembic_version",
        "constraint alembic_version_pkc",
        "constraint alembic_version_version_num_not_null",
    }


def checks(connection: Connection) -> dict[str, str]:
    """CHECK constraints and partial indexes, which Alembic does not compare."""
    found = connection.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
            " AND conrelid::regclass::text NOT LIKE 'procrastinate%'"
            " UNION SELECT indexname, indexdef FROM pg_indexes"
            " WHERE schemaname = 'public' AND tablename NOT LIKE 'procrastinate%' AND tablename <> 'alembic_version'"
        )
    )
    return {name: definition for name, definition in found}  # noqa: C416 - rows


def differences(connection: Connection) -> list[object]:
    def ours(_: object, name: str | None, kind: str, reflected: bool, compared: object) -> bool:
        return not (kind == "table" and reflected and compared is None and str(name).startswith(QUEUE))

    options = {"include_object": ours, "compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_the_migrations_make_what_the_tables_are_drawn_as(engine: Engine, database_server: DatabaseServer) -> None:
    drawn_name = database_server.create("template1")
    drawn = create_engine("postgresql+psycopg://", connect_args={**database_server.parameters, "dbname": drawn_name})
    try:
        with engine.begin() as connection, drawn.begin() as pattern:
            upgrade(connection)
            METADATA.create_all(pattern)
            assert differences(connection) == []
            assert checks(connection) == checks(pattern)
    finally:
        drawn.dispose()
        database_server.drop(drawn_name)


def test_down_to_nothing_leaves_nothing_and_up_again_makes_the_same(engine: Engine) -> None:
    with engine.begin() as connection:
        before = objects(connection)
        upgrade(connection)
        whole, constraints = objects(connection), checks(connection)
        connection.execute(text(DATA))
        downgrade(connection, "base")
        assert objects(connection) == before
        assert current_revision(connection) is None
        upgrade(connection)
        assert objects(connection) == whole
        assert checks(connection) == constraints
        assert differences(connection) == []


@pytest.mark.parametrize(("before", "revision"), NEIGHBOURS)
def test_each_revision_goes_back_and_forward_with_data_in_it(engine: Engine, before: str, revision: str) -> None:
    with engine.begin() as connection:
        if before != "base":
            upgrade(connection, before)
            connection.execute(text(DATA))
        made = objects(connection)
        kept = connection.execute(text(KEPT)).all() if before != "base" else []
        for _ in range(2):
            upgrade(connection, revision)
            assert current_revision(connection) == revision
            assert before == "base" or connection.execute(text(KEPT)).all() == kept
            downgrade(connection, before)
            assert objects(connection) == made
        assert before == "base" or connection.execute(text(KEPT)).all() == kept


def test_revisions_are_numbers_in_one_line() -> None:
    assert revisions() == tuple(f"{number:04}" for number in range(1, len(revisions()) + 1))
    assert head() == revisions()[-1]


def test_two_upgrades_at_once_wait_for_each_other(engine: Engine) -> None:
    faults: list[BaseException] = []

    def run() -> None:
        try:
            with engine.begin() as connection:
                upgrade(connection)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with engine.begin() as connection:
        assert current_revision(connection) == head()
