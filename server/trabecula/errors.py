"""The one tree of faults. Fields carry the facts; ``client_message`` is all a client may see.

A clinical refusal is not here: it is a result (:mod:`trabecula.outcome`).
"""

from __future__ import annotations

from typing import ClassVar


class TrabeculaError(Exception):
    """Base of every error raised on purpose. The class docstring is the default message."""

    code: ClassVar[str] = "internal"
    remedy: ClassVar[str] = "Report this to the operators with the screening id."

    def __init__(self, detail: str = "", **fields: object) -> None:
        super().__init__(detail)
        self.detail = detail
        """For operators' logs; must not hold patient data either."""
        self.fields = fields
        """Facts in bounded form (counts, tags, limits), free of patient data."""

    @property
    def client_message(self) -> str:
        """What went wrong and how to mend it, free of patient data and internals."""
        facts = ", ".join(f"{name}={value}" for name, value in sorted(self.fields.items()))
        summary = (type(self).__doc__ or self.code).strip().splitlines()[0]
        return f"{summary}{f' ({facts})' if facts else ''} {self.remedy}"

    def __str__(self) -> str:
        return self.detail or self.client_message


class InputError(TrabeculaError):
    """The input cannot be used."""

    code = "invalid-input"
    remedy = "Send the DICOM instances of one CT study."


class NoDicomFound(InputError):
    """No readable DICOM instance was found."""

    code = "no-dicom-found"


class CorruptInstance(InputError):
    """The DICOM instances are truncated or damaged."""

    code = "corrupt-instance"
    remedy = "Send the study again from the archive."


class NoPixelData(InputError):
    """The DICOM instances have no pixel data."""

    code = "no-pixel-data"
    remedy = "Send whole instances, not headers alone."


class ImplausibleSize(InputError):
    """The header announces a size that its data cannot fill or that is over the limit."""

    code = "implausible-size"
    remedy = "Check the sender; raise the limit in the settings if the study is real."


class MixedPatients(InputError):
    """The instances belong to more than one patient."""

    code = "mixed-patients"
    remedy = "Send one patient's study at a time."


class MixedStudies(InputError):
    """The instances belong to more than one study."""

    code = "mixed-studies"
    remedy = "Send one study at a time."


class UnsupportedTransferSyntax(InputError):
    """No decoder is installed for the transfer syntax."""

    code = "unsupported-transfer-syntax"
    remedy = "Transcode to Explicit VR Little Endian before sending."


class LimitExceeded(InputError):
    """The input is over a configured limit."""

    code = "limit-exceeded"
    remedy = "Send less at once, or raise the limit in the settings."


class InvalidPatientContext(InputError):
    """The patient file cannot be read."""

    code = "invalid-patient-context"
    remedy = "Send a FHIR Patient bundle or the JSON shown in `trabecula screen --help`."


class UploadIncomplete(InputError):
    """The upload ended before all announced bytes had come."""

    code = "upload-incomplete"
    remedy = "Send the study again with the same idempotency key."


class UploadOutOfOrder(InputError):
    """The upload does not follow the protocol."""

    code = "upload-out-of-order"
    remedy = "Send the header first, then each file from its first byte to its last."


class UploadChecksumMismatch(InputError):
    """A file arrived with other bytes than were sent."""

    code = "upload-checksum-mismatch"
    remedy = "Send the study again."


class UploadTimedOut(TrabeculaError):
    """The upload stood still for too long."""

    code = "upload-timed-out"
    remedy = "Send the study again over a steadier connection."


class InvalidRequest(InputError):
    """The request has a field that cannot be used."""

    code = "invalid-request"
    remedy = "Mend the field named here."


class InvalidReport(InputError):
    """The report cannot be read."""

    code = "invalid-report"
    remedy = "Send a report as this version writes it, or one of the same major version."


class NoCasesFound(InputError):
    """No evaluation case was found."""

    code = "no-cases-found"
    remedy = "Give a folder that holds case folders; docs/evaluation.md shows the layout."


class InvalidCase(InputError):
    """An evaluation case cannot be used."""

    code = "invalid-case"
    remedy = "Mend the case folder; docs/evaluation.md shows the layout."


class ModelError(TrabeculaError):
    """A model cannot be used."""

    code = "model-unusable"
    remedy = "Install the model bundle again."


class ModelChecksumMismatch(ModelError):
    """A model file does not match the sha256 in its manifest."""

    code = "model-checksum-mismatch"


class LabelMapError(InputError):
    """The label map does not fit the model."""

    code = "label-map-unusable"
    remedy = "Name every label of the model's dataset.json in the map, each with a target that exists here."


class ModelImportError(InputError):
    """The model folder cannot be imported."""

    code = "model-import-failed"
    remedy = "docs/nnunet.md lists what can be imported."


class ExtraMissing(TrabeculaError):
    """An optional part of the program is not installed."""

    code = "extra-missing"
    remedy = "Install the extra named here."


class ClinicalDataError(TrabeculaError):
    """The clinical data file cannot be used."""

    code = "clinical-data-unusable"
    remedy = "Install the package again, or mend the entry named here."


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


class NotFound(TrabeculaError):
    """There is no such screening."""

    code = "not-found"
    remedy = "Check the id; results are kept for the configured time only."


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


class TooManyAttempts(TrabeculaError):
    """Too many attempts failed."""

    code = "too-many-attempts"
    remedy = "Wait, then try again."


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


class Unforeseen(TrabeculaError):
    """The program met a fault that it did not foresee."""

    code = "unforeseen"


class SiteFileError(TrabeculaError):
    """The site's calibration file or scanner history cannot be used."""

    code = "site-file-unusable"
    remedy = "Mend the entry named here; docs/calibration.md shows the form."


class ConfigurationError(TrabeculaError):
    """A setting cannot be used."""

    code = "configuration"
    remedy = "Mend the setting named here; docs/configuration.md lists all of them."


class Overloaded(TrabeculaError):
    """The service has no room for more work now."""

    code = "overloaded"
    remedy = "Try again after the delay given."


class OutboundRefused(TrabeculaError):
    """The address may not be called from here."""

    code = "outbound-refused"
    remedy = "The operator lists the hosts that may be called; docs/configuration.md."


class Unauthenticated(TrabeculaError):
    """The request has no access token that can be accepted."""

    code = "unauthenticated"
    remedy = "Get an access token from the site's authorization server and send it as a Bearer token."


class ClientNotTrusted(Unauthenticated):
    """The call has no token of an EHR that is trusted here."""

    code = "client-not-trusted"
    remedy = "The operator lists each EHR with its issuer and keys; docs/cds-hooks.md says what a token must hold."


class SignInFailed(Unauthenticated):
    """Signing in did not work."""

    code = "sign-in-failed"
    remedy = "Begin again from the sign-in page; if it does not help, ask the site's administrators."


class SignInUnavailable(TrabeculaError):
    """Nobody can sign in through the site's provider now."""

    code = "sign-in-unavailable"
    remedy = "Try again; the operators look at TRABECULA_OIDC_ISSUER and TRABECULA_OUTBOUND_HOSTS."


class Forbidden(TrabeculaError):
    """The access token does not allow this."""

    code = "forbidden"
    remedy = "Ask the site for the scope named here."


class RoleMissing(Forbidden):
    """Your role does not allow this."""

    code = "role-missing"
    remedy = "Ask the site's administrators for the role."


class FormExpired(Forbidden):
    """The form did not come from a page of this session."""

    code = "form-expired"
    remedy = "Load the page again and send the form once more."


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


class NotConfigured(TrabeculaError):
    """This installation was not set up for that."""

    code = "not-configured"
    remedy = "The operator sets it up; docs/configuration.md."


class DatabaseError(TrabeculaError):
    """The database cannot be used."""

    code = "database-unusable"
    remedy = "`trabecula db check` says more; docs/durable-work.md shows how to set a database up."


class DatabaseUnavailable(DatabaseError):
    """The database does not answer now."""

    code = "database-unavailable"
    remedy = "Try again; nothing that was accepted is lost."


class DatabaseStartFailed(DatabaseError):
    """The PostgreSQL that comes with the program cannot be started."""

    code = "database-start-failed"
    remedy = "See its log under the state folder, or name another PostgreSQL by TRABECULA_DATABASE_URL."


class DatabaseTooOld(DatabaseError):
    """The PostgreSQL server is too old."""

    code = "database-too-old"
    remedy = "Use PostgreSQL 14 or newer."


class SchemaOutdated(DatabaseError):
    """The database's tables are older than the program."""

    code = "schema-outdated"
    remedy = "Run `trabecula db upgrade` first."


class DatabaseNotEmpty(DatabaseError):
    """The database holds something already."""

    code = "database-not-empty"
    remedy = "Restore into an empty database, or say `--replace` to give up what is there."


class DatabaseInUse(DatabaseError):
    """The service works on the database."""

    code = "database-in-use"
    remedy = "Stop every process of the service first."


class DatabaseToolFailed(DatabaseError):
    """A program of PostgreSQL failed."""

    code = "database-tool-failed"
    remedy = "The detail is what it said; docs/durable-work.md names the programs that are needed."


class BackupExists(TrabeculaError):
    """There is something at the backup's place already."""

    code = "backup-exists"
    remedy = "Name a file or folder that does not exist."


class BackupDamaged(InputError):
    """The backup cannot be read, or is not what its manifest says."""

    code = "backup-damaged"
    remedy = "Use another backup; a backup without a manifest was cut short."


class ContentUnavailable(TrabeculaError):
    """The content store does not answer now."""

    code = "content-unavailable"
    remedy = "Try again; nothing that was accepted is lost."


class ContentMissing(TrabeculaError):
    """Bytes that should be in the content store are not there."""

    code = "content-missing"
    remedy = "Run `trabecula db check`, and restore the content store from the backup."


class ContentDamaged(TrabeculaError):
    """Bytes in the content store have another SHA-256 than they were kept under."""

    code = "content-damaged"
    remedy = "Run `trabecula db check --deep`, and restore the content store from the backup."


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


class DriftReferenceError(TrabeculaError):
    """The reference histograms cannot be used."""

    code = "drift-reference-unusable"
    remedy = "Write the file anew with `trabecula drift reference`; docs/monitoring.md shows the form."


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
