"""A screening as files: what the service keeps and what ``trabecula screen --out`` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs import report_json
from trabecula.report import Screening, ScreeningReport
from trabecula.work.packing import packed
from trabecula.work.records import DocumentKind

if TYPE_CHECKING:
    from trabecula.outputs.dicom import DicomOptions
    from trabecula.outputs.r4 import FhirOptions


@dataclass(frozen=True)
class DicomSource:
    """What DICOM results are made of beside the screening."""

    paths: Sequence[Path]
    """The study's files, for their headers."""
    options: DicomOptions
    limits: ImagingLimits
    packed: bool = False
    """Write them as the content store keeps them (:mod:`trabecula.work.packing`)."""


def write_documents(
    screening: Screening, folder: Path, fhir: FhirOptions, *, masks: bool = True, dicom: DicomSource | None = None
) -> tuple[DocumentKind, ...]:
    """Write every document into an existing folder.

    Args:
        fhir: what the receiving site decides; the page is put into the bundle here.
        masks: whether to write the label volume, where the evidence holds it.
        dicom: given, DICOM objects are written as well; a Segmentation only where the evidence holds the labels.

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
    if masks and screening.evidence.anatomy is not None:
        from trabecula.outputs.masks import write_masks

        write_masks(screening.evidence.anatomy, folder)
        written += [DocumentKind.ANATOMY_NIFTI, DocumentKind.ANATOMY_LABELS]
    if dicom is not None:
        written += write_dicom(screening, folder, dicom)
    return tuple(written)


def write_dicom(screening: Screening, folder: Path, dicom: DicomSource) -> list[DocumentKind]:
    """Write the DICOM results into an existing folder.

    Nothing is written when no instance names its study: a result could not be filed beside it.

    Raises:
        InputError: if the study's files cannot be found again.
        OSError: if the disk does not take the objects.
    """
    from trabecula.outputs.dicom import ObjectKind, read_source, to_dicom

    study = screening.report.study
    source = read_source(dicom.paths, None if study is None else study.series_instance_uid or None, dicom.limits)
    if source is None:
        return []
    kinds = {
        ObjectKind.SR: DocumentKind.DICOM_SR,
        ObjectKind.SEG: DocumentKind.DICOM_SEG,
        ObjectKind.PDF: DocumentKind.DICOM_PDF,
        ObjectKind.SC: DocumentKind.DICOM_SC,
    }
    files = to_dicom(screening, source, dicom.options).files()
    for kind, data in files.items():
        (folder / kinds[kind].value).write_bytes(packed(data) if dicom.packed else data)
    return [kinds[kind] for kind in files]


def read_report(path: Path) -> ScreeningReport:
    """The report from its ``report.json``.

    Raises:
        InvalidReport: if the file is not one.
    """
    return report_json.from_json(path.read_text(encoding="utf-8"))


def _write(folder: Path, kind: DocumentKind, text: str) -> None:
    (folder / kind.value).write_text(text, encoding="utf-8")
