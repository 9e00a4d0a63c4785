"""What kind of image it is: original, derived, a localizer, or computed so that its numbers are no CT numbers.

ImageType (PS3.3 C.8.2.1.1.1, C.8.15.3.1) decides first; series and derivation text is searched for vendors' words
because most consoles mark virtual images only there. The text itself goes nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    ORIGINAL = "original"
    DERIVED = "derived"
    UNSTATED = "unstated"


@dataclass(frozen=True)
class ImageNature:
    origin: Origin
    secondary: bool
    localizer: bool
    reformatted: bool
    """Multiplanar reformat; may still be axial and usable."""
    mixed_energy: bool
    """Blend of two tube voltages; near to a single-energy image, not the same."""
    computed: str
    """Why the numbers are no CT numbers (``virtual image``, ``projection`` ...); empty where they are."""


VIRTUAL_UNENHANCED = "virtual unenhanced image"
"""Kind of computed image that a site may have a map for."""

_COMPUTED_TYPES: dict[str, str] = {
    VIRTUAL_UNENHANCED: r"VNC|VUE|VUE_.*|VIRTUAL_?(NON|UN).*",
    "virtual image": r"VIRTUAL.*|MONO_?E.*|MONO_?ENERGETIC.*|VMI.*|\d+ ?KEV|SBI",
    "material map": r"IODINE.*|WATER.*|CALCIUM.*|MATERIAL.*|MD|HAP.*|URIC.*|Z_?EFF.*|EFF(ECTIVE)?_?Z.*|RHO.*"
    r"|ELECTRON_DENSITY|EDW?|FAT_FRACTION|MAT_.*",
    "projection": r"MIP|MAX_IP|MIN_?IP|PROJECTION IMAGE|MEAN_IP|RAYSUM|AIP",
    "rendering": r"VRT|VR|SSD|VOLUME_?RENDER.*|3D.*|RENDERED|SCREEN ?SAVE|SCREEN SHOT",
    "parameter map": r"PERFUSION|RCBF|RCBV|CBF|CBV|MTT|TTP|TMAX|SUBTRACTION|DIFFERENCE|BONE_?REMOVAL|OVERLAY",
}
_COMPUTED_TEXT: dict[str, str] = {
    VIRTUAL_UNENHANCED: r"\bVNC\w*\b|\bVUE\b|virtual\W*(non|un)",
    "virtual image": r"virtual\W*mono|\bmono\W?e(nerg\w*)?\b|\b\d{2,3}\W?keV\b",
    "material map": r"\biodine\W*(map|overlay|density|no water)|\bz\W?eff\b|\bcalcium suppress\w*|\belectron density\b",
    "projection": r"\bMIPs?\b|\bminip\b|\bthick mip\b",
    "rendering": r"\bVRT\b|\bvolume render\w*|\b3D\W?(VR|SSD)\b",
    "parameter map": r"\bbone\W?(removal|removed)\b|\bsubtracted\b|\bperfusion map\b",
}
_REFORMAT = re.compile(r"MPR|REFORMATTED|CURVED.*|CPR|OBLIQUE", re.IGNORECASE)
_MIXED = re.compile(r"M_0[._]\d+|DET_.*MIX.*|MIXED|DE_MIX.*|.*\bDE_COMP\b.*", re.IGNORECASE)
_LOCALIZER = re.compile(r"LOCALI[ZS]ER|SCOUT|TOPOGRAM|SURVIEW|SCANO.*|.*\bTOP\b.*", re.IGNORECASE)


def nature_of(image_type: tuple[str, ...], description: str = "") -> ImageNature:
    """Nature by ImageType (or FrameType) values and the series' free text."""
    first = image_type[0] if image_type else ""
    origin = {"ORIGINAL": Origin.ORIGINAL, "DERIVED": Origin.DERIVED, "MIXED": Origin.DERIVED}.get(first)
    return ImageNature(
        origin=origin or Origin.UNSTATED,
        secondary="SECONDARY" in image_type[1:2],
        localizer=any(_LOCALIZER.fullmatch(word) for word in image_type[2:]),
        reformatted=any(_REFORMAT.fullmatch(word) for word in image_type[2:]),
        mixed_energy=any(_MIXED.fullmatch(word) for word in image_type[2:]),
        computed=_computed(image_type[2:], description),
    )


def _computed(words: tuple[str, ...], description: str) -> str:
    for kind, pattern in _COMPUTED_TYPES.items():
        if any(re.fullmatch(pattern, word, re.IGNORECASE) for word in words):
            return kind
    for kind, pattern in _COMPUTED_TEXT.items():
        if re.search(pattern, description, re.IGNORECASE):
            return kind
    return ""
