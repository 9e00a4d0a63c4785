"""A manifest cut into shards."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Final, Self

from trabecula.archive.reference import Reference
from trabecula.errors import InvalidRequest

MOST_SHARDS: Final = 100_000
"""Completions that an Indexed Job of Kubernetes may have."""
_FORM: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Shard:
    """One part of a manifest. Which one a study is in hangs on its reference and the number of shards alone: not on
    its place in the manifest, nor on what else is there, so a manifest may grow and be sorted anew."""

    index: int
    """From 0, as ``JOB_COMPLETION_INDEX``; the last is ``count - 1``."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``0/8`` is the first of eight, ``7/8`` the last.

        Raises:
            InvalidRequest: for anything else, ``8/8`` among it.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidRequest(field="shard", must_be="index/count, as 0/8")
        index, count = int(found[1]), int(found[2])
        if not 1 <= count <= MOST_SHARDS:
            raise InvalidRequest(field="shard", must_be=f"one of 1 to {MOST_SHARDS} shards")
        if index >= count:
            raise InvalidRequest(field="shard", must_be=f"counted from 0: 0/{count} to {count - 1}/{count}")
        return cls(index, count)

    @property
    def folder(self) -> str:
        """Its folder's name in the campaign's."""
        return f"shard-{self.index:05d}-of-{self.count:05d}"

    def holds(self, reference: Reference) -> bool:
        """Whether the study is of this shard."""
        return shard_of(reference, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_of(reference: Reference, count: int) -> int:
    """Index of the one shard that a study is in: its key's SHA-256, first 8 bytes, modulo the count."""
    digest = hashlib.sha256(os.fsencode(reference.key)).digest()
    return int.from_bytes(digest[:8], "big") % count
