"""Anatomy from networks that name the vertebrae themselves: merging, cleaning, splitting, checking."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from trabecula.anatomy import Anatomy, Level, Structure, VertebraPart, vertebra_label
from trabecula.errors import ModelError
from trabecula.outcome import Refusal, RefusalCode
from trabecula.segmentation import RuntimeSettings, load_models, segment
from trabecula.segmentation.bundle import load_bundle
from trabecula.segmentation.full import segment_full
from trabecula.segmentation.named import canal_in_arches, clean_levels
from trabecula.segmentation.nnunet.labels import read_target
from trabecula.segmentation.nnunet.merge import UNLABELLED, merge_labels
from trabecula.segmentation.nnunet.predict import NetworkLabels
from trabecula.segmentation.session import open_session
from trabecula.segmentation.settings import SegmentationSettings

RUNTIME = RuntimeSettings(threads=1)
NAMES = ("unlabelled", "spinal_canal", "aorta", "rib", *Level.__members__)
TARGETS = [read_target(name) for name in NAMES]
SCENE = ("outside", "body", "cavity", "lung", "aorta", "paraspinal_muscle", "rib", "spinal_canal")


def named_by_a_network(scene, *, with_canal=True, shift=0):
    """Whole vertebrae by level, canal, aorta and ribs, as a network without parts labels them."""
    labels = np.zeros(scene.classes.shape, dtype=np.uint16)
    for number, name in ((1, "spinal_canal"), (2, "aorta"), (3, "rib")):
        if with_canal or name != "spinal_canal":
            labels[scene.classes == SCENE.index(name)] = number
    vertebra = scene.ordinals > 0
    labels[vertebra] = 3 + scene.ordinals[vertebra] + shift
    return labels


def answer(labels, targets=TARGETS, certainty=0.95):
    values = np.zeros(len(targets))
    values[np.unique(labels)] = certainty
    return NetworkLabels(labels.astype(np.uint16), values), targets


def run(scene, labels, *others):
    return segment_full(scene.volume, [answer(labels), *others], SegmentationSettings(), lambda *_: None)


def test_vertebrae_have_their_levels_places_and_directions(scene):
    found = run(scene, named_by_a_network(scene))
    assert isinstance(found, Anatomy)
    assert [v.level for v in found.vertebrae] == [Level.from_ordinal(n) for n in range(Level.T7.ordinal, 23)]
    for level, centre in scene.centres_mm.items():
        vertebra = found.vertebra(level)
        index = found.geometry.lps_to_index(vertebra.centroid_lps_mm)
        assert np.linalg.norm((index - centre / 2.5) * 2.5) < 5
        assert vertebra.superior[2] > 0.9
        assert vertebra.anterior[1] < -0.9
        assert abs(np.dot(vertebra.superior, vertebra.anterior)) < 1e-6
        assert vertebra.complete
        assert vertebra.level_confidence == 0.9  # a network's word alone


def test_bodies_are_what_lies_in_front_of_the_canal(scene):
    found = run(scene, named_by_a_network(scene))
    is_body = (found.labels > 32) & (found.labels < 64)
    is_posterior = found.labels > 64
    true_body = (scene.classes == 9) & (scene.ordinals > 0)
    true_posterior = (scene.classes == 10) & (scene.ordinals > 0)
    assert 2 * (is_body & true_body).sum() / (is_body.sum() + true_body.sum()) > 0.95
    assert is_posterior[true_posterior].mean() > 0.7
    assert (found.labels == Structure.SPINAL_CANAL).sum() > 0


def test_a_second_network_says_where_the_bodies_are(scene):
    parts = np.where(scene.classes == 9, 1, 0)
    parts[:, :, : parts.shape[2] // 2] = 0  # half of each body, which no plane would cut like that
    body_network = answer(parts, [read_target("unlabelled"), read_target("vertebra:body")])
    found = run(scene, named_by_a_network(scene), body_network)
    body = (found.labels > 32) & (found.labels < 64)
    right_half = np.arange(parts.shape[2]) < parts.shape[2] // 2
    assert body[:, :, right_half].sum() == 0
    assert body[:, :, ~right_half].sum() > 0


def test_without_a_canal_label_the_arches_show_it(scene):
    bone = np.zeros((6, 40, 40), dtype=np.uint8)
    bone[:, 5:20, 8:32] = 20
    bone[:, 20:34, 12:28] = 20
    bone[:, 22:30, 14:26] = 0
    bone[3:, 30:34, 19:21] = 0  # a narrow gap in the arch
    canal = canal_in_arches(bone, (3.0, 1.5, 1.5))
    assert canal[0].sum() == 8 * 12
    assert canal[4].sum() >= 8 * 12
    assert not canal[bone > 0].any()
    assert not canal_in_arches(np.zeros((2, 5, 5), dtype=np.uint8), (1.0, 1.0, 1.0)).any()
    assert isinstance(run(scene, named_by_a_network(scene, with_canal=False)), Anatomy | Refusal)


def test_a_loose_piece_goes_to_the_vertebra_it_touches():
    ordinal = np.zeros((30, 20, 20), dtype=np.uint8)
    ordinal[2:12, 4:16, 4:16] = 20
    ordinal[14:26, 4:16, 4:16] = 19
    ordinal[12, 6:9, 6:9] = 19  # belongs to the vertebra below
    ordinal[0:2, 0:2, 18:20] = 19  # belongs to none
    cleaned, doubled = clean_levels(ordinal, (1.5, 1.5, 1.5))
    assert (cleaned[12, 6:9, 6:9] == 20).all()
    assert (cleaned[0:2, 0:2, 18:20] == 255).all()
    assert doubled == frozenset()


def test_a_name_given_twice_is_doubtful(scene):
    labels = named_by_a_network(scene)
    number = 3 + Level.T10.ordinal
    labels[labels == number] = number - 1  # T10 is called T9 as well
    found = run(scene, labels)
    assert isinstance(found, Anatomy)
    assert found.vertebra(Level.T9).level_confidence == 0.5
    assert found.vertebra(Level.L1).level_confidence == 0.9
    assert any("given twice" in sentence for sentence in found.level_evidence)
    assert any(notice.code == "level-confidence-low" for notice in found.notices)


def test_a_missing_vertebra_makes_its_neighbours_doubtful(scene):
    labels = named_by_a_network(scene)
    labels[labels == 3 + Level.T11.ordinal] = 0
    found = run(scene, labels)
    assert [v.level for v in found.vertebrae if v.level_confidence == 0.5] == [Level.T10, Level.T12]


def test_an_unsure_network_is_not_believed_more_than_it_believes_itself(scene):
    labels = named_by_a_network(scene)
    found = segment_full(scene.volume, [answer(labels, certainty=0.6)], SegmentationSettings(), lambda *_: None)
    assert {v.level_confidence for v in found.vertebrae} == {0.6}


def test_vertebrae_out_of_order_are_left_out_and_many_are_refused(scene):
    labels = named_by_a_network(scene)
    swapped = labels.copy()
    a, b = (3 + level.ordinal for level in (Level.T9, Level.T10))
    swapped[labels == a], swapped[labels == b] = b, a
    found = run(scene, swapped)
    assert isinstance(found, Anatomy)
    assert any(notice.code == "vertebra-out-of-order" for notice in found.notices)
    upside_down = labels.copy()
    vertebra = labels > 3
    upside_down[vertebra] = 3 + (Level.T7.ordinal + Level.L3.ordinal) - (labels[vertebra] - 3)
    refused = run(scene, upside_down)
    assert isinstance(refused, Refusal)
    assert refused.code is RefusalCode.LEVELS_INCONSISTENT


def test_numbered_ribs_speak_for_or_against_the_names(scene_factory):
    scene = scene_factory()
    targets = [*TARGETS, *(read_target(f"rib:{n}") for n in range(1, 13))]

    def with_ribs(shift):
        labels = named_by_a_network(scene)
        ribs = np.argwhere(labels == 3)
        heights = np.array([centre[0] for centre in scene.centres_mm.values()]) / 2.5
        levels = np.array([level.ordinal for level in scene.centres_mm])
        # A made rib runs from its vertebra's transverse process downwards.
        middle = 130 / 2.5 + 0.4 * 18 / 2.5 * np.sin(ribs[:, 0] / scene.classes.shape[0] * 2 * np.pi)
        start = ribs[:, 0] - (18 - 0.5 * np.abs(ribs[:, 2] - middle) * 2.5) / 2.5
        nearest = levels[np.abs(start[:, None] - heights).argmin(axis=1)]
        number = np.clip(nearest - 7 + shift, 1, 12)
        labels[tuple(ribs.T)] = len(TARGETS) + number - 1
        # The tubercle meets the transverse process.
        for level in scene.centres_mm:
            if level.is_thoracic:
                k, j, i = np.rint(scene.centres_mm[level] / 2.5).astype(int)
                labels[k, j + 8 : j + 10, i + 6 : i + 8] = len(TARGETS) + np.clip(level.ordinal - 7 + shift, 1, 12) - 1
        return segment_full(scene.volume, [answer(labels, targets)], SegmentationSettings(), lambda *_: None)

    agreed = with_ribs(0)
    assert agreed.vertebra(Level.T10).level_confidence == 0.95  # the network's own, under the higher limit
    assert any("ribs meet" in sentence for sentence in agreed.level_evidence)
    assert with_ribs(1).vertebra(Level.T10).level_confidence == 0.5


def test_a_thirteenth_rib_bearer_makes_everything_doubtful(scene):
    labels = named_by_a_network(scene)
    labels[0:2, 0:4, 0:4] = len(TARGETS)
    targets = [*TARGETS, read_target("T13")]
    found = segment_full(scene.volume, [answer(labels, targets)], SegmentationSettings(), lambda *_: None)
    assert {v.level_confidence for v in found.vertebrae} == {0.5}
    assert any("13th thoracic" in sentence for sentence in found.level_evidence)


def test_a_scan_without_trunk_spine_or_wanted_levels_is_refused(scene, with_hu):
    labels = named_by_a_network(scene)
    air = with_hu(scene, np.full_like(scene.volume.hu, -1000))
    assert run(air, labels).code is RefusalCode.BODY_NOT_FOUND
    assert run(scene, np.where(labels > 3, 0, labels)).code is RefusalCode.SPINE_NOT_FOUND
    high = np.where(labels > 3 + Level.T7.ordinal, 0, labels)
    assert run(scene, high).code is RefusalCode.LEVEL_NOT_IN_VIEW


def test_earlier_networks_stand_and_later_ones_fill_in():
    first, second = np.array([[[0, 1, 1]]]), np.array([[[1, 0, 1]]])
    merged = merge_labels(
        [
            answer(first, [read_target("unlabelled"), read_target("aorta")]),
            answer(second, [read_target("unlabelled"), read_target("liver")]),
        ]
    )
    assert merged.structure.tolist() == [[[Structure.LIVER, Structure.AORTA, Structure.AORTA]]]
    bare = merge_labels([answer(first, [read_target("unlabelled"), read_target("vertebra")])])
    assert bare.structure.tolist() == [[[UNLABELLED, Structure.OTHER_BONE, Structure.OTHER_BONE]]]


@pytest.fixture
def full_bundle(write_bundle):
    """A network that tells vertebrae by brightness: 0, about 200 HU (T12), about 600 HU (L1), about -100 (canal),
    about -1000 HU (nothing)."""

    def write(name="named", targets=("unlabelled", "T12", "L1", "spinal_canal", "body")):
        folder = write_bundle(name=name, model=brightness_model((0.0, 2.0, 6.0, -1.0, -10.0)[: len(targets)]))
        manifest = json.loads((folder / "manifest.json").read_text())
        for key in ("input", "outputs"):
            del manifest[key]
        resampling = {"order": 3, "order_z": 0, "separate_z": None}
        manifest |= {
            "kind": "full",
            "nnunet": {
                "input": {
                    "name": "image",
                    "axes": ["S", "P", "L"],
                    "spacing_mm": [4.0, 4.0, 4.0],
                    "patch": [16, 16, 16],
                    "normalisation": {"scheme": "ct", "mean": 0, "std": 100, "low": -1000, "high": 1000},
                    "resampling": resampling,
                    "resampling_logits": {**resampling, "order": 1},
                },
                "logits": "logits",
                "labels": [{"name": f"label {n}", "target": target} for n, target in enumerate(targets)],
            },
        }
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return write


def brightness_model(values):
    """Logits 4 (v x - v^2 / 2): the label whose value is nearest wins."""
    slope = 4 * np.array(values, dtype=np.float32)
    bias = -2 * np.array(values, dtype=np.float32) ** 2
    count = len(values)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 16, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, count, 16, 16, 16])],
        [
            helper.make_tensor("weight", TensorProto.FLOAT, (count, 1, 1, 1, 1), slope.tolist()),
            helper.make_tensor("bias", TensorProto.FLOAT, (count,), bias.tolist()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_named_bundles_are_loaded_run_and_reported(full_bundle, scene):
    folder = full_bundle()
    models = load_models(folder.parent, RUNTIME, [folder.name])
    assert models.coarse is None
    told = []
    bright = np.clip(scene.volume.hu, -200, 100)
    for level, value in ((Level.T12, 200), (Level.L1, 600)):
        bright[scene.ordinals == level.ordinal] = value
    bright[scene.classes == SCENE.index("spinal_canal")] = -100
    bright[scene.classes == 0] = -1000
    volume = replace(scene.volume, hu=bright.astype(np.int16))
    found = segment(volume, models, lambda _, fraction: told.append(fraction))
    assert isinstance(found, Anatomy)
    assert {v.level for v in found.vertebrae} == {Level.T12, Level.L1}
    assert (found.labels == vertebra_label(Level.T12, VertebraPart.BODY)).sum() > 500
    (use,) = found.models
    assert (use.name, use.sha256) == ("named", load_bundle(folder).manifest.sha256)
    assert use.provider == "CPUExecutionProvider"
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_cancelled_screening_stops_between_tiles(full_bundle, scene):
    folder = full_bundle()
    models = load_models(folder.parent, RUNTIME, [folder.name])
    told = []

    def stop(_, fraction):
        told.append(fraction)
        if len(told) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        segment(scene.volume, models, stop)
    assert len(told) == 3


def test_bundles_that_do_not_go_together_are_refused(full_bundle, write_bundle):
    named = full_bundle()
    coarse = write_bundle()
    with pytest.raises(ModelError, match="together"):
        load_models(named.parent, RUNTIME, [named.name, coarse.name])
    bodies = full_bundle("bodies", ("unlabelled", "vertebra:body"))
    with pytest.raises(ModelError, match="levels"):
        load_models(named.parent, RUNTIME, [bodies.name])
    assert len(load_models(named.parent, RUNTIME, [named.name, bodies.name]).full) == 2
    with pytest.raises(ModelError, match="manifest"):
        load_models(named.parent, RUNTIME, ["nowhere"])
    with pytest.raises(ModelError, match="full model"):
        open_session(load_bundle(named), RUNTIME)
    assert load_models(named.parent, RUNTIME).coarse.manifest.name == "coarse-test"


def test_a_manifest_with_an_unknown_target_is_refused(full_bundle):
    folder = full_bundle()
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"T12"', '"T14"'))
    with pytest.raises(ModelError, match="T14"):
        load_bundle(folder)


def test_a_network_with_other_outputs_than_labels_is_refused(full_bundle, scene):
    folder = full_bundle()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["nnunet"]["labels"].append({"name": "more", "target": "aorta"})
    (folder / "manifest.json").write_text(json.dumps(manifest))
    models = load_models(folder.parent, RUNTIME, [folder.name])
    with pytest.raises(ModelError, match="shape"):
        segment(scene.volume, models)
