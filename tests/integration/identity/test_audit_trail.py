"""Every way to what is known of patients leaves an AuditEvent; nobody changes one; the site can take them away."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import dicom_headers
import numpy as np
import psycopg
import pytest
from live_service import StartServer
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE
from starlette.routing import Mount, Route
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.geometry import Geometry
from trabecula.record.audit import MOST_PATIENTS, Access, keep_accesses
from trabecula.service.auth.local_users import Role, users_entry
from trabecula.service.http import wiring
from trabecula.work.database import Database

NOTED = "noted"
# Kept apart from the program on purpose: what each address of the HTTP service leaves in the trail, or why nothing.
ROUTES = {
    "GET /fhir/metadata": "says nothing of patients",
    "GET /fhir/_screening/{id}": NOTED,
    "DELETE /fhir/_screening/{id}": NOTED,
    "POST /fhir/ImagingStudy/$screen-bone": NOTED,
    "POST /fhir/ImagingStudy/{id}/$screen-bone": NOTED,
    "GET /fhir/PlanDefinition/{id}/$apply": NOTED,
    "POST /fhir/PlanDefinition/{id}/$apply": NOTED,
    "POST /fhir/{type}/_search": NOTED,
    "GET /fhir/{type}/{id}/_history/{version}": NOTED,
    "GET /fhir/{type}/{id}/_history": NOTED,
    "GET /fhir/{type}/{id}": NOTED,
    "GET /fhir/{type}": NOTED,
    "POST /fhir/DiagnosticReport": NOTED,
    "POST /fhir/Observation": NOTED,
    "POST /fhir": NOTED,
    "GET /api/v1/results/{screening_id}/reviews": NOTED,
    "POST /api/v1/results/{screening_id}/reviews": NOTED,
    "GET /api/v1/worklist": NOTED,
    "GET /api/v1/worklist/{task_id}": NOTED,
    "POST /api/v1/worklist/{task_id}/steps": NOTED,
    "GET /api/v1/agreement": "figures over everybody",
    "GET /cds-services": "says nothing of patients",
    "POST /cds-services/{id}": NOTED,
    "POST /cds-services/{id}/feedback": "shows nothing; about a card by its id",
    "POST /dicom-web/studies": NOTED,
    "POST /dicom-web/studies/{study_uid}": NOTED,
    "GET /": "leads to the results",
    "GET /login": "shows nothing",
    "POST /login": "shows nothing",
    "GET /login/openid": "shows nothing",
    "GET /login/callback": "shows nothing",
    "POST /logout": "shows nothing",
    "GET /results": NOTED,
    "GET /results/{screening_id}": NOTED,
    "GET /results/{screening_id}/report": NOTED,
    "POST /results/{screening_id}/review": NOTED,
    "GET /worklist": NOTED,
    "GET /worklist.csv": NOTED,
    "GET /worklist/{task_id}": NOTED,
    "POST /worklist/{task_id}/step": NOTED,
    "GET /quality": "figures over everybody",
}


def test_every_route_is_thought_of(start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []
    real = wiring.build_app

    def capture(dependencies: Any) -> Any:
        built.append(real(dependencies))
        return built[-1]

    monkeypatch.setattr(wiring, "build_app", capture)
    users = tmp_path / "users.toml"
    users.write_text(users_entry("ada", "Ada", [Role.VIEWER], "correct horse battery"))
    start_server(http_listen="127.0.0.1:0", auth="off", stow_in=True, users_file=users)
    served = {
        f"{method} {route.path}"
        for route in built[0].routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    others = {each for each in served - set(ROUTES) if not _plain(each)}
    assert others == set(), "say what these leave in the audit trail"
    assert set(ROUTES) - served == set()
    assert [route.path for route in built[0].routes if isinstance(route, Mount)] == ["/static"]


def _plain(route: str) -> bool:
    """Health and descriptions of the service itself."""
    return any(part in route for part in ("/.well-known/", "/healthz", "/livez", "/readyz", "openapi"))


@pytest.fixture
async def trail(database: Database) -> Database:
    keep = keep_accesses(database)
    for day, client in enumerate(("ehr", "=HYPERLINK(1)", "pages"), start=1):
        await keep(_access(day, client))
    return database


def _access(day: int, client: str = "ehr", patients: int = 1) -> Access:
    from datetime import UTC, datetime

    names = tuple(f"urn:oid:1.2|P{number}" for number in range(patients))
    return Access(
        datetime(2026, 11, day, 12, tzinfo=UTC), "search-type", "E", "DiagnosticReport", client, "10.0.0.1",
        f"request-{day}", subject="dr-ada", patients=names, query="status=final",
    )  # fmt: skip


def run(settings: Settings, *words: str) -> Any:
    done = CliRunner().invoke(app, ["audit", *words, "--database-url", str(settings.database_url)])
    assert done.exit_code == 0, done.output
    return done


def test_the_trail_is_exported_as_fhir_and_as_a_table(
    trail: Database, database_settings: Settings, tmp_path: Path
) -> None:
    del trail
    whole = tmp_path / "audit.ndjson"
    told = json.loads(run(database_settings, "export", "--out", str(whole), "--json").stdout)
    events = [json.loads(line) for line in whole.read_text().splitlines()]
    assert told == {"events": 4, "sha256": hashlib.sha256(whole.read_bytes()).hexdigest(), "file": str(whole)}
    assert {each["resourceType"] for each in events} == {"AuditEvent"}
    assert events[-1]["agent"][0]["who"]["display"] == "command line"  # the export itself
    assert whole.stat().st_mode & 0o077 == 0

    part = tmp_path / "audit.csv"
    run(
        database_settings, "export", "--from", "2026-11-02", "--to", "2026-11-03", "--format", "csv", "--out", str(part)
    )
    (row,) = csv.DictReader(io.StringIO(part.read_text()))
    assert row["client"] == "'=HYPERLINK(1)"
    assert row["user"] == "dr-ada"
    assert row["patients"] == "urn:oid:1.2|P0"
    assert row["entity"] == "DiagnosticReport?status=final"
    assert row["request_id"] == "request-2"


def test_nobody_changes_or_deletes_an_event_but_by_the_operators_word(
    trail: Database, database_settings: Settings
) -> None:
    del trail
    with psycopg.connect(str(database_settings.database_url), autocommit=True) as connection:
        for statement in (
            "UPDATE audit_event SET content = '{}'",
            "DELETE FROM audit_event",
            "TRUNCATE audit_event",
            "DELETE FROM audit_event WHERE false",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        assert "3 events to go" in run(database_settings, "forget", "--before", "2026-11-04", "--dry-run").stdout
        assert "2 events" in run(database_settings, "forget", "--before", "2026-11-03", "--yes").stdout
        rows = connection.execute("SELECT content->>'action' FROM audit_event ORDER BY seq").fetchall()
        assert [row[0] for row in rows] == ["E", "D"]  # what is left, and that there was more
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM audit_event")


def test_a_study_that_a_modality_brings_is_on_record(start_server: StartServer, tmp_path: Path) -> None:
    grid = Geometry((3, 8, 8), np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    study = dicom_headers.write_headers(tmp_path / "study", grid, generate_uid(), generate_uid())
    service = start_server(dimse_listen="127.0.0.1:0", dimse_peers="SCANNER@127.0.0.0/8")
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage)
    association = entity.associate("127.0.0.1", service.server.dimse_port, ae_title="TRABECULA")
    assert [association.send_c_store(each).Status for each in study] == [0, 0, 0]
    association.release()
    with psycopg.connect(str(service.settings.database_url)) as connection:
        rows = connection.execute("SELECT content FROM audit_event").fetchall()
    # No identifier of a sender becomes a path.
    named = [str(path) for path in service.settings.state_dir.rglob("*")]
    assert len(named) > 3
    uids = {
        str(each[tag].value) for each in study for tag in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    assert [path for path in named for uid in uids if uid in path] == []
    (event,) = (row[0] for row in rows)  # one for the study, not for each instance
    assert (event["action"], event["subtype"][0]["code"]) == ("C", "create")
    assert event["agent"][0]["who"]["display"] == "SCANNER"
    assert event["agent"][0]["network"]["address"] == "127.0.0.1"


async def test_an_access_to_very_many_names_them_all(database: Database, database_settings: Settings) -> None:
    await keep_accesses(database)(_access(1, patients=2 * MOST_PATIENTS + 1))
    with psycopg.connect(str(database_settings.database_url)) as connection:
        rows = connection.execute("SELECT content FROM audit_event").fetchall()
    named = [
        each["what"]["identifier"]["value"]
        for row in rows
        for each in row[0]["entity"]
        if each.get("role", {}).get("code") == "1"
    ]
    assert len(rows) == 3
    assert len(set(named)) == len(named) == 2 * MOST_PATIENTS + 1
