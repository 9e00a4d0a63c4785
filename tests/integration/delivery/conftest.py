"""A FHIR server behind a hostile proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from delivery_case import PATIENT, Case
from fhir_guide import MISSING, validators_missing
from fhir_server import FhirServer
from hostile_ehr import HostileEhr


@pytest.fixture(scope="session")
def quick_fhir_server() -> Iterator[FhirServer]:
    """Without the slow judge of codes: other tests hold our bundles to it."""
    if validators_missing():
        pytest.skip(MISSING)
    with FhirServer.start(codes=False) as server:
        yield server


@pytest.fixture
async def case(quick_fhir_server: FhirServer) -> AsyncIterator[Case]:
    quick_fhir_server.reset()
    assert quick_fhir_server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
    async with HostileEhr(quick_fhir_server.url).serving() as ehr:
        yield Case(quick_fhir_server, ehr)
