"""Typed reading of ``constants.toml``; the form of the file is told in :mod:`trabecula.clinical.entries`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from trabecula.clinical.entries import ClinicalConstant, Row, read_entries
from trabecula.clinical.profiles import DEFAULT_PROFILE, Profile, load_profile
from trabecula.errors import ClinicalDataError


@dataclass(frozen=True)
class ClinicalConstants:
    """The whole data file. Ids are dotted paths, e.g. ``contrast.correction.arterial``.

    All accessors raise :class:`trabecula.errors.ClinicalDataError` when the id is missing or its value has
    another type.
    """

    version: str
    """Of the data file, and after a plus sign the level profile's name and version."""
    by_id: Mapping[str, ClinicalConstant]
    profile: Profile | None = None
    """The level profile whose entries are among them."""

    def __getitem__(self, constant_id: str) -> ClinicalConstant:
        try:
            return self.by_id[constant_id]
        except KeyError:
            raise ClinicalDataError(f"no clinical constant {constant_id!r}", id=constant_id) from None

    def __contains__(self, constant_id: object) -> bool:
        return constant_id in self.by_id

    def __iter__(self) -> Iterator[ClinicalConstant]:
        return iter(self.by_id.values())

    def number(self, constant_id: str) -> float:
        return self._as_row(constant_id).number("value")

    def text(self, constant_id: str) -> str:
        return self._as_row(constant_id).text("value")

    def flag(self, constant_id: str) -> bool:
        return self._as_row(constant_id).flag("value")

    def numbers(self, constant_id: str) -> tuple[float, ...]:
        return self._as_row(constant_id).numbers("value")

    def texts(self, constant_id: str) -> tuple[str, ...]:
        return self._as_row(constant_id).texts("value")

    def row(self, constant_id: str) -> Row:
        """Value that is an inline table."""
        value = self[constant_id].value
        if not isinstance(value, Row):
            raise ClinicalDataError(f"{constant_id} is not an inline table", id=constant_id)
        return value

    def table(self, prefix: str) -> tuple[ClinicalConstant, ...]:
        """All constants whose id starts with ``prefix.``, in file order; at least one."""
        found = tuple(c for c in self if c.id.startswith(f"{prefix}."))
        if not found:
            raise ClinicalDataError(f"no clinical constants under {prefix!r}", id=prefix)
        return found

    def rows(self, prefix: str) -> tuple[Row, ...]:
        """Inline-table values of all constants under ``prefix``, in file order."""
        return tuple(self.row(c.id) for c in self.table(prefix))

    def _as_row(self, constant_id: str) -> Row:
        value = self[constant_id].value
        if isinstance(value, Row):
            raise ClinicalDataError(f"{constant_id} is an inline table, not one value", id=constant_id)
        return Row(constant_id, {"value": value})


def load_constants(path: Path | None = None, profile: str | Path = DEFAULT_PROFILE) -> ClinicalConstants:
    """Read the packaged data file, or another of the same form, and a level profile over it.

    Args:
        path: another data file.
        profile: name of a built-in level profile, or the path of a site's own.

    Raises:
        ClinicalDataError: if a file is not there, is not TOML, or an entry is incomplete.
    """
    try:
        text = (path or resources.files(__package__) / "constants.toml").read_text(encoding="utf-8")
    except OSError as error:
        raise ClinicalDataError("the clinical data file cannot be read") from error
    return with_profile(parse_constants(text), load_profile(profile))


def parse_constants(text: str) -> ClinicalConstants:
    """Parse the data file's text, without a profile.

    Raises:
        ClinicalDataError: if it is not TOML, has no ``[meta] version``, or an entry is incomplete.
    """
    meta, constants = read_entries(text)
    version = meta.get("version")
    if not isinstance(version, str) or not version:
        raise ClinicalDataError("the clinical data file has no [meta] version")
    if not constants:
        raise ClinicalDataError("the clinical data file holds no constants")
    return ClinicalConstants(version, constants)


def with_profile(constants: ClinicalConstants, profile: Profile) -> ClinicalConstants:
    """The data file with a profile's entries over its own; the version names both.

    Raises:
        ClinicalDataError: if the profile replaces an ``assessment`` entry that the data file has not.
    """
    unknown = [name for name in profile.entries if name.startswith("assessment.") and name not in constants]
    if unknown:
        raise ClinicalDataError(f"profile {profile.name} replaces {unknown[0]!r}, which there is not", id=unknown[0])
    merged = MappingProxyType({**constants.by_id, **profile.entries})
    return ClinicalConstants(f"{constants.version}+{profile.label}", merged, profile)
