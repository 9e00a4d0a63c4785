"""How results are filed in the study: identities, dates, series, who made them, whether a person has verified them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import PYDICOM_ROOT_UID, generate_uid

from trabecula.outputs.dicom.source import SourceImage, SourceStudy
from trabecula.report import ScreeningReport

MANUFACTURER: Final = "Trabecula"
MODEL_NAME: Final = "Trabecula"
CREATOR: Final = "Trabecula^"
NOT_VERIFIED: Final = "AI result, not verified by a person. Research use."
VERIFIED: Final = "AI result, verified by a person. Research use."
REJECTED: Final = "AI result, rejected by a person: do not use it."


class ObjectKind(StrEnum):
    """The objects made of one screening; each has a series of its own, for a series has one modality."""

    SEG = "seg"
    SR = "sr"
    PDF = "pdf"
    SC = "sc"


SERIES_NUMBERS: Final = {ObjectKind.SEG: 9301, ObjectKind.SR: 9302, ObjectKind.PDF: 9303, ObjectKind.SC: 9304}
"""Far above those that scanners give."""
SERIES_DESCRIPTIONS: Final = {
    ObjectKind.SEG: "Trabecula AI vertebrae and tissue",
    ObjectKind.SR: "Trabecula AI bone measurements",
    ObjectKind.PDF: "Trabecula AI bone report",
    ObjectKind.SC: "Trabecula AI bone summary picture",
}


@dataclass(frozen=True)
class Signature:
    """The person who verified a result. Personal data: never logged."""

    observer: str
    """DICOM person name, ``Family^Given``."""
    organization: str
    signed_at: str
    """ISO 8601 with zone."""
    version: int = 1
    """Rises with every signed version of the same screening, so that each is an object of its own."""


@dataclass(frozen=True)
class DicomOptions:
    """What the site decides."""

    zone: tzinfo | None = None
    """Time zone of dates and times in the objects; None takes the machine's."""
    signature: Signature | None = None
    """When given the objects are final and verified; else preliminary and unverified."""


@dataclass(frozen=True, eq=False)
class Filing:
    """One screening on its way into the study it came from."""

    report: ScreeningReport
    source: SourceStudy
    options: DicomOptions

    def uid(self, kind: ObjectKind, part: str) -> str:
        """Deterministic UID of a part: the same study, software, models, settings and patient context give the same."""
        return str(generate_uid(prefix=PYDICOM_ROOT_UID, entropy_srcs=[*self._entropy(), kind.value, part]))

    def instance_uid(self, kind: ObjectKind) -> str:
        """SOP Instance UID; a signed version differs from the preliminary one."""
        signature = self.options.signature
        return self.uid(kind, "instance" if signature is None else f"instance-signed-{signature.version}")

    def series_uid(self, kind: ObjectKind) -> str:
        return self.uid(kind, "series")

    def tracking_uid(self, part: str) -> str:
        return self.uid(ObjectKind.SR, f"tracking/{part}")

    @property
    def device_uid(self) -> str:
        """Of the software with its models."""
        models = sorted(f"{model.name}:{model.version}:{model.sha256}" for model in self.report.models)
        return str(generate_uid(entropy_srcs=["trabecula-device", self.report.software_version, *models]))

    def _entropy(self) -> list[str]:
        report = self.report
        settings: list[Any] = [
            asdict(report.patient),
            None if report.assessment is None else report.assessment.profile,
            None if report.calibration is None else report.calibration.model_version,
            [] if report.calibration is None else [[step.name, step.source] for step in report.calibration.corrections],
            sorted(f"{model.name}:{model.sha256}" for model in report.models),
        ]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()
        return [
            "trabecula-result",
            self.source.study_uid,
            self.source.series_uid,
            report.software_version,
            report.clinical_data_version,
            digest,
        ]

    @property
    def moment(self) -> datetime:
        """When the content was made: the report's time, or the signature's."""
        signature = self.options.signature
        text = self.report.created_at if signature is None else signature.signed_at
        return datetime.fromisoformat(text).astimezone(self.options.zone).replace(microsecond=0)

    @property
    def series(self) -> dict[str, Any]:
        """Arguments that all of highdicom's constructors share."""
        return {
            "instance_number": 1,
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": MODEL_NAME,
            "software_versions": self.report.software_version,
            "device_serial_number": self.device_uid[-16:],
            "specific_character_set": "ISO_IR 192",
        }

    @property
    def patient(self) -> dict[str, Any]:
        """Arguments by which highdicom's constructors take patient and study, where they are not given an image."""
        header = self.source.header
        return {
            "patient_id": header.PatientID,
            "patient_name": header.PatientName,
            "patient_birth_date": header.PatientBirthDate,
            "patient_sex": header.PatientSex,
            "accession_number": header.AccessionNumber,
            "study_id": header.StudyID,
            "study_date": header.StudyDate,
            "study_time": header.StudyTime,
            "referring_physician_name": header.ReferringPhysicianName,
        }

    def source_item(self, image: SourceImage) -> Dataset:
        """Reference to a source image."""
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.sop_class, image.sop_uid
        return item

    def series_of(self, kind: ObjectKind) -> dict[str, Any]:
        """The same, and what is the kind's own."""
        return {
            **self.series,
            "series_instance_uid": self.series_uid(kind),
            "sop_instance_uid": self.instance_uid(kind),
            "series_number": SERIES_NUMBERS[kind],
            "series_description": SERIES_DESCRIPTIONS[kind],
        }

    def finish(self, dataset: Dataset) -> Dataset:
        """Put the report's own time in place of the clock's, so that the same report gives the same bytes."""
        moment = self.moment
        day, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
        dataset.InstanceCreationDate, dataset.InstanceCreationTime = day, time
        dataset.SeriesDate, dataset.SeriesTime = day, time
        if "ContentDate" in dataset:
            dataset.ContentDate, dataset.ContentTime = day, time
        for item in dataset.get("ContributingEquipmentSequence", ())[-1:]:  # highdicom names itself last
            item.ContributionDateTime = f"{day}{time}"
        return dataset

    @property
    def statement(self) -> str:
        """What a reader must know before anything else."""
        return NOT_VERIFIED if self.options.signature is None else VERIFIED
