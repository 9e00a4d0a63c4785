"""Campaigns with real worker processes: what studies, drivers and machines do to them."""

from __future__ import annotations

import signal
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from archive_studies import LIMITS, VERSIONS, Archive, make_archive, results, start_driver, wait_for

from trabecula.archive.campaign import run_shard
from trabecula.archive.driver import Rules
from trabecula.archive.executors.process import ProcessExecutor
from trabecula.archive.ledger import StudyState, read_ledger
from trabecula.archive.status import campaign_status
from trabecula.errors import CampaignChanged, CampaignStopped


def codes(archive: Archive) -> dict[str, int]:
    return campaign_status([archive.campaign]).dead


def ends(archive: Archive) -> dict[str, int]:
    return {name: number for name, number in campaign_status([archive.campaign]).states.items() if number}


def test_every_study_ends_as_a_row_and_a_poison_takes_only_its_worker(tmp_path: Path) -> None:
    orders = {f"good-{number}": "report" for number in range(6)}
    orders |= {"poison": "crash", "no": "refuse", "broken": "text", "faulty": "bug"}
    archive = make_archive(tmp_path, orders)
    limits = replace(LIMITS, recycle_after=4)
    executor = ProcessExecutor(archive.load(), 2, limits)
    run_shard(archive.plan(rules=Rules(attempts=2)), executor, versions=lambda _: VERSIONS)
    status = campaign_status([archive.campaign])
    assert ends(archive) == {"done": 6, "refused": 1, "dead": 3}
    assert status.dead == {"worker-crashed": 1, "no-dicom-found": 1, "unforeseen": 1}
    assert sum(status.refused.values()) == 1
    read = Counter(archive.reads())
    assert {name: read[name] for name in ("poison", "faulty", "broken", "no")} == {
        "poison": 2,
        "faulty": 2,
        "broken": 1,
        "no": 1,
    }
    assert all(read[f"good-{number}"] == 1 for number in range(6))
    assert len(results(archive.campaign)) == 7


def test_a_study_that_takes_too_much_memory_dies_alone(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"greedy": "greedy", "good": "report"})
    limits = replace(LIMITS, memory_bytes=512 << 20)
    run_shard(
        archive.plan(rules=Rules(attempts=1)), ProcessExecutor(archive.load(), 1, limits), versions=lambda _: VERSIONS
    )
    assert codes(archive) == {"out-of-memory": 1}
    assert ends(archive) == {"done": 1, "dead": 1}


def test_a_study_that_says_nothing_is_stopped_by_its_time(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"late": "silent", "good": "report"})
    executor = ProcessExecutor(archive.load(), 1, replace(LIMITS, timeout_s=2.0))
    run_shard(archive.plan(rules=Rules(attempts=1)), executor, versions=lambda _: VERSIONS)
    assert codes(archive) == {"screening-timed-out": 1}
    assert ends(archive) == {"done": 1, "dead": 1}


def test_a_killed_driver_reads_nothing_twice_that_has_ended(tmp_path: Path) -> None:
    orders = {f"{number:02d}": "report" for number in range(12)}
    archive = make_archive(tmp_path, orders | {"99-brief": "brief"})
    for kills, ended in ((1, 3), (2, 7)):
        driver = start_driver(archive)
        wait_for(lambda ended=ended: len(archive.reads()) >= ended, driver)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        with read_ledger(archive.campaign / "shard-00000-of-00001") as ledger:
            states = ledger.counts().states
        assert states[StudyState.CLAIMED] <= 1
        assert states[StudyState.DONE] >= ended - kills
    assert start_driver(archive).wait(timeout=300) == 0
    read = Counter(archive.reads())
    assert ends(archive) == {"done": 13}
    assert sum(read.values()) <= 13 + 2, "only what was in flight is read again"
    found = [row["reference"] for row in results(archive.campaign)]
    assert len(found) == len(set(found)) == 13


def test_a_killed_driver_takes_its_workers_with_it(tmp_path: Path) -> None:
    import psutil

    archive = make_archive(tmp_path, {"long": "silent"})
    driver = start_driver(archive)
    wait_for(lambda: archive.reads(), driver)
    children = psutil.Process(driver.pid).children(recursive=True)
    assert children
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_a_driver_that_is_told_to_stop_puts_back_what_runs(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "report", "b": "silent", "c": "report"})
    driver = start_driver(archive)
    wait_for(lambda: "b" in archive.reads(), driver)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(timeout=120) != 0
    with read_ledger(archive.campaign / "shard-00000-of-00001") as ledger:
        counts = ledger.counts()
        assert counts.states[StudyState.CLAIMED] == 0
        assert counts.states[StudyState.WAITING] >= 1
        assert counts.states[StudyState.DONE] >= 1
    assert len(results(archive.campaign)) == counts.states[StudyState.DONE]


def test_shards_share_nothing_and_their_results_make_the_whole(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {str(number): "report" for number in range(20)})
    for index in (2, 0, 1):
        archive.run(f"{index}/3")
    assert len(results(archive.campaign)) == 20
    assert sorted(archive.reads()) == sorted(str(number) for number in range(20))
    assert campaign_status([archive.campaign]).shards_missing == 0


def test_a_manifest_that_has_grown_adds_to_what_was_read(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "report", "b": "report"})
    archive.run()
    make_archive(tmp_path, {"c": "report"})
    archive.manifest.write_text('{"path": "c"}\n{"path": "a"}\n{"path": "b"}\n')
    archive.run()
    assert sorted(archive.reads()) == ["a", "b", "c"]
    assert len(results(archive.campaign)) == 3


def test_other_models_are_another_campaign(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "report"})
    archive.run()
    make_archive(tmp_path, {"b": "report"})
    with pytest.raises(CampaignChanged, match="versions"):
        archive.run(versions=replace(VERSIONS, models="fine-v2@2.0.0:11"))
    assert archive.reads() == ["a"]


def test_the_dead_get_another_chance_when_asked_for(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "text"})
    archive.run()
    archive.run()
    assert archive.reads() == ["a"]
    (archive.root / "a" / "1.dcm").write_bytes(b"report\n")
    archive.run(retry_dead=True)
    assert ends(archive) == {"done": 1}


def test_a_campaign_in_which_everything_dies_stops(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {str(number): "text" for number in range(9)})
    with pytest.raises(CampaignStopped, match="in-a-row"):
        archive.run(rules=Rules(dead_in_a_row=4))
    assert ends(archive) == {"waiting": 5, "dead": 4}


def test_a_root_that_is_gone_kills_no_study(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "report", "b": "report"})
    archive.root.rename(tmp_path / "unmounted")
    archive.root.mkdir()
    with pytest.raises(CampaignStopped, match="configuration"):
        archive.run(rules=Rules(patience_s=0.0))
    assert ends(archive) == {"waiting": 2}
    archive.root.rmdir()
    (tmp_path / "unmounted").rename(archive.root)
    archive.run()
    assert ends(archive) == {"done": 2}


def test_paths_that_lead_out_of_the_root_are_dead_and_not_read(tmp_path: Path) -> None:
    archive = make_archive(tmp_path, {"a": "report"})
    make_archive(tmp_path / "elsewhere", {"secret": "report"})
    (archive.root / "link").symlink_to(tmp_path / "elsewhere" / "root" / "secret")
    archive.manifest.write_text('{"path": "link"}\n{"path": "gone"}\n{"path": "a"}\n')
    archive.run()
    assert codes(archive) == {"reference-unusable": 2}
    assert archive.reads() == ["a"]


@pytest.mark.parametrize("spoil", ["none", "damaged", "encrypted", "bomb"])
def test_a_zip_file_is_one_study(tmp_path: Path, spoil: str) -> None:
    archive = make_archive(tmp_path, {"a": "report"})
    packed = archive.root / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("../../x/1.dcm", b"report\n" + (bytes(2 << 20) if spoil == "bomb" else b""))
    content = packed.read_bytes()
    if spoil == "damaged":
        packed.write_bytes(content.replace(b"report", b"rep0rt"))
        packed.write_bytes(content[:40] + b"\xff" * 4 + content[44:])
    if spoil == "encrypted":
        entry = content.rindex(b"PK\x01\x02")
        packed.write_bytes(content[: entry + 8] + b"\x01\x00" + content[entry + 10 :])
    archive.manifest.write_text('{"path": "a.zip"}\n')
    archive.run()
    assert ends(archive) == ({"done": 1} if spoil == "none" else {"dead": 1})
    assert codes(archive) == ({} if spoil == "none" else {"zip-unusable": 1})
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file() and path.suffix != ".lock"]
