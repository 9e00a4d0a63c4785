"""Faults in the life of a screening."""

from __future__ import annotations

from trabecula.errors.base import TrabeculaError


class ConversionFault(TrabeculaError):
    """A result could not be written in the form asked for."""

    code = "conversion-fault"


class ProfileViolation(ConversionFault):
    """A FHIR resource does not keep a rule of its profile."""

    code = "profile-violation"
    remedy = "docs/fhir.md lists the rules of each profile."


class Cancelled(TrabeculaError):
    """The screening was cancelled."""

    code = "cancelled"
    remedy = "Submit it again if it is still wanted."


class AlreadyExists(TrabeculaError):
    """The same idempotency key was used with other content."""

    code = "already-exists"
    remedy = "Use a new idempotency key for a new submission."


class NotReady(TrabeculaError):
    """The result is not ready yet."""

    code = "not-ready"
    remedy = "Watch the screening until it has ended."


class AlreadyEnded(TrabeculaError):
    """The screening has ended and cannot change any more."""

    code = "already-ended"
    remedy = "Submit the study again if another result is wanted."


class WorkerCrashed(TrabeculaError):
    """The worker process died on this study."""

    code = "worker-crashed"
    remedy = "Report this to the operators with the screening id; other studies are not affected."


class WorkerLost(TrabeculaError):
    """The worker that had the study vanished."""

    code = "worker-lost"
    remedy = "Other studies are not affected; `trabecula jobs retry` gives this one another try."


class OutOfMemory(TrabeculaError):
    """The study needs more memory than a worker may take."""

    code = "out-of-memory"
    remedy = "Raise the limit in the settings if the study is real."


class PixelsDeleted(TrabeculaError):
    """The study's images are not kept any more."""

    code = "pixels-deleted"
    remedy = "Submit the study again."


class ScreeningTimedOut(TrabeculaError):
    """The screening took longer than the configured time."""

    code = "screening-timed-out"
    remedy = "Raise the limit in the settings if the study is real."


class Draining(TrabeculaError):
    """The service is shutting down and takes no new work."""

    code = "draining"
    remedy = "Try again; another replica or the restarted service will take it."


class Overloaded(TrabeculaError):
    """The service has no room for more work now."""

    code = "overloaded"
    remedy = "Try again after the delay given."
