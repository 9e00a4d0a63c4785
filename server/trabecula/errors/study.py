"""Faults of what is sent to be screened."""

from __future__ import annotations

from trabecula.errors.base import InputError, TrabeculaError


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
