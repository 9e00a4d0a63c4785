"""Cards keep the invariants of CDS Hooks 2.0 and say what must be said."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import jsonschema
import pytest
from cds_ehr import KNOWN, cards, draft, only, result
from cds_schema import check_answer, check_discovery
from hypothesis import given
from hypothesis import strategies as st

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.hooks.chart import DxaDone
from trabecula.hooks.services import Hook, discovery
from trabecula.hooks.wording import escaped

results = st.builds(
    lambda **values: result(**values),
    category=st.sampled_from([None, *Category]),
    status=st.sampled_from(["preliminary", "final", "amended", "entered-in-error"]),
    statement=st.text(max_size=400),
    density_mg_cm3=st.none() | st.floats(-50, 900),
    standard_uncertainty_mg_cm3=st.none() | st.floats(0, 300),
    scale=st.sampled_from([None, "K2HPO4", "HA"]),
    acquired_on=st.none() | st.dates(date(1990, 1, 1)),
    fracture_levels=st.lists(st.sampled_from([level.value for level in Level]), max_size=17, unique=True).map(tuple),
)


@given(results, st.sampled_from([Hook.PATIENT_VIEW, Hook.ENCOUNTER_DISCHARGE, Hook.ORDER_SELECT]))
def test_every_card_keeps_the_invariants(stored: object, hook: Hook) -> None:
    found = cards([stored], hook=hook, drafts=[draft()] if hook is Hook.ORDER_SELECT else [])  # type: ignore[list-item]
    check_answer({"cards": [card.as_json() for card in found]})


def test_duplicate_cards_keep_the_invariants() -> None:
    found = cards([], replace(KNOWN, dxa=(DxaDone(date(2026, 2, 3)),)), Hook.ORDER_SIGN, drafts=[draft()])
    check_answer({"cards": [card.as_json() for card in found]})
    check_answer({"cards": []})


def test_discovery_keeps_the_invariants() -> None:
    answer = discovery()
    check_discovery(answer)
    assert {each["hook"] for each in answer["services"]} == {hook.value for hook in Hook}
    assert len({each["id"] for each in answer["services"]}) == len(answer["services"])
    text = str(answer)
    assert all(modifier not in text for modifier in (":not", ":exact", "_has", "_include", "ne20", "sa20"))


@pytest.mark.parametrize(
    "broken",
    [
        {"summary": "x" * 140},
        {"indicator": "error"},
        {"source": {"label": "us"}},
        {"suggestions": []},
        {"selectionBehavior": "all"},
        {"overrideReasons": [{"code": "a"}]},
        {"links": [{"label": "a", "url": "/relative", "type": "absolute"}]},
        {"links": [{"label": "a", "url": "https://a.example/", "type": "absolute", "appContext": "x"}]},
    ],
)
def test_the_schema_itself_refuses_what_is_broken(broken: dict[str, object]) -> None:
    card = only(cards([result()])).as_json()
    check_answer({"cards": [card]})
    with pytest.raises(jsonschema.ValidationError):
        check_answer({"cards": [{**card, **broken}]})


def test_a_delete_must_name_a_resource_and_carry_none() -> None:
    found = cards([], replace(KNOWN, dxa=(DxaDone(date(2026, 2, 3)),)), Hook.ORDER_SIGN, drafts=[draft()])
    card = only(found).as_json()
    del card["suggestions"][0]["actions"][0]["resourceId"]
    with pytest.raises(jsonschema.ValidationError):
        check_answer({"cards": [card]})


@pytest.mark.parametrize("status", ["preliminary", "final"])
def test_the_detail_says_what_the_number_is_and_is_not(status: str) -> None:
    detail = only(cards([result(status=status, fracture_levels=("T12", "L1"))])).detail
    for words in (
        "71 ± 6 mg/cm3 (K2HPO4)",
        "Not a DXA T-score",
        "rule out",
        "Research use; not a medical device",
        "T12, L1",
        "2026-03-14",
        "He N, Li Y",
    ):
        assert words in detail
    assert ("Preliminary" in detail) is (status == "preliminary")
    assert "osteoporosis" in detail
    assert "normal" not in detail.lower()


def test_source_link_and_reasons() -> None:
    card = only(cards([result()])).as_json()
    assert card["source"]["topic"]["code"] == "dxa-confirmation"
    assert "He N" in card["source"]["label"]
    assert card["links"] == [
        {
            "label": "Open the CT bone report",
            "url": f"https://ct.hospital.example/results/{result().screening_id}",
            "type": "absolute",
            "autoLaunchable": False,
        }
    ]
    systems = {each["system"] for each in card["overrideReasons"]}
    assert systems == {"http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"}


def test_words_of_a_radiologist_cannot_be_markup() -> None:
    hostile = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) | **b** &lt;\n# heading"
    assert "<img" not in only(cards([result(statement=hostile)])).detail
    shown = escaped(hostile)
    assert "<" not in shown
    assert "\n" not in shown
    assert r"\[a\]" in shown
    assert r"\|" in shown


def test_an_unknown_part_of_the_chart_is_named() -> None:
    from trabecula.hooks.services import Need

    card = only(cards([result()], replace(KNOWN, problems=None), waived=frozenset({Need.PROBLEMS})))
    assert "Not looked up" in card.detail
    assert "problems" in card.detail
