"""Words, drivers and confidence of an assessment."""

from __future__ import annotations

import itertools
import re

import pytest
from findings import NO_DENSITY, acquisition, calibration, composition, density, lumbar, vertebra

from trabecula.anatomy import Level
from trabecula.assessment.assess import assess
from trabecula.assessment.assessment import Assessment, Confidence, Driver
from trabecula.assessment.recommend import recommend
from trabecula.assessment.rules import load_rules
from trabecula.bone.vertebra import ExclusionReason
from trabecula.calibration.calibration import CalibrationMethod
from trabecula.clinical import load_constants
from trabecula.composition.body import CompositionAtLevel
from trabecula.imaging.study import KernelClass
from trabecula.patient import PatientContext, Sex

CONSTANTS = load_constants()
WOMAN = PatientContext(age_years=70.0, sex=Sex.FEMALE, height_m=1.6, postmenopausal=True)
MAN = PatientContext(age_years=70.0, sex=Sex.MALE, height_m=1.75)
FORBIDDEN = re.compile(
    r"\bt[- ]?score|\bnormal|nothing to (do|be done)|no action|healthy bone|rules? out", re.IGNORECASE
)
YOUNG_FORBIDDEN = re.compile(r"osteoporo|osteopeni", re.IGNORECASE)


def driver(drivers: tuple[Driver, ...], start: str) -> Driver:
    return next(d for d in drivers if d.statement.startswith(start))


def muscle(patient: PatientContext, at: CompositionAtLevel, *, enhanced: bool = False) -> tuple[Driver, ...]:
    summary, vertebrae = lumbar(100.0, CONSTANTS)
    found = assess(summary, vertebrae, (at,), calibration(enhanced=enhanced), acquisition(), patient, CONSTANTS)
    return tuple(d for d in found.drivers if d.domain == "muscle")


def every_text(assessment: Assessment, texts: list[str]) -> list[str]:
    return [
        assessment.statement,
        assessment.decided_on,
        *assessment.confidence_reasons,
        *(d.statement for d in assessment.drivers),
        *texts,
    ]


PATIENTS = (
    PatientContext(),
    WOMAN,
    MAN,
    PatientContext(age_years=30.0, sex=Sex.FEMALE, weight_kg=45.0),
    PatientContext(age_years=62.0, sex=Sex.FEMALE, weight_kg=40.0, postmenopausal=True, glucocorticoids=True),
    PatientContext(age_years=40.0, sex=Sex.MALE, prior_fragility_fracture=True),
)


@pytest.mark.parametrize("patient", PATIENTS)
@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("fractured", [False, True])
def test_no_text_says_what_must_not_be_said(patient: PatientContext, enhanced: bool, fractured: bool) -> None:
    young = patient.age_years is not None and patient.age_years < 50
    extra = (vertebra(Level.T10, 90.0, excluded=(ExclusionReason.FRACTURE,)),) if fractured else ()
    values = itertools.chain(
        (lumbar(v, CONSTANTS) for v in (40.0, 82.0, 100.0, 118.0, 160.0)),
        (density({Level.T12: v}, CONSTANTS) for v in (60.0, 85.0, 110.0, 124.0, 170.0)),
        [(NO_DENSITY, ())],
    )
    for summary, vertebrae in values:
        at = (composition(index=15.0, attenuation=20.0, truncated=enhanced),)
        found = (*vertebrae, *extra)
        assessment = assess(summary, found, at, calibration(enhanced=enhanced), acquisition(), patient, CONSTANTS)
        recommendations = recommend(assessment, summary, found, at, patient, CONSTANTS)
        texts = every_text(assessment, [t for r in recommendations for t in (r.text, *r.because)])
        assert not [text for text in texts if FORBIDDEN.search(text)]
        if young:
            assert not [text for text in texts if YOUNG_FORBIDDEN.search(text)]


def test_the_rule_file_itself_holds_no_forbidden_word() -> None:
    assert not [rule.id for rule in load_rules() if FORBIDDEN.search(rule.text)]


def test_no_sign_does_not_exclude_and_ranges_are_no_diagnosis() -> None:
    def statement(value: float) -> str:
        summary, vertebrae = lumbar(value, CONSTANTS)
        return assess(summary, vertebrae, (), calibration(), acquisition(), WOMAN, CONSTANTS).statement

    assert "does not exclude osteoporosis" in statement(170.0)
    assert "does not exclude osteoporosis" in statement(120.0)
    assert "no diagnosis" in statement(60.0)
    assert "no diagnosis" in statement(100.0)
    assert "(60 ± 5 mg/cm3 K2HPO4, lumbar equivalent)" in statement(60.0)


def test_bone_drivers_give_both_readings_and_the_pre_screen() -> None:
    summary, vertebrae = density({Level.T11: 84.0, Level.T12: 86.0}, CONSTANTS)
    drivers = assess(summary, vertebrae, (), calibration(), acquisition(), WOMAN, CONSTANTS).drivers
    equivalent = driver(drivers, "Lumbar-equivalent")
    assert (equivalent.cutoff, equivalent.source) == (80.0, "levels.lumbar")
    assert equivalent.value == pytest.approx(73.5, abs=0.1)
    direct = driver(drivers, "Trabecular density at T11 and T12")
    assert (direct.value, direct.cutoff, direct.source) == (85.0, 91.0, "levels.lower-thoracic")
    attenuation = driver(drivers, "Trabecular attenuation")
    assert attenuation.value == pytest.approx(73.5 * 1.33, abs=0.2)
    assert attenuation.source == "assessment.prescreen.risk"


def test_a_suspected_fracture_is_a_driver() -> None:
    summary, vertebrae = lumbar(100.0, CONSTANTS)
    found = (vertebra(Level.T9, 90.0, excluded=(ExclusionReason.FRACTURE,)), *vertebrae)
    drivers = assess(summary, found, (), calibration(), acquisition(), WOMAN, CONSTANTS).drivers
    assert "at T9" in driver(drivers, "Height loss").statement


@pytest.mark.parametrize(
    ("patient", "index_cut", "attenuation_cut", "imat_cut"), [(MAN, 25.75, 37.42, 8.72), (WOMAN, 20.16, 33.17, 4.58)]
)
def test_muscle_at_t12_is_compared_by_sex(
    patient: PatientContext, index_cut: float, attenuation_cut: float, imat_cut: float
) -> None:
    low = muscle(patient, composition(index=index_cut - 1, attenuation=attenuation_cut - 1, imat=imat_cut + 1))
    high = muscle(patient, composition(index=index_cut + 1, attenuation=attenuation_cut + 1, imat=imat_cut - 1))
    for name, cut in (
        ("Muscle index", index_cut),
        ("Muscle attenuation", attenuation_cut),
        ("Intermuscular", imat_cut),
    ):
        assert driver(low, name).cutoff == driver(high, name).cutoff == cut
        assert "low or fatty muscle" in driver(low, name).statement
        assert "low or fatty muscle" not in driver(high, name).statement
        assert ("women" in driver(low, name).statement) == (patient is WOMAN)


@pytest.mark.parametrize(
    ("patient", "at", "enhanced", "without"),
    [
        (PatientContext(), composition(), False, ("Muscle index", "Muscle attenuation", "Intermuscular")),
        (WOMAN, composition(Level.T11), False, ("Muscle index", "Muscle attenuation", "Intermuscular")),
        (WOMAN, composition(truncated=True), False, ("Muscle index", "Intermuscular")),
        (WOMAN, composition(), True, ("Muscle attenuation",)),
    ],
    ids=["sex unknown", "another level", "truncated", "contrast medium"],
)
def test_muscle_is_not_compared_where_the_cutoffs_do_not_apply(
    patient: PatientContext, at: CompositionAtLevel, enhanced: bool, without: tuple[str, ...]
) -> None:
    drivers = muscle(patient, at, enhanced=enhanced)
    for name in ("Muscle index", "Muscle attenuation", "Intermuscular"):
        assert (driver(drivers, name).cutoff is None) == (name in without)


def test_no_height_gives_no_index_driver() -> None:
    assert not [d for d in muscle(WOMAN, composition(index=None)) if d.statement.startswith("Muscle index")]


def test_fat_is_given_as_values_without_a_class() -> None:
    summary, vertebrae = lumbar(100.0, CONSTANTS)
    at = (composition(Level.L1), composition(Level.T12))
    found = assess(summary, vertebrae, at, calibration(), acquisition(), WOMAN, CONSTANTS)
    fat = [d for d in found.drivers if d.domain == "fat"]
    assert [d.value for d in fat] == pytest.approx([90.0, 110.0, 90.0 / 110.0])
    assert all(d.cutoff is None and "T12" in d.statement for d in fat)


def test_every_driver_names_a_constant_of_the_data_file() -> None:
    summary, vertebrae = density({Level.T12: 85.0}, CONSTANTS)
    found = (*vertebrae, vertebra(Level.T9, 90.0, excluded=(ExclusionReason.FRACTURE,)))
    drivers = assess(summary, found, (composition(),), calibration(), acquisition(), WOMAN, CONSTANTS).drivers
    assert len(drivers) >= 10
    assert all(d.source in CONSTANTS for d in drivers)


def grade(**changes: object) -> tuple[Confidence, tuple[str, ...]]:
    summary, vertebrae = lumbar(60.0, CONSTANTS, uncertainty=float(changes.get("uncertainty", 5.0)))  # type: ignore[arg-type]
    if "confidence" in changes:
        vertebrae = tuple(vertebra(v.level, 60.0, confidence=float(changes["confidence"])) for v in vertebrae)  # type: ignore[arg-type]
    found = assess(
        summary,
        vertebrae,
        (composition(truncated=bool(changes.get("truncated", False))),),
        calibration(
            enhanced=bool(changes.get("enhanced", False)),
            references=int(changes.get("references", 3)),  # type: ignore[call-overload]
            method=CalibrationMethod(changes.get("method", CalibrationMethod.PHANTOMLESS)),
        ),
        acquisition(KernelClass(changes.get("kernel", KernelClass.SOFT)), float(changes.get("slice_mm", 1.0))),  # type: ignore[arg-type]
        WOMAN,
        CONSTANTS,
    )
    return found.confidence, found.confidence_reasons


def test_confidence_is_high_when_nothing_speaks_against_it() -> None:
    assert grade() == (Confidence.HIGH, ())


@pytest.mark.parametrize(
    ("changes", "expected", "word"),
    [
        ({"confidence": 0.8}, Confidence.MODERATE, "levels"),
        ({"confidence": 0.5}, Confidence.LOW, "levels"),
        ({"references": 1}, Confidence.LOW, "reference"),
        ({"method": "hu-only"}, Confidence.LOW, "calibrated"),
        ({"uncertainty": 13.0}, Confidence.LOW, "uncertainty"),
        ({"enhanced": True}, Confidence.MODERATE, "contrast"),
        ({"kernel": "sharp"}, Confidence.MODERATE, "kernel"),
        ({"slice_mm": 5.0}, Confidence.MODERATE, "thick"),
        ({"truncated": True}, Confidence.MODERATE, "field of view"),
    ],
)
def test_each_weakness_lowers_confidence_and_says_so(
    changes: dict[str, object], expected: Confidence, word: str
) -> None:
    found, reasons = grade(**changes)
    assert found is expected
    assert any(word in reason for reason in reasons)


def test_the_lowest_confidence_wins() -> None:
    found, reasons = grade(enhanced=True, confidence=0.5)
    assert found is Confidence.LOW
    assert len(reasons) == 2


def test_a_single_vertebra_lowers_confidence() -> None:
    summary, vertebrae = density({Level.L1: 60.0}, CONSTANTS)
    found = assess(summary, vertebrae, (), calibration(), acquisition(), WOMAN, CONSTANTS)
    assert found.confidence is Confidence.MODERATE
