"""The site's calibration file: order of methods, phantoms, fitted corrections, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.calibration.asynchronous import Asynchronous, WhenStale
from trabecula.calibration.calibration import CalibrationMethod, CorrectionName
from trabecula.calibration.profile import DEFAULT_PROFILE
from trabecula.calibration.scanner_history import ScannerHistory
from trabecula.calibration.site import Vessel
from trabecula.calibration.site_file import default_profile, read_profile
from trabecula.errors import SiteFileError
from trabecula.imaging.study import KernelClass

PHANTOM = """
[[phantom]]
kind = "siemens-osteo"
serial = "77"
scale = "HA"
form = "two-point"
rods = [{ name = "water", density = 0.0 }, { name = "bone", density = 201.3 }]
"""
WHOLE = (
    """
methods = ["asynchronous", "fat-air", "mass-attenuation"]
when_stale = "fall-back"
without = ["contrast"]

[contrast]
vessel = "aorta"
slope = 0.06
intercept_hu = 2.0
residual_sd_hu = 6.0
vessel_range_hu = [80, 400]
kvp = 120
source = "own"

[[virtual_unenhanced]]
slope = 1.9
intercept_hu = 12.0
residual_sd_hu = 8.0
equivalent_kvp = 120
source = "own"

[kernel.sharp]
amount_mg_cm3 = 2.5
standard_uncertainty_mg_cm3 = 1.0
source = "own"
"""
    + PHANTOM
)


def written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_in_the_file_reaches_the_profile(tmp_path: Path) -> None:
    history = ScannerHistory()
    profile = read_profile(written(tmp_path, WHOLE), history)
    assert [m.method.value for m in profile.methods] == ["asynchronous", "fat-air", "mass-attenuation"]
    assert profile.methods[0] == Asynchronous(history, WhenStale.FALL_BACK)
    assert profile.phantoms[0].rods[1].density_mg_cm3 == 201.3
    assert profile.site.contrast is not None
    assert (profile.site.contrast.vessel, profile.site.contrast.vessel_range_hu) == (Vessel.AORTA, (80.0, 400.0))
    assert profile.site.virtual_unenhanced[0].slope == 1.9
    assert profile.site.kernels[KernelClass.SHARP].amount_mg_cm3 == 2.5
    assert profile.site.without == {CorrectionName.CONTRAST}


def test_without_an_order_the_site_gets_what_it_has_data_for_best_first(tmp_path: Path) -> None:
    def order(text: str, history: ScannerHistory | None) -> list[str]:
        return [m.method.value for m in read_profile(written(tmp_path, text), history).methods]

    assert order("", None) == ["phantomless", "hu-only"]
    assert order(PHANTOM, None) == ["synchronous-phantom", "phantomless", "hu-only"]
    assert order(PHANTOM, ScannerHistory()) == ["synchronous-phantom", "asynchronous", "phantomless", "hu-only"]
    assert [m.method for m in default_profile(None).methods] == [m.method for m in DEFAULT_PROFILE.methods]


def test_the_comparator_is_never_a_default() -> None:
    for history in (None, ScannerHistory()):
        assert CalibrationMethod.MASS_ATTENUATION not in {m.method for m in default_profile(history).methods}


@pytest.mark.parametrize(
    "text",
    [
        "methods = [",
        'methods = ["guessing"]',
        'methods = ["synchronous-phantom"]',
        'methods = ["asynchronous"]',
        'when_stale = "shrug"',
        'without = ["physics"]',
        "surprise = 1",
        '[contrast]\nvessel = "aorta"',
        '[kernel.velvet]\namount_mg_cm3 = 1.0\nstandard_uncertainty_mg_cm3 = 1.0\nsource = "x"',
        '[[phantom]]\nkind = "mindways-model-3-ct"',
        PHANTOM.replace("201.3", '"dense"'),
    ],
)
def test_what_cannot_be_used_is_an_error_and_not_left_out(tmp_path: Path, text: str) -> None:
    with pytest.raises(SiteFileError):
        read_profile(written(tmp_path, text))
    with pytest.raises(SiteFileError):
        read_profile(tmp_path / "none.toml")
