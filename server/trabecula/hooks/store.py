"""Cards, feedback and used tokens in the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from trabecula.hooks.cards import KNOWN_REASONS, NON_ADHERENCE, Card
from trabecula.hooks.requests import Feedback
from trabecula.hooks.schema import hook_card, hook_feedback, hook_token
from trabecula.work.direct import Direct, Statement

OTHER: Final = "other"
NO_REASON: Final = "none"


@dataclass(frozen=True)
class ServiceStats:
    """What became of a service's cards. A card that has several outcomes counts by its last."""

    service: str
    shown: int
    accepted: int
    overridden: int
    reasons: dict[str, int]
    """Overrides by HL7 code; ``other`` and ``none`` beside."""
    unknown: int
    """Outcomes of cards that this database did not show."""

    @property
    def answered(self) -> int:
        return self.accepted + self.overridden

    @property
    def acceptance(self) -> float | None:
        """Accepted of answered; None before the first answer."""
        return self.accepted / self.answered if self.answered else None


_USE_TOKEN: Final = Statement.of(
    insert(hook_token)
    .values(digest=bindparam("digest"), expires_at=bindparam("expires_at"))
    .on_conflict_do_nothing()
    .returning(hook_token.c.expires_at)
)


async def use_token(direct: Direct, digest: bytes, expires_at: datetime) -> bool:
    """Whether the token was not used before; it is from now on."""
    return bool(await direct.fetch(_USE_TOKEN, digest=digest, expires_at=expires_at))


async def is_used(connection: AsyncConnection, digest: bytes) -> bool:
    """Whether the token was used before."""
    found = await connection.execute(select(hook_token.c.digest).where(hook_token.c.digest == digest))
    return found.first() is not None


_KEEP_CARD: Final = Statement.of(
    insert(hook_card).values({column.name: bindparam(column.name) for column in hook_card.c}).on_conflict_do_nothing()
)


async def keep_cards(direct: Direct, cards: Sequence[Card], service_id: str, client: str, at: datetime) -> None:
    """Remember that cards were shown; the same card of the same hook instance once."""
    for card in cards:
        await direct.fetch(
            _KEEP_CARD,
            id=card.uuid,
            service=service_id,
            kind=card.kind.value,
            indicator=card.indicator.value,
            screening_id=card.screening_id,
            client=client,
            shown_at=at,
        )


async def keep_feedback(
    connection: AsyncConnection, items: Iterable[Feedback], service_id: str, client: str, at: datetime
) -> tuple[Feedback, ...]:
    """Append feedback.

    Returns:
        Those that were new: a delivery that is repeated changes nothing.
    """
    new = []
    for item in items:
        statement = insert(hook_feedback).values(
            card_id=item.card,
            service=service_id,
            client=client,
            accepted=item.accepted,
            suggestions=list(item.suggestions),
            reason_system=item.reason_system,
            reason_code=item.reason_code,
            comment=item.comment,
            outcome_at=item.at,
            received_at=at,
            digest=_digest(item, service_id, client),
        )
        made = await connection.execute(statement.on_conflict_do_nothing().returning(hook_feedback.c.id))
        if made.first() is not None:
            new.append(item)
    return tuple(new)


def reason_label(accepted: bool, system: str | None, code: str | None) -> str:
    """An override's reason from a closed set, for counting."""
    if accepted or not code:
        return NO_REASON
    return code if code in KNOWN_REASONS and system in (None, NON_ADHERENCE) else OTHER


async def stats(connection: AsyncConnection, since: datetime | None = None) -> tuple[ServiceStats, ...]:
    """Outcomes by service, of cards shown and feedback received since a time."""
    shown_query = select(hook_card.c.service, func.count().label("number")).group_by(hook_card.c.service)
    newest = (
        select(
            hook_feedback.c.service,
            hook_feedback.c.accepted,
            hook_feedback.c.reason_system,
            hook_feedback.c.reason_code,
            hook_card.c.id.is_not(None).label("known"),
        )
        .join(hook_card, hook_card.c.id == hook_feedback.c.card_id, isouter=True)
        .ext(distinct_on(hook_feedback.c.card_id))
        .order_by(hook_feedback.c.card_id, hook_feedback.c.outcome_at.desc(), hook_feedback.c.id.desc())
    )
    if since is not None:
        shown_query = shown_query.where(hook_card.c.shown_at >= since)
        newest = newest.where(hook_feedback.c.received_at >= since)
    shown = {each.service: each.number for each in await connection.execute(shown_query)}
    last = newest.subquery()
    columns = (last.c.service, last.c.accepted, last.c.reason_system, last.c.reason_code, last.c.known)
    outcomes = list(await connection.execute(select(*columns, func.count().label("number")).group_by(*columns)))
    services = sorted({*shown, *(each.service for each in outcomes)})
    return tuple(
        _service_stats(service, shown.get(service, 0), [each for each in outcomes if each.service == service])
        for service in services
    )


async def forget_tokens(connection: AsyncConnection, now: datetime) -> int:
    """Delete tokens that have expired; returns how many."""
    return (await connection.execute(delete(hook_token).where(hook_token.c.expires_at < now))).rowcount


async def forget_cards(connection: AsyncConnection, before: datetime) -> int:
    """Delete cards shown before a time, with their feedback; returns how many."""
    old = select(hook_card.c.id).where(hook_card.c.shown_at < before)
    await connection.execute(delete(hook_feedback).where(hook_feedback.c.card_id.in_(old)))
    await connection.execute(delete(hook_feedback).where(hook_feedback.c.received_at < before))
    return (await connection.execute(delete(hook_card).where(hook_card.c.shown_at < before))).rowcount


def _service_stats(service: str, shown: int, outcomes: Sequence[Row[Any]]) -> ServiceStats:
    accepted = overridden = unknown = 0
    reasons: dict[str, int] = {}
    for each in outcomes:
        number: int = each.number
        if not each.known:
            unknown += number
        elif each.accepted:
            accepted += number
        else:
            overridden += number
            label = reason_label(False, each.reason_system, each.reason_code)
            reasons[label] = reasons.get(label, 0) + number
    return ServiceStats(service, shown, accepted, overridden, dict(sorted(reasons.items())), unknown)


def _digest(item: Feedback, service_id: str, client: str) -> str:
    said = [
        *(service_id, client, item.card, item.accepted, *item.suggestions),
        *(item.reason_system, item.reason_code, item.comment, item.at.isoformat()),
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
