"""One class for each profile of the guide in ``fhir/``, named as the profile; its objects keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from trabecula.errors import ProfileViolation
from trabecula.outputs.r4.profiles.base import Profile
from trabecula.outputs.r4.profiles.conclusions import (
    BoneDetectedIssue,
    BoneDiagnosticReport,
    BoneRiskAssessment,
    DxaServiceRequest,
)
from trabecula.outputs.r4.profiles.observations import (
    BodyCompositionObservation,
    LumbarEquivalentBmdObservation,
    MeanTrabecularBmdObservation,
    QualityObservation,
    ScreeningObservation,
    SecondReaderObservation,
    TrabecularBmdObservation,
)
from trabecula.outputs.r4.profiles.origin import (
    AiDevice,
    ModelCardDocumentReference,
    ResultProvenance,
    ScreenedImagingStudy,
)
from trabecula.outputs.r4.profiles.programme import AccessAuditEvent, ProgrammeTask
from trabecula.outputs.r4.profiles.rule import Rule, at

PROFILES: Final[dict[str, type[Profile]]] = {
    profile.slug: profile
    for profile in (
        AiDevice,
        ModelCardDocumentReference,
        ScreenedImagingStudy,
        TrabecularBmdObservation,
        MeanTrabecularBmdObservation,
        LumbarEquivalentBmdObservation,
        BodyCompositionObservation,
        SecondReaderObservation,
        QualityObservation,
        BoneRiskAssessment,
        BoneDiagnosticReport,
        DxaServiceRequest,
        BoneDetectedIssue,
        ProgrammeTask,
        ResultProvenance,
        AccessAuditEvent,
    )
}
"""Every profile by the id of its StructureDefinition."""


def profile_of(content: Mapping[str, Any]) -> Profile:
    """A resource that was stored or received, as an object of the profile that it declares.

    Raises:
        ProfileViolation: if it declares none of ours or does not keep it.
        ConversionFault: if it is not R4.
    """
    for url in at(dict(content), "meta.profile"):
        found = PROFILES.get(str(url).split("|")[0].rsplit("/", 1)[-1])
        if found is not None:
            return found(content)
    raise ProfileViolation(profile="none", rules="meta.profile")


__all__ = [
    "PROFILES",
    "AccessAuditEvent",
    "AiDevice",
    "BodyCompositionObservation",
    "BoneDetectedIssue",
    "BoneDiagnosticReport",
    "BoneRiskAssessment",
    "DxaServiceRequest",
    "LumbarEquivalentBmdObservation",
    "MeanTrabecularBmdObservation",
    "ModelCardDocumentReference",
    "Profile",
    "ProgrammeTask",
    "QualityObservation",
    "ResultProvenance",
    "Rule",
    "ScreenedImagingStudy",
    "ScreeningObservation",
    "SecondReaderObservation",
    "TrabecularBmdObservation",
    "profile_of",
]
