"""The R4B classes of ``fhir.resources``: the only module that imports them.

The package's default is R5 and it has no R4; R4B equals R4 4.0.1 on every element used here, which
tests hold with the R4 schema. It is a check of shape, not of codes.
"""

from __future__ import annotations

from typing import Any, Final

from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.detectedissue import DetectedIssue
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.provenance import Provenance
from fhir.resources.R4B.riskassessment import RiskAssessment
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task
from pydantic import ValidationError

from trabecula.errors import ConversionFault

Json = dict[str, Any]

CLASSES: Final[dict[str, Any]] = {
    "AuditEvent": AuditEvent,
    "Bundle": Bundle,
    "DetectedIssue": DetectedIssue,
    "Device": Device,
    "DiagnosticReport": DiagnosticReport,
    "DocumentReference": DocumentReference,
    "ImagingStudy": ImagingStudy,
    "Observation": Observation,
    "Provenance": Provenance,
    "RiskAssessment": RiskAssessment,
    "ServiceRequest": ServiceRequest,
    "Task": Task,
}


def checked(resource: Json) -> Json:
    """``resource`` itself, once its R4B class has accepted it.

    The JSON goes out as built, not as the class would write it: the class turns 112.0 into 112 or a
    float of other digits, and FHIR gives the digits of a decimal a meaning.

    Raises:
        ConversionFault: if the class does not accept it; names the places, quotes no content.
    """
    try:
        CLASSES[resource["resourceType"]].model_validate(resource)
    except ValidationError as error:
        places = sorted({".".join(str(part) for part in fault["loc"]) for fault in error.errors(include_input=False)})
        raise ConversionFault(resource=resource["resourceType"], places=" ".join(places)) from None
    return resource
