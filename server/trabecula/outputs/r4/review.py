"""A result after a person has looked at it: final, corrected or withdrawn, with the record of who did so.

Pure: reports and a signature in, resources out. Ids stay, so that each becomes a new version of the same resource
on every server that holds it, and the version before stays in that server's history.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.bundle import to_resources
from trabecula.outputs.r4.conclusions import PRELIMINARY
from trabecula.outputs.r4.filing import FhirOptions, Filing, header_text
from trabecula.outputs.r4.profiles import (
    BoneDetectedIssue,
    BoneDiagnosticReport,
    BoneRiskAssessment,
    DxaServiceRequest,
    Profile,
    ResultProvenance,
    ScreeningObservation,
)
from trabecula.report import ScreeningReport

Json = dict[str, Any]

SIGNED: Final = "Made by a machine, reviewed by a physician."
WITHDRAWN: Final = "Withdrawn by a physician."


class SignedStatus(StrEnum):
    """What a decision makes of a result, as FHIR spells it."""

    FINAL = "final"
    CORRECTED = "corrected"
    """Changed after it had been final."""
    ENTERED_IN_ERROR = "entered-in-error"


@dataclass(frozen=True)
class Signature:
    """One decision of a person on a result."""

    status: SignedStatus
    version: int
    """1 for the first decision on this result, 2 for the next."""
    at: str
    """FHIR instant."""
    person_id: str
    person_name: str
    person_system: str | None = None
    """Who gives out the person's id, as a URI."""
    organization: str | None = None
    """Name of the organisation that answers for the report (IHE IMR asks for one)."""
    reason: str | None = None
    """Why the result is withdrawn."""

    @property
    def person(self) -> Json:
        """Reference to the practitioner, by identifier."""
        system = {} if self.person_system is None else {"system": self.person_system}
        return {
            "type": "Practitioner",
            "identifier": {**system, "value": header_text(self.person_id) or "unknown"},
            "display": header_text(self.person_name) or "unknown",
        }


def reviewed_resources(
    report: ScreeningReport,
    before: Sequence[ScreeningReport],
    signature: Signature,
    options: FhirOptions | None = None,
    previous_versions: Mapping[str, str] | None = None,
) -> tuple[Profile, ...]:
    """Everything that a decision changes, in the order of a bundle; ends with the Provenance of the decision.

    Args:
        report: the result as it stands after the decision.
        before: the versions before it, oldest first; what they had and ``report`` has not is withdrawn.
        options: as for the bundle; ``page_html`` and ``page_pdf`` are to be those of the signed report.
        previous_versions: ``Type/id`` to the version id that is replaced, where one server's are known.

    Raises:
        ProfileViolation: if a resource would not keep its profile.
    """
    chosen = options or FhirOptions()
    current = to_resources(report, chosen)
    last = {made.url: made for made in to_resources(before[-1], chosen)} if before else {}
    gone = [made for url, made in _all_of(before, chosen).items() if url not in {each.url for each in current}]
    if signature.status is SignedStatus.ENTERED_IN_ERROR:
        origin, results = _split(current)
        changed = [_withdrawn(made, signature) for made in [*results, *_split(gone)[1]]]
    else:
        origin, results = _split(current)
        changed = [_signed(made, last.get(made.url), signature) for made in results]
        changed += [_withdrawn(made, signature) for made in _split(gone)[1]]
    provenance = _provenance(Filing(report, chosen), changed, signature, previous_versions or {})
    return (*origin, *changed, provenance)


def _all_of(reports: Sequence[ScreeningReport], options: FhirOptions) -> dict[str, Profile]:
    """Every resource that any of the reports made, in its latest form."""
    return {made.url: made for report in reports for made in to_resources(report, options)}


def _split(resources: Sequence[Profile]) -> tuple[list[Profile], list[Profile]]:
    """What the results rest on (device, study, cards), and the results; the record of their making is neither."""
    kinds = (ScreeningObservation, BoneRiskAssessment, BoneDiagnosticReport, BoneDetectedIssue, DxaServiceRequest)
    results: list[Profile] = [made for made in resources if isinstance(made, kinds)]
    origin = [made for made in resources if not isinstance(made, (*kinds, ResultProvenance))]
    return origin, results


def _signed(made: Profile, last: Profile | None, signature: Signature) -> Profile:
    """The resource with the person's name to it; ``corrected`` only where the content is not what it was."""
    content = made.json()
    same = last is not None and last.text == made.text and not isinstance(made, BoneDiagnosticReport)
    status = SignedStatus.FINAL if same else signature.status
    if isinstance(made, DxaServiceRequest):
        return made
    if isinstance(made, BoneDiagnosticReport):
        performer = signature.person if signature.organization is None else _organization(signature.organization)
        conclusion = f"{SIGNED}{content['conclusion'].removeprefix(PRELIMINARY)}"
        return BoneDiagnosticReport(
            {
                **content,
                "status": status.value,
                "issued": signature.at,
                "performer": [performer],
                "resultsInterpreter": [signature.person],
                "conclusion": conclusion,
            }
        )
    if isinstance(made, ScreeningObservation):
        return type(made)({**content, "status": status.value, "issued": signature.at, "performer": [signature.person]})
    # a DetectedIssue knows no ``corrected``
    final = SignedStatus.FINAL if isinstance(made, BoneDetectedIssue) else status
    return type(made)({**content, "status": final.value})


def _withdrawn(made: Profile, signature: Signature) -> Profile:
    """The resource as one that should not be read any more."""
    content = {**made.json(), "status": SignedStatus.ENTERED_IN_ERROR.value}
    if isinstance(made, DxaServiceRequest) and signature.status is not SignedStatus.ENTERED_IN_ERROR:
        content["status"] = "revoked"
    if isinstance(made, BoneDiagnosticReport):
        reason = header_text(" ".join((signature.reason or "").split()))
        because = f" {reason}" if reason else ""
        content |= {
            "issued": signature.at,
            "resultsInterpreter": [signature.person],
            "conclusion": f"{WITHDRAWN}{because}{content['conclusion'].removeprefix(PRELIMINARY)}",
        }
    return type(made)(content)


def _provenance(
    filing: Filing, changed: Sequence[Profile], signature: Signature, previous: Mapping[str, str]
) -> ResultProvenance:
    """Who verified which version of what, and which versions were before."""
    withdrawn = signature.status is SignedStatus.ENTERED_IN_ERROR
    reports = [made for made in changed if isinstance(made, BoneDiagnosticReport)]
    revised = [made for made in changed if made.url in previous] or reports
    identity: uuid.UUID = filing.identity("Provenance", f"review/{signature.version}")
    return ResultProvenance(
        {
            **filing.plain_head(ResultProvenance, identity),
            "target": [made.reference() for made in changed],
            "recorded": signature.at,
            "reason": [codes.concept(codes.AI_ASSERTED)],
            "activity": codes.NULLIFY if withdrawn else codes.UPDATE,
            "agent": [
                {"type": codes.AUTHOR, "role": [codes.AI_ROLE], "who": filing.device},
                {"type": codes.VERIFIER, "who": signature.person},
            ],
            "entity": [{"role": "revision", "what": made.reference(previous.get(made.url))} for made in revised],
        }
    )


def _organization(name: str) -> Json:
    return {"type": "Organization", "display": name}
