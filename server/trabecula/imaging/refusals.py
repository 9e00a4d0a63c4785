"""The imaging stage's refusals, in words."""

from __future__ import annotations

from trabecula.outcome import Notice, Refusal, RefusalCode, Severity, Stage

_WORDS: dict[RefusalCode, tuple[str, str]] = {
    RefusalCode.NOT_CT: ("The study holds no CT images.", "Send the CT series of the study."),
    RefusalCode.LOCALIZER_ONLY: (
        "The study holds only localizers (scouts, topograms).",
        "Send an axial reconstruction of the same examination.",
    ),
    RefusalCode.NO_AXIAL_SERIES: (
        "The series is not axial, or its images are not placed in the patient.",
        "Send an axial reconstruction of the same examination.",
    ),
    RefusalCode.DERIVED_ONLY: (
        "The images are computed (virtual unenhanced or monoenergetic, material map, projection or rendering), not CT"
        " numbers of the acquisition.",
        "Send the reconstruction from the original acquisition.",
    ),
    RefusalCode.NOT_HOUNSFIELD: (
        "The pixel values are not in Hounsfield units.",
        "Send the original reconstruction with its rescale slope, intercept and type.",
    ),
    RefusalCode.TOO_FEW_SLICES: (
        "The series has too few slices or covers too short a part of the body.",
        "Send the whole series, reaching from T11 to L1 or further.",
    ),
    RefusalCode.SLICE_GAP: ("Slices are missing within the series.", "Send the complete series again."),
    RefusalCode.NON_UNIFORM_SPACING: (
        "The distance between slices is not uniform.",
        "Send a reconstruction with one slice spacing.",
    ),
    RefusalCode.GANTRY_TILT: (
        "The gantry tilt, or a sideways drift of the slices, is more than can be undone.",
        "Send a reconstruction without tilt.",
    ),
    RefusalCode.SLICES_TOO_THICK: (
        "The slices are too thick or too far apart to measure trabecular bone.",
        "Send a reconstruction with slices of 1 to 3 mm.",
    ),
}


def refuse(code: RefusalCode, detail: str = "") -> Refusal:
    """Refusal of the imaging stage; `detail` is put behind the standing message."""
    message, remedy = _WORDS[code]
    return Refusal(code, Stage.IMAGING, f"{message} {detail}".strip(), remedy)


def inform(code: str, message: str) -> Notice:
    return Notice(code, Stage.IMAGING, Severity.INFORMATION, message)


def warn(code: str, message: str) -> Notice:
    return Notice(code, Stage.IMAGING, Severity.WARNING, message)
