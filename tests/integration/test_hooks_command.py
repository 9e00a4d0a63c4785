"""``trabecula hooks``"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

from cds_ehr import Signer, cards, result
from cds_site import clients_file
from typer.testing import CliRunner

from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.hooks.requests import Feedback
from trabecula.hooks.store import keep_cards, keep_feedback
from trabecula.work.database import Database


async def test_stats(database: Database, database_settings: Settings) -> None:
    import asyncio

    now = datetime.now(UTC)
    shown = cards([result(screening_id=str(uuid.uuid4()))])
    said = Feedback(shown[0].uuid, False, (), None, "patient-refuses", "CANARY", now)
    await keep_cards(database.direct, shown, "trabecula-patient-view", "ehr", now)
    async with database.transaction() as connection:
        await keep_feedback(connection, [said], "trabecula-patient-view", "ehr", now)
    url = ["--database-url", database_settings.database_url or ""]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["hooks", "stats", *arguments, *url], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        assert "CANARY" not in done.output
        return done.stdout

    (found,) = json.loads(await asyncio.to_thread(run, "--json"))
    assert (found["shown"], found["overridden"], found["reasons"]) == (1, 1, {"patient-refuses": 1})
    assert found["acceptance"] == 0.0
    table = await asyncio.to_thread(run, "--days", "7")
    assert "trabecula-patient-view" in table
    assert "patient-refuses 1" in table


def test_check(tmp_path: Path) -> None:
    path = clients_file(tmp_path, Signer())
    good = CliRunner().invoke(app, ["hooks", "check", str(path)])
    assert good.exit_code == 0
    assert "test-ehr: https://ehr.hospital.example" in good.stdout
    (tmp_path / "ehr.jwks.json").unlink()
    assert CliRunner().invoke(app, ["hooks", "check", str(path)]).exit_code == 4
    path.write_text(path.read_text().replace("name =", "nome ="))
    broken = CliRunner().invoke(app, ["hooks", "check", str(path)])
    assert broken.exit_code == 4
    assert "client.0" in broken.stderr
