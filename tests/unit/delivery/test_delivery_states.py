"""Every cell of the table of deliveries."""

from __future__ import annotations

import itertools

import pytest

from trabecula.delivery.states import (
    DELIVERY_TRANSITIONS,
    DeliveryState,
    DeliveryStep,
    next_delivery_state,
)
from trabecula.errors import DeliveryBusy, DeliveryEnded
from trabecula.work.states import IllegalTransition

S, T = DeliveryState, DeliveryStep
EXPECTED = {
    S.PENDING: {T.CLAIM: S.SENDING, T.RELEASE: S.PENDING, T.CANCEL: S.CANCELLED, T.SUPERSEDE: S.SUPERSEDED},
    S.SENDING: {T.DELIVER: S.DELIVERED, T.DEFER: S.PENDING, T.PARK: S.PARKED, T.LAPSE: S.PENDING},
    S.PARKED: {T.RELEASE: S.PENDING, T.CANCEL: S.CANCELLED, T.SUPERSEDE: S.SUPERSEDED},
    S.DELIVERED: {},
    S.CANCELLED: {T.CANCEL: S.CANCELLED},
    S.SUPERSEDED: {},
}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(DeliveryState, DeliveryStep)))
def test_every_cell(state: DeliveryState, step: DeliveryStep) -> None:
    expected = EXPECTED[state].get(step)
    if expected is not None:
        assert next_delivery_state(state, step) is expected
        return
    by_a_person = step in (T.RELEASE, T.CANCEL)
    error = (DeliveryBusy if state is S.SENDING else DeliveryEnded) if by_a_person else IllegalTransition
    with pytest.raises(error):
        next_delivery_state(state, step)


def test_the_table_holds_these_cells_and_no_other() -> None:
    assert {
        (state, step): after for state, cells in EXPECTED.items() for step, after in cells.items()
    } == DELIVERY_TRANSITIONS


def test_nothing_leads_out_of_an_end_but_to_itself() -> None:
    assert all(state is after for (state, _), after in DELIVERY_TRANSITIONS.items() if state.ended)
