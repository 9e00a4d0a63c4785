"""All objects of one screening."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.dataset import Dataset

from trabecula.outputs.dicom.filing import DicomOptions, Filing, ObjectKind
from trabecula.outputs.dicom.pdf import to_encapsulated_pdf
from trabecula.outputs.dicom.sc import to_secondary_capture
from trabecula.outputs.dicom.seg import to_seg
from trabecula.outputs.dicom.source import SourceStudy
from trabecula.outputs.dicom.sr import to_sr
from trabecula.report import Screening


@dataclass(frozen=True, eq=False)
class DicomResults:
    """The objects, by kind; without a Segmentation where nothing was segmented."""

    datasets: dict[ObjectKind, Dataset]

    def files(self) -> dict[ObjectKind, bytes]:
        """The objects as DICOM files (PS3.10)."""
        return {kind: encode(dataset) for kind, dataset in self.datasets.items()}


def to_dicom(screening: Screening, source: SourceStudy, options: DicomOptions = DicomOptions()) -> DicomResults:  # noqa: B008 - frozen
    """Every object that this screening gives.

    Reported studies give all four where the evidence holds the labels; refused ones give SR, PDF and picture with the
    reasons. The same screening and source give the same bytes.
    """
    filing = Filing(screening.report, source, options)
    with _quiet_libraries():
        seg = to_seg(screening, filing)
        datasets = {} if seg is None else {ObjectKind.SEG: seg.dataset}
        datasets[ObjectKind.SR] = to_sr(filing, seg)
        datasets[ObjectKind.PDF] = to_encapsulated_pdf(screening, filing)
        datasets[ObjectKind.SC] = to_secondary_capture(screening, filing)
    return DicomResults(datasets)


def encode(dataset: Dataset) -> bytes:
    """One object as a DICOM file."""
    buffer = io.BytesIO()
    with _quiet_libraries():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep the libraries' own complaints out of the process's logs: they quote header values."""

    def drop(_record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom", "highdicom.base", "highdicom.content")]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\.|$)")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)
