"""Tables of ``trabecula.hooks``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision: str | None = "0003"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "hook_card",
        sa.Column("id", sa.Uuid(as_uuid=False)),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("indicator", sa.Text, nullable=False),
        sa.Column("screening_id", sa.Uuid(as_uuid=False)),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("shown_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hook_card"),
    )
    op.create_index("ix_hook_card_shown_at", "hook_card", ["shown_at"])
    op.create_table(
        "hook_feedback",
        sa.Column("id", sa.BigInteger, sa.Identity()),
        sa.Column("card_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("suggestions", JSONB, nullable=False),
        sa.Column("reason_system", sa.Text),
        sa.Column("reason_code", sa.Text),
        sa.Column("comment", sa.Text),
        sa.Column("outcome_at", _MOMENT, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_hook_feedback"),
        sa.UniqueConstraint("digest", name="uq_hook_feedback_digest"),
    )
    op.create_index("ix_hook_feedback_card", "hook_feedback", ["card_id"])
    op.create_table(
        "hook_token",
        sa.Column("digest", sa.LargeBinary),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_hook_token"),
        prefixes=["UNLOGGED"],
    )
    op.create_index("ix_hook_token_expires_at", "hook_token", ["expires_at"])


def downgrade() -> None:
    """Back."""
    for name in ("hook_token", "hook_feedback", "hook_card"):
        op.drop_table(name)
