"""Label maps: what the labels of a foreign network mean here.

A map is a TOML file::

    description = "..."
    orientation = "RAS"     # how the training images were stored (NIfTI axis codes); may be left out
    partial = true          # a network that has some of these labels alone is fine; false when left out

    [labels]
    background = "unlabelled"
    vertebrae_T12 = "T12"           # whole vertebra; "T12:body" and "T12:posterior" name its parts
    kidney_left = "kidney"          # several labels may have one target

Targets are the names of :class:`trabecula.anatomy.Structure` in lower case, ``unlabelled`` (body or outside, as the CT
numbers say), ``vertebra`` with an optional part (a vertebra whose level the network does not tell), ``rib:1`` to
``rib:12`` (a rib with its number), and levels C1 to L5 with an optional part. ``T13`` and ``L6`` are bone without a
canonical level.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trabecula.anatomy import Level, Structure, VertebraPart
from trabecula.errors import LabelMapError
from trabecula.texts import parse_toml

UNLABELLED = "unlabelled"
SUPERNUMERARY = ("T13", "L6")
_MAX_MAP_BYTES = 1 << 20
_RIBS = 12


@dataclass(frozen=True)
class Target:
    """Canonical meaning of a label; all None: unlabelled."""

    structure: Structure | None = None
    vertebra: bool = False
    level: Level | None = None
    part: VertebraPart | None = None
    """None with ``vertebra``: body and posterior elements in one label."""
    rib: int | None = None
    """Number of a rib, where the label tells it."""
    supernumerary: bool = False
    """A 13th thoracic or 6th lumbar vertebra."""


def read_target(text: str) -> Target:
    """The meaning that a target's text names.

    Raises:
        ValueError: if there is no such target.
    """
    name, _, detail = text.partition(":")
    if name == "rib" and detail:
        if not detail.isdecimal() or not 1 <= int(detail) <= _RIBS:
            raise ValueError(f"no such rib: {text!r}")
        return Target(Structure.RIB, rib=int(detail))
    if name == "vertebra" or name in Level.__members__:
        level = None if name == "vertebra" else Level(name)
        try:
            part = VertebraPart(detail) if detail else None
        except ValueError:
            raise ValueError(f"no such part of a vertebra: {text!r}") from None
        return Target(vertebra=True, level=level, part=part)
    if detail:
        raise ValueError(f"no such target: {text!r}")
    if name == UNLABELLED:
        return Target()
    if name in SUPERNUMERARY:
        return Target(Structure.OTHER_BONE, supernumerary=True)
    if name != name.lower() or name.upper() not in Structure.__members__:
        raise ValueError(f"no such target: {text!r}")
    return Target(Structure[name.upper()])


class LabelMap(BaseModel):
    """A label map as read from its file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    orientation: Annotated[str, Field(pattern="^[LRAPSI]{3}$")] | None = None
    partial: bool = False
    labels: Annotated[dict[str, str], Field(min_length=1)]

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: dict[str, str]) -> dict[str, str]:
        for target in labels.values():
            read_target(target)
        return labels

    def targets(self, names: Mapping[int, str]) -> tuple[str, ...]:
        """Targets of a network's labels, by label number.

        Args:
            names: label number to name, numbers 0 to len - 1.

        Raises:
            LabelMapError: if a label is not in the map, or the map names labels that the network lacks (unless it
                is ``partial``).
        """
        missing = sorted(set(names.values()) - set(self.labels))
        if missing:
            raise LabelMapError(f"not in the label map: {', '.join(missing[:5])}", labels_not_in_map=len(missing))
        unused = sorted(set(self.labels) - set(names.values()))
        if unused and not self.partial:
            raise LabelMapError(f"not labels of the network: {', '.join(unused[:5])}", labels_not_in_model=len(unused))
        return tuple(self.labels[names[number]] for number in range(len(names)))


def ready_made_maps() -> tuple[str, ...]:
    """Names of the label maps that come with the program."""
    folder = resources.files("trabecula.segmentation.nnunet").joinpath("maps")
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_label_map(source: str | Path) -> LabelMap:
    """A label map from a file, or a ready-made one by its name.

    Raises:
        LabelMapError: if there is none, or it cannot be understood.
    """
    name = str(source)
    try:
        if name in ready_made_maps():
            text = resources.files("trabecula.segmentation.nnunet").joinpath("maps", f"{name}.toml").read_text("utf-8")
        else:
            path = Path(source)
            if path.stat().st_size > _MAX_MAP_BYTES:
                raise LabelMapError("the label map is too large", bytes=path.stat().st_size)
            text = path.read_text("utf-8")
        return LabelMap.model_validate(parse_toml(text))
    except OSError as error:
        known = ", ".join(ready_made_maps())
        raise LabelMapError(f"no such label map: {Path(name).name}; ready-made are {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LabelMapError(f"{Path(name).name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LabelMapError(f"{Path(name).name}: {where}: {first['msg']}") from error
