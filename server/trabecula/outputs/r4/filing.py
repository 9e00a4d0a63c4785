"""How a result is filed: identities, the patient it belongs to, references between its parts."""

from __future__ import annotations

import re
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import Metric, ProjectSystem
from trabecula.outputs.r4.forms import Form, ModelCard
from trabecula.outputs.r4.profiles import Profile
from trabecula.report import ScreeningReport

Json = dict[str, Any]

DEVICE_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:trabecula:device")
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")


@dataclass(frozen=True)
class FhirOptions:
    """What the receiving site decides."""

    base_url: str = "https://trabecula.example/fhir"
    """Canonical base of the project's code systems."""
    patient_reference: str | None = None
    """Literal reference such as ``Patient/123`` when the site has matched the patient already."""
    patient_identifier_system: str | None = None
    """System of the DICOM Patient ID, when the site has named one."""
    page_html: bytes | None = None
    """The HTML page to carry inside the DiagnosticReport; left out where servers would not take its size."""
    page_url: str | None = None
    """Where the HTML page can be fetched; goes out when the page is not carried inside."""
    page_pdf: bytes | None = None
    """The same as PDF; left out where servers would not take its size."""
    pdf_url: str | None = None
    """Where the PDF can be fetched; goes out when it is not carried inside."""
    model_cards: tuple[ModelCard, ...] = ()
    """Cards of installed models; those of models that had a part go out."""
    accession_system: str | None = None
    """Who issues the accession numbers, as a URI; the report then names its order by that number."""
    declare_profiles: bool = True
    """Whether ``meta.profile`` goes out; some servers refuse profiles that they do not know."""

    def forms(self) -> tuple[Form, ...]:
        """The pages that go with the report."""
        page = Form("text/html", "Report page", self.page_html, self.page_url)
        pdf = Form("application/pdf", "Report as PDF", self.page_pdf, self.pdf_url)
        return tuple(form for form in (page, pdf) if form.data is not None or form.url is not None)


@dataclass(frozen=True)
class Filing:
    """One report on its way into a bundle.

    Ids are UUIDv5 of the screening id, which itself follows from study, series, software and models:
    the same result written twice lands on itself. The imaging study's id follows from its UID and the
    device's from its versions, so that screenings share them.
    """

    report: ScreeningReport
    options: FhirOptions

    def system(self, system: ProjectSystem) -> str:
        """Address of a project code system."""
        return f"{self.options.base_url.rstrip('/')}/CodeSystem/{system.value}"

    def canonical(self, address: str) -> str:
        """A project artefact's canonical address below the site's base."""
        return address.replace(FhirOptions.base_url, self.options.base_url.rstrip("/"), 1)

    def metric(self, metric: Metric) -> Json:
        """CodeableConcept of a metric: the project's code first, a standard one beside it."""
        display = codes.METRIC_DISPLAY[metric]
        standard = codes.STANDARD_CODES.get(metric)
        beside = () if standard is None else (codes.coding(*standard),)
        return codes.concept(
            codes.coding(self.system(ProjectSystem.METRICS), metric.value, display), *beside, text=display
        )

    def project_concept(self, system: ProjectSystem, code: str, text: str | None = None) -> Json:
        """CodeableConcept of one project code."""
        return codes.concept(codes.coding(self.system(system), code), text=text)

    def identity(self, resource_type: str, part: str) -> uuid.UUID:
        """Id of a part of this result."""
        return uuid.uuid5(uuid.UUID(self.report.screening_id), f"{resource_type}/{part}")

    @cached_property
    def device_id(self) -> uuid.UUID:
        models = sorted(f"{model.name}@{model.version}:{model.sha256}" for model in self.report.models)
        return uuid.uuid5(DEVICE_NAMESPACE, "|".join((self.report.software_version, *models)))

    @cached_property
    def study_id(self) -> uuid.UUID | None:
        study = self.report.study
        return None if study is None else uuid.uuid5(uuid.NAMESPACE_OID, study.study_instance_uid)

    @cached_property
    def device(self) -> Json:
        return reference("Device", self.device_id)

    @cached_property
    def imaging_study(self) -> Json | None:
        return None if self.study_id is None else reference("ImagingStudy", self.study_id)

    @cached_property
    def accession(self) -> Json | None:
        """The study's accession number, with who issued it when the site has named that."""
        number = None if self.report.study is None else header_text(self.report.study.accession_number)
        if number is None:
            return None
        system = {} if self.options.accession_system is None else {"system": self.options.accession_system}
        return {"type": codes.ACCESSION_TYPE, **system, "value": number}

    @cached_property
    def subject(self) -> Json:
        """The patient: matched by the site, else by identifier, else plainly unknown. No Patient is created."""
        study = self.report.study
        if self.options.patient_reference is not None:
            return {"reference": self.options.patient_reference, "type": "Patient"}
        patient_id = None if study is None else header_text(study.patient_id)
        if study is not None and patient_id is not None:
            identifier: Json = {
                "type": codes.concept(codes.coding(codes.IDENTIFIER_TYPE, "MR", "Medical record number"))
            }
            if self.options.patient_identifier_system is not None:
                identifier["system"] = self.options.patient_identifier_system
            identifier["value"] = patient_id
            issuer = header_text(study.patient_id_issuer)
            if issuer is not None:
                identifier["assigner"] = {"display": issuer}
            return {"type": "Patient", "identifier": identifier}
        return {
            "extension": [codes.UNKNOWN_EXTENSION],
            "type": "Patient",
            "display": "Patient not identified in the images",
        }

    @cached_property
    def effective(self) -> Json:
        """When the scan was made, or that it is not known (US Core asks for one of the two)."""
        if self.acquired is None:
            return {"_effectiveDateTime": {"extension": [codes.UNKNOWN_EXTENSION]}}
        return {"effectiveDateTime": self.acquired}

    @cached_property
    def acquired(self) -> str | None:
        """When the scan was made. A time without zone is no FHIR time, so only its date goes out."""
        acquired = self.report.acquisition.acquired_at if self.report.acquisition else None
        try:
            moment = datetime.fromisoformat(acquired or "")
        except ValueError:
            return None
        whole = moment.tzinfo is not None and _INSTANT.fullmatch(acquired or "")
        return acquired if whole else moment.date().isoformat()

    def head(self, profile: type[Profile], part: str) -> Json:
        """Type, id, profile, AI label and identifier of a part of this result."""
        identity = self.identity(profile.resource_type, part)
        return {
            **self.plain_head(profile, identity),
            "meta": {"profile": [self.profile(profile)], "security": [codes.AI_ASSERTED]},
            "identifier": [own_identifier(identity)],
        }

    def plain_head(self, profile: type[Profile], identity: uuid.UUID) -> Json:
        """Type, id and profile of what the device does not assert."""
        return {
            "resourceType": profile.resource_type,
            "id": str(identity),
            "meta": {"profile": [self.profile(profile)]},
        }

    def profile(self, profile: type[Profile]) -> str:
        """Address of a profile below the site's base."""
        return f"{self.options.base_url.rstrip('/')}/StructureDefinition/{profile.slug}"

    @cached_property
    def model_cards(self) -> tuple[ModelCard, ...]:
        """Cards of the models that had a part, told by their SHA-256."""
        used = {model.sha256 for model in self.report.models}
        return tuple(card for card in self.options.model_cards if card.model_sha256 in used)


def header_text(value: str | None) -> str | None:
    """Text of a DICOM header as a FHIR string may be: printable, not blank; None when nothing is left.

    Separators become spaces; what else cannot be printed shows as U+FFFD, as leaving it out would join what it parts.
    """
    text = "".join(_printable(each) for each in value or "").strip()
    return text if text.strip("\ufffd ") else None


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "\ufffd"


def reference(resource_type: str, identity: uuid.UUID) -> Json:
    """Reference to another entry of the same bundle: literal, since every entry is ``PUT Type/<id>``.

    Not ``urn:uuid:<id>``: a server that replaces such texts would replace the same text in our identifiers.
    """
    return {"reference": f"{resource_type}/{identity}", "type": resource_type}


def own_identifier(identity: uuid.UUID) -> Json:
    """The id again as a business identifier, which stays with the resource wherever it goes."""
    return {"system": codes.URI, "value": f"urn:uuid:{identity}"}
