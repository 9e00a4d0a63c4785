"""How a campaign stands: its shards' ledgers added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trabecula.archive.ledger import ShardCounts, StudyState, read_ledger, shard_folders
from trabecula.archive.shards import Shard

HOUR_S = 3600.0


@dataclass(frozen=True)
class ShardStatus:
    name: str
    counts: ShardCounts

    @property
    def per_hour(self) -> float | None:
        """Studies ended in an hour: those of its last hour of work, over the time in which they ended."""
        counts = self.counts
        if counts.first_claim_at is None or counts.last_end_at is None or not counts.ended_lately:
            return None
        span_s = min(HOUR_S, counts.last_end_at - counts.first_claim_at)
        return counts.ended_lately / span_s * HOUR_S if span_s > 0 else None

    @property
    def left(self) -> int:
        return self.counts.states[StudyState.WAITING] + self.counts.states[StudyState.CLAIMED]

    @property
    def left_s(self) -> float | None:
        """At the rate of its last hour of work."""
        rate = self.per_hour
        if self.left == 0:
            return 0.0
        return None if not rate else self.left / rate * HOUR_S


@dataclass(frozen=True)
class CampaignStatus:
    """Everything that was asked for, in a list of shards and their sum."""

    shards: tuple[ShardStatus, ...]
    shards_missing: int
    """Shards of which there is no ledger here yet."""

    @property
    def states(self) -> dict[str, int]:
        total: Counter[str] = Counter({state.value: 0 for state in StudyState})
        for shard in self.shards:
            total.update({state.value: number for state, number in shard.counts.states.items()})
        return dict(total)

    @property
    def refused(self) -> dict[str, int]:
        return _sum(shard.counts.refused for shard in self.shards)

    @property
    def dead(self) -> dict[str, int]:
        return _sum(shard.counts.dead for shard in self.shards)

    @property
    def per_hour(self) -> float:
        """Of the shards that have something left; finished ones have no rate any more."""
        return sum(shard.per_hour or 0.0 for shard in self.shards if shard.left)

    @property
    def left_s(self) -> float | None:
        """Until the slowest shard has ended, at today's rates; None when one has no rate yet or was not begun."""
        times = [shard.left_s for shard in self.shards]
        if self.shards_missing or any(each is None for each in times):
            return None
        return max((each for each in times if each is not None), default=0.0)

    @property
    def mean_s(self) -> float | None:
        """Of one attempt that gave a result or a refusal."""
        weights = [
            (shard.counts.mean_s, shard.counts.states[StudyState.DONE] + shard.counts.states[StudyState.REFUSED])
            for shard in self.shards
            if shard.counts.mean_s is not None
        ]
        total = sum(number for _, number in weights)
        return sum(mean_s * number for mean_s, number in weights) / total if total else None

    def to_json(self) -> dict[str, Any]:
        """As `archive status --json` gives it."""
        return {
            "studies": sum(self.states.values()),
            "states": self.states,
            "refused": self.refused,
            "dead": self.dead,
            "per_hour": round(self.per_hour, 1),
            "left_s": None if self.left_s is None else round(self.left_s),
            "mean_s": None if self.mean_s is None else round(self.mean_s, 3),
            "shards": len(self.shards),
            "shards_missing": self.shards_missing,
            "by_shard": [
                {
                    "shard": each.name,
                    "states": {state.value: number for state, number in each.counts.states.items()},
                    "per_hour": None if each.per_hour is None else round(each.per_hour, 1),
                    "left_s": None if each.left_s is None else round(each.left_s),
                }
                for each in self.shards
            ],
        }


def campaign_status(folders: list[Path]) -> CampaignStatus:
    """Read the ledgers of campaigns' or shards' folders, also while their drivers run.

    Raises:
        CampaignNotFound: if there is none in a folder.
    """
    shards, seen, most = [], set(), 0
    for folder in folders:
        for path in shard_folders(folder):
            with read_ledger(path) as ledger:
                name = ledger.fact("shard") or "0/1"
                shards.append(ShardStatus(name, ledger.counts()))
            shard = Shard.parse(name)
            seen.add(shard.index)
            most = max(most, shard.count)
    return CampaignStatus(tuple(shards), max(0, most - len(seen)))


def _sum(parts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in parts:
        total.update(each)
    return dict(total.most_common())
