"""One call from its body to its cards: what is needed, where it comes from, what is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from trabecula.errors import ChartUnavailable
from trabecula.hooks.chart import identifiers_of
from trabecula.hooks.choose import severity, speaking
from trabecula.hooks.clients import Client
from trabecula.hooks.decide import Cards, Question, decide, needs
from trabecula.hooks.ehr import EhrReader
from trabecula.hooks.policy import CardPolicy
from trabecula.hooks.prefetch import Given, chart_of, patient_in, read_answer, whole
from trabecula.hooks.requests import FhirAccess, HookRequest
from trabecula.hooks.results import PatientIdentifier, ResultSource, ShownResult
from trabecula.hooks.services import Need, Service, filled_in, prefetch_templates
from trabecula.work.clock import utc_now

DEFAULT_BUDGET_S: Final = 0.3


class CardKeeper(Protocol):
    """Remembers what was shown."""

    async def __call__(self, cards: Cards, service: Service, client: Client, at: datetime) -> None: ...


@dataclass(frozen=True, eq=False)
class Answer:
    """What a call gave."""

    cards: Cards = ()
    patients: tuple[str, ...] = ()
    """``system|value`` of whose stored results were looked at, for the record of access; empty when nobody's were."""


@dataclass(frozen=True)
class HookAnswers:
    """Answers calls. All its parts are given; it holds no state."""

    policy: CardPolicy
    results: ResultSource
    ehr: EhrReader
    keep: CardKeeper
    budget_s: float = DEFAULT_BUDGET_S
    """Longest time for reading from the EHR, over all that is read for one call."""
    now: Callable[[], datetime] = utc_now

    async def __call__(self, service: Service, request: HookRequest, client: Client) -> Answer:
        """The cards of a call; none is an answer too.

        Raises:
            ChartUnavailable: when data that decides is neither given nor readable.
        """
        wanted = needs(service, request.context)
        if not wanted:
            return Answer()
        chart = _Reading(self, service, request, client)
        results: tuple[ShownResult, ...] = ()
        patients: tuple[str, ...] = ()
        if Need.PATIENT in wanted:
            identifiers = await self._identifiers(chart, wanted)
            results = tuple(await self.results(identifiers))
            patients = tuple(sorted(f"{each.system}|{each.value}" for each in identifiers)) if results else ()
            if not _calls_for_something(results):
                return Answer(patients=patients)
        await chart.complete(wanted)
        question = Question(service, request, self.policy, self.now(), client.waived)
        cards = decide(question, results, chart_of(chart.given, request.context.patient_id))
        if cards:
            await self.keep(cards, service, client, question.now)
        return Answer(cards, patients)

    async def _identifiers(self, chart: _Reading, wanted: tuple[Need, ...]) -> frozenset[PatientIdentifier]:
        """The patient's. A patient who has to be read is read with all else, to wait only once."""
        patient_id = chart.request.context.patient_id
        if patient_in(chart.given.get(Need.PATIENT), patient_id) is None:
            chart.given.pop(Need.PATIENT, None)
            await chart.complete(wanted)
        patient = patient_in(chart.given.get(Need.PATIENT), patient_id)
        if patient is None:
            raise ChartUnavailable(prefetch=Need.PATIENT.value)
        return identifiers_of(patient)


class _Reading:
    """What one call has of the chart so far."""

    def __init__(self, answers: HookAnswers, service: Service, request: HookRequest, client: Client) -> None:
        self.request = request
        self.given = _given(service, request.prefetch)
        self._answers = answers
        self._service = service
        self._client = client
        self._asked = False

    async def complete(self, wanted: Iterable[Need]) -> None:
        """Read once what is missing and may be read.

        Raises:
            ChartUnavailable: when a needed part is still missing.
        """
        access = self._access()
        missing = [need for need in self._service.prefetch if need not in self.given]
        if access is not None and not self._asked and set(missing) & set(wanted) - self._client.waived:
            self._asked = True
            addresses = self._addresses(missing)
            found = await self._answers.ehr(access, addresses, self._answers.budget_s)
            self.given |= {Need(key): each for key, each in found.items() if whole(Need(key), each)}
        lacking = [need.value for need in wanted if need not in self.given and need not in self._client.waived]
        if lacking:
            raise ChartUnavailable(prefetch=" ".join(lacking))

    def _access(self) -> FhirAccess | None:
        """The EHR's server, if the site lists it for this client."""
        access = self.request.fhir
        return access if access is not None and self._client.may_read(access.server) else None

    def _addresses(self, needed: Iterable[Need]) -> dict[str, str]:
        templates = prefetch_templates(self._service)
        tokens = self.request.context.tokens
        addresses = {need.value: filled_in(templates[need.value], tokens) for need in needed}
        return {key: address for key, address in addresses.items() if address is not None}


def _given(service: Service, prefetch: Mapping[str, object]) -> dict[Need, Given]:
    """What the prefetch tells in full."""
    found = {}
    for need in service.prefetch:
        given = read_answer(prefetch[need.value]) if need.value in prefetch else None
        if given is not None and whole(need, given):
            found[need] = given
    return found


def _calls_for_something(results: Iterable[ShownResult]) -> bool:
    result = speaking(results)
    return result is not None and severity(result) > 0
