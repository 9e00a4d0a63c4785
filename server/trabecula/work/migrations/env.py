"""Run by Alembic. The connection and its transaction belong to :mod:`trabecula.work.migrate`."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
if connection is None:
    raise RuntimeError("migrations are run by `trabecula db upgrade`, which gives the connection")
context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
context.run_migrations()
