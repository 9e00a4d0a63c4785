"""The tables of durable work. procrastinate's own tables lie beside them in the same database.

Other packages put their tables on the same :data:`METADATA`. Migrations (``migrations/``) make what is drawn here;
a test holds the two against each other.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from trabecula.work.records import Priority
from trabecula.work.states import State

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_STATES = ", ".join(f"'{state.value}'" for state in State)
MOMENT: Final = DateTime(timezone=True)
SHA256: Final = String(64)

screening = Table(
    "screening",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("state", Text, nullable=False, server_default=State.QUEUED.value),
    Column("priority", SmallInteger, nullable=False, server_default=str(int(Priority.ROUTINE))),
    Column("source", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("key_hash", SHA256, unique=True),
    Column("fingerprint", SHA256, nullable=False),
    Column("instances", Integer, nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    # Patient context as sent; deleted together with the pixels.
    Column("patient", JSONB),
    Column("want_masks", Boolean, nullable=False, server_default=text("false")),
    Column("submitted_at", MOMENT, nullable=False),
    Column("started_at", MOMENT),
    Column("ended_at", MOMENT),
    Column("progress_stage", Text),
    Column("progress_fraction", Double),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Column("failure_input_error", Boolean),
    Column("legal_hold", Boolean, nullable=False, server_default=text("false")),
    Column("pixels_deleted_at", MOMENT),
    # W3C Trace Context of the request that brought it.
    Column("traceparent", Text),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    CheckConstraint("(state IN ('queued', 'running')) = (ended_at IS NULL)", name="ended"),
    CheckConstraint("(state = 'failed') = (failure_code IS NOT NULL)", name="failure"),
    Index("ix_screening_newest", text("submitted_at DESC"), text("id DESC")),
    Index("ix_screening_open", "state", postgresql_where=text("state IN ('queued', 'running')")),
    # For retention: what has ended and still has its pixels.
    Index("ix_screening_pixels", "ended_at", postgresql_where=text("pixels_deleted_at IS NULL")),
)
"""One row for each accepted study."""

instance = Table(
    "instance",
    METADATA,
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("sha256", SHA256, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
)
"""A study's files in the order they came; the bytes are in the content store. Rows go when pixels are deleted."""

document = Table(
    "document",
    METADATA,
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("sha256", SHA256, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
)
"""What an ended screening left; the bytes are in the content store."""

transition = Table(
    "transition",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", MOMENT, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text),
)
"""Every step of every screening, appended in the transaction that makes it; ``state`` is the one after it."""
