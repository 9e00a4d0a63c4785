"""The life of a delivery as one table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from trabecula.errors import DeliveryBusy, DeliveryEnded
from trabecula.work.states import IllegalTransition


class DeliveryState(StrEnum):
    PENDING = "pending"
    """It waits for its time."""
    SENDING = "sending"
    """One worker has it, until its lease ends."""
    DELIVERED = "delivered"
    """The destination has acknowledged all of it."""
    PARKED = "parked"
    """Trying again would not help; a person has to mend something and release it."""
    CANCELLED = "cancelled"
    """An operator said that it must not be sent."""
    SUPERSEDED = "superseded"
    """A newer version of the same result carries what this one had not brought over."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen, not even by an operator."""
        return self in (DeliveryState.DELIVERED, DeliveryState.CANCELLED, DeliveryState.SUPERSEDED)


class DeliveryStep(StrEnum):
    CLAIM = "claim"
    """A worker takes it: one more attempt."""
    DELIVER = "deliver"
    DEFER = "defer"
    """The attempt failed in a way that may pass."""
    PARK = "park"
    LAPSE = "lapse"
    """The worker's lease ended without a word from it."""
    RELEASE = "release"
    """An operator asked for another try, or for one at once."""
    CANCEL = "cancel"
    SUPERSEDE = "supersede"


DELIVERY_TRANSITIONS: Final[dict[tuple[DeliveryState, DeliveryStep], DeliveryState]] = {
    (DeliveryState.PENDING, DeliveryStep.CLAIM): DeliveryState.SENDING,
    (DeliveryState.PENDING, DeliveryStep.RELEASE): DeliveryState.PENDING,
    (DeliveryState.PENDING, DeliveryStep.CANCEL): DeliveryState.CANCELLED,
    (DeliveryState.PENDING, DeliveryStep.SUPERSEDE): DeliveryState.SUPERSEDED,
    (DeliveryState.SENDING, DeliveryStep.DELIVER): DeliveryState.DELIVERED,
    (DeliveryState.SENDING, DeliveryStep.DEFER): DeliveryState.PENDING,
    (DeliveryState.SENDING, DeliveryStep.PARK): DeliveryState.PARKED,
    (DeliveryState.SENDING, DeliveryStep.LAPSE): DeliveryState.PENDING,
    (DeliveryState.PARKED, DeliveryStep.RELEASE): DeliveryState.PENDING,
    (DeliveryState.PARKED, DeliveryStep.CANCEL): DeliveryState.CANCELLED,
    (DeliveryState.PARKED, DeliveryStep.SUPERSEDE): DeliveryState.SUPERSEDED,
    # Asking twice is no mistake.
    (DeliveryState.CANCELLED, DeliveryStep.CANCEL): DeliveryState.CANCELLED,
}
"""Every legal cell. What is not here is illegal."""

_ASKED_BY_A_PERSON: Final = (DeliveryStep.RELEASE, DeliveryStep.CANCEL)


def next_delivery_state(state: DeliveryState, step: DeliveryStep) -> DeliveryState:
    """State after the step.

    Raises:
        DeliveryBusy: when a person asks for something while a worker is sending.
        DeliveryEnded: when a person asks for something after the end.
        IllegalTransition: for any other cell that is not in the table (a worker that was overtaken, or a fault).
    """
    following = DELIVERY_TRANSITIONS.get((state, step))
    if following is not None:
        return following
    if step in _ASKED_BY_A_PERSON:
        if state is DeliveryState.SENDING:
            raise DeliveryBusy
        raise DeliveryEnded(state=state.value)
    raise IllegalTransition(state=state.value, event=step.value)
