"""Tables of the record: FHIR resources in their versions, what they are found by, and who looked at them.

``content`` is ``json``, not ``jsonb``: what was written comes out to the digit (``112.50`` stays so) and in its order,
and answers are put together from text without reading it again.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from trabecula.work.schema import METADATA, MOMENT, SHA256


def _found_by() -> list[Column[Any]]:
    """What a resource is found by, drawn from its content when it is written."""
    return [
        # Drawn out because contents may be long (a report carries its page) and a status is asked for often.
        Column("status", Text),
        Column("patient_reference", Text),
        Column("patient_identifier", Text),
        # The period of its main date: from (inclusive) to (exclusive), as R4 reads a date of any precision.
        Column("date_from", MOMENT),
        Column("date_to", MOMENT),
        # 128-bit hashes of all that it can be searched by (trabecula.record.keys): no identifier lies in the index.
        Column("search_keys", ARRAY(Uuid(as_uuid=True)), nullable=False),
    ]


def _indexes(name: str) -> list[Index]:
    return [
        # Without the pending list a look-up never pays for somebody else's writing.
        Index(f"ix_{name}_keys", "search_keys", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
        Index(f"ix_{name}_newest", "type", text("last_updated DESC"), text("seq DESC")),
        Index(f"ix_{name}_date", "type", text("date_from DESC NULLS LAST"), text("seq DESC")),
    ]


resource: Final = Table(
    "resource",
    METADATA,
    Column("seq", BigInteger, Identity(), primary_key=True),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("last_updated", MOMENT, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    # Hash of the content without its version: equal content makes no version.
    Column("content_sha256", SHA256, nullable=False),
    Column("content", JSON, nullable=False),
    Column("screening_id", ForeignKey("screening.id", ondelete="SET NULL"), index=True),
    *_found_by(),
    UniqueConstraint("type", "id", name="uq_resource_identity"),
    *_indexes("resource"),
)
"""The current version of each resource."""

resource_history: Final = Table(
    "resource_history",
    METADATA,
    Column("type", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("last_updated", MOMENT, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("content", JSON, nullable=False),
    Column("screening_id", Uuid(as_uuid=False)),
    Column("patient_reference", Text),
    Column("patient_identifier", Text),
)
"""Versions that were overtaken; never changed."""

audit_event: Final = Table(
    "audit_event",
    METADATA,
    Column("seq", BigInteger, Identity(), primary_key=True),
    Column("type", Text, nullable=False, server_default="AuditEvent"),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("last_updated", MOMENT, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),
    Column("content", JSON, nullable=False),
    Column("screening_id", Uuid(as_uuid=False)),
    *_found_by(),
    UniqueConstraint("id", name="uq_audit_event_id"),
    *_indexes("audit_event"),
)
"""Who looked at or changed what, as AuditEvent. A trigger refuses to change or delete a row."""

result: Final = Table(
    "result",
    METADATA,
    Column("report_id", Text, primary_key=True),
    Column("screening_id", Uuid(as_uuid=False), nullable=False, index=True),
    Column("study_uid", Text, index=True),
    # '' where the site has named no system.
    Column("patient_system", Text, nullable=False, server_default=""),
    Column("patient_value", Text),
    Column("patient_reference", Text, index=True),
    Column("effective", MOMENT),
    Column("created_at", MOMENT, nullable=False),
    Column("summary", JSONB, nullable=False),
    # The facts that the rules looked at; null for a refused study.
    Column("facts", JSONB),
    Index(
        "ix_result_patient",
        "patient_value",
        "patient_system",
        text("effective DESC NULLS LAST"),
        text("report_id DESC"),
    ),
)
"""One row for each DiagnosticReport: what an answer within milliseconds needs of it (a card, ``$apply``)."""

page_key: Final = Table(
    "page_key",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("created_at", MOMENT, nullable=False),
)
"""Key under which links to following pages are sealed (JWK); all replicas share it."""

screen_request: Final = Table(
    "screen_request",
    METADATA,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("force", Boolean, nullable=False, server_default=text("false")),
    Column("requested_by", Text),
    Column("requested_at", MOMENT, nullable=False),
    Column("state", Text, nullable=False),
    Column("screening_id", Uuid(as_uuid=False)),
    Column("failure_code", Text),
    Column("failure_message", Text),
    Index("ix_screen_request_study", "study_uid", text("requested_at DESC")),
)
"""Studies asked for over FHIR (``$screen-bone``), from the asking to the screening they became."""

TABLES: Final = (resource, resource_history, audit_event, result, page_key, screen_request)
