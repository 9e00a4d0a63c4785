"""Tables of ``trabecula.drift``, and the trace that a screening belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_FIGURES = (
    *(f"{tissue}_{what}" for tissue in ("air", "fat", "muscle", "blood") for what in ("hu", "deviation_hu")),
    *("vertebra_hu", "bmd_mg_cm3", "confidence"),
)


def upgrade() -> None:
    """Forward."""
    op.add_column("screening", sa.Column("traceparent", sa.Text))
    op.create_table(
        "series_fact",
        sa.Column("id", sa.BigInteger, sa.Identity()),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("refusal", sa.Text),
        sa.Column("category", sa.Text),
        sa.Column("kvp", sa.Double),
        sa.Column("slice_thickness_mm", sa.Double),
        sa.Column("kernel", sa.Text),
        sa.Column("contrast_enhanced", sa.Boolean),
        sa.Column("age_band", sa.Text),
        sa.Column("sex", sa.Text),
        *(sa.Column(name, sa.Double) for name in _FIGURES),
        sa.PrimaryKeyConstraint("id", name="pk_series_fact"),
    )
    op.create_index("ix_series_fact_day", "series_fact", ["day"])
    op.create_table(
        "drift_evaluation",
        sa.Column("evaluated_at", _MOMENT),
        sa.Column("feature", sa.Text),
        sa.Column("first_day", sa.Date, nullable=False),
        sa.Column("last_day", sa.Date, nullable=False),
        sa.Column("series", sa.Integer, nullable=False),
        sa.Column("psi", sa.Double),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.PrimaryKeyConstraint("evaluated_at", "feature", name="pk_drift_evaluation"),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("drift_evaluation")
    op.drop_table("series_fact")
    op.drop_column("screening", "traceparent")
