"""The door to PostgreSQL."""

from __future__ import annotations

from sqlalchemy import text

from trabecula.work.database import Database
from trabecula.work.migrate import current_revision, head


async def test_a_fresh_database_is_at_the_programs_revision(database: Database) -> None:
    async with database.transaction() as connection:
        assert await connection.run_sync(current_revision) == head()


async def test_tables_of_the_queue_are_there(database: Database) -> None:
    async with database.transaction() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM procrastinate_jobs"))).scalar_one() == 0
