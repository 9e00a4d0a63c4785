"""Results delivered to a real FHIR server through an EHR that behaves badly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from delivery_case import PATIENT, Case, destination, differences, outlet
from fhir_server import FhirServer
from hostile_ehr import HostileEhr

from trabecula.delivery.states import DeliveryState
from trabecula.work.content import FolderContent
from trabecula.work.database import Database


@pytest.fixture
async def case(fhir_server: FhirServer) -> AsyncIterator[Case]:
    assert fhir_server.call("PUT", "/Patient/p1", PATIENT)[0] == 201
    async with HostileEhr(fhir_server.url).serving() as ehr:
        yield Case(fhir_server, ehr)


async def test_a_result_arrives_once_and_equal(case: Case, database: Database, content: FolderContent) -> None:
    out = outlet(database, content, destination(case.ehr.url))
    await out.enqueue(case.bundle, case.chain)
    tried = await out.until_still()
    assert tried == 1, (out.told, [each.reason for each in await out.rows()])
    (row,) = await out.rows()
    assert (row.state, row.way, row.left_out, row.reason) == (DeliveryState.DELIVERED, "transaction-put", (), None)
    assert differences(case.bundle, case.server) == []
