"""The second reader's slot: what is loaded, what a model is shown, and how its answer stands to the measured one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from findings import acquisition, calibration, composition, lumbar, vertebra
from onnx import TensorProto, helper, numpy_helper

from trabecula.anatomy import Anatomy, Level, VertebraInstance
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Assessment
from trabecula.bone.vertebra import ExclusionReason
from trabecula.clinical import load_constants
from trabecula.errors import ModelChecksumMismatch, ModelError
from trabecula.geometry import Geometry
from trabecula.imaging.study import CtVolume, SpectralFilter
from trabecula.outcome import Severity
from trabecula.patient import PatientContext, Sex
from trabecula.second_reader.crop import crop_around
from trabecula.second_reader.manifest import CropSpec, load_bundle, manifest_schema
from trabecula.second_reader.read import load_second_readers, notices, read_second
from trabecula.second_reader.reading import Agreement, SecondReading
from trabecula.segmentation import RuntimeSettings

CONSTANTS = load_constants()
MAN = PatientContext(age_years=70.0, sex=Sex.MALE)
RUNTIME = RuntimeSettings(threads=1)
SHAPE = (4, 6, 8)
CROP: dict[str, Any] = {
    "name": "crop",
    "shape": SHAPE,
    "spacing_mm": [2.0, 2.0, 2.0],
    "axes": "body",
    "clip_hu": [-500.0, 1000.0],
    "mean_hu": 0.0,
    "std_hu": 100.0,
    "pad_hu": -500.0,
}


def model(domain: str = "") -> bytes:
    """Sigmoid of one minus the box's mean: positive where the mean lies below 100 HU."""
    nodes = [
        helper.make_node("ReduceMean", ["crop"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["one", "mean"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    if domain:
        nodes.append(helper.make_node("Anything", ["probability"], ["more"], domain=domain))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("crop", TensorProto.FLOAT, [1, 1, *SHAPE])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.float32(1.0), "one")],
    )
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 8
    return bytes(made.SerializeToString())


def manifest(content: bytes) -> dict[str, Any]:
    return {
        "schema_version": "1",
        "kind": "second-reader",
        "name": "test-reader",
        "version": "1.0.0",
        "file": "model.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "question": "density below 80 mg/cm3",
        "limits": "A model for tests. Not for clinical use.",
        "input": json.loads(json.dumps(CROP)),
        "output": {
            "name": "probability",
            "form": "probability",
            "answers_for": "osteoporosis-range",
            "cut_off": 0.5,
            "combine": "mean",
        },
        "reference": {"standard": "qct", "definition": "QCT of L1 and L2, mean below 80 mg/cm3"},
        "scope": {"levels": ["L1", "L2"], "kvp": [110.0, 130.0], "contrast": False, "max_slice_mm": 3.0},
        "performance": {"sensitivity": 0.9, "specificity": 0.9, "auc": 0.95, "cases": 10},
        "training": {},
    }


def bundle(root: Path, edit: Callable[[dict[str, Any]], object] = lambda m: m, content: bytes | None = None) -> Path:
    folder = root / "test-reader"
    folder.mkdir()
    written = model() if content is None else content
    (folder / "model.onnx").write_bytes(written)
    document = manifest(written)
    edit(document)
    (folder / "manifest.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def scan(hu: dict[Level, float], tilt: float = 0.0) -> tuple[CtVolume, Anatomy]:
    """L1 above L2 in blocks of even attenuation."""
    array = np.full((40, 30, 32), -400, dtype=np.int16)
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = 2.0, 1.5, 1.5
    geometry = Geometry(array.shape, affine)
    places = {Level.L1: 28, Level.L2: 10}
    found = []
    for level, value in hu.items():
        k = places[level]
        array[k - 7 : k + 8] = round(value)
        up = (0.0, -np.sin(tilt), np.cos(tilt))
        front = (0.0, -np.cos(tilt), -np.sin(tilt))
        centre = tuple(float(x) for x in geometry.index_to_lps((k, 14.5, 15.5)))
        found.append(VertebraInstance(level, 0.95, centre, up, front, True))
    labels = np.zeros(array.shape, dtype=np.uint8)
    return CtVolume(array, geometry), Anatomy(labels, geometry, tuple(found), (), ())


def measured(value: float, patient: PatientContext = MAN) -> Assessment:
    summary, vertebrae = lumbar(value, CONSTANTS)
    return assess(summary, vertebrae, (composition(),), calibration(), acquisition(), patient, CONSTANTS)


def ask(
    root: Path, hu: dict[Level, float], assessment: Assessment, edit: Callable[[dict[str, Any]], object] = lambda m: m
) -> SecondReading:
    bundle(root, edit)
    readers = load_second_readers(root, ["test-reader"], RUNTIME)
    volume, anatomy = scan(hu)
    (found,) = read_second(volume, anatomy, acquisition(), calibration(), (), assessment, readers)
    return found


DENSE, THIN = {Level.L1: 300.0, Level.L2: 300.0}, {Level.L1: 20.0, Level.L2: 20.0}


@pytest.mark.parametrize(
    ("hu", "value", "positive", "agreement"),
    [
        (THIN, 60.0, True, Agreement.AGREES),
        (DENSE, 170.0, False, Agreement.AGREES),
        (DENSE, 100.0, False, Agreement.AGREES),
        (THIN, 100.0, True, Agreement.DISAGREES),
        (THIN, 170.0, True, Agreement.DISAGREES),
        (DENSE, 60.0, False, Agreement.DISAGREES),
        (THIN, 82.0, True, Agreement.UNDECIDED),
        (DENSE, 118.0, False, Agreement.AGREES),  # low or no sign: neither is the osteoporosis range
    ],
)
def test_the_answer_stands_beside_the_measured_one(
    tmp_path: Path, hu: dict[Level, float], value: float, positive: bool, agreement: Agreement
) -> None:
    assessment = measured(value)
    found = ask(tmp_path, hu, assessment)
    assert (found.positive, found.agreement) == (positive, agreement)
    assert [score.level for score in found.scores] == [Level.L1, Level.L2]
    assert "QCT" in found.statement
    told = notices((found,))
    assert bool(told) == (agreement is Agreement.DISAGREES)
    if told:
        assert told[0].severity is Severity.WARNING
        assert "measurement stands" in told[0].message


def test_a_model_for_the_low_range_is_compared_at_the_other_cut_off(tmp_path: Path) -> None:
    def low(document: dict[str, Any]) -> None:
        document["output"]["answers_for"] = "low-bone-density-range"

    assert ask(tmp_path, THIN, measured(100.0), low).agreement is Agreement.AGREES


def test_the_score_is_the_models_own_for_each_vertebra(tmp_path: Path) -> None:
    found = ask(tmp_path, {Level.L1: 200.0, Level.L2: 0.0}, measured(100.0))
    expected = [1.0 / (1.0 + np.exp(-(1.0 - hu / 100.0))) for hu in (200.0, 0.0)]
    assert [score.score for score in found.scores] == pytest.approx(expected, abs=1e-3)
    assert found.score == pytest.approx(np.mean(expected), abs=1e-3)


def test_the_highest_score_counts_where_the_manifest_says_so(tmp_path: Path) -> None:
    found = ask(
        tmp_path, {Level.L1: 200.0, Level.L2: 0.0}, measured(100.0), lambda m: m["output"].update(combine="max")
    )
    assert found.score == pytest.approx(max(score.score for score in found.scores))


def test_logits_become_probabilities(tmp_path: Path) -> None:
    found = ask(
        tmp_path, {Level.L1: 200.0}, measured(100.0), lambda m: m["output"].update(name="probability", form="logit")
    )
    inner = 1.0 / (1.0 + np.exp(1.0))
    assert found.score == pytest.approx(1.0 / (1.0 + np.exp(-inner)), abs=1e-3)


UNFIT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another voltage": ({"kvp": 100.0}, {}, "100 kV"),
    "voltage not known": ({"kvp": None}, {}, "not known"),
    "tin": ({"spectral_filter": SpectralFilter.TIN}, {}, "tin"),
    "thick slices": ({"slice_thickness_mm": 5.0}, {}, "5 mm thick"),
    "contrast medium": ({}, {"contrast_enhanced": True}, "contrast"),
}


@pytest.mark.parametrize(("taken", "calibrated", "because"), UNFIT.values(), ids=UNFIT)
def test_a_scan_outside_the_models_scope_is_not_shown_to_it(
    tmp_path: Path, taken: dict[str, Any], calibrated: dict[str, Any], because: str
) -> None:
    bundle(tmp_path)
    readers = load_second_readers(tmp_path, ["test-reader"], RUNTIME)
    volume, anatomy = scan(THIN)
    (found,) = read_second(
        volume, anatomy, replace(acquisition(), **taken), replace(calibration(), **calibrated), (), measured(100.0),
        readers,
    )  # fmt: skip
    assert (found.agreement, found.score, found.positive, found.scores) == (Agreement.NOT_READ, None, None, ())
    assert because in (found.not_read_because or "")
    assert notices((found,)) == ()


def test_nothing_is_asked_where_no_range_may_be_named(tmp_path: Path) -> None:
    found = ask(tmp_path, THIN, measured(60.0, PatientContext(age_years=30.0, sex=Sex.MALE)))
    assert found.agreement is Agreement.NOT_READ
    assert "osteoporosis" not in found.statement


def test_vertebrae_that_the_measurement_leaves_out_are_not_shown(tmp_path: Path) -> None:
    bundle(tmp_path)
    readers = load_second_readers(tmp_path, ["test-reader"], RUNTIME)
    volume, anatomy = scan(THIN)
    left_out = (vertebra(Level.L1, 50.0, excluded=(ExclusionReason.CEMENT,)),)
    (found,) = read_second(volume, anatomy, acquisition(), calibration(), left_out, measured(100.0), readers)
    assert [score.level for score in found.scores] == [Level.L2]
    cut = replace(anatomy, vertebrae=tuple(replace(v, complete=False) for v in anatomy.vertebrae))
    (found,) = read_second(volume, cut, acquisition(), calibration(), (), measured(100.0), readers)
    assert found.agreement is Agreement.NOT_READ


def test_a_crop_lies_where_it_should_in_any_orientation() -> None:
    hu = np.zeros((40, 50, 60), dtype=np.int16)
    hu[:] = (np.arange(40) * 10)[:, None, None] + np.arange(50)[None, :, None] * 3 - np.arange(60)[None, None, :]
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0], affine[1, 1], affine[0, 2] = 2.0, 1.0, 1.0
    geometry = Geometry(hu.shape, affine)
    centre = tuple(float(x) for x in geometry.index_to_lps((20.0, 25.0, 30.0)))
    spec = CropSpec(**{**CROP, "clip_hu": [-1000.0, 2000.0], "std_hu": 1.0})
    plain = VertebraInstance(Level.L1, 1.0, centre, (0.0, 0.0, 1.0), (0.0, -1.0, 0.0), True)
    box = crop_around(hu, geometry, plain, spec)
    assert box.shape == SHAPE
    up, back, left = (np.diff(box, axis=axis).mean() for axis in range(3))
    assert (up, back, left) == pytest.approx((10.0, 6.0, -2.0), abs=0.05)
    assert box.mean() == pytest.approx(20 * 10 + 25 * 3 - 30, abs=0.5)
    lying = replace(plain, superior=(0.0, -1.0, 0.0), anterior=(0.0, 0.0, -1.0))
    turned = crop_around(hu, geometry, lying, spec)
    assert np.diff(turned, axis=0).mean() == pytest.approx(-6.0, abs=0.05)
    assert np.diff(turned, axis=1).mean() == pytest.approx(10.0, abs=0.05)
    upright = crop_around(hu, geometry, lying, spec.model_copy(update={"axes": "patient"}))
    np.testing.assert_allclose(upright, box)


def test_a_crop_past_the_edge_is_padded_and_clipped() -> None:
    volume, anatomy = scan({Level.L1: 3000.0})
    spec = CropSpec(**CROP)
    far = replace(anatomy.vertebrae[0], centroid_lps_mm=(500.0, 500.0, 500.0))
    assert np.all(crop_around(volume.hu, volume.geometry, far, spec) == -5.0)
    _, y, z = anatomy.vertebrae[0].centroid_lps_mm
    edge = replace(anatomy.vertebrae[0], centroid_lps_mm=(0.0, y, z))
    box = crop_around(volume.hu, volume.geometry, edge, spec)
    assert np.all(box[:, :, :3] == -5.0)
    assert np.all(box[:, :, 5:] == 10.0)
    assert crop_around(volume.hu, volume.geometry, anatomy.vertebrae[0], spec).max() == 10.0


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another kind": lambda m: m.update(kind="fine"),
    "a field that there is not": lambda m: m.update(colour="blue"),
    "no reference standard": lambda m: m.pop("reference"),
    "a standard that there is not": lambda m: m["reference"].update(standard="guess"),
    "a cut-off of one": lambda m: m["output"].update(cut_off=1.0),
    "no figures": lambda m: m.update(performance={}),
    "no limits": lambda m: m.update(limits=""),
    "a file outside": lambda m: m.update(file="../model.onnx"),
    "a file that is not there": lambda m: m.update(file="other.onnx"),
    "an empty window": lambda m: m["input"].update(clip_hu=[5.0, 5.0]),
    "a level twice": lambda m: m["scope"].update(levels=["L1", "L1"]),
    "no level": lambda m: m["scope"].update(levels=[]),
    "another input": lambda m: m["input"].update(name="image"),
    "another output": lambda m: m["output"].update(name="score"),
    "another shape": lambda m: m["input"].update(shape=[4, 4, 4]),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_bundle_that_cannot_be_trusted_is_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    bundle(tmp_path, edit)
    with pytest.raises(ModelError):
        load_second_readers(tmp_path, ["test-reader"], RUNTIME)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path)
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelChecksumMismatch):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"no model", model("com.evil")], ids=["empty", "text", "foreign operators"])
def test_a_file_that_is_no_plain_model_is_refused(tmp_path: Path, content: bytes) -> None:
    bundle(tmp_path, content=content)
    with pytest.raises(ModelError):
        load_second_readers(tmp_path, ["test-reader"], RUNTIME)


def test_foreign_operators_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="operators"):
        load_bundle(bundle(tmp_path, content=model("com.evil")))


@pytest.mark.parametrize("name", ["", "absent", "../test-reader", "/etc"])
def test_only_folders_among_the_models_are_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    bundle(tmp_path)
    with pytest.raises(ModelError):
        load_second_readers(tmp_path / "models", [name], RUNTIME)


def test_no_reader_is_loaded_that_is_not_named(tmp_path: Path) -> None:
    bundle(tmp_path)
    assert load_second_readers(tmp_path, [], RUNTIME) == ()


def test_the_published_schema_is_current(repository: Path) -> None:
    published = (repository / "models" / "second-reader.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == json.loads(json.dumps(manifest_schema()))


def test_the_example_says_what_it_is_and_reads_the_phantoms_densities_apart(repository: Path) -> None:
    folder = repository / "models" / "second-reader-example-v1"
    found = load_bundle(folder).manifest
    assert "Not for clinical use" in found.limits
    assert found.reference.standard.value == "simulation"
    assert (folder / "model.onnx").stat().st_size < 300_000
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for name in ("sensitivity", "specificity", "auc"):
        figures = found.performance[name]
        assert isinstance(figures, dict)
        assert f"{figures['value']:.3f}" in card
    onnx.checker.check_model(onnx.load(folder / "model.onnx"))
    (reader,) = load_second_readers(folder.parent, [folder.name], RUNTIME)
    scores = [reader.score(drawn_vertebra(density, found.input)) for density in (20.0, 50.0, 110.0, 160.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] > found.output.cut_off > scores[2]


def drawn_vertebra(density: float, spec: CropSpec) -> np.ndarray:
    """A cylinder of marrow in a shell, in soft tissue, as the model would be shown it."""
    axes = [(np.arange(n) - (n - 1) / 2.0) * mm for n, mm in zip(spec.shape, spec.spacing_mm, strict=True)]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    radius = np.hypot(j / 14.0, i / 18.0)
    hu = np.full(k.shape, 45.0)
    hu[(radius < 1.1) & (np.abs(k) < 12.5)] = 350.0
    hu[(radius < 1.0) & (np.abs(k) < 11.0)] = 1.25 * density
    return ((np.clip(hu, *spec.clip_hu) - spec.mean_hu) / spec.std_hu).astype(np.float32)
