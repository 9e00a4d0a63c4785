"""Tables of CDS Hooks: cards that were shown, what became of them, tokens that were used."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, LargeBinary, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from trabecula.work.schema import METADATA, MOMENT, SHA256

hook_card: Final = Table(
    "hook_card",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("service", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("indicator", Text, nullable=False),
    Column("screening_id", Uuid(as_uuid=False)),
    Column("client", Text, nullable=False),
    Column("shown_at", MOMENT, nullable=False, index=True),
)
"""One row for each card of each hook instance. Holds no patient data beside the screening's id."""

hook_feedback: Final = Table(
    "hook_feedback",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    # No foreign key: feedback may outlive its card, or come for one that was never ours.
    Column("card_id", Uuid(as_uuid=False), nullable=False),
    Column("service", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("suggestions", JSONB, nullable=False),
    Column("reason_system", Text),
    Column("reason_code", Text),
    # A clinician's own words: may hold patient data.
    Column("comment", Text),
    Column("outcome_at", MOMENT, nullable=False),
    Column("received_at", MOMENT, nullable=False),
    # Over all that was said, so that a repeated delivery is the same row.
    Column("digest", SHA256, nullable=False, unique=True),
    Index("ix_hook_feedback_card", "card_id"),
)
"""What became of cards, appended; one card may have several rows."""

hook_token: Final = Table(
    "hook_token",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("expires_at", MOMENT, nullable=False, index=True),
    # Unlogged: no WAL for what is worth minutes. A crash of the server empties it; what was used in the minutes
    # before could then be used once more.
    prefixes=["UNLOGGED"],
)
"""SHA-256 of issuer and jti of tokens that were used, until they expire."""

TABLES: Final = (hook_card, hook_feedback, hook_token)
