"""Recommendation rules as FHIR: reading the packaged PlanDefinitions and asking whether a rule fires.

``fhir/plandefinitions/opportunistic-ct-bone.json`` names the rules in their order, one PlanDefinition each. A rule has
one action: an applicability condition in FHIRPath over the facts (a Parameters resource), the text, and the
ActivityDefinition that says what kind of request it is. A text that needs a fact is a ``dynamicValue`` for
``note.text``, FHIRPath too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from trabecula.assessment.facts import Fact, as_parameters
from trabecula.assessment.fhirpath import Expression, compile_expression
from trabecula.assets import fhir_dir
from trabecula.errors import ClinicalDataError
from trabecula.texts import parse_foreign_json

Json = dict[str, Any]

SET_FILE: Final = "opportunistic-ct-bone.json"
ACTION_SYSTEM: Final = "ct-bone-action"
VERIFIED_EXTENSION: Final = "source-verified"
TEXT_PATH: Final = "note.text"
_FHIRPATH: Final = "text/fhirpath"
_FACT: Final = re.compile(r"where\(name = '([a-z-]+)'\)")


@dataclass(frozen=True, eq=False)
class Rule:
    """A guideline's next step and when it is due."""

    id: str
    version: str
    action: str
    """Code of the action."""
    text: str
    condition: str
    """FHIRPath over the facts; fires when it gives true. A fact that is not known gives nothing."""
    facts: tuple[str, ...]
    """Names that condition and text look at, in order."""
    citation: str
    verified: bool
    plan_definition: str
    """Canonical address with version."""
    activity_definition: str
    _fires: Expression
    _text: Expression | None

    def fires(self, facts: Mapping[str, Fact]) -> bool:
        return self._fires(as_parameters(facts)) == [True]

    def wording(self, facts: Mapping[str, Fact]) -> str:
        """The text, with the facts it names.

        Raises:
            ClinicalDataError: if the text's expression gives no text.
        """
        if self._text is None:
            return self.text
        found = self._text(as_parameters(facts))
        if len(found) != 1 or not isinstance(found[0], str):
            raise ClinicalDataError(f"the text of rule {self.id!r} cannot be made", rule=self.id)
        return found[0]

    def seen(self, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        """The facts that the rule looks at, those that are known."""
        return {name: facts[name] for name in self.facts if name in facts}


@cache
def load_rules(folder: Path | None = None) -> tuple[Rule, ...]:
    """The rules of the packaged FHIR artefacts, or of a folder of the same form, in the order of the set.

    Raises:
        ClinicalDataError: if a file is missing or not readable, or a rule is incomplete.
    """
    root = fhir_dir() if folder is None else folder
    plans = _resources(root / "plandefinitions", "PlanDefinition")
    activities = _resources(root / "activitydefinitions", "ActivityDefinition")
    chosen = _read(root / "plandefinitions" / SET_FILE)
    canonicals = [action.get("definitionCanonical") for action in chosen.get("action", ())]
    if not canonicals or len(set(canonicals)) < len(canonicals):
        raise ClinicalDataError("the set of rules is empty, or names a rule twice")
    return tuple(_rule(_found(plans, canonical), activities) for canonical in canonicals)


def _read(path: Path) -> Json:
    try:
        document = parse_foreign_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ClinicalDataError(f"the FHIR artefact {path.name} cannot be read", file=path.name) from error
    if not isinstance(document, dict):
        raise ClinicalDataError(f"{path.name} is no FHIR resource", file=path.name)
    return document


def _resources(folder: Path, kind: str) -> dict[str, Json]:
    """Resources of one type by canonical address with version."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        document = _read(path)
        if document.get("resourceType") != kind or document.get("status") not in ("draft", "active"):
            raise ClinicalDataError(f"{path.name} is no {kind} in use", file=path.name)
        found[f"{document.get('url')}|{document.get('version')}"] = document
    return found


def _found(resources: Mapping[str, Json], canonical: object) -> Json:
    if not isinstance(canonical, str) or canonical not in resources:
        raise ClinicalDataError(f"there is no artefact {canonical!r} in that version")
    return resources[canonical]


def _rule(plan: Json, activities: Mapping[str, Json]) -> Rule:
    try:
        return _checked_rule(plan, activities)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ClinicalDataError(f"rule {plan.get('id')!r} is incomplete: {error}", rule=str(plan.get("id"))) from error


def _checked_rule(plan: Json, activities: Mapping[str, Json]) -> Rule:
    (action,) = plan["action"]
    (condition,) = action["condition"]
    activity = _found(activities, action["definitionCanonical"])
    expression = condition["expression"]["expression"]
    (citation,) = (artefact for artefact in plan["relatedArtifact"] if artefact["type"] == "citation")
    dynamic = [_expression(value["expression"]) for value in action.get("dynamicValue", ()) if _is_text(value)]
    names = tuple(dict.fromkeys(_FACT.findall(" ".join([expression, *dynamic]))))
    declared = _inputs(action)
    if condition["kind"] != "applicability" or not names or declared != set(names) or len(dynamic) > 1:
        raise ValueError("its condition is of another kind, or its inputs are not the facts that it looks at")
    return Rule(
        id=plan["id"],
        version=plan["version"],
        action=_action_code(activity),
        text=action["textEquivalent"],
        condition=_expression(condition["expression"]),
        facts=names,
        citation=citation["citation"],
        verified=_verified(citation),
        plan_definition=f"{plan['url']}|{plan['version']}",
        activity_definition=action["definitionCanonical"],
        _fires=compile_expression(expression),
        _text=compile_expression(dynamic[0]) if dynamic else None,
    )


def _is_text(value: Json) -> bool:
    if value["path"] != TEXT_PATH:
        raise ValueError(f"a dynamic value for {value['path']!r} is not carried out")
    return True


def _inputs(action: Json) -> set[str]:
    """Facts that the action declares as its input, by DataRequirement on Parameters."""
    return {
        code["code"]
        for requirement in action["input"]
        for code_filter in requirement["codeFilter"]
        for code in code_filter["code"]
    }


def _expression(value: Json) -> str:
    if value["language"] != _FHIRPATH:
        raise ValueError(f"language {value['language']!r}")
    return str(value["expression"])


def _action_code(activity: Json) -> str:
    (code,) = (
        coding["code"] for coding in activity["code"]["coding"] if coding["system"].endswith(f"/{ACTION_SYSTEM}")
    )
    return str(code)


def _verified(artefact: Json) -> bool:
    (flag,) = (
        extension["valueBoolean"]
        for extension in artefact["extension"]
        if extension["url"].endswith(f"/{VERIFIED_EXTENSION}")
    )
    if not isinstance(flag, bool):
        raise ValueError("source-verified is true or false")
    return flag
