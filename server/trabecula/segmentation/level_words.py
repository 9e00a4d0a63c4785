"""The naming of a column in words that a radiologist can check on the sagittal image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trabecula.anatomy import Level
from trabecula.segmentation.level_evidence import Sign, SignKind

_AGREES = 0.75
"""A sign that asks for a place closer than this, in levels, agrees with the numbering."""
_SIZE_AGREES = 2.5


@dataclass(frozen=True)
class Alternative:
    """Another numbering that the scan does not rule out."""

    ordinal: int
    """Of the vertebra nearest to T12 in the numbering that was taken."""
    probability: float
    if_built: str
    """How the patient would be built then, where that is out of the ordinary; else empty."""
    for_it: tuple[SignKind, ...]
    """Evidence that fits it better."""


def level_name(ordinal: int) -> str:
    """Name of a vertebra by its place below the skull; beyond L5 it is called sacrum or L6."""
    if ordinal <= len(Level):
        return Level.from_ordinal(ordinal).value
    return "L6 or sacrum" if ordinal == len(Level) + 1 else "sacrum"


def describe(
    ordinals: Sequence[int],
    confidence: Sequence[float],
    centre: int,
    signs: Sequence[Sign],
    unusual: tuple[str, float] | None,
    alternatives: Sequence[Alternative],
) -> tuple[str, ...]:
    """Sentences for the report, the most important first.

    Args:
        centre: the vertebra nearest to T12, for which the probability is given.
        unusual: how the patient seems to be built, and its probability; None if in no way out of the ordinary.
    """
    name = level_name(ordinals[centre])
    sentences = [
        f"{len(ordinals)} vertebrae in sequence, {level_name(ordinals[0])} to {level_name(ordinals[-1])}; "
        f"probability that the one called {name} is {name}: {confidence[centre]:.2f}."
    ]
    sentences += [_alternative_sentence(name, alternative) for alternative in alternatives]
    sentences += [_sign_sentence(sign, ordinals[sign.index]) for sign in signs]
    if not any(sign.kind is SignKind.COORDINATE for sign in signs):
        sentences.append("The model gives no estimate of the level of its own.")
    if unusual is not None:
        sentences.append(f"The patient seems to have {unusual[0]} (probability {unusual[1]:.2f}).")
    return tuple(sentences)


def _alternative_sentence(name: str, alternative: Alternative) -> str:
    text = f"Not sure: the vertebra called {name} may be {level_name(alternative.ordinal)}"
    text += f" (probability {alternative.probability:.2f})"
    if alternative.if_built:
        text += f", as it would be with {alternative.if_built}"
    if alternative.for_it:
        kinds = [kind.value for kind in alternative.for_it]
        listed = kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} and {kinds[-1]}"
        text += f"; {listed} would fit that better"
    return f"{text}."


def _sign_sentence(sign: Sign, ordinal: int) -> str:
    name = level_name(ordinal)
    sides = "both sides" if sign.both_sides else "one side"
    match sign.kind:
        case SignKind.LOWEST_RIB | SignKind.HIGHEST_RIB:
            which = "Lowest" if sign.kind is SignKind.LOWEST_RIB else "Highest"
            return f"{which} attached rib ({sides}) at {name} in this numbering{_instead(sign.kind, ordinal)}."
        case SignKind.RIBS_AT_THE_END:
            return (
                f"Ribs are attached down to {name}, the lowest vertebra that can be told; the last rib is not in view."
            )
        case SignKind.NO_RIBS:
            return f"No vertebra in view bears ribs, from {name} down."
        case SignKind.SACRUM:
            return f"The sacrum is in view below {name}{_instead(sign.kind, ordinal)}."
        case SignKind.LUNG_APEX:
            return f"Lung apices end at the height of {name} in this numbering{_than_usual(sign, ordinal)}."
        case SignKind.LUNG_BASE:
            return f"Lung bases end at the height of {name} in this numbering{_than_usual(sign, ordinal)}."
        case SignKind.SIZE:
            fits = "fit" if abs(sign.expected - ordinal) <= _SIZE_AGREES else "do not fit"
            return f"The sizes of the vertebrae {fits} this numbering."
    shift = sign.expected - ordinal
    if abs(shift) < _AGREES:
        return "The model's own estimate of the level agrees with this numbering."
    return f"The model's own estimate of the level is {abs(shift):.1f} levels {'lower' if shift > 0 else 'higher'}."


def _instead(kind: SignKind, ordinal: int) -> str:
    """What a rib or sacrum in an unusual place means: a patient built otherwise, or a sign misread."""
    either = {
        (SignKind.LOWEST_RIB, Level.T11.ordinal): "eleven pairs of ribs, or a short last rib that was not recognised",
        (SignKind.LOWEST_RIB, Level.L1.ordinal): "a rib at L1, or its transverse process taken for one",
        (SignKind.HIGHEST_RIB, Level.C7.ordinal): "a cervical rib, or the first rib traced to the wrong vertebra",
        (SignKind.SACRUM, Level.L4.ordinal): "a sacralised L5, or a beginning of the sacrum that was misread",
        (SignKind.SACRUM, Level.L5.ordinal + 1): "a lumbarised S1, or a beginning of the sacrum that was misread",
    }.get((kind, ordinal))
    return f": {either}" if either else ""


def _than_usual(sign: Sign, ordinal: int) -> str:
    """``expected`` is where the sign's vertebra would be if all were as usual."""
    shift = ordinal - sign.expected
    if abs(shift) < _AGREES:
        return ", as usual"
    return f", {abs(shift):.1f} levels {'lower' if shift > 0 else 'higher'} than usual"
