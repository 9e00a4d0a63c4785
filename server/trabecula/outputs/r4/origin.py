"""Where a result comes from: the device and its versions, the images, the record of their making."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.filing import Filing, header_text, resource_reference

Json = dict[str, Any]

_FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""What R4 takes as the UID of a series; a damaged one is left out."""


def device(filing: Filing) -> Json:
    """The software with every model that had a part, by version and sha256."""
    report = filing.report
    versions = [
        {"type": codes.concept(text="software"), "value": report.software_version},
        {"type": codes.concept(text="clinical data"), "value": report.clinical_data_version},
        *(
            {"type": codes.concept(text=f"model {model.name}"), "value": f"{model.version} sha256:{model.sha256}"}
            for model in report.models
        ),
    ]
    return {
        "resourceType": "Device",
        "id": str(filing.device_id),
        "identifier": [{"system": codes.URI, "value": f"urn:uuid:{filing.device_id}"}],
        "status": "active",
        "deviceName": [{"name": "Trabecula", "type": "model-name"}],
        "type": codes.AI_DEVICE,
        "version": versions,
    }


def imaging_study(filing: Filing) -> Json | None:
    """The study that was read, by its UID, with the series that was used; None when it is not known."""
    study = filing.report.study
    if study is None or filing.study_id is None:
        return None
    identifiers: list[Json] = [
        {"system": codes.DICOM_UID, "value": f"urn:oid:{header_text(study.study_instance_uid) or 'unknown'}"}
    ]
    number = header_text(study.accession_number)
    if number is not None:
        accession = codes.concept(codes.coding(codes.IDENTIFIER_TYPE, "ACSN", "Accession ID"))
        identifiers.append({"type": accession, "value": number})
    uid = study.series_instance_uid
    started = filing.effective.get("effectiveDateTime")
    return {
        "resourceType": "ImagingStudy",
        "id": str(filing.study_id),
        "identifier": identifiers,
        "status": "available",
        "modality": [codes.CT_MODALITY],
        "subject": filing.subject,
        **({} if started is None else {"started": started}),
        **({"series": [{"uid": uid, "modality": codes.CT_MODALITY}]} if _FHIR_ID.fullmatch(uid) else {}),
    }


def provenance(filing: Filing, targets: Sequence[Json]) -> Json:
    """Who made what from what: the device, all results, the images."""
    study = filing.imaging_study
    return {
        "resourceType": "Provenance",
        "id": str(filing.identity("Provenance", "study")),
        "meta": {"security": [codes.AI_ASSERTED]},
        "target": [resource_reference(target) for target in targets],
        "recorded": filing.report.created_at,
        "reason": [codes.concept(codes.AI_ASSERTED)],
        "activity": codes.CREATE,
        "agent": [{"type": codes.AUTHOR, "who": filing.device}],
        **({} if study is None else {"entity": [{"role": "source", "what": study}]}),
    }
