"""The guide that travels with the program, readable under the site's own base."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from trabecula.assets import fhir_dir
from trabecula.errors import InvalidRequest, ResourceNotFound
from trabecula.outputs.r4.filing import FhirOptions
from trabecula.service.http.facade.interactions import ARTEFACT_PARAMETERS, ARTEFACT_TYPES, IGNORED_PARAMETERS
from trabecula.service.http.facade.query import Pairs, shown

Json = dict[str, Any]

PROJECT_BASE: Final = FhirOptions().base_url


@dataclass(frozen=True)
class Artefact:
    type: str
    id: str
    text: str

    @cached_property
    def content(self) -> Json:
        value: Json = json.loads(self.text)
        return value

    @cached_property
    def etag(self) -> str:
        return f'W/"{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"'


class Artefacts:
    """All artefacts by type and id."""

    def __init__(self, canonical_base: str, folder: Path | None = None) -> None:
        """Args:
        canonical_base: takes the place of the project's own base in every address.
        """
        self._found = _load(fhir_dir() if folder is None else folder, canonical_base)

    @property
    def types(self) -> tuple[str, ...]:
        """Types of which there is at least one."""
        return tuple(sorted({kind for kind, _ in self._found}))

    def of(self, resource_type: str) -> tuple[Artefact, ...]:
        """All of a type, by id."""
        return tuple(each for (kind, _), each in sorted(self._found.items()) if kind == resource_type)

    def read(self, resource_type: str, identity: str) -> Artefact:
        """Raises ResourceNotFound."""
        found = self._found.get((resource_type, identity))
        if found is None:
            raise ResourceNotFound
        return found

    def search(self, resource_type: str, pairs: Pairs, *, strict: bool) -> tuple[Artefact, ...]:
        """By ``_id``, ``url`` (with or without version), ``version``, ``name`` (its beginning) and ``status``.

        Raises:
            InvalidRequest: for a parameter that is not known, when strict.
        """
        matches = list(self.of(resource_type))
        for name, value in pairs:
            if name in IGNORED_PARAMETERS or name in ("_count", "_sort", "_total"):
                continue
            if name not in (*ARTEFACT_PARAMETERS, "_id"):
                if strict:
                    raise InvalidRequest(field=shown(name), why="not a search parameter of this type")
                continue
            wanted = value.split(",")
            matches = [each for each in matches if any(_fits(each, name, one) for one in wanted)]
        return tuple(matches)

    def profiles(self, resource_type: str) -> tuple[str, ...]:
        """Profiles on a type."""
        found = [each.content for each in self.of("StructureDefinition")]
        return tuple(
            str(each["url"])
            for each in found
            if each.get("type") == resource_type and each.get("derivation") == "constraint"
        )

    def codes(self, system: str) -> Mapping[str, str]:
        """Display of each code of one of our code systems, by its id."""
        concepts = self.read("CodeSystem", system).content.get("concept", ())
        return {each["code"]: each.get("display", each["code"]) for each in concepts}


def _fits(artefact: Artefact, name: str, value: str) -> bool:
    content = artefact.content
    if name == "_id":
        return artefact.id == value
    if name == "name":
        return str(content.get("name", "")).lower().startswith(value.lower())
    if name == "url":
        url, _, version = value.partition("|")
        return content.get("url") == url and version in ("", content.get("version"))
    return content.get(name) == value


def _load(folder: Path, base: str) -> dict[tuple[str, str], Artefact]:
    """Every artefact below a folder, but for examples and what SUSHI builds from."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        if {"examples", "node_modules", "input"} & set(path.relative_to(folder).parts[:-1]):
            continue
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        kind = content.get("resourceType") if isinstance(content, dict) else None
        if kind in ARTEFACT_TYPES and "id" in content:
            whole = json.dumps(content, ensure_ascii=False).replace(PROJECT_BASE, base)
            found[kind, content["id"]] = Artefact(kind, content["id"], whole)
    return found
