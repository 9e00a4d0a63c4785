"""K2HPO4 and HA: two units that never mix, one explicit way between them with its own error."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trabecula.calibration.calibration import DensityScale
from trabecula.calibration.scale import HaDensity, K2hpo4Density, density_on, scale_ratio, to_ha, to_k2hpo4
from trabecula.clinical import ClinicalConstants


def test_densities_of_different_scales_do_not_mix() -> None:
    with pytest.raises(TypeError, match="different units"):
        _ = K2hpo4Density(100.0) - HaDensity(80.0)  # type: ignore[operator]
    with pytest.raises(TypeError, match="different units"):
        _ = HaDensity(100.0) < K2hpo4Density(80.0)  # type: ignore[operator]
    assert K2hpo4Density(100.0) != HaDensity(100.0)
    assert HaDensity(100.0) - HaDensity(80.0) == 20.0


def test_a_number_gets_its_scale_when_it_becomes_a_density() -> None:
    assert density_on(DensityScale.HA, 100.0) == HaDensity(100.0)
    assert density_on(DensityScale.K2HPO4, 100.0, 2.0) == K2hpo4Density(100.0, 2.0)


@pytest.mark.parametrize(("kvp", "ratio"), [(80.0, 0.86), (140.0, 0.81), (120.0, 0.8267), (70.0, 0.86), (150.0, 0.81)])
def test_the_ratio_is_goodsitts_between_his_two_voltages(
    constants: ClinicalConstants, kvp: float, ratio: float
) -> None:
    assert scale_ratio(kvp, constants).ratio == pytest.approx(ratio, abs=1e-4)
    assert "Goodsitt" in scale_ratio(kvp, constants).source


@given(value=st.floats(1.0, 400.0), spread=st.floats(0.0, 20.0), kvp=st.floats(70.0, 150.0))
def test_there_and_back_again_costs_certainty_and_no_value(
    constants: ClinicalConstants, value: float, spread: float, kvp: float
) -> None:
    ratio = scale_ratio(kvp, constants)
    there = to_k2hpo4(HaDensity(value, spread), ratio)
    back = to_ha(there, ratio)
    assert there.value_mg_cm3 < value
    expected = math.hypot(spread * ratio.ratio, value * ratio.standard_uncertainty)
    assert there.standard_uncertainty_mg_cm3 == pytest.approx(expected)
    assert back.value_mg_cm3 == pytest.approx(value)
    assert back.standard_uncertainty_mg_cm3 > math.hypot(spread, value * ratio.standard_uncertainty)
