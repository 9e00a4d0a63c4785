"""Each rung of the ladder against a server that offers only that."""

from __future__ import annotations

from typing import Any

import pytest
from delivery_case import Case, destination, differences, outlet, told_by_server
from hostile_ehr import refusing, statement_with

from trabecula.delivery.states import DeliveryState
from trabecula.work.content import FolderContent
from trabecula.work.database import Database

RUNGS: dict[str, dict[str, Any]] = {
    "transaction-put": {},
    "single-put": {"transactions": False},
    "transaction-create": {"update_create": False},
    "single-create": {"transactions": False, "update_create": False},
}
OPTIONAL = ("RiskAssessment", "Provenance", "Device", "ImagingStudy", "ServiceRequest", "DetectedIssue")


def offers(case: Case, **abilities: Any) -> None:
    """Have the EHR say that it can do this and no more, and do no more."""
    case.ehr.statement = statement_with(**abilities)
    case.ehr.refused = refusing(case.ehr.statement, case.server.call("GET", "/metadata")[1])


@pytest.mark.parametrize("rung", RUNGS)
async def test_each_rung_brings_one_equal_copy_however_often(
    case: Case, database: Database, content: FolderContent, rung: str
) -> None:
    offers(case, **RUNGS[rung])
    out = outlet(database, content, destination(case.ehr.url))
    for _ in range(2):
        await out.enqueue(case.bundle, case.chain)
        assert await out.until_still() == 1, out.told
        assert (await out.rows())[-1].reason is None, await told_by_server(out)
        assert differences(case.bundle, case.server, profiles=rung.endswith("put")) == []
    assert [(row.state, row.way, row.left_out) for row in await out.rows()] == [(DeliveryState.DELIVERED, rung, ())] * 2
    assert not any(each.method in ("PATCH", "DELETE") for each in case.ehr.seen)
