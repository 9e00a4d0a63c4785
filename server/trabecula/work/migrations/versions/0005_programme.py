"""Tables of ``trabecula.programme``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision: str | None = "0004"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OPEN = "'proposed', 'contacted', 'booked'"


def upgrade() -> None:
    """Forward."""
    _review()
    _dxa_task()
    _dxa_step()
    _dxa_result()


def downgrade() -> None:
    """Back."""
    for name in ("dxa_result", "dxa_step", "dxa_task", "review"):
        op.drop_table(name)


def _references(table: str, column: str, other: str, on_delete: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{other}"
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete=on_delete)


def _review() -> None:
    op.create_table(
        "review",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("screening_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reviewer_id", sa.Text, nullable=False),
        sa.Column("reviewer_name", sa.Text, nullable=False),
        sa.Column("reviewed_at", _MOMENT, nullable=False),
        sa.Column("comment", sa.Text),
        sa.Column("corrections", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("report", JSONB),
        sa.PrimaryKeyConstraint("id", name="pk_review"),
        sa.UniqueConstraint("screening_id", "version", name="uq_review_screening_id"),
        sa.CheckConstraint(
            "status IN ('preliminary', 'final', 'corrected', 'entered-in-error')", name=op.f("ck_review_status")
        ),
        _references("review", "screening_id", "screening", "CASCADE"),
    )


def _dxa_task() -> None:
    op.create_table(
        "dxa_task",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("screening_id", sa.Uuid, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="proposed"),
        sa.Column("patient_system", sa.Text, nullable=False),
        sa.Column("patient_value", sa.Text, nullable=False),
        sa.Column("accession_number", sa.Text),
        sa.Column("age_years", sa.Double),
        sa.Column("sex", sa.Text),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("lumbar_equivalent_mg_cm3", sa.Double),
        sa.Column("scanned_on", sa.Date),
        sa.Column("rule_ids", JSONB, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT),
        sa.PrimaryKeyConstraint("id", name="pk_dxa_task"),
        sa.CheckConstraint(
            "state IN ('proposed', 'contacted', 'booked', 'done', 'declined', 'closed')",
            name=op.f("ck_dxa_task_state"),
        ),
        sa.CheckConstraint(f"(state IN ({_OPEN})) = (due_at IS NOT NULL)", name=op.f("ck_dxa_task_due")),
        _references("dxa_task", "screening_id", "screening", "CASCADE"),
    )
    op.create_index("ix_dxa_task_due", "dxa_task", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_dxa_task_patient", "dxa_task", ["patient_system", "patient_value"])
    op.create_index(
        "uq_dxa_task_open_patient",
        "dxa_task",
        ["patient_system", "patient_value"],
        unique=True,
        postgresql_where=sa.text(f"state IN ({_OPEN})"),
    )


def _dxa_step() -> None:
    op.create_table(
        "dxa_step",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("task_id", sa.Uuid, nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("event", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_dxa_step"),
        _references("dxa_step", "task_id", "dxa_task", "CASCADE"),
    )
    op.create_index("ix_dxa_step_task_id", "dxa_step", ["task_id"])


def _dxa_result() -> None:
    op.create_table(
        "dxa_result",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("patient_system", sa.Text, nullable=False),
        sa.Column("patient_value", sa.Text, nullable=False),
        sa.Column("task_id", sa.Uuid),
        sa.Column("screening_id", sa.Uuid),
        sa.Column("measured_on", sa.Date),
        sa.Column("lowest_t_score", sa.Double),
        sa.Column("values", JSONB, nullable=False),
        sa.Column("ct_category", sa.Text),
        sa.Column("ct_lumbar_equivalent_mg_cm3", sa.Double),
        sa.Column("days_after_ct", sa.Integer),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dxa_result"),
        sa.UniqueConstraint("source", name="uq_dxa_result_source"),
        _references("dxa_result", "task_id", "dxa_task", "SET NULL"),
        _references("dxa_result", "screening_id", "screening", "SET NULL"),
    )
    op.create_index("ix_dxa_result_patient", "dxa_result", ["patient_system", "patient_value"])
    op.create_index("ix_dxa_result_screening_id", "dxa_result", ["screening_id"])
    op.create_index("ix_dxa_result_task_id", "dxa_result", ["task_id"])
