"""Tables of ``trabecula.work``, and those of procrastinate 3.10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision: str | None = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_PROCRASTINATE = Path(__file__).with_name("0001_procrastinate.sql")

_DROP_PROCRASTINATE = """
DO $$
DECLARE each record;
BEGIN
    FOR each IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TABLE %s CASCADE', each.name);
    END LOOP;
    FOR each IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = current_schema() AND p.proname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', each.name);
    END LOOP;
    FOR each IN SELECT t.oid::regtype AS name FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = current_schema() AND t.typtype IN ('e', 'c') AND t.typname LIKE 'procrastinate\\_%' LOOP
        EXECUTE format('DROP TYPE %s CASCADE', each.name);
    END LOOP;
END;
$$
"""


def upgrade() -> None:
    """Forward."""
    _screening()
    _files("instance", sa.Column("index", sa.Integer, nullable=False))
    _files("document", sa.Column("kind", sa.Text, nullable=False))
    op.create_table(
        "transition",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("screening_id", sa.Uuid, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_transition"),
        _of_screening("transition"),
    )
    op.create_index("ix_transition_screening_id", "transition", ["screening_id"])
    _run(_PROCRASTINATE.read_text(encoding="utf-8"))


def downgrade() -> None:
    """Back."""
    _run(_DROP_PROCRASTINATE)
    for table in ("transition", "document", "instance", "screening"):
        op.drop_table(table)


def _screening() -> None:
    op.create_table(
        "screening",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="queued"),
        sa.Column("priority", sa.SmallInteger, nullable=False, server_default="10"),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("key_hash", sa.String(64)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("total_bytes", sa.BigInteger, nullable=False),
        sa.Column("patient", JSONB),
        sa.Column("want_masks", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("submitted_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT),
        sa.Column("ended_at", _MOMENT),
        sa.Column("progress_stage", sa.Text),
        sa.Column("progress_fraction", sa.Double),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_input_error", sa.Boolean),
        sa.Column("legal_hold", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("pixels_deleted_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_screening"),
        sa.UniqueConstraint("key_hash", name="uq_screening_key_hash"),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'reported', 'refused', 'failed', 'cancelled')", name="ck_screening_state"
        ),
        sa.CheckConstraint("(state IN ('queued', 'running')) = (ended_at IS NULL)", name="ck_screening_ended"),
        sa.CheckConstraint("(state = 'failed') = (failure_code IS NOT NULL)", name="ck_screening_failure"),
    )
    op.create_index("ix_screening_newest", "screening", [sa.text("submitted_at DESC"), sa.text("id DESC")])
    op.create_index(
        "ix_screening_pixels", "screening", ["ended_at"], postgresql_where=sa.text("pixels_deleted_at IS NULL")
    )
    op.create_index(
        "ix_screening_open", "screening", ["state"], postgresql_where=sa.text("state IN ('queued', 'running')")
    )


def _files(table: str, key: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("screening_id", sa.Uuid, nullable=False),
        key,
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("screening_id", key.name, name=f"pk_{table}"),
        _of_screening(table),
    )
    op.create_index(f"ix_{table}_sha256", table, ["sha256"])


def _of_screening(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["screening_id"], ["screening.id"], name=f"fk_{table}_screening_id_screening", ondelete="CASCADE"
    )


def _run(sql: str) -> None:
    """Many statements as they stand: no parameters, so that ``%`` means nothing to the driver."""
    driver: Any = op.get_bind().connection.dbapi_connection
    driver.execute(sql)
