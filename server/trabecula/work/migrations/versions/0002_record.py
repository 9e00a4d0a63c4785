"""Tables of ``trabecula.record``."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

revision = "0002"
down_revision: str | None = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Forward."""
    _resource()
    _history()
    _audit_event()
    _result()
    op.create_table(
        "page_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_page_key"),
    )
    op.create_table(
        "screen_request",
        sa.Column("id", sa.Uuid(as_uuid=False)),
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("force", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("requested_by", sa.Text),
        sa.Column("requested_at", _MOMENT, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("screening_id", sa.Uuid(as_uuid=False)),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_screen_request"),
    )
    op.create_index("ix_screen_request_study", "screen_request", ["study_uid", sa.text("requested_at DESC")])


def downgrade() -> None:
    """Back."""
    for name in ("screen_request", "page_key", "result", "audit_event", "resource_history", "resource"):
        op.drop_table(name)
    op.execute("DROP FUNCTION audit_event_is_append_only()")


def _found_by() -> list[sa.Column[object]]:
    return [
        sa.Column("status", sa.Text),
        sa.Column("patient_reference", sa.Text),
        sa.Column("patient_identifier", sa.Text),
        sa.Column("date_from", _MOMENT),
        sa.Column("date_to", _MOMENT),
        sa.Column("search_keys", ARRAY(sa.Uuid()), nullable=False),
    ]


def _found_by_indexes(name: str) -> None:
    op.create_index(
        f"ix_{name}_keys", name, ["search_keys"], postgresql_using="gin", postgresql_with={"fastupdate": "off"}
    )
    op.create_index(f"ix_{name}_newest", name, ["type", sa.text("last_updated DESC"), sa.text("seq DESC")])
    op.create_index(f"ix_{name}_date", name, ["type", sa.text("date_from DESC NULLS LAST"), sa.text("seq DESC")])


def _resource() -> None:
    op.create_table(
        "resource",
        sa.Column("seq", sa.BigInteger, sa.Identity()),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("last_updated", _MOMENT, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.Column("screening_id", sa.Uuid(as_uuid=False)),
        *_found_by(),
        sa.PrimaryKeyConstraint("seq", name="pk_resource"),
        sa.UniqueConstraint("type", "id", name="uq_resource_identity"),
        sa.ForeignKeyConstraint(
            ["screening_id"], ["screening.id"], name="fk_resource_screening_id_screening", ondelete="SET NULL"
        ),
    )
    op.create_index("ix_resource_screening_id", "resource", ["screening_id"])
    _found_by_indexes("resource")


def _history() -> None:
    op.create_table(
        "resource_history",
        sa.Column("type", sa.Text),
        sa.Column("id", sa.Text),
        sa.Column("version", sa.Integer),
        sa.Column("last_updated", _MOMENT, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.Column("screening_id", sa.Uuid(as_uuid=False)),
        sa.Column("patient_reference", sa.Text),
        sa.Column("patient_identifier", sa.Text),
        sa.PrimaryKeyConstraint("type", "id", "version", name="pk_resource_history"),
    )


def _audit_event() -> None:
    op.create_table(
        "audit_event",
        sa.Column("seq", sa.BigInteger, sa.Identity()),
        sa.Column("type", sa.Text, nullable=False, server_default="AuditEvent"),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("last_updated", _MOMENT, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("content", JSON, nullable=False),
        sa.Column("screening_id", sa.Uuid(as_uuid=False)),
        *_found_by(),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_event"),
        sa.UniqueConstraint("id", name="uq_audit_event_id"),
    )
    _found_by_indexes("audit_event")
    op.execute(
        "CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit_event is append-only' USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_append_only()"
    )


def _result() -> None:
    op.create_table(
        "result",
        sa.Column("report_id", sa.Text),
        sa.Column("screening_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("study_uid", sa.Text),
        sa.Column("patient_system", sa.Text, nullable=False, server_default=""),
        sa.Column("patient_value", sa.Text),
        sa.Column("patient_reference", sa.Text),
        sa.Column("effective", _MOMENT),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("summary", JSONB, nullable=False),
        sa.Column("facts", JSONB),
        sa.PrimaryKeyConstraint("report_id", name="pk_result"),
    )
    for column in ("screening_id", "study_uid", "patient_reference"):
        op.create_index(f"ix_result_{column}", "result", [column])
    newest = [sa.text("effective DESC NULLS LAST"), sa.text("report_id DESC")]
    op.create_index("ix_result_patient", "result", ["patient_value", "patient_system", *newest])
