"""Recent series held against the reference: one index and one verdict for each feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from trabecula.clinical import ClinicalConstants
from trabecula.drift.features import FEATURES, Feature
from trabecula.drift.psi import by_chance, stability_index
from trabecula.drift.reference import Reference


class Verdict(StrEnum):
    STABLE = "stable"
    LOOK = "look"
    """Something has moved: look at what changed."""
    ACT = "act"
    """It has moved far: results may not be comparable any more."""
    TOO_FEW = "too-few"
    """No verdict: the window, or the reference, holds too few series."""
    NO_REFERENCE = "no-reference"
    """There is nothing to compare with; a site can freeze a window of its own."""


@dataclass(frozen=True)
class DriftRules:
    """The thresholds of the clinical data file."""

    look_from: float
    act_above: float
    least_series: int
    least_share: float
    bins: int

    @classmethod
    def of(cls, constants: ClinicalConstants) -> DriftRules:
        """Raises ClinicalDataError if the entry is missing."""
        row = constants.row("drift.stability_index")
        return cls(
            row.number("look_from"),
            row.number("act_above"),
            int(row.number("least_series")),
            row.number("least_share"),
            int(row.number("bins")),
        )


@dataclass(frozen=True)
class FeatureDrift:
    """How far one feature has moved."""

    feature: str
    family: str
    series: int
    """That have a value in the window."""
    psi: float | None
    """None without a reference, or with no series at all."""
    by_chance: float | None
    """Index to expect of so many series if nothing had moved."""
    verdict: Verdict
    reference: str | None
    population: str | None
    verified: bool | None


def evaluate(rows: Sequence[Mapping[str, Any]], reference: Reference, rules: DriftRules) -> tuple[FeatureDrift, ...]:
    """Every feature, in the order of the list."""
    return tuple(_one(feature, feature.values(rows), reference, rules) for feature in FEATURES)


def _one(feature: Feature, values: Sequence[Any], reference: Reference, rules: DriftRules) -> FeatureDrift:
    known = reference.get(feature.name)
    if known is None:
        return FeatureDrift(
            feature.name, feature.family.value, len(values), None, None, Verdict.NO_REFERENCE, None, None, None
        )
    expected = known.counts.counts
    psi = chance = None
    verdict = Verdict.TOO_FEW
    if values:
        psi = stability_index(expected, known.counts.count(values), rules.least_share)
        chance = by_chance(len(expected), sum(expected), len(values))
        if min(len(values), sum(expected)) >= rules.least_series:
            verdict = _verdict(psi, rules)
    return FeatureDrift(
        feature.name,
        feature.family.value,
        len(values),
        psi,
        chance,
        verdict,
        known.reference,
        known.population,
        known.verified,
    )


def _verdict(psi: float, rules: DriftRules) -> Verdict:
    if psi > rules.act_above:
        return Verdict.ACT
    return Verdict.LOOK if psi >= rules.look_from else Verdict.STABLE
