"""Which series is best for bone, and why: a sum of stated preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trabecula.imaging.facts import SeriesFacts
from trabecula.imaging.grid import GridPlan, plan_grid
from trabecula.imaging.instance import Frame
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.nature import VIRTUAL_UNENHANCED, ImageNature, Origin, nature_of
from trabecula.imaging.refusals import refuse
from trabecula.imaging.stacks import Stack
from trabecula.imaging.study import ContrastTag, KernelClass, SeriesCandidate
from trabecula.outcome import Refusal, RefusalCode

# Preferences, in points. They rank series of one study and mean nothing else: unenhanced outweighs everything but
# a gross lack of coverage (contrast shifts vBMD by more than kernel or thickness do), then kernel, coverage, thickness.
_CONTRAST = {ContrastTag.NOT_GIVEN: 0.0, ContrastTag.UNKNOWN: -10.0, ContrastTag.GIVEN: -40.0}
_KERNEL = {KernelClass.SOFT: 0.0, KernelClass.UNKNOWN: -8.0, KernelClass.MEDIUM: -8.0, KernelClass.SHARP: -30.0}
_ORIGIN = {Origin.ORIGINAL: 0.0, Origin.UNSTATED: -2.0, Origin.DERIVED: -15.0}
_REFORMATTED = -10.0
_MIXED_ENERGY = -15.0
_VIRTUAL = -70.0
_LOSSY = -15.0
_THIN_MM, _THICK_MM = 1.0, 3.0
_BELOW_THIN = -5.0
_PER_MM_THICK = -8.0
_FULL_COVERAGE_MM = 350.0
_COVERAGE_POINTS = 60.0
_REFUSED = -1000.0
_ALWAYS_SAID = frozenset({"coverage", "origin", "contrast", "kernel", "thickness"})
_LAST = 1 << 30


@dataclass(frozen=True)
class Term:
    """One preference as it applies to one series."""

    topic: str
    points: float
    words: str

    def __str__(self) -> str:
        return f"{self.points:+.0f} {self.words}"


@dataclass(frozen=True, eq=False)
class RankedStack:
    """A stack with its verdict."""

    stack: Stack
    facts: SeriesFacts
    plan: GridPlan | None
    refusals: tuple[Refusal, ...]
    terms: tuple[Term, ...]
    kind: str
    virtual_unenhanced: bool = False

    @property
    def score(self) -> float:
        return sum(term.points for term in self.terms) if self.plan else _REFUSED

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key, best first; ties go to more slices, then to the lower series, acquisition and instance number."""
        first = self.stack.slices[0]
        instance = first.instance
        number = _LAST if instance.series_number is None else instance.series_number
        keys = (number, first.frame.split_keys, instance.instance_number, instance.series_uid, instance.sop_uid)
        return (-self.score, -len(self.stack.slices), *keys)


def rank(stack: Stack, facts: SeriesFacts, limits: ImagingLimits) -> RankedStack:
    """Judge one stack."""
    nature = nature_of(stack.middle.frame.image_type, facts.description)
    refusals = _unusable(stack, nature, limits)
    plan = None
    if not refusals:
        planned = plan_grid(stack, limits)
        plan, refusals = (planned, ()) if isinstance(planned, GridPlan) else (None, planned)
    terms = _terms(stack, facts, nature, plan) if plan else ()
    virtual = nature.computed == VIRTUAL_UNENHANCED
    return RankedStack(stack, facts, plan, refusals, terms, _kind(stack, facts, nature), virtual)


def as_candidates(ranked: Sequence[RankedStack], chosen: RankedStack | None) -> tuple[SeriesCandidate, ...]:
    """Every stack that was looked at, in the order given."""
    return tuple(
        SeriesCandidate(
            series_number=one.stack.slices[0].instance.series_number,
            description_kind=one.kind,
            instances=len(one.stack.slices),
            score=round(one.score, 1),
            chosen=one is chosen,
            reasons=_reasons(one, ranked, chosen),
        )
        for one in ranked
    )


def _rescale_refusal(frame: Frame) -> Refusal | None:
    """Refusal where the header itself says that the values are no Hounsfield units."""
    if frame.slope is None or frame.intercept is None:
        return refuse(RefusalCode.NOT_HOUNSFIELD, "The header has no rescale slope or intercept.")
    if frame.slope <= 0:
        return refuse(RefusalCode.NOT_HOUNSFIELD, "The rescale slope is not positive.")
    if frame.rescale_type not in ("", "HU", "US"):
        return refuse(RefusalCode.NOT_HOUNSFIELD, "The header names another unit.")
    return None


def _unusable(stack: Stack, nature: ImageNature, limits: ImagingLimits) -> tuple[Refusal, ...]:
    if nature.localizer:
        return (refuse(RefusalCode.LOCALIZER_ONLY),)
    mapped = limits.accept_virtual_unenhanced and nature.computed == VIRTUAL_UNENHANCED
    if nature.computed and not mapped:
        return (refuse(RefusalCode.DERIVED_ONLY, f"Kind: {nature.computed}."),)
    pixels = stack.middle.instance.pixels
    if pixels.samples != 1 or not pixels.photometric.startswith("MONOCHROME"):
        return (refuse(RefusalCode.DERIVED_ONLY, "Kind: colour picture."),)
    wrong = next(filter(None, (_rescale_refusal(one.frame) for one in stack.slices)), None)
    return (wrong,) if wrong else ()


def _terms(stack: Stack, facts: SeriesFacts, nature: ImageNature, plan: GridPlan) -> tuple[Term, ...]:
    extent_mm = plan.geometry.shape[0] * plan.geometry.spacing_mm[0]
    lossy = any(one.instance.lossy for one in stack.slices)
    return (
        Term(
            "coverage",
            _COVERAGE_POINTS * min(1.0, extent_mm / _FULL_COVERAGE_MM),
            f"{plan.geometry.shape[0]} slices over {extent_mm:.0f} mm",
        ),
        Term("origin", _ORIGIN[nature.origin], f"{nature.origin} image"),
        Term("contrast", _CONTRAST[facts.contrast], f"contrast {facts.contrast}"),
        Term("kernel", _KERNEL[facts.kernel_class], f"{facts.kernel_class} kernel"),
        _thickness_term(plan.slice_mm),
        _either("reformat", nature.reformatted, _REFORMATTED, "reformatted", "as reconstructed"),
        _either("virtual", nature.computed != "", _VIRTUAL, "virtual unenhanced image", "as scanned"),
        _either("energy", nature.mixed_energy, _MIXED_ENERGY, "blend of two tube voltages", "one tube voltage"),
        _either("compression", lossy, _LOSSY, "lossy compression", "lossless"),
    )


def _either(topic: str, applies: bool, points: float, words: str, otherwise: str) -> Term:
    return Term(topic, points, words) if applies else Term(topic, 0.0, otherwise)


def _thickness_term(slice_mm: float) -> Term:
    words = f"{slice_mm:.1f} mm slices"
    if slice_mm < _THIN_MM - 0.05:
        return Term("thickness", _BELOW_THIN, f"{words}, noisier than needed")
    if slice_mm <= _THICK_MM + 0.05:
        return Term("thickness", 0.0, words)
    return Term("thickness", _PER_MM_THICK * (slice_mm - _THICK_MM), words)


def _kind(stack: Stack, facts: SeriesFacts, nature: ImageNature) -> str:
    """Bounded words from coded facts."""
    frame = stack.middle.frame
    plane = "unplaced"
    if frame.orientation:
        row, column = frame.orientation[:3], frame.orientation[3:]
        normal = [abs(row[a] * column[b] - row[b] * column[a]) for a, b in ((1, 2), (2, 0), (0, 1))]
        plane = ("sagittal", "coronal", "axial")[normal.index(max(normal))]
    words = ["localizer" if nature.localizer else plane, nature.computed or str(nature.origin)]
    words.append(f"{facts.kernel_class}" if facts.kernel_class is not KernelClass.UNKNOWN else "kernel-unknown")
    if facts.contrast is not ContrastTag.UNKNOWN:
        words.append("enhanced" if facts.contrast is ContrastTag.GIVEN else "unenhanced")
    if frame.thickness_mm:
        words.append(f"{frame.thickness_mm:.1f} mm")
    return " ".join(words)


def _reasons(one: RankedStack, ranked: Sequence[RankedStack], chosen: RankedStack | None) -> tuple[str, ...]:
    if not one.plan:
        return tuple(f"not usable: {refusal.code}: {refusal.message}" for refusal in one.refusals)
    reasons = tuple(str(term) for term in one.terms if term.topic in _ALWAYS_SAID or term.points)
    if one is not chosen:
        return reasons
    next_best = next((other for other in ranked if other.plan and other is not one), None)
    why = _advantage(one, next_best) if next_best else "the only usable series"
    return (f"chosen: {why}", *reasons)


def _advantage(one: RankedStack, next_best: RankedStack) -> str:
    """What sets the chosen series apart from the next best one."""
    better = [
        f"{mine.words} rather than {theirs.words}"
        for mine, theirs in zip(one.terms, next_best.terms, strict=True)
        if mine.points > theirs.points
    ]
    return "; ".join(better) or "equal to the next best"
