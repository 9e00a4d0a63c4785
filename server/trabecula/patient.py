"""What is known of the patient beside the images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sex(StrEnum):
    FEMALE = "female"
    MALE = "male"


@dataclass(frozen=True)
class PatientContext:
    """Facts that decide which words may be used. None means not known, and is said so, never guessed."""

    age_years: float | None = None
    sex: Sex | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    postmenopausal: bool | None = None
    prior_fragility_fracture: bool | None = None
    glucocorticoids: bool | None = None
    known_osteoporosis: bool | None = None
    prior_dxa: bool | None = None
