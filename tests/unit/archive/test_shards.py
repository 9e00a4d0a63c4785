"""Every study is in exactly one shard, whatever else the manifest holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trabecula.archive.reference import Reference, of_key, parse_reference
from trabecula.archive.shards import Shard, shard_of
from trabecula.errors import InvalidRequest

paths = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    lambda text: not text.startswith("/") and ".." not in text.split("/") and text.strip("/.") != ""
)
references = st.one_of(
    paths.map(lambda path: parse_reference({"path": path})),
    st.lists(paths, min_size=1, max_size=4).map(lambda several: parse_reference({"paths": several})),
    st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){1,6}", fullmatch=True).map(
        lambda uid: parse_reference({"study_uid": uid})
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(references, max_size=12), st.integers(1, 12))
def test_each_study_is_in_exactly_one_shard(manifest: list[Reference], count: int) -> None:
    shards = [Shard(index, count) for index in range(count)]
    for reference in manifest:
        assert sum(shard.holds(reference) for shard in shards) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(references, max_size=8), st.lists(references, max_size=8), st.integers(1, 12), st.randoms())
def test_a_study_stays_in_its_shard_when_the_manifest_grows_and_is_sorted_anew(
    before: list[Reference], added: list[Reference], count: int, random: object
) -> None:
    shard_before = {reference.key: shard_of(reference, count) for reference in before}
    grown = [*added, *before]
    random.shuffle(grown)  # type: ignore[attr-defined]
    after = {reference.key: shard_of(reference, count) for reference in grown}
    assert shard_before.items() <= after.items()


@settings(max_examples=60, deadline=None)
@given(references)
def test_a_reference_comes_back_from_its_key_and_from_its_line(reference: Reference) -> None:
    assert of_key(reference.key) == reference
    assert parse_reference(reference.to_json()) == reference


def test_shards_are_about_the_same_size() -> None:
    sizes = [0] * 16
    for number in range(16_000):
        sizes[shard_of(Reference((f"patient/{number}",)), 16)] += 1
    assert min(sizes) > 850
    assert max(sizes) < 1150


def test_the_assignment_is_part_of_the_format() -> None:
    """Ledgers lie in folders named by shard: another hash would read every study again."""
    assert [shard_of(Reference((name,)), 1000) for name in ("a", "patient/1")] == [579, 553]
    assert shard_of(Reference(study_uid="1.2.3"), 1000) == 246


@pytest.mark.parametrize("text", ["8/8", "1", "0/0", "-1/8", "a/b", "1/2/3", "0/100001", " 0/1", "٠/1", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Shard.parse(text)


def test_shards_are_counted_from_zero() -> None:
    assert Shard.parse("0/8") == Shard(0, 8)
    with pytest.raises(InvalidRequest, match="0/8 to 7/8"):
        Shard.parse("8/8")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"path": ""},
        {"path": "/etc"},
        {"path": "../other"},
        {"path": "a/../../b"},
        {"path": "a\nb"},
        {"path": "a\0b"},
        {"path": 7},
        {"paths": []},
        {"paths": ["a", "/b"]},
        {"paths": "ab"},
        {"study_uid": "1.2.x"},
        {"study_uid": "1." * 40 + "1"},
        {"path": "a", "study_uid": "1.2"},
    ],
)
def test_a_reference_that_names_no_study_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        parse_reference(row)
