"""How spines differ from the textbook's: ribs at other vertebrae, a sacrum that begins higher or lower.

Vertebrae are counted from the skull: C1 is the first, T1 the eighth, T12 the nineteenth, L5 the twenty-fourth, whatever
ribs they bear. What varies between persons is which of them bears the first and the last rib and where the sacrum
begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from trabecula.anatomy import Level
from trabecula.clinical import ClinicalConstants, load_constants

_C7, _T1 = Level.C7.ordinal, Level.T1.ordinal
_T12, _L1, _L5 = Level.T12.ordinal, Level.L1.ordinal, Level.L5.ordinal


@dataclass(frozen=True)
class Variant:
    """One person's segmentation of the spine, in ordinals counted from C1."""

    first_rib: int = _T1
    last_rib: int = _T12
    first_sacral: int = _L5 + 1

    @property
    def words(self) -> str:
        """What is unusual, for a reader; empty when nothing is."""
        found = []
        if self.first_rib < _T1:
            found.append("a cervical rib")
        if self.last_rib < _T12:
            found.append("eleven pairs of ribs")
        if self.last_rib > _T12:
            found.append("a rib at L1 (thirteen pairs)")
        if self.first_sacral <= _L5:
            found.append("a sacralised L5")
        if self.first_sacral > _L5 + 1:
            found.append("a lumbarised S1")
        return " and ".join(found)


@dataclass(frozen=True)
class VariantPriors:
    """How often people are built otherwise; all are probabilities."""

    eleven_ribs: float
    thirteen_ribs: float
    cervical_rib: float
    sacralised_with_eleven_ribs: float
    lumbarised_with_thirteen_ribs: float
    sacralised: float
    """With any other number of ribs than the one that goes with it."""
    lumbarised: float

    @classmethod
    def of(cls, constants: ClinicalConstants) -> VariantPriors:
        """Raises ClinicalDataError if one is missing in the data file."""
        return cls(**{name: constants.number(f"anatomy.variants.{name}") for name in cls.__dataclass_fields__})

    @classmethod
    def published(cls) -> VariantPriors:
        """Those of the data file that comes with the package."""
        return cls.of(load_constants())

    def table(self) -> tuple[tuple[Variant, float], ...]:
        """Every combination with its probability; they sum to one."""
        return tuple(
            (Variant(first, last, sacral), a * b * c)
            for (first, a), (last, b) in product(self._first_ribs(), self._last_ribs())
            for sacral, c in self._sacra(last)
        )

    def _first_ribs(self) -> tuple[tuple[int, float], ...]:
        return (_T1, 1 - self.cervical_rib), (_C7, self.cervical_rib)

    def _last_ribs(self) -> tuple[tuple[int, float], ...]:
        usual = 1 - self.eleven_ribs - self.thirteen_ribs
        return (_T12, usual), (_T12 - 1, self.eleven_ribs), (_L1, self.thirteen_ribs)

    def _sacra(self, last_rib: int) -> tuple[tuple[int, float], ...]:
        high = self.sacralised_with_eleven_ribs if last_rib < _T12 else self.sacralised
        low = self.lumbarised_with_thirteen_ribs if last_rib > _T12 else self.lumbarised
        return (_L5 + 1, 1 - high - low), (_L5, high), (_L5 + 2, low)
