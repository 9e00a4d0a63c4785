"""Level profiles: how densities at each level are read, as data that a site may replace.

A profile is a TOML file in the form of ``constants.toml`` whose ``[meta]`` has ``name``, ``version`` and ``title``. It
holds every rule under ``levels`` and the choices under ``profile``; entries under ``assessment`` replace those of the
data file. ``cn-2024`` and ``acr`` travel with the program.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from trabecula.anatomy import Level
from trabecula.clinical.entries import ClinicalConstant, Row, read_entries
from trabecula.errors import ClinicalDataError

DEFAULT_PROFILE: Final = "cn-2024"
LUMBAR_RULE: Final = "levels.lumbar"
DECIDING: Final = ("lumbar-equivalent", "direct")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SECTIONS: Final = ("levels.", "profile.", "assessment.")
_CHOICES: Final = ("profile.decides", "profile.sources_disagree", "profile.flag_only")
_NUMBERS: Final = (
    "slope",
    "intercept_mg_cm3",
    "standard_error_mg_cm3",
    "osteoporosis_below_mg_cm3",
    "low_below_mg_cm3",
)


@dataclass(frozen=True)
class Profile:
    """A profile with its entries by id."""

    name: str
    version: str
    title: str
    sha256: str
    built_in: bool
    entries: Mapping[str, ClinicalConstant]

    @property
    def label(self) -> str:
        """Name and version; a site's own with the start of its checksum, so that no edit goes unnoticed."""
        own = "" if self.built_in else f"-{self.sha256[:12]}"
        return f"{self.name}-{self.version}{own}"


def profile_names() -> tuple[str, ...]:
    """Names of the profiles that travel with the program."""
    folder = resources.files(__package__) / "profiles"
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_profile(name_or_path: str | Path = DEFAULT_PROFILE) -> Profile:
    """A built-in profile by name, or a site's own by the path of its file (ends in ``.toml``).

    Raises:
        ClinicalDataError: if there is no such profile, or it is not complete and consistent.
    """
    text = str(name_or_path)
    built_in = not text.endswith(".toml")
    if built_in and text not in profile_names():
        raise ClinicalDataError("no such level profile", profile=text, known=" ".join(profile_names()))
    source = resources.files(__package__) / "profiles" / f"{text}.toml" if built_in else Path(text)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ClinicalDataError("the level profile cannot be read") from error
    return parse_profile(content, built_in=built_in)


def parse_profile(content: bytes, *, built_in: bool = False) -> Profile:
    """Read and check a profile.

    Raises:
        ClinicalDataError: if it is not TOML, an entry is incomplete or foreign, or the rules contradict themselves.
    """
    try:
        meta, entries = read_entries(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ClinicalDataError("the level profile is not UTF-8") from error
    name, version, title = (meta.get(key) for key in ("name", "version", "title"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ClinicalDataError("the level profile has no name of lower-case letters, digits and hyphens")
    if not isinstance(version, str) or not version or not isinstance(title, str) or not title:
        raise ClinicalDataError("the level profile has no version or title", profile=name)
    if not built_in and name in profile_names():
        raise ClinicalDataError("a site's profile must not take the name of a built-in one", profile=name)
    profile = Profile(name, version, title, hashlib.sha256(content).hexdigest(), built_in, entries)
    _check(profile)
    return profile


def _check(profile: Profile) -> None:
    entries = profile.entries
    foreign = [entry for entry in entries if not entry.startswith(_SECTIONS)]
    missing = [entry for entry in (*_CHOICES, LUMBAR_RULE) if entry not in entries]
    if foreign or missing:
        raise ClinicalDataError(f"profile {profile.name}: foreign {foreign}, missing {missing}", profile=profile.name)
    seen: set[Level] = set()
    rules = [entry for entry in entries if entry.startswith("levels.")]
    for rule in rules:
        seen |= _checked_rule(profile, entries[rule], seen)
    if entries["profile.decides"].value not in DECIDING:
        raise ClinicalDataError(f"profile.decides is one of {DECIDING}", profile=profile.name)
    for choice in _CHOICES[1:]:
        value = entries[choice].value
        if not isinstance(value, tuple) or not set(value) <= set(rules):
            raise ClinicalDataError(f"{choice} names a rule that the profile has not", profile=profile.name)


def _checked_rule(profile: Profile, entry: ClinicalConstant, seen: set[Level]) -> set[Level]:
    """Levels of one rule whose line rises, whose cut-offs rise, and whose levels no other rule has."""
    if not isinstance(entry.value, Row):
        raise ClinicalDataError(f"{entry.id} is not an inline table", profile=profile.name)
    row = entry.value
    try:
        levels = {Level(name) for name in row.texts("levels")}
    except ValueError as error:
        raise ClinicalDataError(f"{entry.id} names a level that there is not", profile=profile.name) from error
    slope, _, error_mg_cm3, osteoporosis, low = (row.number(name) for name in _NUMBERS)
    if not levels or levels & seen or slope <= 0.0 or error_mg_cm3 < 0.0 or not 0.0 <= osteoporosis < low:
        raise ClinicalDataError(
            f"{entry.id}: levels are empty or named twice, or slope, error or cut-offs are impossible",
            profile=profile.name,
        )
    if entry.scale is None:
        raise ClinicalDataError(f"{entry.id} does not say its density scale", profile=profile.name)
    return levels
