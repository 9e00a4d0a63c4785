"""The ledger: a claim counts before the work begins, an end stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trabecula.archive.ledger import Claim, Ledger, StudyState, open_ledger, read_ledger, shard_folders
from trabecula.archive.parts import write_parts
from trabecula.archive.reference import Reference
from trabecula.archive.shards import Shard
from trabecula.errors import CampaignBusy, CampaignChanged, CampaignNotFound

SHARD = Shard(0, 1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path, SHARD) as opened:
        opened.add([Reference((name,)) for name in ("a", "b", "c")])
        yield opened


def end(ledger: Ledger, claim: Claim, state: StudyState, code: str | None = None, result: str | None = None) -> None:
    ledger.settle(claim, state, code=code, seconds=1.0, result=result)


def claimed(ledger: Ledger) -> Claim:
    claim = ledger.claim()
    assert claim is not None
    return claim


def test_studies_come_in_the_manifest_s_order_and_those_tried_least_first(ledger: Ledger) -> None:
    first = claimed(ledger)
    end(ledger, first, StudyState.WAITING, "worker-crashed")
    names = [claimed(ledger).reference.paths[0] for _ in range(3)]
    assert names == ["b", "c", "a"]
    assert ledger.claim() is None


def test_what_is_in_the_manifest_twice_is_one_study(ledger: Ledger) -> None:
    assert ledger.add([Reference(("a",)), Reference(("d",)), Reference(("d",))]) == 1
    assert ledger.counts().total == 4


def test_a_claim_that_was_never_settled_has_counted(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SHARD) as ledger:
        ledger.add([Reference(("a",))])
    for attempt in (1, 2, 3):
        with open_ledger(tmp_path, SHARD) as ledger:
            ledger.take_back(3)
            assert claimed(ledger).attempt == attempt
    with open_ledger(tmp_path, SHARD) as ledger:
        assert ledger.take_back(3) == 0
        assert ledger.counts().dead == {"worker-lost": 1}
        assert ledger.revive() == 1
        assert claimed(ledger).attempt == 1


def test_a_study_that_is_put_back_keeps_its_attempts(ledger: Ledger) -> None:
    ledger.release(claimed(ledger))
    assert claimed(ledger).attempt == 1


def test_an_attempt_that_was_overtaken_settles_nothing(ledger: Ledger) -> None:
    old = claimed(ledger)
    ledger.take_back(3)
    new = next(claim for claim in (claimed(ledger) for _ in range(3)) if claim.study_id == old.study_id)
    end(ledger, old, StudyState.DONE, result='{"old":1}')
    ledger.release(old)
    assert ledger.counts().states[StudyState.DONE] == 0
    end(ledger, new, StudyState.DONE, result='{"new":1}')
    end(ledger, new, StudyState.DEAD, "late")
    assert ledger.unwritten(9) == [(new.study_id, '{"new":1}')]


def test_two_drivers_do_not_share_a_shard(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SHARD), pytest.raises(CampaignBusy), open_ledger(tmp_path, SHARD):
        pass
    with open_ledger(tmp_path, SHARD):
        pass


def test_a_campaign_stays_what_it_was_begun_with(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SHARD) as ledger:
        ledger.bind(versions="one")
        ledger.bind(versions="one")
        with pytest.raises(CampaignChanged, match="versions"):
            ledger.bind(versions="two")
    with pytest.raises(CampaignChanged, match="shard"), open_ledger(tmp_path, Shard(0, 2)):
        pass


def test_results_reach_part_files_once_whatever_is_killed_between(ledger: Ledger, tmp_path: Path) -> None:
    for number in range(2):
        end(ledger, claimed(ledger), StudyState.DONE, result=f'{{"n":{number}}}')
    known = Ledger.written
    try:
        Ledger.written = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign,assignment]
        with pytest.raises(KeyboardInterrupt):
            write_parts(tmp_path, ledger, rest=True)
    finally:
        Ledger.written = known  # type: ignore[method-assign]
    end(ledger, claimed(ledger), StudyState.REFUSED, "not-ct", '{"n":2}')
    write_parts(tmp_path, ledger, rest=True)
    write_parts(tmp_path, ledger, rest=True)
    (part,) = tmp_path.glob("part-*.jsonl")
    assert part.read_text() == '{"n":0}\n{"n":1}\n{"n":2}\n'
    assert ledger.count_unwritten() == 0


def test_a_part_that_is_not_full_waits(ledger: Ledger, tmp_path: Path) -> None:
    end(ledger, claimed(ledger), StudyState.DONE, result="{}")
    assert write_parts(tmp_path, ledger, rest=False) == 0
    assert not list(tmp_path.glob("part-*"))


def test_a_name_that_is_no_utf_8_is_kept_as_it_is(ledger: Ledger) -> None:
    strange = Reference((b"M\xfcller".decode("utf-8", "surrogateescape"),))
    ledger.add([strange])
    assert strange in [claimed(ledger).reference for _ in range(4)]


@pytest.mark.usefixtures("ledger")
def test_only_the_user_may_read_a_ledger(tmp_path: Path) -> None:
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o077 == 0


def test_a_folder_without_a_ledger_is_told(tmp_path: Path) -> None:
    with pytest.raises(CampaignNotFound):
        shard_folders(tmp_path)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database, but long enough to be looked at as one" * 100)
    with pytest.raises(CampaignNotFound), read_ledger(tmp_path):
        pass
