"""Every error of the tree has a gRPC status, and what goes over the wire is safe."""

from __future__ import annotations

import importlib
import pkgutil

import grpc
import pytest

import trabecula
from trabecula import errors
from trabecula.service.status import rich_status, status_code

# Kept apart from the table in the program on purpose.
EXPECTED = {
    "TrabeculaError": "INTERNAL",
    "InputError": "INVALID_ARGUMENT",
    "LimitExceeded": "INVALID_ARGUMENT",
    "UploadIncomplete": "INVALID_ARGUMENT",
    "InvalidPatientContext": "INVALID_ARGUMENT",
    "ModelError": "INTERNAL",
    "Unforeseen": "INTERNAL",
    "NotFound": "NOT_FOUND",
    "AlreadyExists": "ALREADY_EXISTS",
    "NotReady": "FAILED_PRECONDITION",
    "AlreadyEnded": "FAILED_PRECONDITION",
    "Cancelled": "CANCELLED",
    "UploadTimedOut": "DEADLINE_EXCEEDED",
    "Overloaded": "RESOURCE_EXHAUSTED",
    "Draining": "UNAVAILABLE",
}


def all_errors() -> list[type[errors.TrabeculaError]]:
    """The whole tree, of all modules."""
    for module in pkgutil.walk_packages(trabecula.__path__, "trabecula."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = [], [errors.TrabeculaError]
    while waiting:
        kind = waiting.pop()
        found.append(kind)
        waiting += kind.__subclasses__()
    return sorted(found, key=lambda kind: kind.__name__)


ALL = all_errors()


@pytest.mark.parametrize("name", EXPECTED)
def test_status_of(name: str) -> None:
    assert status_code(getattr(errors, name)) is grpc.StatusCode[EXPECTED[name]]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_a_code_and_a_remedy(kind: type[errors.TrabeculaError]) -> None:
    assert status_code(kind) is not grpc.StatusCode.OK
    assert kind.code == kind.code.lower().strip()
    assert " " not in kind.code
    assert kind.remedy.endswith(".")
    assert (kind.__doc__ or "").strip()


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in ALL if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_the_detail_for_operators_stays_here() -> None:
    status = rich_status(errors.NoPixelData("DETAIL-FOR-LOGS", instances=3))
    assert "DETAIL-FOR-LOGS" not in str(status)
    assert "instances=3" in status.message
