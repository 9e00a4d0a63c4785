"""Which references count, and the line through them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trabecula.calibration.calibration import ReferenceMeasurement, ReferenceTissue
from trabecula.calibration.model import CalibrationModel, Line, Observation
from trabecula.calibration.reference_sets import ALL_REFERENCES, ReferenceSet
from trabecula.calibration.samples import Sample
from trabecula.clinical import ClinicalConstants

_REWEIGHTINGS: Final = 12
"""Enough for the line to settle within a hundredth of a HU."""


@dataclass(frozen=True)
class Nominal:
    """What a reference ought to be at in this beam, and the spread between people."""

    hu: float
    standard_deviation_hu: float


def specification(
    constants: ClinicalConstants, names: frozenset[str] = ALL_REFERENCES.specification
) -> tuple[Observation, ...]:
    """Pseudo-observations "the scanner is in specification", which hold the line where references are poor."""
    rows = constants.rows("calibration.pseudo_observation")
    return tuple(
        Observation(row.number("hu"), row.number("nominal_hu"), row.number("standard_deviation_hu") ** 2)
        for row in rows
        if row.id.rpartition(".")[2] in names
    )


def fit_references(
    samples: Mapping[ReferenceTissue, Sample],
    nominal: Mapping[ReferenceTissue, Nominal],
    barred: Mapping[ReferenceTissue, str],
    model: CalibrationModel,
    constants: ClinicalConstants,
    wanted: ReferenceSet = ALL_REFERENCES,
) -> tuple[tuple[ReferenceMeasurement, ...], Line | None]:
    """Gate the references and fit the line.

    A reference is rejected when it could not be measured, when it is barred (with the reason given), when it lies
    further from its nominal than the gate allows of its own spread and the scanner's specification together, and
    then, one at a time, when it disagrees as strongly with the line through all others (only where the line is
    held by the specification: a published form takes what its tissues give).

    Returns:
        Every reference that was measured, used or not, and the line: None when none may be used, or when the form
        lacks one that it needs.
    """
    fixed = _Scanner.of(wanted, constants)
    scanner = model.fit(specification(constants))
    gate = constants.number("calibration.gate_standard_deviations")
    looked = [_first_look(samples[t], nominal[t], barred.get(t), scanner, gate) for t in nominal]
    measured = [r for r in looked if r is not None]
    while not wanted.all_needed and (worst := _worst(measured, fixed, model, gate)) is not None:
        because = "does not agree with the other references"
        measured[worst] = replace(measured[worst], used=False, rejected_because=because)
    used = {r.tissue for r in measured if r.used}
    enough = used >= wanted.tissues if wanted.all_needed else bool(used)
    return tuple(measured), fixed.line(_observations(measured), model) if enough else None


@dataclass(frozen=True)
class _Scanner:
    """Pseudo-observations of a scanner in specification, with the tails of what scanners really do.

    Most scanners keep their specification well, a few do not at all: Student's t instead of a normal distribution.
    Where the tissues agree that this one is off, its specification counts for less, by iterative reweighting
    (Lange, Little, Taylor 1989 J Am Stat Assoc 84:881: weight (nu + 1) / (nu + z squared)).
    """

    observations: tuple[Observation, ...]
    degrees_of_freedom: float

    @classmethod
    def of(cls, wanted: ReferenceSet, constants: ClinicalConstants) -> _Scanner:
        freedom = constants.number("calibration.scanner_degrees_of_freedom")
        return cls(specification(constants, wanted.specification), freedom)

    def line(self, tissues: Sequence[Observation], model: CalibrationModel) -> Line:
        """The line through tissues and specification."""
        nu, line = self.degrees_of_freedom, model.fit([*self.observations, *tissues])
        if not tissues or not self.observations:
            return line
        for _ in range(_REWEIGHTINGS):
            looser = []
            for told in self.observations:
                z2 = (told.nominal_hu - line.at(told.measured_hu)) ** 2 / told.variance_hu2
                looser.append(replace(told, variance_hu2=told.variance_hu2 * max(1.0, (nu + z2) / (nu + 1.0))))
            line = model.fit([*looser, *tissues])
        return line


def _first_look(
    sample: Sample, nominal: Nominal, barred: str | None, scanner: Line, gate: float
) -> ReferenceMeasurement | None:
    if sample.hu is None:
        return None
    own_sd = math.hypot(nominal.standard_deviation_hu, sample.standard_error_hu)
    allowed = gate * math.sqrt(own_sd**2 + scanner.variance_at(sample.hu))
    because = barred
    if because is None and abs(sample.hu - nominal.hu) > allowed:
        because = f"implausible: more than {allowed:.0f} HU from its nominal"
    return ReferenceMeasurement(
        sample.tissue,
        sample.hu,
        nominal.hu,
        own_sd,
        sample.voxels,
        used=because is None,
        rejected_because=because,
        sampling_standard_error_hu=sample.standard_error_hu,
        gate_hu=allowed,
    )


def _observations(references: Sequence[ReferenceMeasurement]) -> list[Observation]:
    return [Observation(r.hu_measured, r.hu_nominal, r.standard_deviation_hu**2) for r in references if r.used]


def _worst(
    references: Sequence[ReferenceMeasurement], fixed: _Scanner, model: CalibrationModel, gate: float
) -> int | None:
    """Index of the used reference that strays most from the line through the others, if beyond the gate."""
    strays: list[tuple[float, int]] = []
    for index, reference in enumerate(references):
        if not reference.used:
            continue
        others = [r for r in references if r is not reference]
        line = fixed.line(_observations(others), model)
        spread = math.sqrt(reference.standard_deviation_hu**2 + line.variance_at(reference.hu_measured))
        stray = abs(reference.hu_nominal - line.at(reference.hu_measured)) / spread
        if stray > gate:
            strays.append((stray, index))
    return max(strays)[1] if strays else None
