"""The words of the page: what categories, codes and numbers are called for a reader."""

from __future__ import annotations

from typing import Final

from trabecula.anatomy import Level
from trabecula.assessment.assessment import (
    Assessment,
    Category,
    Confidence,
    Driver,
    Finding,
    ReadingKind,
    Tier,
)
from trabecula.bone.vertebra import Deformity, DeformityStatus, ExclusionReason
from trabecula.calibration.calibration import CalibrationMethod, CorrectionName, ReferenceTissue
from trabecula.patient import PatientContext, Sex
from trabecula.report import ScreeningReport

DASH: Final = "–"
SPACE: Final = "\u00a0"
"""Keeps a number and what belongs to it on one line."""
MINUS: Final = "\u2212"

HEADLINES: Final[dict[Category, str]] = {
    Category.SEVERE_RANGE_SUSPECTED: "Bone density in the osteoporosis range, vertebral fracture suspected",
    Category.OSTEOPOROSIS_RANGE: "Bone density in the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "Bone density in the low range",
    Category.NO_SIGN_OF_LOW_DENSITY: "No sign of low bone density on this scan",
    Category.INDETERMINATE: "Indeterminate bone density",
    Category.NOT_CLASSIFIED: "Bone density measured, not classified",
}
CATEGORY_NOUNS: Final[dict[Category, str]] = {
    Category.SEVERE_RANGE_SUSPECTED: "the severe category, suspected",
    Category.OSTEOPOROSIS_RANGE: "the osteoporosis range",
    Category.LOW_BONE_DENSITY_RANGE: "the low range",
    Category.NO_SIGN_OF_LOW_DENSITY: "no sign of low density",
    Category.INDETERMINATE: "indeterminate",
    Category.NOT_CLASSIFIED: "not classified",
}
CONFIDENCE: Final[dict[Confidence, str]] = {
    Confidence.HIGH: "High confidence",
    Confidence.MODERATE: "Moderate confidence",
    Confidence.LOW: "Low confidence",
}
EXCLUSIONS: Final[dict[ExclusionReason, str]] = {
    ExclusionReason.FRACTURE: "fracture suspected",
    ExclusionReason.CEMENT: "cement",
    ExclusionReason.HARDWARE: "hardware",
    ExclusionReason.LESION: "lesion suspected",
    ExclusionReason.OUT_OF_VIEW: "partly out of view",
    ExclusionReason.ROI_TOO_SMALL: "too little trabecular bone to measure",
    ExclusionReason.IMPLAUSIBLE: "implausible value",
    ExclusionReason.DEGENERATION: "severe degeneration",
    ExclusionReason.BONE_ISLAND: "bone island",
    ExclusionReason.LYTIC_AREA: "lytic area",
    ExclusionReason.SCHMORL_NODE: "Schmorl node",
    ExclusionReason.REVIEWER: "left out by the reviewer",
}
TISSUES: Final[dict[ReferenceTissue, str]] = {
    ReferenceTissue.OUTSIDE_AIR: "Outside air",
    ReferenceTissue.SUBCUTANEOUS_FAT: "Subcutaneous fat",
    ReferenceTissue.PARASPINAL_MUSCLE: "Paraspinal muscle",
    ReferenceTissue.AORTIC_BLOOD: "Aortic blood",
    ReferenceTissue.LIVER: "Liver",
    ReferenceTissue.SPLEEN: "Spleen",
    ReferenceTissue.CORTICAL_BONE: "Cortical bone",
}
METHODS: Final[dict[CalibrationMethod, str]] = {
    CalibrationMethod.PHANTOMLESS: "Phantomless, from the patient's own tissues",
    CalibrationMethod.HU_ONLY: "None: attenuation only, for pre-screening; no density",
    CalibrationMethod.SYNCHRONOUS_PHANTOM: "QCT phantom in the same scan",
    CalibrationMethod.ASYNCHRONOUS: "This scanner's own history of phantom scans",
    CalibrationMethod.MUSCLE_ONLY: "Phantomless, paraspinal muscle alone",
    CalibrationMethod.FAT_AIR: "Phantomless, fat and air",
    CalibrationMethod.AIR_BLOOD: "Phantomless, air and blood",
    CalibrationMethod.FAT_BLOOD_BONE: "Phantomless, fat, blood and cortical bone",
    CalibrationMethod.MASS_ATTENUATION: "Mass attenuation (Michalski 2020), a comparator not on the phantom scale",
}
CORRECTIONS: Final[dict[CorrectionName, str]] = {
    CorrectionName.NOISE: "Averaging of references by noise",
    CorrectionName.FIELD_OF_VIEW: "Completion of a body cut by the field of view",
    CorrectionName.PATIENT_SIZE: "Patient size",
    CorrectionName.TUBE_VOLTAGE: "Tube voltage",
    CorrectionName.TIN_FILTER: "Tin filter",
    CorrectionName.BEAM_PATH: "Beam path through a body",
    CorrectionName.VIRTUAL_UNENHANCED: "Virtual unenhanced image",
    CorrectionName.CONTRAST: "Contrast medium",
    CorrectionName.MARROW: "Marrow fat at this tube voltage",
    CorrectionName.KERNEL: "Reconstruction kernel",
    CorrectionName.SLICE_THICKNESS: "Slice thickness",
    CorrectionName.DRIFT: "Scanner drift",
    CorrectionName.SCALE: "Density scale",
}
TIERS: Final[dict[Tier, str]] = {
    Tier.HU_PRE_SCREEN: "Pre-screen by HU.",
    Tier.PHANTOMLESS_QUANTIFICATION: "Phantomless quantification.",
    Tier.GOLD_STANDARD_CONFIRMATION: "Confirmation by a gold standard.",
}
FINDINGS: Final[dict[Finding, str]] = {
    Finding.BEYOND_CUTOFF: "beyond the cut-off",
    Finding.WITHIN_CUTOFF: "not beyond the cut-off",
    Finding.UNDECIDED: "undecided",
    Finding.NO_CUTOFF: "no cut-off",
    Finding.NOT_COMPARED: "not compared",
}
READINGS: Final[dict[ReadingKind, str]] = {
    ReadingKind.LUMBAR_EQUIVALENT: "as lumbar equivalent",
    ReadingKind.DIRECT: "by its own level",
    ReadingKind.UNCORRECTED: "as if it were lumbar",
}
CONTEXT: Final[dict[str, str]] = {
    "age_years": "age",
    "sex": "sex",
    "height_m": "height",
    "weight_kg": "weight",
    "postmenopausal": "menopausal status",
    "prior_fragility_fracture": "earlier fragility fracture",
    "glucocorticoids": "glucocorticoid treatment",
    "known_osteoporosis": "known osteoporosis",
    "prior_dxa": "earlier DXA",
}


def headline(assessment: Assessment | None) -> str:
    """The category in plain words."""
    if assessment is None:
        return "Not assessed"
    if assessment.category is Category.INDETERMINATE and len(assessment.between) > 1:
        first, *others = (CATEGORY_NOUNS[category] for category in assessment.between)
        return f"Indeterminate: between {first} and {' and '.join(others)}"
    return HEADLINES[assessment.category]


def ranges(found: tuple[Category, ...]) -> str:
    """Ranges that a density may lie in; a dash where none is named."""
    return " or ".join(CATEGORY_NOUNS[category] for category in found) or DASH


def number(value: float | None, digits: int = 1) -> str:
    """A number for reading, with a true minus sign; a dash when there is none."""
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def with_error(value: float | None, error: float | None, digits: int = 1) -> str:
    """``88.1 ± 5.3``; a dash when there is no value."""
    if value is None or error is None:
        return number(value, digits)
    return f"{number(value, digits)}{SPACE}±{SPACE}{number(error, digits)}"


def percent(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.0f}{SPACE}%"


def unit(text: str | None) -> str:
    """A unit with its exponents raised."""
    return (text or "").replace("cm3", "cm³").replace("mm3", "mm³").replace("cm2", "cm²").replace("/m2", "/m²")


def prose(text: str) -> str:
    """Units inside a sentence with their exponents raised."""
    for plain in ("mg/cm3", "mm3", "cm2/m2", "cm2"):
        text = text.replace(plain, unit(plain))
    return scale(text)


def sentence(text: str) -> str:
    """``text`` as a sentence: a capital at the start, a full stop at the end."""
    text = prose(text.strip())
    stopped = text if text.endswith((".", "!", "?")) else f"{text}."
    return stopped[:1].upper() + stopped[1:]


def scale(text: str) -> str:
    """Name of a density scale with its subscripts."""
    return text.replace("K2HPO4", "K₂HPO₄")


def code_words(code: str) -> str:
    """``low-range`` as ``low range``."""
    return code.replace("-", " ").replace("_", " ")


DEFORMITIES: Final[dict[DeformityStatus, str]] = {
    DeformityStatus.NONE: "None found",
    DeformityStatus.VARIANT: "Probably a normal variant",
    DeformityStatus.POSSIBLE: "Possible deformity",
    DeformityStatus.SUSPECTED: "Fracture suspected",
    DeformityStatus.NOT_ASSESSED: "Not assessed",
}


def deformity(found: Deformity | None) -> str:
    """``Fracture suspected: biconcave, Genant grade 2``; a dash where nothing was looked at."""
    if found is None:
        return DASH
    text = DEFORMITIES[found.status]
    return text if found.kind is None else f"{text}: {found.kind.value}, Genant grade {found.grade}"


def exclusions(reasons: tuple[ExclusionReason, ...]) -> str:
    return ", ".join(EXCLUSIONS[reason] for reason in reasons)


def levels(names: tuple[Level, ...]) -> str:
    return ", ".join(level.value for level in names) or DASH


def patient(context: PatientContext) -> str:
    """Age, sex, size and history that are known; nothing that would name the person."""
    facts = []
    if context.sex is not None:
        facts.append("Woman" if context.sex is Sex.FEMALE else "Man")
    if context.age_years is not None:
        facts.append(f"{context.age_years:.0f} years")
    if context.height_m is not None:
        facts.append(f"{context.height_m:.2f} m")
    if context.weight_kg is not None:
        facts.append(f"{context.weight_kg:.0f} kg")
    history = {
        "post-menopausal": context.postmenopausal,
        "earlier fragility fracture": context.prior_fragility_fracture,
        "glucocorticoids": context.glucocorticoids,
        "known osteoporosis": context.known_osteoporosis,
        "earlier DXA": context.prior_dxa,
    }
    facts.extend(
        f"{'' if known else 'no ' if name != 'post-menopausal' else 'not '}{name}"
        for name, known in history.items()
        if known is not None
    )
    return ", ".join(facts) or "Nothing known beside the images"


def by_domain(drivers: tuple[Driver, ...]) -> list[tuple[str, list[Driver]]]:
    """Drivers by domain, domains in the order in which they come."""
    domains = dict.fromkeys(driver.domain for driver in drivers)
    return [(domain, [driver for driver in drivers if driver.domain == domain]) for domain in domains]


def unknown_context(names: tuple[str, ...]) -> str:
    return ", ".join(CONTEXT.get(name, code_words(name)) for name in names)


def acquisition(report: ScreeningReport) -> list[tuple[str, str]]:
    """Facts of the series used, as name and value."""
    facts = report.acquisition
    if facts is None:
        return []
    tin = ", tin filter" if facts.spectral_filter.value == "tin" else ""
    kvp = "not in the header" if facts.kvp is None else f"{facts.kvp:.0f} kV{tin}"
    thickness = "" if facts.slice_thickness_mm is None else f"{facts.slice_thickness_mm:g} mm thick, "
    scanner = " ".join(part for part in (facts.manufacturer, facts.model) if part)
    return [
        ("Scanner", scanner or "not in the header"),
        ("Tube voltage", kvp),
        ("Kernel", f"{facts.kernel or 'not in the header'} ({facts.kernel_class.value})"),
        ("Slices", f"{thickness}every {facts.slice_spacing_mm:g} mm, pixels {facts.pixel_spacing_mm[0]:.2f} mm"),
        ("Contrast medium, by the header", code_words(facts.contrast.value)),
        ("Acquired", (facts.acquired_at or "not in the header").replace("T", " ")),
    ]
