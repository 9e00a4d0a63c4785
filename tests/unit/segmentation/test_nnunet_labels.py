"""Label maps: targets, ready-made maps, and what does not fit."""

from __future__ import annotations

import pytest

from trabecula.anatomy import Level, Structure, VertebraPart
from trabecula.errors import LabelMapError
from trabecula.segmentation.nnunet.labels import LabelMap, load_label_map, read_target, ready_made_maps


def test_targets_are_structures_vertebrae_parts_and_ribs():
    assert read_target("aorta").structure is Structure.AORTA
    assert read_target("T12") == read_target("T12").__class__(vertebra=True, level=Level.T12)
    assert read_target("L1:body").part is VertebraPart.BODY
    assert read_target("vertebra:posterior").level is None
    assert read_target("rib:12").rib == 12
    assert read_target("rib").structure is Structure.RIB
    assert read_target("unlabelled") == read_target("unlabelled").__class__()
    assert read_target("T13").supernumerary


@pytest.mark.parametrize(
    "text", ["", "Aorta", "T14", "t12", "T12:left", "aorta:body", "rib:0", "rib:13", "rib:x", "S1"]
)
def test_anything_else_is_no_target(text):
    with pytest.raises(ValueError, match=r"no such"):
        read_target(text)


def test_the_total_map_has_all_117_classes_and_every_level():
    labels = load_label_map("totalsegmentator-total").labels
    assert len(labels) == 118
    levels = {read_target(target).level for target in labels.values()} - {None}
    assert levels == set(Level)
    ribs = [read_target(target).rib for target in labels.values() if target.startswith("rib:")]
    assert sorted(ribs) == sorted([*range(1, 13)] * 2)
    assert labels["spinal_cord"] == "spinal_canal"
    assert labels["autochthon_left"] == labels["autochthon_right"] == "paraspinal_muscle"


def test_the_verse_map_numbers_as_verse_does():
    labels = load_label_map("verse").labels
    assert [labels[str(n)] for n in (1, 7, 8, 19, 20, 24, 25, 28)] == ["C1", "C7", "T1", "T12", "L1", "L5", "L6", "T13"]
    assert labels["vertebra_T12"] == labels["vertebrae_T12"] == labels["T12"] == "T12"


def test_every_ready_made_map_loads():
    assert ready_made_maps() == ("totalsegmentator-total", "totalsegmentator-vertebrae-body", "verse")
    for name in ready_made_maps():
        assert load_label_map(name).partial


def test_labels_of_network_and_map_must_fit_both_ways():
    strict = LabelMap(labels={"background": "unlabelled", "a": "aorta", "b": "liver"})
    assert strict.targets({0: "background", 1: "b", 2: "a"}) == ("unlabelled", "liver", "aorta")
    with pytest.raises(LabelMapError, match="c"):
        strict.targets({0: "background", 1: "c"})
    with pytest.raises(LabelMapError, match="not labels of the network: b"):
        strict.targets({0: "background", 1: "a"})
    loose = strict.model_copy(update={"partial": True})
    assert loose.targets({0: "background", 1: "a"}) == ("unlabelled", "aorta")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[labels]\na = 'nowhere'\n", "nowhere"),
        ("labels = 3", "labels"),
        ("[labels]\na = 'aorta'\n[more]\nb = 1", "more"),
        ("orientation = 'XYZ'\n[labels]\na = 'aorta'", "orientation"),
        ("[labels", "TOML"),
    ],
)
def test_a_file_that_is_no_map_is_explained(tmp_path, text, said):
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(LabelMapError, match=said):
        load_label_map(path)


def test_a_map_that_is_not_there_names_the_ready_made_ones(tmp_path):
    with pytest.raises(LabelMapError, match="verse"):
        load_label_map(tmp_path / "none.toml")
