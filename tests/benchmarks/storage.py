"""What a study leaves behind: bytes of database by table, of documents by kind. For docs/capacity.md.

    python tests/benchmarks/storage.py --out docs/benchmarks

Writes ``storage.json``. Sizes, no times: other work on the machine does not matter. Small phantoms of different seeds
give the growth of the database (its rows do not depend on the matrix); one of 512 x 512 the documents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from durable import Service, make_study, served
from sqlalchemy import text

from trabecula.config import Settings
from trabecula.work.database import open_database

STUDIES = 24
SMALL = {"slice_mm": 2.5, "matrix": 192}

_TABLES = text(
    "SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname = current_schema()"
)
_CONTENT = text(
    "SELECT 'document ' || kind AS what, count(*) AS number, sum(size_bytes)::bigint AS bytes FROM document"
    " GROUP BY kind UNION ALL SELECT 'instances', count(*), sum(size_bytes)::bigint FROM instance"
)
_ROWS = text(
    "SELECT 'resource' AS name, count(*) AS number FROM resource UNION ALL SELECT 'audit_event', count(*)"
    " FROM audit_event UNION ALL SELECT 'transition', count(*) FROM transition"
    " UNION ALL SELECT 'procrastinate_events', count(*) FROM procrastinate_events"
)


async def look(state: Path) -> dict[str, Any]:
    """Sizes and counts at this moment, vacuumed so that no dead row is counted."""
    async with open_database(Settings(state_dir=state)) as database:
        async with database.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))
        async with database.transaction() as connection:
            tables = {row.name: (row.bytes, row.index_bytes) for row in await connection.execute(_TABLES)}
            content = {row.what: (row.number, row.bytes) for row in await connection.execute(_CONTENT)}
            rows = {row.name: row.number for row in await connection.execute(_ROWS)}
    return {"tables": tables, "content": content, "rows": rows}


def screen(service: Service, files: list[Path]) -> None:
    with service.client() as client:
        last = list(client.watch(client.submit(files)))[-1]
    if last.state != 3:  # pb.SCREENING_STATE_REPORTED
        raise SystemExit(f"a phantom ended in state {last.state}")


def growth(work: Path) -> dict[str, Any]:
    """Bytes of database that one reported study adds, by table, over the last three quarters of the studies."""
    with served(work / "growth", 1, 1) as service:
        state = work / "growth" / "state"
        for seed in range(1, STUDIES // 4 + 1):
            screen(service, make_study(work / f"small{seed}", **SMALL, seed=seed))
        before = asyncio.run(look(state))
        for seed in range(STUDIES // 4 + 1, STUDIES + 1):
            screen(service, make_study(work / f"small{seed}", **SMALL, seed=seed))
        after = asyncio.run(look(state))
    number = STUDIES - STUDIES // 4
    by_table = {
        name: round((size - before["tables"].get(name, (0, 0))[0]) / number)
        for name, (size, _) in sorted(after["tables"].items())
    }
    rows = {name: round((count - before["rows"][name]) / number, 1) for name, count in after["rows"].items()}
    grown = {name: size for name, size in by_table.items() if size > 0}
    queue = sum(size for name, size in grown.items() if name.startswith("procrastinate"))
    return {
        "studies": number,
        "rows_per_study": rows,
        "bytes_per_study_by_table": grown,
        "bytes_per_study": sum(grown.values()) - queue,
        "queue_bytes_per_study": queue,
    }


def documents(work: Path) -> dict[str, Any]:
    """Bytes of each document of one study of full size, with the DICOM objects and the PDF."""
    os.environ["TRABECULA_DICOM_RESULTS"] = "on"
    with served(work / "documents", 1, 1) as service:
        files = make_study(work / "full", slice_mm=1.25, matrix=512, seed=1)
        screen(service, files)
        seen = asyncio.run(look(work / "documents" / "state"))["content"]
    instances = seen.pop("instances")
    return {
        "instances": instances[0],
        "instance_bytes": instances[1],
        "document_bytes": {what.removeprefix("document "): size for what, (_, size) in sorted(seen.items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory(prefix="trabecula-storage-") as folder:
        work = Path(folder)
        report = {"machine": platform.machine(), "database": growth(work), "content": documents(work)}
    (out / "storage.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
