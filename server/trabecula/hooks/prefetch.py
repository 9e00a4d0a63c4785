"""The prefetch as EHRs send it: a resource, a Bundle, a page of one, null, an OperationOutcome, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trabecula.hooks import chart as reading
from trabecula.hooks.chart import Chart
from trabecula.hooks.services import NEWEST_FIRST, Need

Json = Mapping[str, Any]

MAX_RESOURCES: Final = 2000
_FAILED: Final = frozenset({"error", "fatal"})


@dataclass(frozen=True, eq=False)
class Given:
    """What an answer holds."""

    resources: tuple[Json, ...]
    following: str | None = None
    """Address of the next page, when this is not all."""


def read_answer(value: object) -> Given | None:
    """An element of the prefetch, or the body of a search; None when it tells nothing.

    ``null`` means that there is nothing to be found, an OperationOutcome that it could not be looked up.
    """
    if value is None:
        return Given(())
    if not isinstance(value, Mapping):
        return None
    kind = value.get("resourceType")
    if kind == "OperationOutcome" or not isinstance(kind, str):
        return None
    return _of_bundle(value) if kind == "Bundle" else Given((value,))


def _of_bundle(bundle: Json) -> Given | None:
    entries = bundle.get("entry")
    if entries is None:
        entries = []
    if not isinstance(entries, list) or len(entries) > MAX_RESOURCES:
        return None
    found = [entry["resource"] for entry in entries if isinstance(entry, Mapping) and _is_resource(entry)]
    if any(map(_is_failure, found)):
        return None
    resources = tuple(each for each in found if each["resourceType"] != "OperationOutcome")
    return Given(resources, _next_page(bundle))


def _is_resource(entry: Json) -> bool:
    resource = entry.get("resource")
    return isinstance(resource, Mapping) and isinstance(resource.get("resourceType"), str)


def _is_failure(resource: Json) -> bool:
    issues = resource.get("issue") if resource["resourceType"] == "OperationOutcome" else None
    return isinstance(issues, list) and any(
        isinstance(each, Mapping) and str(each.get("severity")) in _FAILED for each in issues
    )


def _next_page(bundle: Json) -> str | None:
    links = bundle.get("link")
    if not isinstance(links, list):
        return None
    found = (each for each in links if isinstance(each, Mapping) and each.get("relation") == "next")
    return next((each["url"] for each in found if isinstance(each.get("url"), str)), None)


def whole(need: Need, given: Given | None) -> bool:
    """Whether an answer tells all that is needed: a first page does where the newest come first."""
    return given is not None and (given.following is None or need in NEWEST_FIRST)


def patient_in(given: Given | None, patient_id: str) -> Json | None:
    """The Patient of the context; None when it is another one."""
    for each in () if given is None else given.resources:
        if each.get("resourceType") == "Patient" and each.get("id") == patient_id:
            return each
    return None


def chart_of(given: Mapping[Need, Given], patient_id: str) -> Chart:
    """The chart as far as it was given."""

    def resources(need: Need) -> Iterable[Json]:
        return given[need].resources if need in given else ()

    dxa = None
    if Need.DXA in given:
        dxa = reading.dxa_done(resources(Need.DXA), resources(Need.DXA_RESULTS), patient_id)
    diagnoses = list(resources(Need.DIAGNOSES))
    problems = None
    if Need.PROBLEMS in given:
        problems = reading.problems_of([*resources(Need.PROBLEMS), *diagnoses], patient_id)
    return Chart(
        dxa=dxa,
        orders=reading.dxa_orders(resources(Need.ORDERS), patient_id) if Need.ORDERS in given else None,
        problems=problems,
        encounter_fracture=reading.has_fracture(diagnoses, patient_id),
        own=reading.own_copies(resources(Need.CTBONE), patient_id),
    )
