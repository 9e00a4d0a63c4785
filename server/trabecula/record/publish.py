"""The result sink of the record: what a screening found becomes readable in the transaction that ends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.assessment.facts import Fact, gather
from trabecula.clinical import ClinicalConstants, load_constants
from trabecula.record.results import put_result, summary_of
from trabecula.record.store import Stored, put
from trabecula.report import ScreeningReport
from trabecula.work.records import DocumentKind, Job, ScreeningRecord
from trabecula.work.runner import Completion

Json = dict[str, Any]


async def publish_result(
    connection: AsyncConnection,
    record: ScreeningRecord,
    job: Job,
    completion: Completion,
    constants: ClinicalConstants | None = None,
) -> None:
    """A result sink: the resources of the screening's bundle and its row of results.

    Raises:
        OSError: if the bundle is not there.
        InvalidRequest: if a resource has no usable id.
    """
    bundle = await asyncio.to_thread(_read, job.results / DocumentKind.BUNDLE_JSON.value)
    await publish(connection, record.screening_id, completion.report, resources_of(bundle), constants)


async def publish(
    connection: AsyncConnection,
    screening_id: str,
    report: ScreeningReport,
    resources: Sequence[Json],
    constants: ClinicalConstants | None = None,
) -> tuple[Stored, ...]:
    """Write a report's resources and its row of results.

    Args:
        screening_id: the service's id of the screening, which a repeated study has a new one of.
        constants: those that the study was read with; None for the packaged ones.
    """
    stored = await put(connection, resources, screening_id=screening_id)
    summary_report = next((each for each in stored if each.type == "DiagnosticReport"), None)
    if summary_report is None:
        return stored
    content = next(each for each in resources if each["resourceType"] == "DiagnosticReport")
    await put_result(
        connection,
        report_id=summary_report.id,
        screening_id=screening_id,
        study_uid=None if report.study is None else report.study.study_instance_uid,
        patient_reference=summary_report.patient_reference,
        patient_identifier=summary_report.patient_identifier,
        created_at=_moment(report.created_at),
        summary=summary_of(report, content.get("effectiveDateTime")),
        facts=facts_of_report(report, constants or load_constants()),
    )
    return stored


def resources_of(bundle: Json) -> tuple[Json, ...]:
    """The resources of a bundle, in order."""
    return tuple(entry["resource"] for entry in bundle.get("entry", ()) if "resource" in entry)


def facts_of_report(report: ScreeningReport, constants: ClinicalConstants) -> dict[str, Fact] | None:
    """The facts that the rules looked at; None for a refused study."""
    if report.assessment is None or report.density is None:
        return None
    return dict(gather(report.assessment, report.density, report.vertebrae, report.patient, constants))


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _read(path: Path) -> Json:
    bundle: Json = json.loads(path.read_bytes())
    return bundle
