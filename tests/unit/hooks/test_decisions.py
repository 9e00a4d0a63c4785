"""Which card is shown when: the table of decisions."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from cds_ehr import KNOWN, PATIENT_ID, RULE, cards, condition, draft, dxa_report, only, result

from trabecula.assessment.assessment import Category
from trabecula.hooks.cards import Indicator
from trabecula.hooks.chart import DxaDone, DxaOrder, OwnCopies, Problems, dxa_done, problems_of
from trabecula.hooks.services import Hook

VIEWS = (Hook.PATIENT_VIEW, Hook.ENCOUNTER_DISCHARGE)
NEWER = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize("hook", VIEWS)
@pytest.mark.parametrize(
    ("category", "fractures", "indicator"),
    [
        (Category.SEVERE_RANGE_SUSPECTED, ("T12",), Indicator.CRITICAL),
        (Category.OSTEOPOROSIS_RANGE, (), Indicator.WARNING),
        (Category.LOW_BONE_DENSITY_RANGE, (), Indicator.INFO),
        (Category.INDETERMINATE, (), Indicator.INFO),
        (Category.NO_SIGN_OF_LOW_DENSITY, ("L1",), Indicator.WARNING),
        (Category.NOT_CLASSIFIED, ("T11",), Indicator.WARNING),
    ],
)
def test_urgency_follows_what_was_found(
    hook: Hook, category: Category, fractures: tuple[str, ...], indicator: Indicator
) -> None:
    card = only(cards([result(category, fracture_levels=fractures)], hook=hook))
    assert card.indicator is indicator
    assert all(level in card.summary for level in fractures)


@pytest.mark.parametrize("hook", VIEWS)
@pytest.mark.parametrize("category", [Category.NO_SIGN_OF_LOW_DENSITY, Category.NOT_CLASSIFIED, None])
def test_nothing_reassures(hook: Hook, category: Category | None) -> None:
    assert cards([result(category)], hook=hook) == ()


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "registered", "unknown", ""])
def test_withdrawn_results_never_show(status: str) -> None:
    for hook in Hook:
        assert cards([result(status=status)], hook=hook, drafts=[draft()]) == ()


def test_an_indeterminate_card_does_not_reassure() -> None:
    card = only(cards([result(Category.INDETERMINATE)]))
    assert "indeterminate" in card.summary
    assert "DXA can decide" in card.summary


@pytest.mark.parametrize("hook", VIEWS)
@pytest.mark.parametrize("category", [Category.SEVERE_RANGE_SUSPECTED, Category.OSTEOPOROSIS_RANGE])
def test_no_card_when_it_is_done_ordered_or_known(hook: Hook, category: Category) -> None:
    found = [result(category, fracture_levels=("T12",))]
    for chart in (
        replace(KNOWN, dxa=(DxaDone(date(2026, 1, 5)),)),
        replace(KNOWN, orders=(DxaOrder("o1", "active"),)),
        replace(KNOWN, problems=Problems(osteoporosis=True)),
    ):
        assert cards(found, chart, hook) == ()
    assert cards(found, KNOWN, hook, drafts=[draft()]) == ()


@pytest.mark.parametrize(
    ("on", "shown"),
    [
        ("2024-12-01", False),  # 23 months have not passed since its month
        ("2024-12-31", False),
        ("2024-11-30", True),
        ("2024", False),  # may have been in December
        ("2024-11", True),
        ("2023", True),
        ("2026-11-22T10:00:00+08:00", False),
        ("2027-01-01", False),  # planned
        (None, True),
        ("not a date", True),
        ("2024-13-45", True),
    ],
)
def test_months_count_from_the_month_of_the_dxa(on: str | None, shown: bool) -> None:
    chart = replace(KNOWN, dxa=dxa_done([dxa_report(on)], [], PATIENT_ID))
    found = cards([result()], chart)
    assert bool(found) is shown
    if shown and (on is None or not on.startswith("20")):
        assert "without a date" in only(found).detail


def test_osteopenia_is_not_osteoporosis() -> None:
    chart = replace(KNOWN, problems=problems_of([condition("http://snomed.info/sct", "312894000")], PATIENT_ID))
    assert "osteopenia" in only(cards([result()], chart)).detail


def test_the_signed_result_speaks() -> None:
    signed = result(status="final", screening_id=str(uuid.uuid4()), density_mg_cm3=66.0)
    newer_run = result(issued_at=NEWER)
    assert "66 ± 6" in only(cards([newer_run, signed])).summary
    assert "66 ± 6" in only(cards([signed, newer_run])).summary
    assert "signed off by a radiologist" in only(cards([signed])).detail
    assert "Preliminary" in only(cards([newer_run])).detail


def test_a_newer_scan_speaks_before_signing_only_when_it_is_worse() -> None:
    signed = result(status="final")
    low = result(Category.LOW_BONE_DENSITY_RANGE, study_uid="2", acquired_on=date(2026, 10, 1), density_mg_cm3=99.0)
    severe = result(Category.SEVERE_RANGE_SUSPECTED, study_uid="3", acquired_on=date(2026, 9, 1), density_mg_cm3=50.0)
    assert "2026-03-14" in only(cards([signed, low])).summary
    assert "2026-09-01" in only(cards([signed, low, severe])).summary
    assert cards([result(Category.NO_SIGN_OF_LOW_DENSITY, status="final"), low])[0].screening_id == low.screening_id


def test_a_signed_correction_to_no_sign_silences_the_machine() -> None:
    corrected = result(Category.NO_SIGN_OF_LOW_DENSITY, status="corrected")
    assert cards([corrected, result(issued_at=NEWER)]) == ()


def test_a_copy_withdrawn_in_the_ehr_does_not_show() -> None:
    chart = replace(KNOWN, own=OwnCopies({}, frozenset({result().report_urn})))
    assert cards([result()], chart) == ()
    assert cards([result()], replace(KNOWN, own=OwnCopies({}, frozenset({"urn:uuid:other"})))) != ()


def test_a_fracture_admission_makes_low_density_critical_at_discharge() -> None:
    chart = replace(KNOWN, encounter_fracture=True)
    for category in (Category.OSTEOPOROSIS_RANGE, Category.LOW_BONE_DENSITY_RANGE):
        card = only(cards([result(category)], chart, Hook.ENCOUNTER_DISCHARGE, encounter_id="e1"))
        assert card.indicator is Indicator.CRITICAL
        assert "fracture is among the diagnoses" in card.detail
    assert only(cards([result(Category.INDETERMINATE)], chart)).indicator is Indicator.INFO


def test_the_suggested_order_is_a_draft_with_its_reason_and_rule() -> None:
    card = only(cards([result()], encounter_id="e1"))
    (suggestion,) = card.suggestions
    assert suggestion.recommended
    (action,) = suggestion.actions
    assert action.type == "create"
    order = action.resource
    assert order is not None
    assert (order["status"], order["intent"]) == ("draft", "order")
    assert {(each["system"], each["code"]) for each in order["code"]["coding"]} == {
        ("http://loinc.org", "83012-5"),
        ("http://snomed.info/sct", "241686001"),
    }
    assert order["subject"] == {"reference": "Patient/p1"}
    assert order["encounter"] == {"reference": "Encounter/e1"}
    assert order["requester"] == {"reference": "Practitioner/doc"}
    assert order["instantiatesCanonical"] == [RULE.plan_definition]
    assert order["reasonCode"][0]["coding"][0]["code"] == "osteoporosis-range"
    assert order["reasonReference"][0]["identifier"]["value"] == result().report_urn


def test_the_reason_is_the_ehrs_own_copy_where_it_has_one() -> None:
    chart = replace(KNOWN, own=OwnCopies({result().report_urn: "DiagnosticReport/77"}))
    (suggestion,) = only(cards([result()], chart)).suggestions
    order = suggestion.actions[0].resource
    assert order is not None
    assert order["reasonReference"] == [{"reference": "DiagnosticReport/77", "type": "DiagnosticReport"}]


def test_no_order_is_suggested_when_no_rule_asks_for_one() -> None:
    card = only(cards([result(Category.NOT_CLASSIFIED, fracture_levels=("T9",), due=())]))
    assert card.suggestions == ()
    assert "radiologist" in card.summary


def test_order_select_puts_the_density_on_the_picked_dxa() -> None:
    own_reason = {"text": "follow-up"}
    picked = draft(reasonCode=[own_reason], note=[{"text": "left hip replaced"}])
    other = draft("24627-2", id="draft-2")
    card = only(
        cards([result()], hook=Hook.ORDER_SELECT, drafts=[picked, other], selections=["ServiceRequest/draft-1"])
    )
    (action,) = card.suggestions[0].actions
    updated = action.resource
    assert action.type == "update"
    assert updated is not None
    assert updated["id"] == "draft-1"
    assert updated["note"] == picked["note"]
    assert updated["reasonCode"][0] == own_reason
    assert "71 ± 6 mg/cm3 (K2HPO4)" in updated["reasonCode"][1]["text"]
    assert "reasonReference" not in picked
    again = cards([result()], hook=Hook.ORDER_SELECT, drafts=[updated], selections=["ServiceRequest/draft-1"])
    assert again == ()


def test_order_select_says_nothing_of_what_was_not_picked() -> None:
    assert cards([result()], hook=Hook.ORDER_SELECT, drafts=[draft()], selections=["ServiceRequest/other"]) != cards(
        [result()], hook=Hook.ORDER_SELECT, drafts=[draft()]
    )
    for category in (Category.NO_SIGN_OF_LOW_DENSITY, None):
        assert cards([result(category)], hook=Hook.ORDER_SELECT, drafts=[draft()]) == ()


def test_order_select_of_a_chest_ct_tells_of_the_result_there_is() -> None:
    ct = draft("29252-4")
    assert "bone density" in only(cards([result()], hook=Hook.ORDER_SELECT, drafts=[ct])).summary
    known = replace(KNOWN, problems=Problems(osteoporosis=True))
    assert cards([result()], known, Hook.ORDER_SELECT, drafts=[ct]) == ()


def test_order_sign_warns_of_a_dxa_on_file_and_of_one_ordered() -> None:
    done = replace(KNOWN, dxa=(DxaDone(date(2026, 2, 3)),))
    card = only(cards([], done, Hook.ORDER_SIGN, drafts=[draft()]))
    assert card.indicator is Indicator.WARNING
    assert "2026-02-03" in card.summary
    (action,) = card.suggestions[0].actions
    assert (action.type, action.resource_id) == ("delete", "ServiceRequest/draft-1")
    ordered = replace(KNOWN, orders=(DxaOrder("other", "active"),))
    assert "already ordered" in only(cards([], ordered, Hook.ORDER_SIGN, drafts=[draft()])).summary


def test_order_sign_keeps_quiet_of_the_draft_itself_and_of_old_dxa() -> None:
    own = replace(KNOWN, orders=(DxaOrder("draft-1", "draft"),))
    assert cards([], own, Hook.ORDER_SIGN, drafts=[draft()]) == ()
    old = replace(KNOWN, dxa=(DxaDone(date(2020, 2, 3)),))
    assert cards([], old, Hook.ORDER_SIGN, drafts=[draft()]) == ()
    recent = replace(KNOWN, dxa=(DxaDone(date(2026, 2, 3)),))
    for harmless in (draft("24627-2"), draft(doNotPerform=True), {"resourceType": "MedicationRequest"}):
        assert cards([], recent, Hook.ORDER_SIGN, drafts=[harmless]) == ()


def test_a_draft_without_a_usable_id_cannot_be_removed() -> None:
    done = replace(KNOWN, dxa=(DxaDone(date(2026, 2, 3)),))
    for odd in ("a/b", "", None, 5, "x" * 65):
        assert only(cards([], done, Hook.ORDER_SIGN, drafts=[draft(id=odd)])).suggestions == ()


def test_two_drafts_of_a_dxa_are_one_too_many() -> None:
    assert cards([], KNOWN, Hook.ORDER_SIGN, drafts=[draft(), draft(id="draft-2")]) != ()


def test_the_same_card_of_the_same_hook_instance_keeps_its_id() -> None:
    assert only(cards([result()])).uuid == only(cards([result()])).uuid
    assert only(cards([result()])).uuid != only(cards([result()], hook=Hook.ENCOUNTER_DISCHARGE)).uuid
