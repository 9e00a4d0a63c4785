"""Reference tissues and patient size as measured in the image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from trabecula.anatomy import Structure
from trabecula.calibration.calibration import ReferenceTissue
from trabecula.calibration.patient_size import PatientSize, water_equivalent_size
from trabecula.calibration.samples import Sample, take_samples
from trabecula.calibration.sections import take_sections
from trabecula.clinical import ClinicalConstants
from trabecula.imaging.study import CtVolume

AIR, FAT, MUSCLE, BLOOD, LIVER, SPLEEN, CORTEX = ReferenceTissue

Change = Any


def samples_of(patient: Any, constants: ClinicalConstants, change: Change = None) -> dict[ReferenceTissue, Sample]:
    volume, anatomy = patient.scan()
    if change is not None:
        hu = volume.hu.copy()
        change(hu, anatomy.labels)
        volume = CtVolume(hu, volume.geometry)
    return take_samples(take_sections(volume, anatomy, constants), constants)


def hu(sample: Sample) -> float:
    assert sample.hu is not None, sample.unusable_because
    return sample.hu


@pytest.mark.parametrize("noise_hu", [3.0, 15.0, 45.0])
def test_each_tissue_is_found_at_its_value_whatever_the_noise(
    patient: Any, constants: ClinicalConstants, noise_hu: float
) -> None:
    samples = samples_of(patient.but(noise_hu=noise_hu), constants)
    expected = {AIR: -1000.0, FAT: -107.0, MUSCLE: 46.0, BLOOD: 42.0}
    for tissue, value in expected.items():
        assert hu(samples[tissue]) == pytest.approx(value, abs=1.0 + 0.02 * noise_hu), tissue
        assert 1.0 <= samples[tissue].standard_error_hu < 4.0


def test_fat_inside_muscle_does_not_pull_the_muscle_down(patient: Any, constants: ClinicalConstants) -> None:
    def streaks(volume_hu: np.ndarray, labels: np.ndarray) -> None:
        muscle = np.argwhere(labels == Structure.PARASPINAL_MUSCLE)
        chosen = muscle[(muscle[:, 2] % 12) < 2]
        volume_hu[tuple(chosen.T)] = -80

    assert hu(samples_of(patient.but(noise_hu=10.0), constants, streaks)[MUSCLE]) == pytest.approx(46.0, abs=2.5)


def test_septa_and_vessels_in_fat_do_not_pull_it_up(patient: Any, constants: ClinicalConstants) -> None:
    def vessels(volume_hu: np.ndarray, labels: np.ndarray) -> None:
        fat = np.argwhere(labels == Structure.SUBCUTANEOUS_FAT)
        chosen = fat[((fat[:, 1] + fat[:, 2]) % 24) < 8]
        volume_hu[tuple(chosen.T)] = -70

    assert hu(samples_of(patient.but(noise_hu=10.0), constants, vessels)[FAT]) == pytest.approx(-107.0, abs=3.0)


def test_calcified_aortic_wall_is_kept_out_of_the_blood(patient: Any, constants: ClinicalConstants) -> None:
    def plaques(volume_hu: np.ndarray, labels: np.ndarray) -> None:
        aorta = np.argwhere(labels == Structure.AORTA)
        centre = aorta.mean(axis=0)
        chosen = aorta[aorta[:, 1] > centre[1] + 3.5]
        volume_hu[tuple(chosen.T)] = 600

    assert hu(samples_of(patient.but(noise_hu=10.0), constants, plaques)[BLOOD]) == pytest.approx(42.0, abs=6.0)


def test_a_label_that_runs_over_into_its_neighbours_does_no_harm(patient: Any, constants: ClinicalConstants) -> None:
    volume, anatomy = patient.but(noise_hu=10.0).scan()
    rolled = np.roll(anatomy.labels, 2, axis=2)
    sections = take_sections(volume, type(anatomy)(rolled, anatomy.geometry, anatomy.vertebrae, (), ()), constants)
    samples = take_samples(sections, constants)
    for tissue, value in {FAT: -107.0, MUSCLE: 46.0, BLOOD: 42.0}.items():
        assert hu(samples[tissue]) == pytest.approx(value, abs=2.5), tissue


def test_an_outline_that_takes_in_the_surroundings_is_eroded_away(patient: Any, constants: ClinicalConstants) -> None:
    volume, anatomy = patient.but(noise_hu=10.0, organ_hu=-40.0).scan()
    labels = anatomy.labels.copy()
    aorta = ndimage.binary_dilation(labels == Structure.AORTA, np.ones((1, 3, 3)), iterations=2)
    labels[aorta] = Structure.AORTA
    sections = take_sections(volume, type(anatomy)(labels, anatomy.geometry, anatomy.vertebrae, (), ()), constants)
    assert hu(take_samples(sections, constants)[BLOOD]) == pytest.approx(42.0, abs=4.0)


def test_a_mattress_below_the_patient_is_not_air(patient: Any, constants: ClinicalConstants) -> None:
    def mattress(volume_hu: np.ndarray, _: np.ndarray) -> None:
        volume_hu[:, 155:] = -940

    assert hu(samples_of(patient.but(noise_hu=15.0), constants, mattress)[AIR]) == pytest.approx(-1000.0, abs=1.5)


def test_fat_is_found_in_body_where_the_model_names_no_subcutaneous_fat(
    patient: Any, constants: ClinicalConstants
) -> None:
    assert hu(samples_of(patient.but(fat_label=Structure.BODY), constants)[FAT]) == pytest.approx(-107.0, abs=1.0)


@pytest.mark.parametrize("padding_hu", [-1024, -2000])
def test_padding_outside_the_reconstruction_circle_is_not_air(
    patient: Any, constants: ClinicalConstants, padding_hu: int
) -> None:
    sample = samples_of(patient.but(padding_hu=padding_hu, half_width_mm=140.0, noise_hu=12.0), constants)[AIR]
    assert hu(sample) == pytest.approx(-1000.0, abs=1.0)


def test_air_clipped_now_and_then_is_still_air(patient: Any, constants: ClinicalConstants) -> None:
    sample = samples_of(patient.but(noise_hu=30.0, lowest_hu=-1024), constants)[AIR]
    assert hu(sample) == pytest.approx(-1000.0, abs=1.5)


def test_air_clipped_most_of_the_time_is_no_reference(patient: Any, constants: ClinicalConstants) -> None:
    sample = samples_of(patient.but(offset_hu=40.0, noise_hu=10.0, lowest_hu=-1024), constants)[AIR]
    assert sample.hu is None
    assert "clipped" in str(sample.unusable_because)


def test_a_tissue_that_is_not_there_says_so(patient: Any, constants: ClinicalConstants) -> None:
    def gone(_: np.ndarray, labels: np.ndarray) -> None:
        labels[labels == Structure.AORTA] = Structure.CAVITY

    sample = samples_of(patient, constants, gone)[BLOOD]
    assert sample.hu is None
    assert sample.unusable_because == "too little of it in view"


def size_of(patient: Any, constants: ClinicalConstants) -> PatientSize:
    size = water_equivalent_size(take_sections(*patient.scan(), constants), constants)
    assert size is not None
    return size


def test_water_in_an_ellipse_has_the_diameter_of_the_circle_of_its_area(
    patient: Any, constants: ClinicalConstants
) -> None:
    water = patient.but(fat_hu=0.0, muscle_hu=0.0, blood_hu=0.0, organ_hu=0.0, bone_hu=0.0)
    expected_cm = 2.0 * math.sqrt(water.half_width_mm * water.half_depth_mm) / 10.0
    size = size_of(water, constants)
    assert size.water_equivalent_diameter_cm == pytest.approx(expected_cm, rel=0.005)
    assert not size.truncated


def test_lung_makes_the_diameter_smaller_and_the_table_does_not_count(
    patient: Any, constants: ClinicalConstants
) -> None:
    usual = size_of(patient, constants).water_equivalent_diameter_cm
    assert size_of(patient.but(organ_hu=-800.0), constants).water_equivalent_diameter_cm < usual - 5.0
    assert size_of(patient.but(table=False), constants).water_equivalent_diameter_cm == usual
    volume, anatomy = patient.scan()
    labels = anatomy.labels.copy()
    labels[(labels == Structure.OUTSIDE) & (volume.hu > -800)] = Structure.TABLE
    sections = take_sections(volume, type(anatomy)(labels, anatomy.geometry, anatomy.vertebrae, (), ()), constants)
    size = water_equivalent_size(sections, constants)
    assert size is not None
    assert size.water_equivalent_diameter_cm == usual


def test_a_body_cut_by_the_image_or_the_circle_is_called_truncated(patient: Any, constants: ClinicalConstants) -> None:
    assert size_of(patient.but(half_width_mm=260.0), constants).truncated
    assert size_of(patient.but(half_width_mm=215.0, padding_hu=-1024), constants).truncated
    assert not size_of(patient.but(half_width_mm=150.0, padding_hu=-1024), constants).truncated


def test_sections_follow_the_levels_and_not_the_rest_of_the_scan(patient: Any, constants: ClinicalConstants) -> None:
    volume, anatomy = patient.scan()
    labels = anatomy.labels.copy()
    labels[-1] = Structure.OUTSIDE
    k = [anatomy.geometry.lps_to_index(v.centroid_lps_mm)[0] for v in anatomy.vertebrae]
    assert max(k) + 10.0 / 6.0 < volume.hu.shape[0] - 1
    sections = take_sections(volume, type(anatomy)(labels, anatomy.geometry, anatomy.vertebrae, (), ()), constants)
    assert all(s.body.any() for s in sections)
