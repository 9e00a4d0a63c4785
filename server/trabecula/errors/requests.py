"""Faults of requests to the service."""

from __future__ import annotations

from trabecula.errors.base import InputError, NotFound, TrabeculaError


class InvalidRequest(InputError):
    """The request has a field that cannot be used."""

    code = "invalid-request"
    remedy = "Mend the field named here."


class TooManyRequests(TrabeculaError):
    """This client asks for too much at once."""

    code = "too-many-requests"
    remedy = "Wait for the delay given, then go on more slowly."


class InvalidStep(TrabeculaError):
    """That step cannot be taken from here."""

    code = "invalid-step"
    remedy = "Load the present state and choose one of the steps it allows."


class OutOfDate(TrabeculaError):
    """Somebody else changed this in the meantime."""

    code = "out-of-date"
    remedy = "Load the newest version, look at it, and decide again."


class ResourceNotFound(NotFound):
    """There is no such resource."""

    code = "resource-not-found"
    remedy = "Check type and id."


class ResourceDeleted(TrabeculaError):
    """The resource was deleted."""

    code = "resource-deleted"
    remedy = "Read its history for the last version."


class MethodNotAllowed(TrabeculaError):
    """The address does not know this method."""

    code = "method-not-allowed"
    remedy = "The methods allowed are in the Allow header."


class NotAcceptable(TrabeculaError):
    """None of the media types asked for can be given."""

    code = "not-acceptable"
    remedy = "Ask for application/fhir+json."


class UnsupportedMediaType(TrabeculaError):
    """The body's media type cannot be read."""

    code = "unsupported-media-type"
    remedy = "Send the media type named in the API page."


class RequestTooLarge(TrabeculaError):
    """The request is over a limit of the HTTP service."""

    code = "request-too-large"
    remedy = "Send less at once."


class RequestTimedOut(TrabeculaError):
    """The request took longer than is allowed."""

    code = "request-timed-out"
    remedy = "Ask for less at once, or with Prefer: respond-async where that is offered."
