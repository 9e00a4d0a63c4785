"""Reading of option strings and refusal of impossible specs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.phantom import (
    PHANTOM_LEVELS,
    Fracture,
    FractureGrade,
    FractureShape,
    InvalidPhantomSpec,
    PhantomSpec,
    parse_fractures,
    parse_levels,
    parse_vbmd,
)


def test_densities_are_read_by_level_span_and_in_any_case() -> None:
    assert parse_vbmd("T11=95,t12=92.5") == {Level.T11: 95.0, Level.T12: 92.5}
    assert parse_vbmd(["L1-L3=80", "L2=85"]) == {Level.L1: 80.0, Level.L2: 85.0, Level.L3: 80.0}
    assert parse_vbmd("") == {}


@given(st.dictionaries(st.sampled_from(PHANTOM_LEVELS), st.integers(-20, 400), min_size=1))
def test_written_densities_read_back(densities: dict[Level, int]) -> None:
    text = ",".join(f"{level}={value}" for level, value in densities.items())
    spec = PhantomSpec(vbmd_mg_cm3=parse_vbmd(text))
    assert all(spec.density(level) == value for level, value in densities.items())


def test_fractures_are_wedges_unless_a_shape_is_named() -> None:
    assert parse_fractures("L1=grade2,T8=grade3-crush") == {
        Level.L1: Fracture(FractureGrade.GRADE2, FractureShape.WEDGE),
        Level.T8: Fracture(FractureGrade.GRADE3, FractureShape.CRUSH),
    }


def test_level_lists_keep_order_and_drop_doubles() -> None:
    assert parse_levels("T12-L2,L1") == (Level.T12, Level.L1, Level.L2)


@pytest.mark.parametrize("text", ["T11", "T11=", "T11=dense", "C3=90", "S1=90", "L2-T12=90", "=5"])
def test_unreadable_densities_say_what_is_wrong(text: str) -> None:
    with pytest.raises(InvalidPhantomSpec) as caught:
        parse_vbmd(text)
    assert caught.value.fields["problem"]


@pytest.mark.parametrize("text", ["L1=grade4", "L1=2", "L1=grade2-shear"])
def test_unreadable_fractures_name_the_choices(text: str) -> None:
    with pytest.raises(InvalidPhantomSpec, match="must be one of"):
        parse_fractures(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kvp": 60.0},
        {"size_cm": 60.0},
        {"slice_mm": 0.0},
        {"noise_hu": -1.0},
        {"vbmd_mg_cm3": {Level.T12: 900.0}},
        {"vbmd_mg_cm3": {Level.L5: 90.0}},
        {"top": Level.L1, "bottom": Level.T12},
        {"sex": "x"},
        {"study_date": "today"},
    ],
)
def test_impossible_specs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidPhantomSpec):
        PhantomSpec(**wrong)  # type: ignore[arg-type]
