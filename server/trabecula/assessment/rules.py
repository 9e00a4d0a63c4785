"""Recommendation rules as data: reading ``rules.toml`` and asking whether a rule fires."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from trabecula.assessment.facts import Fact, FactValue
from trabecula.errors import ClinicalDataError

_FIELDS: Final = frozenset({"id", "version", "action", "text", "when", "citation", "verified"})
_OPERATORS: Final = frozenset({"is", "one_of", "at_least", "below"})


@dataclass(frozen=True)
class Condition:
    """One comparison of a fact; it does not hold for a fact that is not known."""

    fact: str
    operator: str
    operand: FactValue | tuple[FactValue, ...]

    def holds(self, facts: Mapping[str, Fact]) -> bool:
        if self.fact not in facts:
            return False
        value, operand = facts[self.fact].value, self.operand
        if self.operator == "is":
            return value == operand
        if self.operator == "one_of":
            return isinstance(operand, tuple) and value in operand
        if isinstance(value, str) or not isinstance(operand, int | float):
            return False
        return value >= operand if self.operator == "at_least" else value < operand


@dataclass(frozen=True)
class Rule:
    """A guideline's next step and when it is due. All conditions must hold."""

    id: str
    version: str
    action: str
    text: str
    when: tuple[Condition, ...]
    citation: str
    verified: bool

    def fires(self, facts: Mapping[str, Fact]) -> bool:
        return all(condition.holds(facts) for condition in self.when)

    def because(self, facts: Mapping[str, Fact]) -> tuple[str, ...]:
        """The facts that the conditions looked at, in words, each once."""
        return tuple(dict.fromkeys(facts[condition.fact].text for condition in self.when))


@cache
def load_rules() -> tuple[Rule, ...]:
    """The packaged rules, in file order.

    Raises:
        ClinicalDataError: if the file is not readable or a rule is incomplete.
    """
    try:
        text = (resources.files(__package__) / "rules.toml").read_text(encoding="utf-8")
    except OSError as error:
        raise ClinicalDataError("the recommendation rules cannot be read") from error
    return parse_rules(text)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Parse the rules' text.

    Raises:
        ClinicalDataError: if it is not TOML, a rule is incomplete, or an id is used twice.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClinicalDataError(f"the recommendation rules are not TOML: {error}") from error
    rules = tuple(_rule(entry) for entry in document.get("rule", ()))
    ids = [rule.id for rule in rules]
    if not rules or len(set(ids)) < len(ids):
        raise ClinicalDataError("the recommendation rules are missing, or an id is used twice")
    return rules


def _rule(entry: Mapping[str, Any]) -> Rule:
    if entry.keys() != _FIELDS or not entry["when"]:
        raise ClinicalDataError(f"recommendation rule {entry.get('id')!r} is incomplete")
    return Rule(**{**entry, "when": tuple(_condition(entry["id"], condition) for condition in entry["when"])})


def _condition(rule_id: str, entry: Mapping[str, Any]) -> Condition:
    operators = entry.keys() & _OPERATORS
    if len(operators) != 1 or entry.keys() - _OPERATORS != {"fact"}:
        raise ClinicalDataError(f"recommendation rule {rule_id!r} has a condition that cannot be read")
    operator = operators.pop()
    operand = entry[operator]
    return Condition(entry["fact"], operator, tuple(operand) if isinstance(operand, list) else operand)
