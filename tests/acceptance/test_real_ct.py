"""Every real CT goes through the chain. What is asserted holds for any chest CT, not for these files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.anatomy import Level
from trabecula.report import ReportStatus, Screening
from trabecula.screening import Engine, screen

COMPLETE_AT_T11 = ("lidc-idri-0001", "acrin-nsclc-042", "nsclc-radiogenomics-r01-001", "crlm-ct-1006")

pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def screenings(engine: Engine, data_dir: Path) -> dict[str, Screening]:
    return {name: screen([data_dir / "ct" / name], engine) for name in COMPLETE_AT_T11}


@pytest.mark.parametrize("name", COMPLETE_AT_T11)
def test_a_ct_with_t11_in_view_is_reported(screenings: dict[str, Screening], name: str) -> None:
    report = screenings[name].report
    assert report.status is ReportStatus.REPORTED, [refusal.code for refusal in report.refusals]
    assert {Level.T11, Level.T12} & {vertebra.level for vertebra in report.vertebrae}


@pytest.mark.parametrize("name", COMPLETE_AT_T11)
def test_vertebrae_run_head_to_foot_without_a_gap(screenings: dict[str, Screening], name: str) -> None:
    ordinals = [vertebra.level.ordinal for vertebra in screenings[name].report.vertebrae]
    assert ordinals == list(range(ordinals[0], ordinals[0] + len(ordinals)))


@pytest.mark.parametrize("name", COMPLETE_AT_T11)
def test_densities_are_plausible_and_uncertain(screenings: dict[str, Screening], name: str) -> None:
    density = screenings[name].report.density
    assert density is not None
    assert density.vbmd_mean_mg_cm3 is not None
    assert density.vbmd_mean_standard_uncertainty_mg_cm3 is not None
    assert 20.0 < density.vbmd_mean_mg_cm3 < 280.0
    assert density.vbmd_mean_standard_uncertainty_mg_cm3 > 2.0


def test_levels_agree_with_the_reference_map(screenings: dict[str, Screening], data_dir: Path) -> None:
    """lidc-idri-0001 has a reference segmentation on the same grid: every named vertebra must lie in that vertebra, or
    the report must say that it is not sure."""
    import SimpleITK as sitk  # noqa: N813

    reference = sitk.ReadImage(str(data_dir / "labels" / "lidc-idri-0001.nii.gz"))
    label_of = {Level.from_ordinal(24 - step): 27 + step for step in range(19)}
    for vertebra in screenings["lidc-idri-0001"].report.vertebrae:
        if vertebra.roi is None or vertebra.level_confidence < 0.7:
            continue
        index = reference.TransformPhysicalPointToIndex(vertebra.roi.centre_lps_mm)
        assert reference.GetPixel(index) == label_of[vertebra.level], vertebra.level


def test_a_scan_that_ends_above_the_target_levels_never_gives_an_empty_success(engine: Engine, data_dir: Path) -> None:
    report = screen([data_dir / "ct" / "lung-dx-a0001"], engine).report
    if report.status is ReportStatus.REPORTED:
        assert any(vertebra.vbmd_mg_cm3 is not None for vertebra in report.vertebrae)
    else:
        assert report.refusals
