"""The phantom's CT numbers against the published first-principles table and their own definitions."""

import pytest

from trabecula.phantom import ContrastPhase
from trabecula.phantom.physics import (
    REFERENCE_BEAM,
    TIN_MM,
    Beam,
    effective_energy_kev,
    hounsfield,
    iodine_slope,
    k2hpo4_slope,
    marrow_hu,
    rod_hu,
    tissue_hu,
    trabecular,
)
from trabecula.phantom.tissues import ADIPOSE_ICRU44, BLOOD_ICRU44, MUSCLE_ICRU44, Tissue

TABLE = [
    # kVp, water cm, effective keV, s_K, adipose, muscle, blood
    (80, 25, 55.8, 1.875, -97.2, 45.3, 60.8),
    (100, 20, 61.0, 1.634, -87.7, 44.2, 58.6),
    (100, 30, 64.4, 1.508, -82.8, 43.7, 57.5),
    (110, 25, 65.8, 1.464, -81.1, 43.5, 57.1),
    (120, 20, 66.4, 1.446, -80.4, 43.4, 57.0),
    (120, 25, 68.6, 1.382, -77.9, 43.2, 56.4),
    (120, 35, 72.6, 1.286, -74.1, 42.8, 55.6),
    (130, 25, 71.3, 1.315, -75.2, 42.9, 55.8),
    (140, 30, 76.5, 1.207, -71.0, 42.4, 54.9),
]


@pytest.mark.parametrize(("kvp", "water_cm", "energy_kev", "slope", "adipose", "muscle", "blood"), TABLE)
def test_reproduces_the_first_principles_table(
    kvp: float, water_cm: float, energy_kev: float, slope: float, adipose: float, muscle: float, blood: float
) -> None:
    beam = Beam(kvp, water_cm)
    assert k2hpo4_slope(beam) == pytest.approx(slope, rel=0.01)
    assert effective_energy_kev(beam) == pytest.approx(energy_kev, rel=0.01)
    assert hounsfield(ADIPOSE_ICRU44, beam) == pytest.approx(adipose, rel=0.015)
    assert hounsfield(MUSCLE_ICRU44, beam) == pytest.approx(muscle, rel=0.02)
    assert hounsfield(BLOOD_ICRU44, beam) == pytest.approx(blood, rel=0.02)


@pytest.mark.parametrize(("kvp", "slope"), [(100, 1.249), (140, 1.007), (150, 0.971)])
def test_tin_hardens_the_beam_as_tabled(kvp: float, slope: float) -> None:
    assert k2hpo4_slope(Beam(kvp, 30, TIN_MM)) == pytest.approx(slope, rel=0.01)


def test_soft_tissues_read_as_they_do_in_patients() -> None:
    hu = tissue_hu(REFERENCE_BEAM, ContrastPhase.NONE)
    assert hu[Tissue.FAT] == pytest.approx(-100, abs=3)
    assert 45 <= hu[Tissue.MUSCLE] <= 55
    assert 38 <= hu[Tissue.BLOOD] <= 46
    assert 3 <= hu[Tissue.CSF] <= 12
    assert hu[Tissue.AIR] == pytest.approx(-999, abs=1.5)


@pytest.mark.parametrize("fat_fraction", [0.0, 0.4, 1.0])
def test_trabecular_bone_reads_the_asked_density_at_the_reference_beam(fat_fraction: float) -> None:
    bone = trabecular(95.0, fat_fraction, REFERENCE_BEAM)
    assert bone.hu / k2hpo4_slope(REFERENCE_BEAM) == pytest.approx(95.0, abs=1e-6)
    assert bone.mineral_mg_cm3 * k2hpo4_slope(REFERENCE_BEAM) == pytest.approx(
        bone.hu - marrow_hu(fat_fraction, REFERENCE_BEAM), abs=1e-6
    )


def test_fattier_marrow_hides_more_mineral_at_another_voltage() -> None:
    beam = Beam(80, 25)
    lean, fat = (trabecular(95.0, fraction, beam).hu / k2hpo4_slope(beam) for fraction in (0.0, 1.0))
    assert abs(lean - fat) > 1.0


def test_iodine_enhances_by_the_tabled_amount() -> None:
    plain, portal = (tissue_hu(REFERENCE_BEAM, phase) for phase in (ContrastPhase.NONE, ContrastPhase.PORTAL))
    assert portal[Tissue.MARROW] - plain[Tissue.MARROW] == pytest.approx(18.0, abs=0.01)
    low = [tissue_hu(Beam(80, 25), phase)[Tissue.BLOOD] for phase in (ContrastPhase.NONE, ContrastPhase.PORTAL)]
    assert low[1] - low[0] > 1.4 * (portal[Tissue.BLOOD] - plain[Tissue.BLOOD])
    assert iodine_slope(Beam(120, 25)) == pytest.approx(26.4, rel=0.02)


def test_rods_obey_the_mindways_relation() -> None:
    slope = k2hpo4_slope(REFERENCE_BEAM)
    hu = rod_hu(157.05, 1119.52, REFERENCE_BEAM)
    assert (hu - 1119.52 + 999.6) / (slope + 0.2174) == pytest.approx(157.05)
