"""The one table from errors to gRPC status, and the rich details that go with it."""

from __future__ import annotations

import math
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from trabecula import errors

ERROR_DOMAIN: Final = "trabecula"

STATUS: Final[dict[type[errors.TrabeculaError], grpc.StatusCode]] = {
    errors.TrabeculaError: grpc.StatusCode.INTERNAL,
    errors.InputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.NotReady: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AlreadyEnded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.InvalidStep: grpc.StatusCode.FAILED_PRECONDITION,
    errors.OutOfDate: grpc.StatusCode.ABORTED,
    errors.NotConfigured: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SchemaOutdated: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DatabaseNotEmpty: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DatabaseInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.BackupExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.PixelsDeleted: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DatabaseUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ContentUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ContentMissing: grpc.StatusCode.DATA_LOSS,
    errors.ContentDamaged: grpc.StatusCode.DATA_LOSS,
    errors.SignInUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ArchiveUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ArchiveRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.TooManyAttempts: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.TooManyRequests: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UploadTimedOut: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Draining: grpc.StatusCode.UNAVAILABLE,
}
"""An error has the status of its nearest ancestor here. Limits on a study are INVALID_ARGUMENT rather than
RESOURCE_EXHAUSTED, because sending the same study again later will not help."""


def status_code(kind: type[errors.TrabeculaError]) -> grpc.StatusCode:
    """gRPC status of a kind of error."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def rich_status(error: errors.TrabeculaError) -> status_pb2.Status:
    """The whole status: code, message for clients, and details by google.rpc.

    ``fields["field"]`` becomes a BadRequest violation, ``fields["retry_after_s"]`` a RetryInfo.
    """
    code = status_code(type(error))
    info = error_details_pb2.ErrorInfo(reason=error.code.upper().replace("-", "_"), domain=ERROR_DOMAIN)
    info.metadata.update({name: str(value) for name, value in error.fields.items()})
    details: list[Message] = [info]
    if "field" in error.fields:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=str(error.fields["field"]), description=error.client_message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(delay_s := error.fields.get("retry_after_s"), int | float):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(math.ceil(delay_s * 1e9))
        details.append(retry)
    return status_pb2.Status(
        code=code_pb2.Code.Value(code.name), message=error.client_message, details=[_packed(each) for each in details]
    )


def _packed(message: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
