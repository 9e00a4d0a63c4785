"""Rendering of training scans from a small made-up anatomy: labels true to what is drawn, same seed same sample."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
render = pytest.importorskip("models.training.render", reason="the training code is not beside the tests")

from models.training import channels, scanner, scene, shape, transitional, validation  # noqa: E402
from models.training import seeds as s  # noqa: E402
from models.training.fields import Fields  # noqa: E402
from models.training.habitus import Habitus  # noqa: E402

from trabecula.anatomy import Structure, label_meaning  # noqa: E402

SPACING = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def seed() -> s.Seed:
    """T10..L2 in a small trunk: bodies, arches, canal, discs, 12th ribs, muscle, aorta, heart, lung, sternum."""
    shape_ = (110, 130, 150)
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape_), indexing="ij", sparse=True)
    labels = np.zeros(shape_, np.uint8)
    vertebrae = {}
    x = i - 75
    labels[(((j - 60) / 30) ** 2 + (x / 45) ** 2 < 1) & (k >= 0) & (j < 62)] = s.LUNG
    labels[((j - 58) ** 2 + x**2 < 49) & (k >= 0)] = s.AORTA
    labels[((j - 50) ** 2 + (x - 12) ** 2 < 200) & (k > 60)] = s.HEART
    labels[(np.abs(x) > 8) & (np.abs(x) < 24) & (j > 88) & (j < 102) & (k >= 0)] = s.PARASPINAL
    labels[(j > 26) & (j < 30) & (np.abs(x) < 12) & (k > 30)] = s.OTHER_BONE
    rib = np.zeros(shape_, np.uint8)
    for n, low in enumerate((88, 68, 48, 28, 8)):
        ordinal = 17 + n
        high = (k >= low) & (k < low + 16)
        body = high & (((j - 76) / 10) ** 2 + (x / 13) ** 2 <= 1)
        arch = high & (j > 86) & (j < 104) & (np.abs(x) < 3)
        side = (k >= low + 5) & (k < low + 10) & (j > 84) & (j < 88) & (np.abs(x) < 20)
        vertebrae[ordinal] = body | arch | side
        if ordinal <= s.T12:
            bow = (np.abs(x) > 20) & (np.abs(x) < 52) & (k >= low + 6) & (k < low + 10)
            there = bow & (np.abs(j - (86 - (np.abs(x) - 20) * 0.2)) < 3)
            labels[there], rib[there] = s.RIB, ordinal - s.T1 + 1
    canal = ((j - 91) ** 2 + x**2 <= 16) & (k >= 0)
    labels[canal] = s.CANAL
    for mask in vertebrae.values():
        mask &= ~canal
    return s.Seed(name="small", **s.complete("small", labels, vertebrae, rib))


def quiet(seed: s.Seed, rng: np.random.Generator, **changes: object) -> scene.Story:
    """A scan of usual size without noise, metal or change of shape."""
    story = scene.draw_story(seed, rng, whole=True)
    protocol = replace(
        story.protocol, thickness_mm=1.5, increment_mm=1.5, noise_hu=0.0, streaks_hu=0.0, drift_hu=0.0,
        field_of_view_mm=None, psf_mm=0.3, sharpening=0.0, kvp_factor=1.0, gain=1.0, offset_hu=0.0,
    )  # fmt: skip
    plain = replace(
        story, scale=np.ones(3), habitus=Habitus(5.0, 12.0, 0.0, 14, 0.0, "away"), fractures=(), spurs=(),
        variant=transitional.Variant(), protocol=protocol, table=False, leads=False, metal=False,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def drawn(seed: s.Seed, stream: int = 3, **changes: object) -> scene.Rendered:
    rng = np.random.default_rng(stream)
    grid = shape.Grid(np.array([55.0, 65.0, 75.0]), (56, 76, 86), SPACING, (1, 1, 1))
    return scene.render(seed, grid, quiet(seed, rng, **changes), np.random.default_rng(stream))


@pytest.mark.parametrize("make", ["render_fine", "render_coarse"])
def test_same_generator_gives_the_same_sample(seed: s.Seed, make: str) -> None:
    args = ((24, 24, 24),) if make == "render_fine" else ()
    a, b = (getattr(render, make)(seed, np.random.default_rng((5, 2)), *args).arrays() for _ in range(2))
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name])
    other = getattr(render, make)(seed, np.random.default_rng((5, 3)), *args)
    assert other.hu.shape != a["hu"].shape or (other.hu != a["hu"]).any()


def test_sample_has_the_agreed_arrays(seed: s.Seed) -> None:
    sample = render.render_fine(seed, np.random.default_rng(1), (24, 24, 24)).arrays()
    assert {n: a.dtype.name for n, a in sample.items()} == {
        "hu": "int16", "classes": "uint8", "level": "float16", "ordinal": "uint8", "centres": "float32",
    }  # fmt: skip
    vertebra = np.isin(sample["classes"], [render.FINE_CHANNELS.index(f"vertebra_{p}") for p in ("body", "posterior")])
    assert ((sample["ordinal"] > 0) <= vertebra).all()
    assert set(np.unique(sample["ordinal"])) <= {0, *range(17, 22)}


def test_nothing_is_taught_past_the_end_of_the_map(seed: s.Seed) -> None:
    for n in range(3):
        sample = render.render_fine(seed, np.random.default_rng(n), (128, 24, 24))
        past = (sample.hu == -1024).all((1, 2))
        assert past.any()
        assert not sample.ordinal[past].any()
        assert not sample.classes[past].any()
        assert np.isnan(sample.level[past].astype(float)).all()


def test_centres_lie_in_the_middle_of_their_bodies(seed: s.Seed) -> None:
    made = drawn(seed)
    ordinals = [int(c[0]) for c in made.centres]
    assert {18, 19, 20} <= set(ordinals) <= set(range(17, 22))
    for n, *centre in made.centres:
        body = np.argwhere(made.labels == s.BODY_BASE + int(n))
        if 17 < n < 21:
            assert np.linalg.norm((body.mean(0) - centre) * SPACING) < 4


def test_centre_outside_the_grid_is_left_out() -> None:
    p = [np.broadcast_to(a, (8, 8, 8)) for a in np.meshgrid(*(np.arange(8.0),) * 3, indexing="ij", sparse=True)]
    line = np.array([[18, 3.25, 4.5, 2.0], [19, 11.0, 4.0, 4.0]])
    found = channels.body_centres(list(p), line, 1.0)
    np.testing.assert_allclose(found, [[18, 3.25, 4.5, 2.0]], atol=0.05)


def test_body_is_grown_around_the_map(seed: s.Seed) -> None:
    made = drawn(seed)
    for label in (s.WALL, s.SAT, scanner.SKIN, scanner.AIR, s.CAVITY_FILL):
        assert (made.labels == label).any(), label
    hu = {label: np.median(made.hu[made.labels == label]) for label in (s.WALL, s.SAT, scanner.AIR, s.LUNG)}
    assert 0 < hu[s.WALL] < 80
    assert -130 < hu[s.SAT] < -60
    assert hu[scanner.AIR] < -990
    assert hu[s.LUNG] < -500
    fat = np.argwhere(made.labels[28] == s.SAT)
    air = np.argwhere(made.labels[28] == scanner.AIR)
    assert air[:, 0].min() < fat[:, 0].min()


def test_fat_lies_behind_the_aorta_where_asked(seed: s.Seed) -> None:
    fat = Habitus(5.0, 12.0, 0.0, 14, 12.0, "away")
    usual, made = (drawn(seed, **k).labels == s.CAVITY_FILL for k in ({}, {"habitus": fat}))
    assert made.sum() > usual.sum()
    assert (made >= usual).all()


def test_arms_and_breasts_are_grown_where_asked(seed: s.Seed) -> None:
    arms = drawn(seed, habitus=Habitus(2.0, 3.0, 0.0, 18, 0.0, "down"))
    assert (arms.labels == scanner.ARM).any()
    assert (arms.labels == scanner.ARM_BONE).any()
    flat, full = (
        (drawn(seed, habitus=Habitus(2.0, 3.0, mm, 18, 0.0, "away")).labels == s.SAT).sum() for mm in (0.0, 40.0)
    )
    assert full > flat


def test_crush_lowers_the_body_and_no_other(seed: s.Seed) -> None:
    def heights(fractures: tuple[shape.Fracture, ...]) -> dict[int, float]:
        made = drawn(seed, fractures=fractures)
        return {n: float((made.labels == s.BODY_BASE + n).sum()) for n in (18, 19, 20)}

    usual, broken = heights(()), heights((shape.Fracture(19, "crush", 0.5, 0.0),))
    assert broken[19] < 0.75 * usual[19]
    assert abs(broken[20] - usual[20]) < 0.1 * usual[20]


def test_wedge_is_lower_in_front(seed: s.Seed) -> None:
    made = drawn(seed, fractures=(shape.Fracture(19, "wedge", 0.5, 0.0),))
    body = np.argwhere(made.labels == s.BODY_BASE + 19)
    low, high = np.percentile(body[:, 1], (20, 80))
    front, back = (np.ptp(body[m][:, 0]) for m in (body[:, 1] <= low, body[:, 1] >= high))
    assert front < back


def test_spur_widens_the_rim(seed: s.Seed) -> None:
    spurs = tuple(shape.Spur(n, 0.0, 0.8, 6.0, False) for n in (18, 19))
    front = [np.argwhere(drawn(seed, spurs=x).labels == s.BODY_BASE + 19)[:, 1].min() for x in ((), spurs)]
    assert front[1] < front[0]


def test_bridging_spur_turns_disc_to_bone(seed: s.Seed) -> None:
    spurs = (shape.Spur(19, 0.0, 0.9, 1.0, True),)
    usual, made = (drawn(seed, spurs=x).labels for x in ((), spurs))
    assert (made == s.DISC).sum() < (usual == s.DISC).sum()
    new = np.argwhere((made == s.BODY_BASE + 19) & (usual == s.DISC))
    old = np.argwhere(usual == s.BODY_BASE + 19)
    assert len(new) > 0
    assert new[:, 0].min() >= old[:, 0].min() - 3
    assert new[:, 0].max() <= old[:, 0].max()


def test_missing_twelfth_rib_leaves_the_ordinals(seed: s.Seed) -> None:
    usual, made = drawn(seed), drawn(seed, variant=transitional.Variant(twelfth_rib_mm=(0.0, 0.0)))
    height = int(made.centres[made.centres[:, 0] == s.T12][0, 1])
    near = slice(height - 3, height + 4)
    assert (usual.labels[near] == s.RIB).any()
    assert not (made.labels[near] == s.RIB).any()
    assert (made.labels == s.BODY_BASE + s.T12).any()


def test_rib_at_l1_is_drawn_as_far_as_asked(seed: s.Seed) -> None:
    made = drawn(seed, variant=transitional.Variant(lumbar_rib_mm=(60.0, 0.0)))
    centre = made.centres[made.centres[:, 0] == transitional.L1][0, 1:]
    ribs = np.argwhere(made.labels == s.RIB)
    low = ribs[np.abs(ribs[:, 0] - centre[0]) < 3]
    far = np.hypot(*(low[:, 1:] - centre[1:]).T) * 3
    assert len(low) > 5
    assert far.max() < 68
    assert (low[:, 2] < centre[2]).all()


def test_metal_is_labelled_and_bright() -> None:
    grid = shape.Grid(np.zeros(3), (20, 20, 20), (2.0, 2.0, 2.0), (1, 1, 1))
    from models.training.hardware import Metal

    metal = Metal(grid)
    metal.rod(np.array([10.0, 2, 10]), np.array([10.0, 17, 10]), 3.0)
    assert metal.share[10, 10, 10] == pytest.approx(1.0)
    assert metal.share.sum() * 8 == pytest.approx(np.pi * 9 * 30 + 4 / 3 * np.pi * 27, rel=0.2)
    thin = Metal(grid)
    thin.rod(np.array([10.0, 2, 10]), np.array([10.0, 17, 10]), 0.3)
    assert 0 < thin.share.max() < 0.1


def test_slices_average_what_lies_in_them() -> None:
    weights = scanner.slice_weights(10, 1.0, 5.0, np.array([2.5, 7.5]))
    np.testing.assert_allclose(weights @ np.arange(10.0), [2.0, 7.0])
    between = scanner.interpolation_weights(np.array([2.5, 5.0, 7.5, 20.0]), np.array([2.5, 7.5]))
    np.testing.assert_allclose(between @ np.array([2.0, 7.0]), [2.0, 4.5, 7.0, 7.0])


def test_noise_is_as_strong_as_asked_and_has_no_slow_part() -> None:
    rng = np.random.default_rng(0)
    protocol = replace(scanner.draw_protocol(rng, whole=False), noise_hu=20.0, streaks_hu=0.0, sharpening=0.0,
                       thickness_mm=1.5, increment_mm=1.5, offset_hu=0.0, gain=1.0, drift_hu=0.0)  # fmt: skip
    out, _ = scanner.scan(np.zeros((30, 64, 64), np.float32), None, (1, 1, 1), (1.5, 1.5, 1.5), protocol, rng)
    assert 15 < out.std() < 30
    blocks = out.reshape(30, 8, 8, 8, 8).mean((2, 4))
    white = out.std() / 8
    assert blocks.std() < 1.6 * white


def test_field_has_unit_variance_and_the_asked_scale() -> None:
    field = Fields(np.random.default_rng(0), (60, 60, 60), (2.0, 2.0, 2.0))
    a, b = field(6.0), field(30.0)
    assert a.std() == pytest.approx(1.0, abs=0.2)
    assert np.diff(a, axis=2).std() > 2.5 * np.diff(b, axis=2).std()


def test_real_ct_is_sampled_not_drawn(seed: s.Seed) -> None:
    labels = np.where(seed.labels == 0, s.SAT, seed.labels).astype(np.uint8)
    hu = np.where(labels >= s.BODY_BASE, 700, 30).astype(np.int16)
    real = replace(seed, name="real-small", labels=labels, hu=hu)
    sample = render.render_coarse(real, np.random.default_rng(4))
    body = sample.classes == render.COARSE_CHANNELS.index("vertebra_body")
    rest = np.isin(sample.classes, [render.COARSE_CHANNELS.index(n) for n in ("lung", "heart")])
    assert np.median(sample.hu[body]) > 300
    assert abs(np.median(sample.hu[rest]) - 30) < 60
    assert (sample.classes == render.COARSE_CHANNELS.index("subcutaneous_fat")).any()


def test_shares_of_seeds(tmp_path: Path, seed: s.Seed) -> None:
    arrays = {n: getattr(seed, n) for n in ("labels", "cavity", "bone_depth", "hull_mm", "level", "centreline", "rib")}
    small = {n: a[:2] if a.ndim == 3 else a for n, a in arrays.items()}
    for name in ("s0327", "s0328", "real-a", "real-b", "pseudo-a"):
        np.savez(tmp_path / f"{name}.npz", **small)
    found, weights = render.load_seeds(tmp_path, "fine", real_share=0.3, pseudo_share=0.1)
    by_name = {a.name: w for a, w in zip(found, weights, strict=True)}
    assert by_name["real-a"] == by_name["real-b"] == pytest.approx(0.15)
    assert by_name["pseudo-a"] == pytest.approx(0.1)
    assert by_name["s0327"] / by_name["s0328"] == pytest.approx(0.6 / 0.25)
    assert {a.name for a in render.load_seeds(tmp_path, "fine")[0]} == {"s0327", "s0328"}


def test_canonical_labels_are_the_products() -> None:
    named = {
        s.LUNG: Structure.LUNG, s.TRACHEA: Structure.TRACHEA, s.HEART: Structure.HEART, s.AORTA: Structure.AORTA,
        s.LIVER: Structure.LIVER, s.SPLEEN: Structure.SPLEEN, s.KIDNEY: Structure.KIDNEY, s.S1: Structure.OTHER_BONE,
        s.PARASPINAL: Structure.PARASPINAL_MUSCLE, s.MUSCLE: Structure.SKELETAL_MUSCLE, s.RIB: Structure.RIB,
        s.WALL: Structure.SKELETAL_MUSCLE, s.SAT: Structure.SUBCUTANEOUS_FAT, s.OTHER_BONE: Structure.OTHER_BONE,
        s.CANAL: Structure.SPINAL_CANAL, s.CANAL_RIM: Structure.SPINAL_CANAL, s.DISC: Structure.INTERVERTEBRAL_DISC,
        scanner.METAL: Structure.METAL, scanner.AIR: Structure.OUTSIDE, s.CAVITY_FILL: Structure.CAVITY,
        scanner.SKIN: Structure.BODY, s.STOMACH: Structure.BODY,
    }  # fmt: skip
    got = validation.canonical(np.array(list(named), np.uint8), np.zeros(len(named), bool))
    assert got.tolist() == [int(v) for v in named.values()]
    inside = validation.canonical(np.array([s.STOMACH, s.LUNG], np.uint8), np.ones(2, bool))
    assert inside.tolist() == [Structure.CAVITY, Structure.LUNG]
    t12 = validation.canonical(np.array([s.BODY_BASE + 19, s.POSTERIOR_BASE + 19], np.uint8), np.zeros(2, bool))
    assert [label_meaning(int(n)).level.value for n in t12] == ["T12", "T12"]
    assert [label_meaning(int(n)).part.value for n in t12] == ["body", "posterior"]
