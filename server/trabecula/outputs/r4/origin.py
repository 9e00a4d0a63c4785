"""Where a result comes from: the device and its versions, the images, the record of their making."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.filing import DEVICE_NAMESPACE, Filing, header_text, own_identifier
from trabecula.outputs.r4.forms import Form, ModelCard
from trabecula.outputs.r4.profiles import (
    AiDevice,
    ModelCardDocumentReference,
    Profile,
    ResultProvenance,
    ScreenedImagingStudy,
)

Json = dict[str, Any]

_FHIR_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""What R4 takes as the UID of a series; a damaged one is left out."""


def device(filing: Filing, cards: Sequence[ModelCardDocumentReference]) -> AiDevice:
    """The software with every model that had a part, by version and SHA-256."""
    report = filing.report
    versions = [
        {"type": codes.concept(text="software"), "value": report.software_version},
        {"type": codes.concept(text="clinical data"), "value": report.clinical_data_version},
        *(
            {"type": codes.concept(text=f"model {model.name}"), "value": f"{model.version} sha256:{model.sha256}"}
            for model in report.models
        ),
    ]
    kinds = [{"url": codes.AI_KIND_EXTENSION, "valueCodeableConcept": kind} for kind in codes.AI_KINDS]
    described = [{"url": codes.MODEL_CARD_EXTENSION, "valueReference": card.reference()} for card in cards]
    return AiDevice(
        {
            **filing.plain_head(AiDevice, filing.device_id),
            "extension": [*kinds, *described],
            "identifier": [own_identifier(filing.device_id)],
            "status": "active",
            "deviceName": [{"name": "Trabecula", "type": "model-name"}],
            "type": codes.AI_DEVICE,
            "version": versions,
        }
    )


def model_card(filing: Filing, card: ModelCard) -> ModelCardDocumentReference | None:
    """The card of a model as a document; None when it is too large to travel and has no address."""
    title = f"Model card of {card.name} {card.version}"
    attachment = Form("text/markdown", title, card.markdown, card.url).attachment()
    if attachment is None:
        return None
    identity = uuid.uuid5(DEVICE_NAMESPACE, f"card/{card.name}@{card.version}:{card.model_sha256}")
    return ModelCardDocumentReference(
        {
            **filing.plain_head(ModelCardDocumentReference, identity),
            "identifier": [own_identifier(identity)],
            "status": "current",
            "type": codes.MODEL_CARD,
            "category": [codes.MODEL_CARD_MARKDOWN],
            "description": title,
            "content": [{"attachment": attachment}],
        }
    )


def imaging_study(filing: Filing) -> ScreenedImagingStudy | None:
    """The study that was read, by its UID, with the series that was used; None when it is not known."""
    study = filing.report.study
    if study is None or filing.study_id is None:
        return None
    uid = header_text(study.study_instance_uid) or "unknown"
    identifiers: list[Json] = [
        {"type": codes.STUDY_UID_TYPE, "system": codes.DICOM_UID, "value": f"urn:oid:{uid}"},
        *(() if filing.accession is None else (filing.accession,)),
    ]
    series = study.series_instance_uid
    return ScreenedImagingStudy(
        {
            **filing.plain_head(ScreenedImagingStudy, filing.study_id),
            "identifier": identifiers,
            "status": "available",
            "modality": [codes.CT_MODALITY],
            "subject": filing.subject,
            **({} if filing.acquired is None else {"started": filing.acquired}),
            **({"series": [{"uid": series, "modality": codes.CT_MODALITY}]} if _FHIR_ID.fullmatch(series) else {}),
        }
    )


def provenance(
    filing: Filing, targets: Sequence[Profile], cards: Sequence[ModelCardDocumentReference]
) -> ResultProvenance:
    """Who made what from what: the device, all results, the images, the cards of the models."""
    study = filing.imaging_study
    entities = [] if study is None else [{"role": "source", "what": study}]
    entities += [{"role": "derivation", "what": card.reference()} for card in cards]
    identity = filing.identity("Provenance", "study")
    return ResultProvenance(
        {
            **filing.plain_head(ResultProvenance, identity),
            "meta": {"profile": [filing.profile(ResultProvenance)], "security": [codes.AI_ASSERTED]},
            "target": [target.reference() for target in targets],
            "recorded": filing.report.created_at,
            "reason": [codes.concept(codes.AI_ASSERTED)],
            "activity": codes.CREATE,
            "agent": [{"type": codes.AUTHOR, "role": [codes.AI_ROLE], "who": filing.device}],
            **({"entity": entities} if entities else {}),
        }
    )
