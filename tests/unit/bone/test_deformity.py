"""Lost height becomes a suspicion only where it stands out, is certain, and no normal variant explains it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.bone.deformity import assess_deformities
from trabecula.bone.heights import BodyProfile, Heights
from trabecula.bone.rules import bone_rules
from trabecula.bone.vertebra import Deformity, DeformityKind, DeformityStatus, ShapeVariant
from trabecula.clinical import load_constants

RULES = bone_rules(load_constants()).deformity
LEVELS = tuple(Level.from_ordinal(n) for n in range(Level.T8.ordinal, Level.L2.ordinal + 1))
INDEX = LEVELS.index(Level.T10)
WEDGED = LEVELS.index(Level.T12)


def profile(front: float, middle: float, back: float, *, hollow_mm: float = 1.0, error_mm: float = 0.5) -> BodyProfile:
    heights = Heights(front, middle, back, error_mm, error_mm)
    return BodyProfile(heights, heights, hollow_mm, hollow_mm, cupids_bow=False, pit_depths_mm=(), support=1.0)


def normal(n: int, height: float = 1.0, error_mm: float = 0.5) -> BodyProfile:
    back = 21.0 * 1.035**n * height
    return profile(0.96 * back, 0.94 * back, back, error_mm=error_mm)


def column(**changed: BodyProfile) -> list[BodyProfile | None]:
    return [changed.get(level.value, normal(n)) for n, level in enumerate(LEVELS)]


def found(at: int, **changed: BodyProfile) -> Deformity:
    return assess_deformities(LEVELS, column(**changed), RULES)[at]


def lost(n: int, front: float, middle: float, back: float, **options: float) -> BodyProfile:
    full = 21.0 * 1.035**n
    return profile(front * full, middle * full, back * full, **options)


def test_a_sound_column_has_no_deformity() -> None:
    assert {d.status for d in assess_deformities(LEVELS, column(), RULES)} == {DeformityStatus.NONE}


@pytest.mark.parametrize(
    ("heights", "kind", "grade"),
    [
        ((0.68, 0.84, 1.0), DeformityKind.WEDGE, 2),
        ((0.52, 0.76, 1.0), DeformityKind.WEDGE, 3),
        ((0.90, 0.67, 1.0), DeformityKind.BICONCAVE, 2),
        ((0.88, 0.55, 0.97), DeformityKind.BICONCAVE, 3),
        ((0.67, 0.64, 0.68), DeformityKind.CRUSH, 2),
        ((0.50, 0.48, 0.52), DeformityKind.CRUSH, 3),
    ],
)
def test_marked_loss_is_suspected_with_its_kind_and_grade(
    heights: tuple[float, float, float], kind: DeformityKind, grade: int
) -> None:
    deformity = found(INDEX, T10=lost(INDEX, *heights))
    assert (deformity.status, deformity.kind, deformity.grade) == (DeformityStatus.SUSPECTED, kind, grade)
    assert deformity.probability is not None
    assert deformity.probability > 0.95
    assert deformity.reasons


def test_a_sound_neighbour_of_fractures_stays_sound() -> None:
    all_found = assess_deformities(
        LEVELS, column(T9=lost(1, 0.6, 0.6, 0.6), T11=lost(3, 0.6, 0.6, 0.6), T12=lost(4, 0.5, 0.8, 1.0)), RULES
    )
    suspected = [level for level, d in zip(LEVELS, all_found, strict=True) if d.status is DeformityStatus.SUSPECTED]
    assert suspected == [Level.T9, Level.T11, Level.T12]


def test_crush_is_seen_by_the_neighbours_alone() -> None:
    only = assess_deformities((Level.T10,), [lost(INDEX, 0.65, 0.62, 0.66)], RULES)[0]
    assert only.status is DeformityStatus.NONE
    assert only.posterior_to_neighbours is None
    assert found(INDEX, T10=lost(INDEX, 0.65, 0.62, 0.66)).status is DeformityStatus.SUSPECTED


def test_mild_wedging_at_the_thoracolumbar_junction_is_a_variant() -> None:
    deformity = found(WEDGED, T12=lost(WEDGED, 0.78, 0.88, 1.0))
    assert deformity.status is DeformityStatus.VARIANT
    assert deformity.variants == (ShapeVariant.MILD_WEDGING,)
    pushed_in = lost(WEDGED, 0.78, 0.88, 1.0, hollow_mm=3.5)
    assert found(WEDGED, T12=pushed_in).status is DeformityStatus.POSSIBLE


def test_a_mild_loss_that_stands_out_elsewhere_is_possible_only() -> None:
    deformity = found(INDEX, T10=lost(INDEX, 0.77, 0.88, 1.0, error_mm=0.3))
    assert (deformity.status, deformity.grade) == (DeformityStatus.POSSIBLE, 1)


def test_a_shape_that_the_neighbours_share_is_not_suspected() -> None:
    wedged = {level.value: lost(n, 0.72, 0.86, 1.0) for n, level in enumerate(LEVELS)}
    statuses = {d.status for d in assess_deformities(LEVELS, column(**wedged), RULES)}
    assert DeformityStatus.SUSPECTED not in statuses


def test_a_high_back_wall_alone_makes_no_fracture() -> None:
    """Rims raised by degeneration: low against its own back wall, hardly lower than the neighbours."""
    deformity = found(INDEX, T10=lost(INDEX, 1.0, 0.78, 1.06, hollow_mm=4.0, error_mm=0.2))
    assert (deformity.status, deformity.grade) == (DeformityStatus.POSSIBLE, 2)


def test_a_loss_that_the_segmentation_does_not_show_is_not_suspected() -> None:
    shown = lost(INDEX, 0.68, 0.84, 1.0)
    full = normal(INDEX).heights
    assert found(INDEX, T10=replace(shown, label_heights=full)).status is DeformityStatus.VARIANT


def test_uncertain_heights_make_no_suspicion() -> None:
    assert found(INDEX, T10=lost(INDEX, 0.72, 0.86, 1.0, error_mm=3.0)).status is DeformityStatus.NONE
    fairly_sure = found(INDEX, T10=lost(INDEX, 0.72, 0.86, 1.0, error_mm=1.4))
    assert fairly_sure.probability is not None
    assert 0.7 < fairly_sure.probability < 0.9
    assert fairly_sure.status is DeformityStatus.POSSIBLE
    assert found(INDEX, T10=lost(INDEX, 0.35, 0.6, 1.0, error_mm=3.0)).status is DeformityStatus.SUSPECTED


def test_schmorl_nodes_and_cupids_bow_are_named_and_no_fracture() -> None:
    node = replace(normal(INDEX), pit_depths_mm=(4.0,))
    assert found(INDEX, T10=node).variants == (ShapeVariant.SCHMORL_NODE,)
    assert found(INDEX, T10=node).status is DeformityStatus.NONE
    last = len(LEVELS) - 1
    bow = replace(normal(last), cupids_bow=True)
    assert found(last, L2=bow).variants == (ShapeVariant.CUPIDS_BOW,)


def test_a_body_without_endplates_is_not_assessed() -> None:
    profiles = column()
    profiles[INDEX] = None
    assert assess_deformities(LEVELS, profiles, RULES)[INDEX].status is DeformityStatus.NOT_ASSESSED


@given(scale=st.floats(0.75, 1.3), jitter=st.lists(st.floats(-0.03, 0.03), min_size=21, max_size=21))
def test_people_of_any_size_with_ordinary_differences_have_no_suspected_fracture(
    scale: float, jitter: list[float]
) -> None:
    profiles: list[BodyProfile | None] = []
    for n in range(len(LEVELS)):
        h = normal(n, scale).heights
        front, middle, back = (1.0 + j for j in jitter[3 * n : 3 * n + 3])
        profiles.append(profile(front * h.anterior_mm, middle * h.middle_mm, back * h.posterior_mm))
    statuses = {d.status for d in assess_deformities(LEVELS, profiles, RULES)}
    assert statuses <= {DeformityStatus.NONE, DeformityStatus.VARIANT}


@given(front=st.floats(0.3, 1.0), less=st.floats(0.0, 0.2))
def test_a_grade_never_falls_when_more_height_is_lost(front: float, less: float) -> None:
    here = found(INDEX, T10=lost(INDEX, front, 0.5 + front / 2, 1.0, error_mm=0.2))
    worse = found(INDEX, T10=lost(INDEX, front - less * front, 0.5 + front / 2, 1.0, error_mm=0.2))
    assert worse.grade >= here.grade
