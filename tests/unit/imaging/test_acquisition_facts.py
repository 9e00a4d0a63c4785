"""What is read of the acquisition and the patient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from synthetic_ct import HuArray, SeriesSpec, write_series

from trabecula.errors import MixedPatients
from trabecula.imaging.facts import SeriesFacts, read_facts
from trabecula.imaging.headers import read_instance
from trabecula.imaging.instance import Slice
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.read import read_study
from trabecula.imaging.study import CtStudy

Read = Callable[..., CtStudy]
Facts = Callable[..., SeriesFacts]


@pytest.fixture
def read(body: HuArray, small: ImagingLimits, series: Callable[..., Path]) -> Read:
    def with_tags(**tags: Any) -> CtStudy:
        study = read_study([series(SeriesSpec(body, tags=tags))], small)
        assert isinstance(study, CtStudy), study
        return study

    return with_tags


@pytest.fixture
def facts(body: HuArray, small: ImagingLimits, tmp_path: Path) -> Facts:
    def with_tags(**tags: Any) -> SeriesFacts:
        instance = read_instance(write_series(SeriesSpec(body[:1], tags=tags), tmp_path)[0], small)
        return read_facts(Slice(instance, instance.frames[0]), small)

    return with_tags


def test_plain_facts(read: Read) -> None:
    study = read(
        KVP=100, CTDIvol=4.5, ReconstructionDiameter=360, DeviceSerialNumber="4711", AcquisitionDate="20250102",
        AcquisitionTime="101112.5", PatientSize=1.62, PatientWeight=58, AccessionNumber="A1", IssuerOfPatientID="H",
        ManufacturerModelName="SOMATOM", Exposure=120, FrameOfReferenceUID="1.2.5",
    )  # fmt: skip
    acquisition, identity = study.acquisition, study.identity
    assert (acquisition.kvp, acquisition.ctdi_vol_mgy, acquisition.exposure_mas) == (100, 4.5, 120)
    assert acquisition.slice_thickness_mm == 2.0
    assert acquisition.slice_spacing_mm == pytest.approx(2.0)
    assert acquisition.pixel_spacing_mm == pytest.approx((0.8, 0.7))
    assert acquisition.reconstruction_diameter_mm == 360
    assert acquisition.acquired_at == "2025-01-02T10:11:12"
    assert acquisition.station_hash is not None
    assert "4711" not in acquisition.station_hash
    assert (acquisition.manufacturer, acquisition.model) == ("SIEMENS", "SOMATOM")
    assert (identity.patient_id, identity.patient_id_issuer, identity.accession_number) == ("TEST-1", "H", "A1")
    assert (identity.patient_sex, identity.patient_age_years) == ("F", 64)
    assert (identity.patient_height_m, identity.patient_weight_kg) == (1.62, 58)
    assert (identity.study_instance_uid, identity.series_instance_uid) == ("1.2.3.4", "1.2.3.4.5")
    assert identity.frame_of_reference_uid == "1.2.5"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"FilterMaterial": "TIN"}, "tin"),
        ({"FilterType": "SN"}, "tin"),
        ({"SeriesDescription": "Thorax Sn100 Br40"}, "tin"),
        ({"ProtocolName": "Lung 150Sn"}, "tin"),
        ({"FilterType": "FLAT"}, "none"),
        ({"FilterType": "FLAT", "SeriesDescription": "Dsn100 Snowden 12"}, "none"),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, "none"),
        ({}, "unknown"),
    ],
    ids=str,
)
def test_tin_filter(facts: Facts, tags: dict[str, Any], expected: str) -> None:
    assert facts(**tags).spectral_filter == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"ContrastBolusAgent": "Iomeron 350"}, "given"),
        ({"ContrastBolusAgent": "APPLIED"}, "given"),
        ({"ContrastBolusAgent": "GASTRO & OMNI", "ContrastBolusRoute": "Oral & IV"}, "given"),
        ({"ContrastBolusAgent": "ORAL"}, "unknown"),
        ({"ContrastBolusAgent": "NONE"}, "not-given"),
        ({"ContrastBolusAgent": ""}, "unknown"),
        ({"SeriesDescription": "Thorax nativ 1.5"}, "not-given"),
        ({"ProtocolName": "2 Chest C-/Thorax"}, "not-given"),
        ({"ProtocolName": "C-Spine"}, "unknown"),
        ({"SeriesDescription": "CHEST W/O CONTRAST"}, "not-given"),
        ({"SeriesDescription": "non-contrast"}, "not-given"),
        ({"SeriesDescription": "unenhanced chest"}, "not-given"),
        ({"SeriesDescription": "CHEST W CONTRAST"}, "given"),
        ({"SeriesDescription": "portal venous"}, "given"),
        ({"SeriesDescription": "C+ Thorax"}, "given"),
        ({"StudyDescription": "CT CHEST ABD PELVIS WITH CON"}, "given"),
        ({"StudyDescription": "CT CHEST WITH AND WITHOUT CONTRAST"}, "unknown"),
        ({"StudyDescription": "CT CHEST W/WO CONTRAST"}, "unknown"),
        ({"StudyDescription": "CT CHEST WITH CONTRAST", "SeriesDescription": "native"}, "not-given"),
        ({}, "unknown"),
    ],
    ids=str,
)
def test_contrast(facts: Facts, tags: dict[str, Any], expected: str) -> None:
    assert facts(**tags).contrast == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"PatientAge": "078Y"}, 78),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "", "PatientBirthDate": "19600102"}, 65.0),
        ({"PatientAge": "000Y", "PatientBirthDate": "19600102"}, 65.0),
        ({"PatientAge": "", "PatientBirthDate": "20990101"}, None),
        ({"PatientAge": None}, None),
    ],
    ids=str,
)
def test_age(facts: Facts, tags: dict[str, Any], expected: float | None) -> None:
    assert facts(**tags).identity.patient_age_years == (None if expected is None else pytest.approx(expected, abs=0.01))


def test_implausible_values_read_as_unknown(facts: Facts) -> None:
    found = facts(
        KVP=0, PatientSize=0, PatientWeight=0, PatientSex="X", Exposure=4684, XRayTubeCurrent=400, ExposureTime=570
    )
    assert found.kvp is None
    assert found.exposure_mas == pytest.approx(228)
    assert found.identity.patient_height_m is None
    assert found.identity.patient_weight_kg is None
    assert found.identity.patient_sex is None
    assert facts(PatientSize=162).identity.patient_height_m == pytest.approx(1.62)


def test_patient_id_in_another_character_set(facts: Facts) -> None:
    assert facts(SpecificCharacterSet="ISO_IR 192", PatientID="Fälle-7").identity.patient_id == "Fälle-7"


def test_other_objects_of_the_study_are_ignored_with_a_notice(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    series(SeriesSpec(body))
    capture = {"SOPClassUID": SecondaryCaptureImageStorage, "SOPInstanceUID": "1.2.88"}
    study = read_study([series(SeriesSpec(body[:1], series_uid="1.2.3.4.9", tags=capture), "capture")], small)
    assert isinstance(study, CtStudy)
    assert "other-objects-ignored" in {notice.code for notice in study.notices}
    np.testing.assert_array_equal(study.volume.hu, body)


def test_a_null_inside_a_text_is_seen_and_never_joins_two_halves(facts: Facts) -> None:
    found = facts(PatientID="AB\0C", Manufacturer="GE\0X")
    assert found.identity.patient_id == "AB\ufffdC"
    assert found.manufacturer == "GE\ufffdX"
    assert facts(PatientID="ABC\0").identity.patient_id == "ABC"


def test_patients_whose_identifiers_differ_behind_a_sign_that_none_may_hold_are_two(
    body: HuArray, small: ImagingLimits, series: Callable[..., Path]
) -> None:
    folders = [
        series(SeriesSpec(body, series_uid=f"1.2.3.4.{number}", tags={"PatientID": f"P\\{number}"}), str(number))
        for number in (7, 8)
    ]
    with pytest.raises(MixedPatients):
        read_study(folders, small)


def test_a_control_character_inside_an_identifier_is_seen(facts: Facts) -> None:
    assert facts(PatientID="AB\x07C").identity.patient_id == "AB\ufffdC"
    assert facts(AccessionNumber="AB\tC").identity.accession_number == "AB\ufffdC"
