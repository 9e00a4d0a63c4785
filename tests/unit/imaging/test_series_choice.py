"""Which series is taken, and that the reasons say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_ct import HuArray, SeriesSpec

from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.nature import Origin, nature_of
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy, SeriesCandidate, StudyRefused


def _choice(study: Path, limits: ImagingLimits) -> tuple[CtStudy, SeriesCandidate]:
    read = read_study([study], limits)
    assert isinstance(read, CtStudy)
    chosen = [candidate for candidate in read.candidates if candidate.chosen]
    assert chosen == [read.candidates[0]]
    return read, chosen[0]


@pytest.mark.parametrize(
    ("better", "worse", "why"),
    [
        ({}, {"ConvolutionKernel": "Br64f"}, "soft kernel"),
        ({}, {"ConvolutionKernel": "B50f"}, "soft kernel"),
        ({"ConvolutionKernel": "B50f"}, {"ConvolutionKernel": "B70f"}, "medium"),
        ({}, {"ContrastBolusAgent": "Iomeron"}, "contrast"),
        ({"SeriesDescription": "nativ", "ConvolutionKernel": "B70f"}, {"ContrastBolusAgent": "Iomeron"}, "contrast"),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "original"),
        ({}, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "original"),
        ({}, {"SliceThickness": 4.0}, "2.0 mm slices"),
        ({"SliceThickness": 3.0}, {"SliceThickness": 5.0}, "3.0 mm slices"),
        ({}, {"LossyImageCompression": "01"}, "lossy"),
    ],
    ids=str,
)
@pytest.mark.parametrize("better_first", [True, False])
def test_preference(
    body: HuArray,
    small: ImagingLimits,
    series: Callable[..., Path],
    better: dict[str, Any],
    worse: dict[str, Any],
    why: str,
    better_first: bool,
) -> None:
    numbers = (1, 2) if better_first else (2, 1)
    series(SeriesSpec(body, series_uid=f"1.2.3.4.{numbers[0]}", tags={**better, "SeriesNumber": numbers[0]}), "x")
    study = series(
        SeriesSpec(
            np.roll(body, 1, axis=1), series_uid=f"1.2.3.4.{numbers[1]}", tags={**worse, "SeriesNumber": numbers[1]}
        ),
        "y",
    )
    read, chosen = _choice(study, small)
    assert chosen.series_number == numbers[0]
    np.testing.assert_array_equal(read.volume.hu, body)
    assert chosen.reasons[0].startswith("chosen: ")
    assert why in chosen.reasons[0]
    assert chosen.score > read.candidates[1].score


def test_longer_coverage_wins(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    series(SeriesSpec(body[:6], series_uid="1.2.3.4.1", tags={"SeriesNumber": 1}), "short")
    study = series(SeriesSpec(np.concatenate([body] * 3), series_uid="1.2.3.4.2"), "long")
    _, chosen = _choice(study, small)
    assert chosen.instances == 36
    assert "36 slices over 72 mm" in chosen.reasons[0]


def test_unusable_series_stay_in_the_list_with_the_reason(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    series(SeriesSpec(body, series_uid="1.2.3.4.1", tags={"ImageType": ["DERIVED", "SECONDARY", "VNC"]}), "virtual")
    study = series(SeriesSpec(body), "plain")
    read, chosen = _choice(study, small)
    assert chosen.reasons[0] == "chosen: the only usable series"
    assert read.candidates[1].reasons[0].startswith("not usable: derived-only")
    assert read.candidates[1].description_kind == "axial virtual unenhanced image soft 2.0 mm"


def test_a_virtual_unenhanced_series_is_taken_only_with_a_map_and_only_for_want_of_a_true_one(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    mapped = replace(small, accept_virtual_unenhanced=True)
    virtual = {"SeriesNumber": 1, "ImageType": ["DERIVED", "SECONDARY", "VNC"]}
    study = series(SeriesSpec(body, series_uid="1.2.3.4.1", tags=virtual), "virtual")
    assert isinstance(read_study([study], small), StudyRefused)
    read, _ = _choice(study, mapped)
    assert read.acquisition.virtual_unenhanced
    series(SeriesSpec(body, series_uid="1.2.3.4.2", tags={"SeriesNumber": 2}), "plain")
    read, chosen = _choice(study, mapped)
    assert chosen.series_number == 2
    assert not read.acquisition.virtual_unenhanced


def test_localizer_mixed_into_the_series_is_set_apart(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    series(SeriesSpec(body))
    scout = {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "SOPInstanceUID": "1.2.77",
    }
    read, chosen = _choice(series(SeriesSpec(body[:1], tags=scout), "scout"), small)
    assert chosen.instances == 12
    assert {candidate.description_kind.split()[0] for candidate in read.candidates} == {"axial", "localizer"}


def test_kind_is_built_from_coded_facts_alone(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> None:
    study = series(SeriesSpec(body, tags={"SeriesDescription": "Secret^Name C-", "ProtocolName": "Secret"}))
    read, chosen = _choice(study, small)
    assert chosen.description_kind == "axial original soft unenhanced 2.0 mm"
    assert "Secret" not in f"{read.candidates}{read.notices}{read.acquisition}"


@pytest.mark.parametrize(
    ("image_type", "text", "expected"),
    [
        (("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"), "", ""),
        (("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 MON"), "", ""),
        (("DERIVED", "SECONDARY", "PROCESSED"), "", ""),
        (("DERIVED", "PRIMARY", "AXIAL", "VNC"), "", "virtual unenhanced image"),
        (("DERIVED", "SECONDARY", "AXIAL"), "Thorax VNC 1.5", "virtual unenhanced image"),
        (("DERIVED", "SECONDARY", "AXIAL"), "Monoenergetic Plus 55 keV", "virtual image"),
        (("DERIVED", "SECONDARY"), "Iodine Map", "material map"),
        (("DERIVED", "PRIMARY", "Z_EFF"), "", "material map"),
        (("DERIVED", "SECONDARY", "MIP"), "", "projection"),
        (("DERIVED", "SECONDARY"), "Bone removed", "parameter map"),
        ((), "Thorax 120 kV", ""),
    ],
)
def test_computed_images_are_recognised(image_type: tuple[str, ...], text: str, expected: str) -> None:
    assert nature_of(image_type, text).computed == expected


def test_origin() -> None:
    assert nature_of(("ORIGINAL", "PRIMARY")).origin is Origin.ORIGINAL
    assert nature_of(("DERIVED", "SECONDARY", "REFORMATTED")).reformatted
    assert nature_of(()).origin is Origin.UNSTATED
    assert nature_of(("ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 TOP")).localizer
