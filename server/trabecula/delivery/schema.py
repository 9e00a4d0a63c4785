"""The tables of delivery, on the database's one set of tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from trabecula.delivery.states import DeliveryState
from trabecula.work.schema import METADATA, MOMENT

_STATES: Final = ", ".join(f"'{state.value}'" for state in DeliveryState)

delivery = Table(
    "delivery",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    # Counts through all deliveries; of one chain the higher is the newer.
    Column("sequence", BigInteger, Identity(), nullable=False, unique=True),
    Column("destination", Text, nullable=False),
    Column("chain", Uuid(as_uuid=False), nullable=False),
    Column("screening_id", ForeignKey("screening.id", ondelete="CASCADE"), index=True),
    Column("topic", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=DeliveryState.PENDING.value),
    # FHIR resources as sent, for as long as they may have to be; patient data.
    Column("payload", Text),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("created_at", MOMENT, nullable=False),
    # Since when it has been tried; an operator's release begins anew.
    Column("waiting_since", MOMENT, nullable=False),
    Column("due_at", MOMENT, nullable=False),
    Column("lease_until", MOMENT),
    Column("ended_at", MOMENT),
    Column("reason", Text),
    Column("status", SmallInteger),
    Column("way", Text),
    Column("left_out", JSONB),
    Column("superseded_by", Uuid(as_uuid=False)),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name="lease"),
    CheckConstraint("(state IN ('delivered', 'cancelled', 'superseded')) = (ended_at IS NOT NULL)", name="ended"),
    CheckConstraint("(state = 'superseded') = (superseded_by IS NOT NULL)", name="superseded"),
    CheckConstraint("state IN ('pending', 'sending', 'parked') OR payload IS NULL", name="payload"),
    Index("ix_delivery_due", "destination", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_delivery_open", "state", "created_at", postgresql_where=text("ended_at IS NULL")),
    Index("ix_delivery_chain", "chain", "destination", "sequence"),
)
"""One row for each destination and version of a result. The payload goes when the delivery ends."""

delivery_attempt = Table(
    "delivery_attempt",
    METADATA,
    Column("delivery_id", ForeignKey("delivery.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("started_at", MOMENT, nullable=False),
    Column("ended_at", MOMENT),
    # The step that ended it; empty while it goes on.
    Column("step", Text),
    Column("reason", Text),
    Column("status", SmallInteger),
    # The server's OperationOutcome; may quote patient data.
    Column("outcome", JSONB),
)
"""Every attempt, with what the destination answered."""

delivery_identity = Table(
    "delivery_identity",
    METADATA,
    Column("destination", Text, primary_key=True),
    Column("resource_type", Text, primary_key=True),
    Column("resource_id", Text, primary_key=True),
    Column("server_id", Text, nullable=False),
    # Of the content that the server acknowledged; empty where the resource is not ours to change.
    Column("digest", Text, nullable=False),
)
"""Under which id a destination that gives its own keeps a resource of ours."""

delivery_destination = Table(
    "delivery_destination",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("capability", JSONB),
    Column("capability_at", MOMENT),
    Column("refused_rungs", JSONB),
    Column("refused_types", JSONB),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("closed_until", MOMENT),
)
"""What is known of each destination: what it can do, and whether it is left alone for a while."""
