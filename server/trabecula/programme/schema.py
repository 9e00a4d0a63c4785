"""Tables of sign-off and of the recall programme. Rows are added, never overwritten, but for a task's present state."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from trabecula.programme.states import ReviewStatus, TaskState
from trabecula.work.schema import METADATA, MOMENT


def _one_of(names: type[ReviewStatus] | type[TaskState]) -> str:
    return ", ".join(f"'{name.value}'" for name in names)


OPEN_TASKS: Final = ", ".join(f"'{state.value}'" for state in TaskState if state.open)

review = Table(
    "review",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), nullable=False),
    # 1, 2, ... for each screening; version 0 is the machine's own result and has no row.
    Column("version", Integer, nullable=False),
    Column("decision", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reviewer_id", Text, nullable=False),
    Column("reviewer_name", Text, nullable=False),
    Column("reviewed_at", MOMENT, nullable=False),
    Column("comment", Text),
    Column("corrections", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # The report as it stands after this decision, in the published JSON form; null when nothing of it changed.
    Column("report", JSONB(none_as_null=True)),
    UniqueConstraint("screening_id", "version"),
    CheckConstraint(f"status IN ({_one_of(ReviewStatus)})", name="status"),
)
"""One row for each decision of a person on a result."""

dxa_task = Table(
    "dxa_task",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), nullable=False),
    Column("state", Text, nullable=False, server_default=TaskState.PROPOSED.value),
    # How the patient is known; the system is empty where the site has not named one.
    Column("patient_system", Text, nullable=False),
    Column("patient_value", Text, nullable=False),
    Column("accession_number", Text),
    Column("age_years", Double),
    Column("sex", Text),
    Column("category", Text, nullable=False),
    Column("lumbar_equivalent_mg_cm3", Double),
    Column("scanned_on", Date),
    Column("rule_ids", JSONB, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("changed_at", MOMENT, nullable=False),
    Column("due_at", MOMENT),
    CheckConstraint(f"state IN ({_one_of(TaskState)})", name="state"),
    CheckConstraint(f"(state IN ({OPEN_TASKS})) = (due_at IS NOT NULL)", name="due"),
    Index("ix_dxa_task_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("ix_dxa_task_patient", "patient_system", "patient_value"),
    # A person is recalled once at a time, however many scans speak for it.
    Index(
        "uq_dxa_task_open_patient",
        "patient_system",
        "patient_value",
        unique=True,
        postgresql_where=text(f"state IN ({OPEN_TASKS})"),
    ),
)
"""One row for each person proposed for a confirming DXA."""

dxa_step = Table(
    "dxa_step",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task_id", ForeignKey("dxa_task.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", MOMENT, nullable=False),
    # Null for the row that made the task.
    Column("event", Text),
    Column("state", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("note", Text),
)
"""Every step of every task."""

dxa_result = Table(
    "dxa_result",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    # Identity of the resource at its source, so that the same result sent twice is one.
    Column("source", Text, nullable=False, unique=True),
    Column("patient_system", Text, nullable=False),
    Column("patient_value", Text, nullable=False),
    Column("task_id", ForeignKey("dxa_task.id", ondelete="SET NULL"), index=True),
    Column("screening_id", ForeignKey("screening.id", ondelete="SET NULL"), index=True),
    Column("measured_on", Date),
    Column("lowest_t_score", Double),
    Column("values", JSONB, nullable=False),
    # What the CT had said, kept as it stood when the DXA came.
    Column("ct_category", Text),
    Column("ct_lumbar_equivalent_mg_cm3", Double),
    Column("days_after_ct", Integer),
    Column("received_at", MOMENT, nullable=False),
    Index("ix_dxa_result_patient", "patient_system", "patient_value"),
)
"""DXA results that came in, each beside the screening it can be compared with."""
