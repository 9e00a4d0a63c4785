"""A screening as files: what the service keeps and what ``trabecula screen --out`` writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trabecula.outputs import report_json
from trabecula.report import Screening, ScreeningReport
from trabecula.work.records import DocumentKind

if TYPE_CHECKING:
    from trabecula.outputs.r4 import FhirOptions


def write_documents(screening: Screening, folder: Path, fhir: FhirOptions) -> tuple[DocumentKind, ...]:
    """Write every document into an existing folder; the label volume only where the evidence holds it.

    Args:
        fhir: what the receiving site decides; the page is put into the bundle here.

    Raises:
        OSError: if the disk does not take them.
    """
    # Imported here: only workers write documents, and these take a second and much memory to import.
    from trabecula.outputs.page import to_html
    from trabecula.outputs.r4 import to_bundle

    report = screening.report
    page = to_html(screening)
    bundle = to_bundle(report, replace(fhir, page_html=page.encode()))
    _write(folder, DocumentKind.REPORT_JSON, report_json.to_json(report))
    _write(folder, DocumentKind.REPORT_HTML, page)
    _write(folder, DocumentKind.BUNDLE_JSON, json.dumps(bundle, indent=2, ensure_ascii=False) + "\n")
    written = [DocumentKind.REPORT_JSON, DocumentKind.REPORT_HTML, DocumentKind.BUNDLE_JSON]
    if screening.evidence.anatomy is not None:
        from trabecula.outputs.masks import write_masks

        write_masks(screening.evidence.anatomy, folder)
        written += [DocumentKind.ANATOMY_NIFTI, DocumentKind.ANATOMY_LABELS]
    return tuple(written)


def read_report(path: Path) -> ScreeningReport:
    """The report from its ``report.json``.

    Raises:
        InvalidReport: if the file is not one.
    """
    return report_json.from_json(path.read_text(encoding="utf-8"))


def _write(folder: Path, kind: DocumentKind, text: str) -> None:
    (folder / kind.value).write_text(text, encoding="utf-8")
