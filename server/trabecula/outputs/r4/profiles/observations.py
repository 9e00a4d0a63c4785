"""Observations: one class for each kind of measurement, and one for the quality of the screening itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from trabecula.outputs.r4 import codes
from trabecula.outputs.r4.codes import METRIC_UNITS, Metric, ProjectSystem
from trabecula.outputs.r4.profiles.base import MADE_BY_AI, Profile
from trabecula.outputs.r4.profiles.rule import (
    Rule,
    at,
    concept,
    first_code,
    has_code,
    moment,
    one_of,
    patient,
    present,
    reference,
)

Json = dict[str, Any]

RESULT_STATUS: Final = frozenset({"preliminary", "final", "amended", "corrected", "entered-in-error"})
"""What a result of ours can be; ``preliminary`` until a person has signed."""
_FORBIDDEN_INTERPRETATIONS: Final = frozenset({"N", "LL", "HH", "AA"})


def _metric(metric: Metric) -> Rule:
    return Rule(
        "code",
        f"the first coding of code is {ProjectSystem.METRICS}#{metric}",
        lambda resource: first_code(resource.get("code"), ProjectSystem.METRICS) == metric.value,
    )


def _valued(element: Json) -> bool:
    """Exactly one of a value and a reason for its absence."""
    values = [name for name in element if name.startswith("value")]
    return len(values) == 1 if "dataAbsentReason" not in element else not values and bool(element["dataAbsentReason"])


def _unit_fits(element: Json) -> bool:
    """A quantity is in the metric's own unit, by its UCUM code."""
    quantity = element.get("valueQuantity")
    if quantity is None:
        return True
    code = first_code(element.get("code"), ProjectSystem.METRICS)
    unit = METRIC_UNITS.get(Metric(code)) if code in set(Metric) else None
    return (
        unit is not None
        and isinstance(quantity.get("value"), int | float)
        and (quantity.get("system"), quantity.get("code")) == (codes.UCUM, unit.ucum)
    )


def _component(resource: Json, metric: Metric) -> Json | None:
    found = at(resource, "component")
    return next((each for each in found if first_code(each.get("code"), ProjectSystem.METRICS) == metric.value), None)


def _components_whole(resource: Json) -> bool:
    return all(
        first_code(each.get("code"), ProjectSystem.METRICS) in set(Metric) and _valued(each) and _unit_fits(each)
        for each in at(resource, "component")
    )


def _unless_absent(name: str, says: str, holds: Callable[[Json], bool]) -> Rule:
    """A rule of what a density never stands without."""
    return Rule(name, f"a value comes with {says}", lambda resource: "valueQuantity" not in resource or holds(resource))


def _has_scale(resource: Json) -> bool:
    scale = _component(resource, Metric.SCALE) or {}
    return has_code(scale.get("valueCodeableConcept"), ProjectSystem.SCALE.value)


def _not_a_t_score(resource: Json) -> bool:
    return any("Not a DXA T-score" in text for text in at(resource, "referenceRange.text"))


def _interpretation_is_modest(resource: Json) -> bool:
    return not any(
        coding.get("system") == codes.INTERPRETATION and coding.get("code") in _FORBIDDEN_INTERPRETATIONS
        for coding in at(resource, "interpretation.coding")
    )


_VALUED: Final = Rule("value", "either a value or dataAbsentReason", _valued)
_UNIT: Final = Rule("unit", "the value is in the metric's own UCUM unit", _unit_fits)
_EXPLAINED: Final = (
    _unless_absent(
        "calibrated", "the method of its calibration", lambda each: has_code(each.get("method"), ProjectSystem.METHOD)
    ),
    _unless_absent("scale", "the component density-scale", _has_scale),
    _unless_absent(
        "uncertainty",
        "the component vbmd-standard-uncertainty",
        lambda each: _component(each, Metric.UNCERTAINTY) is not None,
    ),
)
_RANGE: Final = Rule("reference-range", "referenceRange says that it is not a DXA T-score", _not_a_t_score)

_COMMON: Final = (
    *MADE_BY_AI,
    one_of("status", RESULT_STATUS),
    concept("category", codes.OBSERVATION_CATEGORY, "imaging"),
    patient("subject"),
    moment("effectiveDateTime"),
    present("issued"),
    reference("device", "Device"),
    Rule(
        "component", "each component has a metric, its unit, and either a value or dataAbsentReason", _components_whole
    ),
    Rule("interpretation", "no interpretation N, LL, HH or AA", _interpretation_is_modest),
)
_DENSITY: Final = (_VALUED, _UNIT, *_EXPLAINED, _RANGE)


class ScreeningObservation(Profile):
    """What every Observation of a screening keeps; made only through the classes below."""

    resource_type: ClassVar[str] = "Observation"


class TrabecularBmdObservation(ScreeningObservation):
    """Trabecular density of one vertebra.

    Profile https://trabecula.example/fhir/StructureDefinition/trabecular-bmd-observation.
    """

    slug: ClassVar[str] = "trabecular-bmd-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.VBMD),
        *_DENSITY,
        Rule("body-site", "bodySite names the vertebra", lambda resource: bool(at(resource, "bodySite.text"))),
    )


class MeanTrabecularBmdObservation(ScreeningObservation):
    """Mean trabecular density of the vertebrae that count; of a refused study, why there is none.

    Profile https://trabecula.example/fhir/StructureDefinition/mean-trabecular-bmd-observation.
    """

    slug: ClassVar[str] = "mean-trabecular-bmd-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.VBMD_MEAN),
        *_DENSITY,
        Rule(
            "derived-from",
            "a value is derived from the Observations of its vertebrae",
            lambda resource: "valueQuantity" not in resource or bool(resource.get("derivedFrom")),
        ),
    )


class LumbarEquivalentBmdObservation(ScreeningObservation):
    """The density that was compared with the cut-offs, with the range as its interpretation.

    Profile https://trabecula.example/fhir/StructureDefinition/lumbar-equivalent-bmd-observation.
    """

    slug: ClassVar[str] = "lumbar-equivalent-bmd-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.LUMBAR_EQUIVALENT),
        *_DENSITY,
        reference("derivedFrom", "Observation", name="derived-from"),
    )


class BodyCompositionObservation(ScreeningObservation):
    """Muscle and fat in one axial slice; what could not be measured says why.

    Profile https://trabecula.example/fhir/StructureDefinition/body-composition-observation.
    """

    slug: ClassVar[str] = "body-composition-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.COMPOSITION),
        Rule("body-site", "bodySite names the level", lambda resource: bool(at(resource, "bodySite.text"))),
        present("component", "components"),
        Rule(
            "no-value",
            "the components carry the values",
            lambda resource: not any(name.startswith("value") for name in resource),
        ),
    )


class SecondReaderObservation(ScreeningObservation):
    """Score of an end-to-end model beside the measurement, with its cut-off; one that was not asked says why.

    Profile https://trabecula.example/fhir/StructureDefinition/second-reader-observation.
    """

    slug: ClassVar[str] = "second-reader-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.SECOND_READER),
        _VALUED,
        _UNIT,
        present("method.text", "method"),
        Rule(
            "agreement",
            "a component says how it stands to the measurement",
            lambda resource: _component(resource, Metric.SECOND_READER_AGREEMENT) is not None,
        ),
    )


def _refusal_is_coded(resource: Json) -> bool:
    refused = first_code(resource.get("valueCodeableConcept"), ProjectSystem.STATUS) == "refused"
    reasons = [
        first_code(each.get("valueCodeableConcept"), ProjectSystem.REFUSAL)
        for each in at(resource, "component")
        if first_code(each.get("code"), ProjectSystem.METRICS) == Metric.REFUSAL.value
    ]
    return bool(reasons) == refused and all(reasons)


class QualityObservation(ScreeningObservation):
    """Whether the study was reported or refused; every refusal and every warning as a code.

    Profile https://trabecula.example/fhir/StructureDefinition/quality-observation.
    """

    slug: ClassVar[str] = "quality-observation"
    rules: ClassVar[tuple[Rule, ...]] = (
        *_COMMON,
        _metric(Metric.QUALITY),
        Rule(
            "outcome",
            "the value is reported or refused",
            lambda resource: (
                first_code(resource.get("valueCodeableConcept"), ProjectSystem.STATUS) in {"reported", "refused"}
            ),
        ),
        Rule("refusal", "refused exactly when there is a coded refusal", _refusal_is_coded),
    )
