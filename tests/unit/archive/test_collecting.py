"""Results of many shards in one file, and how a campaign stands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from archive_studies import make_archive

from trabecula.archive.collect import Collected, collect
from trabecula.archive.ledger import StudyState, open_ledger, to_line
from trabecula.archive.parts import write_parts
from trabecula.archive.reference import Reference
from trabecula.archive.shards import Shard
from trabecula.archive.status import campaign_status
from trabecula.errors import CampaignNotFound, InvalidRequest

ROW: dict[str, Any] = {"status": "reported", "model": "Scanner", "t11_truncated": False, "age_years": 61.0, "kvp": None}


def put(folder: Path, shard: Shard, rows: list[dict[str, Any]], *, written: bool = True) -> None:
    """A shard with these results."""
    with open_ledger(folder / shard.folder, shard) as ledger:
        ledger.add(Reference((f"{shard.index}-{number}",)) for number in range(len(rows)))
        for row in rows:
            claim = ledger.claim()
            assert claim is not None
            ledger.settle(claim, StudyState.DONE, code=None, seconds=1.0, result=to_line(row))
        if written:
            write_parts(folder / shard.folder, ledger, rest=True)


def row(key: str, reference: str, **values: object) -> dict[str, Any]:
    return {"key": key, "reference": reference, **ROW, **values}


def test_results_of_all_shards_come_together_each_once(tmp_path: Path) -> None:
    put(tmp_path, Shard(0, 2), [row("b", "r1"), row("a", "r2")])
    put(tmp_path, Shard(1, 2), [row("c", "r3"), row("a", "r0", age_years=62.0)], written=False)
    assert collect([tmp_path], tmp_path / "all.jsonl") == Collected(3, 1)
    found = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [(each["key"], each["reference"], each["age_years"]) for each in found] == [
        ("a", "r0", 62.0),
        ("b", "r1", 61.0),
        ("c", "r3", 61.0),
    ]


def test_a_result_that_is_in_ledger_and_part_alike_counts_once(tmp_path: Path) -> None:
    put(tmp_path, Shard(0, 1), [row("a", "r1")], written=False)
    (tmp_path / Shard(0, 1).folder / "part-000001.jsonl").write_text(to_line(row("a", "r1")) + "\n")
    assert collect([tmp_path], tmp_path / "all.csv") == Collected(1, 0)


def test_csv_has_a_header_and_no_formula(tmp_path: Path) -> None:
    put(tmp_path, Shard(0, 1), [row("a", "r1", model="=cmd|'/c calc'!A1"), row("b", "r2", t11_truncated=True)])
    collect([tmp_path], tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first["model"] == "'=cmd|'/c calc'!A1"
    assert (first["kvp"], first["age_years"], first["t11_truncated"]) == ("", "61.0", "false")
    assert second["t11_truncated"] == "true"


def test_parquet_keeps_the_kinds(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="NO PYARROW: `make ray` installs it and runs this")
    put(tmp_path, Shard(0, 1), [row("a", "r1"), row("b", "r2", acquired_year=2019)])
    collect([tmp_path], tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table.num_rows == 2
    kinds = {name: str(table.schema.field(name).type) for name in ("key", "kvp", "t11_truncated", "acquired_year")}
    assert kinds == {"key": "string", "kvp": "double", "t11_truncated": "bool", "acquired_year": "int64"}


def test_what_cannot_be_collected_is_told(tmp_path: Path) -> None:
    with pytest.raises(CampaignNotFound):
        collect([tmp_path], tmp_path / "all.csv")
    put(tmp_path, Shard(0, 1), [row("a", "r1")])
    with pytest.raises(InvalidRequest):
        collect([tmp_path], tmp_path / "all.xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == [Shard(0, 1).folder]


def test_the_status_adds_the_shards_up(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {str(number): "text" if number % 2 else "refuse" for number in range(10)})
    archive.run("0/3")
    first = campaign_status([archive.campaign])
    assert first.shards_missing == 2
    assert first.left_s is None, "nobody knows how much is in the shards that were not begun"
    archive.run("1/3")
    archive.run("2/3")
    status = campaign_status([archive.campaign])
    assert status.states == {"waiting": 0, "claimed": 0, "done": 0, "refused": 5, "dead": 5}
    assert status.dead == {"no-dicom-found": 5}
    assert sum(status.refused.values()) == 5
    assert (status.left_s, status.shards_missing) == (0.0, 0)
    told = status.to_json()
    assert (told["studies"], told["shards"]) == (10, 3)
    assert sum(each["states"]["dead"] for each in told["by_shard"]) == 5


def test_the_rate_is_that_of_the_last_hour_of_work(tmp_path: Path) -> None:
    times = iter([0.0, *(part for at in range(1, 5) for part in (at * 1800.0, at * 1800.0)), 9000.0])
    with open_ledger(tmp_path / Shard(0, 1).folder, Shard(0, 1), lambda: next(times)) as ledger:
        ledger.add(Reference((str(number),)) for number in range(10))
        claims = []
        for _ in range(5):
            claim = ledger.claim()
            assert claim is not None
            claims.append(claim)
            if len(claims) > 1:
                ledger.settle(claims[-2], StudyState.DONE, code=None, seconds=60.0, result="{}")
    (shard,) = campaign_status([tmp_path]).shards
    # ends at 1800, 3600, 5400, 7200 s: two of them in the hour before the last one, itself included
    assert shard.per_hour == pytest.approx(2.0)
    assert shard.left_s == pytest.approx(6 / 2 * 3600)
