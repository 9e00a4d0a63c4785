"""Table of what came by C-STORE or STOW-RS and was acknowledged."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from trabecula.work.schema import METADATA, MOMENT, SHA256

received: Final = Table(
    "dimse_received",
    METADATA,
    Column("study_uid", Text, primary_key=True),
    Column("sop_uid", Text, primary_key=True),
    Column("sop_class", Text, nullable=False),
    # Content that a row names is never collected.
    Column("sha256", SHA256, nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", MOMENT, nullable=False),
    # When it became part of an accepted study; it stays for a while, so that late instances join the whole study.
    Column("accepted_at", MOMENT),
    Index("ix_dimse_received_open", "study_uid", postgresql_where=text("accepted_at IS NULL")),
    Index("ix_dimse_received_sop", "sop_uid"),
)
"""One row for each instance; one that comes again replaces its row."""
