"""The tables of docs/fhir.md, from the profiles themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fhir_guide import GENERATED
from fhir_judges import Json

from trabecula.outputs.r4 import PROFILES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fhir.md"


def tables(definitions: dict[str, Json]) -> dict[str, str]:
    """Markdown by the name of its marker.

    Args:
        definitions: the guide's StructureDefinitions by id.
    """
    return {"profiles": _profiles(definitions), "rules": _rules(), "value-sets": _value_sets()}


def with_tables(text: str, made: dict[str, str]) -> str:
    """The page with each table between its markers, ``<!-- begin NAME -->`` and ``<!-- end NAME -->``."""
    for name, table in made.items():
        before, _, rest = text.partition(f"<!-- begin {name} -->\n")
        _, marker, after = rest.partition(f"<!-- end {name} -->")
        assert marker, f"no markers of {name}"
        text = f"{before}<!-- begin {name} -->\n{table}{marker}{after}"
    return text


def _profiles(definitions: dict[str, Json]) -> str:
    rows = [
        f"| [{profile.__name__}](../fhir/generated/StructureDefinition-{slug}.json) | {profile.resource_type} | "
        f"{definitions[slug]['description']} | [example](../fhir/examples/{profile.resource_type}-{slug}.json) |"
        for slug, profile in PROFILES.items()
    ]
    return _table("| profile and class | resource | what it holds | |", rows)


def _rules() -> str:
    kept: dict[tuple[str, str], list[str]] = {}
    for profile in PROFILES.values():
        for rule in profile.rules:
            kept.setdefault((rule.name, rule.says), []).append(profile.__name__)
    rows = [f"| `{name}` | {says} | {_whose(who)} |" for (name, says), who in kept.items()]
    return _table("| rule | says | of |", rows)


def _whose(profiles: list[str]) -> str:
    observations = {each.__name__ for each in PROFILES.values() if each.resource_type == "Observation"}
    if len(profiles) == len(PROFILES):
        return "all"
    if observations <= set(profiles):
        profiles = ["every Observation", *(name for name in profiles if name not in observations)]
    return ", ".join(profiles)


def _value_sets() -> str:
    found: list[dict[str, Any]] = [
        json.loads(path.read_text("utf-8")) for path in sorted(GENERATED.glob("ValueSet-*.json"))
    ]
    rows = [
        f"| [{each['id']}](../fhir/generated/ValueSet-{each['id']}.json) | {each['description']} |" for each in found
    ]
    return _table("| value set | holds |", rows)


def _table(head: str, rows: list[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows]) + "\n"
