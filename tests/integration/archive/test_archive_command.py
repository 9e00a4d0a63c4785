"""``trabecula archive`` as a researcher uses it: with models, on phantoms, and from a PACS."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from archive_studies import LIMITS, VERSIONS, counted_screen, make_archive
from small_archive import SmallArchive, small_archive
from typer.testing import CliRunner

from trabecula.archive.campaign import Plan, run_shard
from trabecula.archive.driver import Rules
from trabecula.archive.executors.inline import InlineExecutor
from trabecula.archive.fetch import Fetch, FetchLimits
from trabecula.archive.pseudonyms import Pseudonyms
from trabecula.archive.shards import Shard
from trabecula.archive.status import campaign_status
from trabecula.archive.study import ReadStudy
from trabecula.cli.app import app
from trabecula.config import Settings
from trabecula.phantom import PhantomSpec, write_phantom
from trabecula.service.archive_worker import study_pull, versions_of
from trabecula.work.scratch import Scratch


def trabecula(*words: object) -> str:
    """Standard output of a command in this process."""
    done = CliRunner().invoke(app, ["archive", *(str(each) for each in words)], env={"OMP_NUM_THREADS": "1"})
    assert done.exit_code == 0, done.output
    return done.stdout


def trabecula_apart(*words: object) -> str:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "trabecula.cli", "archive", *(str(each) for each in words)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_a_folder_tree_to_a_table(tmp_path: Path) -> None:
    root, campaign = tmp_path / "root", tmp_path / "campaign"
    write_phantom(PhantomSpec(matrix=160, slice_mm=5.0, age_years=64, sex="F"), root / "Doe^Jane", lambda _: None)
    (root / "broken").mkdir()
    listed = json.loads(trabecula("list-studies", root, "--out", tmp_path / "m.jsonl", "--json"))
    assert listed == {"studies": 1}
    with (tmp_path / "m.jsonl").open("a") as stream:
        stream.write('{"path": "broken"}\n')
    run = ("run", "--manifest", tmp_path / "m.jsonl", "--root", root, "--out", campaign, "--json", "--quiet")
    done = json.loads(trabecula_apart(*run))
    assert done["ended_in_this_run"] == {"done": 1, "dead": 1}
    assert "ended_in_this_run" in trabecula(*run), "again: nothing is left to do"
    status = json.loads(trabecula("status", campaign, "--json"))
    assert (status["states"]["done"], status["dead"]) == (1, {"no-dicom-found": 1})
    trabecula("collect", campaign, "--out", tmp_path / "results.csv")
    text = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert "Doe" not in text
    (row,) = csv.DictReader(text.splitlines())
    truth = json.loads((root / "Doe^Jane" / "truth.json").read_text(encoding="utf-8"))
    assert truth
    assert float(row["vbmd_mean_mg_cm3"]) > 50
    assert (row["status"], row["sex"], row["age_years"]) == ("reported", "female", "64.0")
    assert int(row["peak_memory_bytes"]) > 100e6
    assert row["models"].count("@") >= 3
    trabecula("list-ended", campaign, "--out", tmp_path / "again.jsonl")
    assert json.loads((tmp_path / "again.jsonl").read_text()) == {"path": "broken", "code": "no-dicom-found"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--shard", "8/8"], 2, "counted from 0"),
        (["--root", "not-there"], 2, "no folder"),
        (["--manifest", "not-there.jsonl"], 4, "manifest-unusable"),
        (["--salt-file", "not-there"], 1, "site-file"),
    ],
)
def test_wrong_usage_and_bad_input_are_told_apart(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    archive = make_archive(tmp_path, {"a": "report"})
    command = ["archive", "run", "--manifest", str(archive.manifest), "--out", str(tmp_path / "out"), "--quiet"]
    done = CliRunner().invoke(app, [*command, *words], env={"OMP_NUM_THREADS": "1", "COLUMNS": "200"})
    assert done.exit_code == code, done.output
    assert said in done.output


def test_a_campaign_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    for command in (["status", str(tmp_path)], ["collect", str(tmp_path), "--out", str(tmp_path / "r.csv")]):
        assert CliRunner().invoke(app, ["archive", *command]).exit_code == 4


@pytest.fixture
def pacs() -> Iterator[SmallArchive]:
    with small_archive() as made:
        yield made


def test_studies_come_from_the_pacs_and_leave_nothing_here(tmp_path: Path, pacs: SmallArchive) -> None:
    pacs.studies |= {"1.2.1": b"report", "1.2.2": b"refuse"}
    destinations = tmp_path / "destinations.toml"
    destinations.write_text(
        f'[[destination]]\nkind = "stow"\nname = "pacs"\nbase_url = "{pacs.url}"\nsend = ["documents"]\n'
        '[destination.network]\nplain_http = true\nprivate_networks = ["127.0.0.0/8"]\n'
    )
    settings = Settings(destinations_file=destinations, dicomweb_archive="pacs")
    manifest = tmp_path / "uids.csv"
    manifest.write_text("study_uid\n1.2.1\n1.2.2\n1.2.3\n")
    scratch = tmp_path / "scratch"

    def load() -> ReadStudy:
        fetch = Fetch(None, Scratch(scratch), FetchLimits(10, 1 << 20), study_pull(settings))
        return ReadStudy(counted_screen, fetch, VERSIONS, Pseudonyms(b"0" * 32))

    (tmp_path / "campaign").mkdir()
    plan = Plan(manifest, tmp_path / "campaign", Shard(0, 1), Rules(), pulls_per_hour=1e6)
    run_shard(plan, InlineExecutor(load, LIMITS), versions=lambda _: VERSIONS)
    status = campaign_status([tmp_path / "campaign"])
    assert (status.states["done"], status.states["refused"], status.dead) == (1, 1, {"not-found": 1})
    assert sorted(pacs.pulls) == ["1.2.1", "1.2.2"]
    assert [path for path in scratch.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_whatever_decides_a_number_is_in_the_versions(tmp_path: Path) -> None:
    file = tmp_path / "calibration.toml"
    file.write_text("methods = []\n")
    settings = Settings()
    base = versions_of(settings, ()).digest
    changed = [
        replace(settings, level_profile="acr"),
        replace(settings, calibration_file=file),
        replace(settings, execution_provider="openvino"),
        replace(settings, inference_max_voxels=1_000_000),
    ]
    digests = {versions_of(each, ()).digest for each in changed}
    assert len(digests | {base}) == len(changed) + 1
    before = versions_of(changed[1], ()).digest
    file.write_text("methods = ['phantomless']\n")
    assert versions_of(changed[1], ()).digest != before
    assert versions_of(replace(settings, workers=4, log_level="error"), ()).digest == base
