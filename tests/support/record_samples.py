"""Sample reports as the record keeps them."""

from __future__ import annotations

from typing import Any

import report_samples as samples
from sqlalchemy import text

from trabecula.outputs.r4 import FhirOptions, to_bundle
from trabecula.record import Stored, publish
from trabecula.record.publish import resources_of
from trabecula.report import ScreeningReport
from trabecula.work.database import Database

SYSTEM = "urn:oid:1.2.3"
"""Of the patient's identifier."""
SCREENING = "11111111-1111-4111-8111-111111111111"


async def publish_sample(
    database: Database, report: ScreeningReport | None = None, screening_id: str = SCREENING
) -> tuple[Stored, ...]:
    """Publish a report as the end of a screening does."""
    report = samples.reported() if report is None else report
    bundle = to_bundle(report, FhirOptions(patient_identifier_system=SYSTEM))
    async with database.transaction() as connection:
        await insert_screening(connection, screening_id)
        return await publish(connection, screening_id, report, resources_of(bundle))


async def insert_screening(connection: Any, screening_id: str) -> None:
    """The row that results hang on."""
    await connection.execute(
        text(
            "INSERT INTO screening (id, source, fingerprint, instances, total_bytes, submitted_at) "
            "VALUES (:id, 'grpc', repeat('a', 64), 1, 1, now()) ON CONFLICT DO NOTHING"
        ),
        {"id": screening_id},
    )
