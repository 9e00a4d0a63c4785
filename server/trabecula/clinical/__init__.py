"""Every clinical number, from one versioned data file, each with its source and whether that was checked."""

from trabecula.clinical.constants import ClinicalConstants, load_constants, parse_constants, with_profile
from trabecula.clinical.entries import ClinicalConstant, Row
from trabecula.clinical.profiles import DEFAULT_PROFILE, Profile, load_profile, parse_profile, profile_names

__all__ = [
    "DEFAULT_PROFILE",
    "ClinicalConstant",
    "ClinicalConstants",
    "Profile",
    "Row",
    "load_constants",
    "load_profile",
    "parse_constants",
    "parse_profile",
    "profile_names",
    "with_profile",
]
