"""Tables of ``trabecula.delivery``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision: str | None = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    _delivery()
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery_id", sa.Uuid, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT),
        sa.Column("step", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("status", sa.SmallInteger),
        sa.Column("outcome", JSONB),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name="pk_delivery_attempt"),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name="fk_delivery_attempt_delivery_id_delivery", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "delivery_identity",
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("resource_type", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("server_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("destination", "resource_type", "resource_id", name="pk_delivery_identity"),
    )
    op.create_table(
        "delivery_destination",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("capability", JSONB),
        sa.Column("capability_at", _MOMENT),
        sa.Column("refused_rungs", JSONB),
        sa.Column("refused_types", JSONB),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("closed_until", _MOMENT),
        sa.PrimaryKeyConstraint("name", name="pk_delivery_destination"),
    )


def downgrade() -> None:
    """Back."""
    for table in ("delivery_destination", "delivery_identity", "delivery_attempt", "delivery"):
        op.drop_table(table)


def _delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("sequence", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("chain", sa.Uuid, nullable=False),
        sa.Column("screening_id", sa.Uuid),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="pending"),
        sa.Column("payload", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("waiting_since", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("lease_until", _MOMENT),
        sa.Column("ended_at", _MOMENT),
        sa.Column("reason", sa.Text),
        sa.Column("status", sa.SmallInteger),
        sa.Column("way", sa.Text),
        sa.Column("left_out", JSONB),
        sa.Column("superseded_by", sa.Uuid),
        sa.PrimaryKeyConstraint("id", name="pk_delivery"),
        sa.UniqueConstraint("sequence", name="uq_delivery_sequence"),
        sa.ForeignKeyConstraint(
            ["screening_id"], ["screening.id"], name="fk_delivery_screening_id_screening", ondelete="CASCADE"
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'delivered', 'parked', 'cancelled', 'superseded')",
            name="ck_delivery_state",
        ),
        sa.CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name="ck_delivery_lease"),
        sa.CheckConstraint(
            "(state IN ('delivered', 'cancelled', 'superseded')) = (ended_at IS NOT NULL)", name="ck_delivery_ended"
        ),
        sa.CheckConstraint("(state = 'superseded') = (superseded_by IS NOT NULL)", name="ck_delivery_superseded"),
        sa.CheckConstraint("state IN ('pending', 'sending', 'parked') OR payload IS NULL", name="ck_delivery_payload"),
    )
    op.create_index("ix_delivery_screening_id", "delivery", ["screening_id"])
    op.create_index(
        "ix_delivery_due", "delivery", ["destination", "due_at"], postgresql_where=sa.text("state = 'pending'")
    )
    op.create_index(
        "ix_delivery_open", "delivery", ["state", "created_at"], postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index("ix_delivery_chain", "delivery", ["chain", "destination", "sequence"])
