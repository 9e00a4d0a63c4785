"""Table of ``trabecula.service.dimse``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "dimse_received",
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("sop_uid", sa.Text, nullable=False),
        sa.Column("sop_class", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received_at", _MOMENT, nullable=False),
        sa.Column("accepted_at", _MOMENT),
        sa.PrimaryKeyConstraint("study_uid", "sop_uid", name="pk_dimse_received"),
    )
    op.create_index("ix_dimse_received_sha256", "dimse_received", ["sha256"])
    op.create_index("ix_dimse_received_sop", "dimse_received", ["sop_uid"])
    op.create_index(
        "ix_dimse_received_open", "dimse_received", ["study_uid"], postgresql_where=sa.text("accepted_at IS NULL")
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("dimse_received")
