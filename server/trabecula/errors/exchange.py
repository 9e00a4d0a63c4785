"""Faults of what is exchanged with other systems: destinations, signing keys, CDS Hooks clients, charts, archives."""

from __future__ import annotations

from trabecula.errors.base import InputError, NotFound, TrabeculaError


class DestinationsFileError(TrabeculaError):
    """The site's file of destinations cannot be used."""

    code = "destinations-unusable"
    remedy = "Mend the entry named here; docs/delivery.md shows the form."


class UnknownDestination(InputError):
    """There is no destination of that name."""

    code = "unknown-destination"
    remedy = "`trabecula destinations list` names them."


class DeliveryNotFound(NotFound):
    """There is no such delivery."""

    code = "delivery-not-found"
    remedy = "`trabecula deliveries list` shows them all."


class DeliveryBusy(TrabeculaError):
    """The delivery is being sent at this moment."""

    code = "delivery-busy"
    remedy = "Try again when this attempt has ended."


class DeliveryEnded(TrabeculaError):
    """The delivery has ended and cannot change any more."""

    code = "delivery-ended"
    remedy = "Look at it with `trabecula deliveries show`."


class SigningKeyMissing(TrabeculaError):
    """There is no private key to sign with."""

    code = "signing-key-missing"
    remedy = "Make one with `trabecula keys generate`, and give the EHR the address of the key set."


class SigningKeyUnusable(TrabeculaError):
    """A private key in the folder of keys cannot be used."""

    code = "signing-key-unusable"
    remedy = "Mend or take away the file named here; docs/delivery.md shows the form."


class UnknownSigningKey(InputError):
    """There is no key with that id."""

    code = "unknown-signing-key"
    remedy = "`trabecula keys list` shows them all."


class LastSigningKey(InputError):
    """It is the only key there is."""

    code = "last-signing-key"
    remedy = "Make another one first with `trabecula keys generate`."


class ClientsFileError(TrabeculaError):
    """The file of CDS Hooks clients cannot be used."""

    code = "clients-file-unusable"
    remedy = "Mend the entry named here; docs/cds-hooks.md shows the form."


class ChartUnavailable(TrabeculaError):
    """Data that the answer needs is neither in the prefetch nor readable from the EHR."""

    code = "chart-unavailable"
    remedy = "Send the prefetch that discovery asks for, or a FHIR server and a token that allow to read it."


class ArchiveUnavailable(TrabeculaError):
    """The image archive does not answer now."""

    code = "archive-unavailable"
    remedy = "Try again; the operators' log says what the archive did."


class ArchiveRefused(TrabeculaError):
    """The image archive does not let this service read the study."""

    code = "archive-refused"
    remedy = "Mend the archive's entry among the destinations, or this service's rights there."
