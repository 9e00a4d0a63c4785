"""Reading what EHRs send: JSON to values, by pydantic; nothing past here sees unchecked input.

Keys that are not known are left alone, as the specification asks for. Resources are taken as they are: what is odd in
them is met where they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from trabecula.errors import InvalidRequest
from trabecula.hooks.chart import FHIR_ID
from trabecula.hooks.requests import Context, Feedback, FhirAccess, HookRequest
from trabecula.hooks.services import Service

MAX_DRAFTS: Final = 200
MAX_FEEDBACK: Final = 100
MAX_COMMENT: Final = 4000

_NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL keeps no NUL."""
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=_NO_NUL)]
M = TypeVar("M", bound=BaseModel)
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Authorization(_Model):
    access_token: Annotated[str, StringConstraints(min_length=1, max_length=16384, pattern=r"^[\x21-\x7e]+$")]
    token_type: Annotated[str, StringConstraints(max_length=64)]
    expires_in: int
    scope: str = ""
    subject: str
    patient: str | None = None


class _Context(_Model):
    userId: Text  # noqa: N815 - names of the wire
    patientId: Text  # noqa: N815
    encounterId: Text | None = None  # noqa: N815
    selections: Annotated[list[Text], Field(max_length=MAX_DRAFTS)] | None = None
    draftOrders: dict[str, Any] | None = None  # noqa: N815


class _Request(_Model):
    hook: Text
    hookInstance: UUID  # noqa: N815
    context: _Context
    prefetch: dict[str, Any] | None = None
    fhirServer: Url | None = None  # noqa: N815
    fhirAuthorization: _Authorization | None = None  # noqa: N815


class _Coding(_Model):
    code: Annotated[str, StringConstraints(max_length=256, pattern=_NO_NUL)] | None = None
    system: Annotated[str, StringConstraints(max_length=1024, pattern=_NO_NUL)] | None = None


class _OverrideReason(_Model):
    reason: _Coding | None = None
    userComment: Annotated[str, StringConstraints(max_length=MAX_COMMENT, pattern=_NO_NUL)] | None = None  # noqa: N815


class _Suggestion(_Model):
    id: Text


class _Item(_Model):
    card: UUID
    outcome: Literal["accepted", "overridden"]
    acceptedSuggestions: Annotated[list[_Suggestion], Field(max_length=100)] | None = None  # noqa: N815
    overrideReason: _OverrideReason | None = None  # noqa: N815
    outcomeTimestamp: datetime  # noqa: N815


class _Feedback(_Model):
    feedback: Annotated[list[_Item], Field(min_length=1, max_length=MAX_FEEDBACK)]


def read_request(body: bytes, service: Service) -> HookRequest:
    """A call of a service.

    Raises:
        InvalidRequest: if it is no JSON, breaks the specification, or is for another hook; names the element.
    """
    found = _read(_Request, body)
    if found.hook != service.hook.value:
        raise InvalidRequest(field="hook", must_be=service.hook.value)
    if found.fhirAuthorization is not None and found.fhirServer is None:
        raise InvalidRequest(field="fhirServer", must_be="given with fhirAuthorization")
    return HookRequest(
        hook=service.hook,
        hook_instance=str(found.hookInstance),
        context=_context(found.context, service),
        prefetch=found.prefetch or {},
        fhir=_access(found),
    )


def read_feedback(body: bytes) -> tuple[Feedback, ...]:
    """Feedback on cards.

    Raises:
        InvalidRequest: if it is no JSON or breaks the specification; names the element.
    """
    items = _read(_Feedback, body).feedback
    if any(item.outcome == "accepted" and not item.acceptedSuggestions for item in items):
        raise InvalidRequest(field="feedback.acceptedSuggestions", must_be="given when a card was accepted")
    return tuple(map(_feedback, items))


def _read(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(from_json(body, allow_inf_nan=False))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in fault["loc"] if isinstance(part, str)) or "body"
        raise InvalidRequest(field=field, must_be=_kind(fault["type"])) from None
    except ValueError:
        raise InvalidRequest(field="body", must_be="JSON") from None


def _kind(fault: str) -> str:
    return "given" if fault == "missing" else f"as the specification asks ({fault.replace('_', ' ')})"


def _context(found: _Context, service: Service) -> Context:
    patient_id = _local_id("context.patientId", found.patientId, "Patient")
    encounter_id = None
    if found.encounterId is not None:
        encounter_id = _local_id("context.encounterId", found.encounterId, "Encounter")
    hook = service.hook.value
    if hook == "encounter-discharge" and encounter_id is None:
        raise InvalidRequest(field="context.encounterId", must_be="given")
    if hook == "order-select" and found.selections is None:
        raise InvalidRequest(field="context.selections", must_be="given")
    if hook in ("order-select", "order-sign") and found.draftOrders is None:
        raise InvalidRequest(field="context.draftOrders", must_be="given")
    return Context(
        patient_id=patient_id,
        user_id=found.userId,
        encounter_id=encounter_id,
        selections=tuple(found.selections or ()),
        draft_orders=_drafts(found.draftOrders),
    )


def _local_id(field: str, text: str, kind: str) -> str:
    """An id as FHIR allows it; some EHRs write ``Patient/123``."""
    own = text.removeprefix(f"{kind}/")
    if FHIR_ID.fullmatch(own) is None:
        raise InvalidRequest(field=field, must_be="a FHIR id")
    return own


def _drafts(bundle: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    entries = None if bundle is None else bundle.get("entry")
    if entries is None:
        return ()
    if not isinstance(entries, list) or len(entries) > MAX_DRAFTS:
        raise InvalidRequest(field="context.draftOrders.entry", must_be=f"a list of at most {MAX_DRAFTS}")
    resources = (entry.get("resource") for entry in entries if isinstance(entry, dict))
    return tuple(each for each in resources if isinstance(each, dict))


def _access(found: _Request) -> FhirAccess | None:
    """None where there is no server, or the token is not one that may be used for this patient."""
    if found.fhirServer is None:
        return None
    try:
        parts = urlsplit(found.fhirServer)
    except ValueError:
        raise InvalidRequest(field="fhirServer", must_be="an absolute URL") from None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise InvalidRequest(field="fhirServer", must_be="an absolute URL")
    server = found.fhirServer.rstrip("/")
    token = found.fhirAuthorization
    if token is None:
        return FhirAccess(server)
    other_patient = token.patient is not None and token.patient.removeprefix("Patient/") != (
        found.context.patientId.removeprefix("Patient/")
    )
    if token.token_type.lower() != "bearer" or token.expires_in <= 0 or other_patient:
        return None
    return FhirAccess(server, token.access_token)


def _feedback(item: _Item) -> Feedback:
    reason = item.overrideReason
    coding = None if reason is None else reason.reason
    at = item.outcomeTimestamp
    return Feedback(
        card=str(item.card),
        accepted=item.outcome == "accepted",
        suggestions=tuple(each.id for each in item.acceptedSuggestions or ()),
        reason_system=None if coding is None else coding.system,
        reason_code=None if coding is None else coding.code,
        comment=None if reason is None else reason.userComment,
        at=at if at.tzinfo is not None else at.replace(tzinfo=UTC),
    )
