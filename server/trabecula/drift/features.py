"""What is compared: acquisition, appearance, output. Each feature is a column of ``series_fact``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Family(StrEnum):
    """As medical-imaging monitoring has them (Merkow 2023, CheXstray; recalled)."""

    ACQUISITION = "acquisition"
    APPEARANCE = "appearance"
    OUTPUT = "output"


@dataclass(frozen=True)
class Feature:
    """One thing that may drift."""

    name: str
    family: Family
    numeric: bool
    unenhanced_only: bool = False
    """Iodine moves it far more than any drift; compared where there is none."""
    missing: str | None = None
    """Word for rows where it is empty and that counts as an answer; None: such rows do not count."""

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Of the rows where it counts."""
        found = []
        for row in rows:
            if self.unenhanced_only and row["contrast_enhanced"] is not False:
                continue
            value = row[self.name] if row[self.name] is not None else self.missing
            if value is not None:
                found.append(float(value) if self.numeric else str(value).lower())
        return found


def _tissues(what: str) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{tissue}_{what}", Family.APPEARANCE, numeric=True, unenhanced_only=iodine)
        for tissue, iodine in (("air", False), ("fat", False), ("muscle", True), ("blood", True))
    )


FEATURES: Final = (
    Feature("kvp", Family.ACQUISITION, numeric=True),
    Feature("slice_thickness_mm", Family.ACQUISITION, numeric=True),
    Feature("kernel", Family.ACQUISITION, numeric=False),
    Feature("contrast_enhanced", Family.ACQUISITION, numeric=False),
    Feature("age_band", Family.ACQUISITION, numeric=False),
    Feature("sex", Family.ACQUISITION, numeric=False),
    *_tissues("hu"),
    *_tissues("deviation_hu"),
    Feature("vertebra_hu", Family.OUTPUT, numeric=True),
    Feature("bmd_mg_cm3", Family.OUTPUT, numeric=True),
    Feature("confidence", Family.OUTPUT, numeric=True),
    Feature("status", Family.OUTPUT, numeric=False),
    Feature("refusal", Family.OUTPUT, numeric=False, missing="none"),
    Feature("category", Family.OUTPUT, numeric=False),
)
