"""What a phantom is asked to be, and how the asking is read from option strings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from trabecula.anatomy import Level
from trabecula.errors import InputError
from trabecula.phantom.tissues import ContrastPhase


class InvalidPhantomSpec(InputError):
    """The phantom cannot be made as asked."""

    code = "invalid-phantom-spec"
    remedy = "See `trabecula phantom --help` for the options and their limits."


class Kernel(StrEnum):
    SOFT = "soft"
    MEDIUM = "medium"
    SHARP = "sharp"


class Filter(StrEnum):
    NONE = "none"
    TIN = "sn"


class Rods(StrEnum):
    NONE = "none"
    MINDWAYS3 = "mindways3"


class FractureShape(StrEnum):
    WEDGE = "wedge"
    BICONCAVE = "biconcave"
    CRUSH = "crush"


class FractureGrade(IntEnum):
    """Genant grade."""

    GRADE1 = 1
    GRADE2 = 2
    GRADE3 = 3

    @property
    def height_loss(self) -> float:
        """Loss the phantom makes: inside Genant's 20-25 %, 25-40 % and over 40 %."""
        return {1: 0.225, 2: 0.33, 3: 0.48}[int(self)]


@dataclass(frozen=True)
class Fracture:
    grade: FractureGrade
    shape: FractureShape = FractureShape.WEDGE


PHANTOM_LEVELS: Final = tuple(Level.from_ordinal(n) for n in range(Level.T1.ordinal, Level.L3.ordinal + 1))
"""Levels that can be asked about. C6, C7 and L4 are drawn as neighbours only."""

DEFAULT_VBMD_MG_CM3: Final[Mapping[Level, float]] = MappingProxyType(
    dict(
        zip(
            PHANTOM_LEVELS,
            (158.0, 150.0, 144.0, 139.0, 134.0, 130.0, 127.0, 124.0, 121.0, 117.0, 113.0, 110.0, 104.0, 101.0, 99.0),
            strict=True,
        )
    )
)
"""A person of about 65: falls from head to foot, as every level-wise QCT study finds."""

DEFAULT_HARDWARE_LEVELS: Final = (Level.L1, Level.L2)


@dataclass(frozen=True)
class PhantomSpec:
    """One digital patient and one scan of it.

    Raises:
        InvalidPhantomSpec: if a value is out of its range.
    """

    vbmd_mg_cm3: Mapping[Level, float] = field(default_factory=dict)
    """Overrides of :data:`DEFAULT_VBMD_MG_CM3`, K2HPO4 scale, -20 .. 400."""
    kvp: float = 120.0
    spectral_filter: Filter = Filter.NONE
    size_cm: float = 28.0
    """Water-equivalent diameter of the slice through T12's centre."""
    slice_mm: float = 1.25
    matrix: int = 512
    kernel: Kernel = Kernel.SOFT
    noise_hu: float = 12.0
    """Standard deviation in the middle of the body after the kernel."""
    contrast: ContrastPhase = ContrastPhase.NONE
    rods: Rods = Rods.NONE
    fractures: Mapping[Level, Fracture] = field(default_factory=dict)
    hardware: tuple[Level, ...] = ()
    """Levels with pedicle screws; neighbouring ones are joined by rods."""
    marrow_fat_fraction: float = 0.4
    cortex_mm: float = 0.34
    """Thickness of the vertebral bodies' side walls."""
    scanner_gain: float = 1.0
    scanner_offset_hu: float = 0.0
    """A scanner out of specification reads gain * (HU + 1000) - 1000 + offset."""
    top: Level = Level.T1
    bottom: Level = Level.L3
    """The scan covers these vertebrae whole, with some millimetres to spare; top T1 takes in the lung apex."""
    sex: str = "F"
    """F or M; F has breasts."""
    age_years: int = 66
    height_cm: float = 162.0
    weight_kg: float = 64.0
    study_date: str = "20260115"
    """DICOM DA."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            _require(low <= value <= high, f"{name} must lie in {low:g} .. {high:g}")
        for level in (*self.vbmd_mg_cm3, *self.fractures, *self.hardware, self.top, self.bottom):
            _require(level in PHANTOM_LEVELS, f"{level} is not a level of the phantom (T1 .. L3)")
        for value in self.vbmd_mg_cm3.values():
            _require(-20.0 <= value <= 400.0, "vbmd must lie in -20 .. 400 mg/cm3")
        _require(self.top.ordinal <= self.bottom.ordinal, "top must not lie below bottom")
        _require(self.sex in ("F", "M"), "sex must be F or M")
        _require(len(self.study_date) == 8 and self.study_date.isdigit(), "study_date must be YYYYMMDD")

    def density(self, level: Level) -> float:
        """Asked vBMD of a level in mg/cm3; neighbours outside T1 .. L3 take the nearest default."""
        nearest = PHANTOM_LEVELS[0] if level.ordinal < PHANTOM_LEVELS[0].ordinal else PHANTOM_LEVELS[-1]
        return self.vbmd_mg_cm3.get(level, DEFAULT_VBMD_MG_CM3.get(level, DEFAULT_VBMD_MG_CM3[nearest]))


_RANGES: Final = (
    ("kvp", 70.0, 150.0),
    ("size_cm", 20.0, 45.0),
    ("slice_mm", 0.5, 10.0),
    ("matrix", 64, 1024),
    ("noise_hu", 0.0, 200.0),
    ("marrow_fat_fraction", 0.0, 1.0),
    ("cortex_mm", 0.1, 3.0),
    ("scanner_gain", 0.8, 1.2),
    ("scanner_offset_hu", -100.0, 100.0),
    ("age_years", 0, 120),
    ("height_cm", 50.0, 230.0),
    ("weight_kg", 20.0, 300.0),
)


def _require(condition: bool, detail: str) -> None:
    if not condition:
        raise InvalidPhantomSpec(detail, problem=detail)


def parse_levels(text: str) -> tuple[Level, ...]:
    """Levels from ``L1,L2``, a span ``T8-T12``, or a mix of both.

    Raises:
        InvalidPhantomSpec: if a word is not a level of the phantom.
    """
    levels: list[Level] = []
    for word in _words([text]):
        first, _, last = word.partition("-")
        start, stop = _level(first), _level(last or first)
        _require(start.ordinal <= stop.ordinal, f"{word}: the first level must lie above the second")
        levels.extend(Level.from_ordinal(n) for n in range(start.ordinal, stop.ordinal + 1))
    return tuple(dict.fromkeys(levels))


def parse_vbmd(texts: str | Iterable[str]) -> dict[Level, float]:
    """Densities from ``T11=95,T12=92`` or ``T1-L3=110``; a later word wins over an earlier one.

    Raises:
        InvalidPhantomSpec: if the text does not read like that.
    """
    densities: dict[Level, float] = {}
    for levels, value in _assignments(texts):
        try:
            density = float(value)
        except ValueError:
            raise InvalidPhantomSpec("vbmd", problem=f"{value!r} is not a density in mg/cm3") from None
        densities.update(dict.fromkeys(levels, density))
    return densities


def parse_fractures(texts: str | Iterable[str]) -> dict[Level, Fracture]:
    """Fractures from ``L1=grade2`` or ``L1=grade2-crush`` (wedge when no shape is given).

    Raises:
        InvalidPhantomSpec: if the text does not read like that.
    """
    fractures: dict[Level, Fracture] = {}
    for levels, value in _assignments(texts):
        grade_word, _, shape_word = value.lower().partition("-")
        grades = {f"grade{int(g)}": g for g in FractureGrade}
        _require(grade_word in grades, f"{value!r}: the grade must be one of {', '.join(grades)}")
        shapes = [shape.value for shape in FractureShape]
        _require(shape_word in ("", *shapes), f"{value!r}: the shape must be one of {', '.join(shapes)}")
        fracture = Fracture(grades[grade_word], FractureShape(shape_word) if shape_word else FractureShape.WEDGE)
        fractures.update(dict.fromkeys(levels, fracture))
    return fractures


def _assignments(texts: str | Iterable[str]) -> list[tuple[tuple[Level, ...], str]]:
    pairs = []
    for word in _words([texts] if isinstance(texts, str) else texts):
        name, sign, value = word.partition("=")
        _require(all(part.strip() for part in (name, sign, value)), f"{word!r} does not read LEVEL=VALUE")
        pairs.append((parse_levels(name), value.strip()))
    return pairs


def _words(texts: Iterable[str]) -> list[str]:
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def _level(word: str) -> Level:
    try:
        level = Level(word.strip().upper())
    except ValueError:
        raise InvalidPhantomSpec("level", problem=f"{word.strip()!r} is not a vertebral level") from None
    _require(level in PHANTOM_LEVELS, f"{level} is not a level of the phantom (T1 .. L3)")
    return level
