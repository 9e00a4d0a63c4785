"""docs/delivery.md says what the program does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from trabecula.delivery import answers, smart
from trabecula.delivery.capability import Rung
from trabecula.delivery.destinations import Limits, SmartAuth
from trabecula.delivery.states import DELIVERY_TRANSITIONS, DeliveryState


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "delivery.md").read_text(encoding="utf-8")


def reasons(package: Path) -> set[str]:
    """Every reason that the code can give, out of its syntax."""
    found: set[str] = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in ("Setback", "Ending", "StoreOutcome"):
                values = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "reason")]
                found |= {each.value for each in values if isinstance(each, ast.Constant) and each.value}
    return found


def test_every_reason_is_explained(page: str, repository: Path) -> None:
    found = reasons(repository / "server" / "trabecula" / "delivery")
    found |= set(answers._PARKED.values()) | set(smart._OURS_TO_MEND.values())
    found |= {answers.reason_of(answers.Answer(status, None)) for status in range(300, 600)}
    found -= {"stored"}
    assert len(found) > 35
    assert {each for each in found if f"`{each}`" not in page} == set()


def test_the_table_of_states_is_that_of_the_program(page: str) -> None:
    for state in DeliveryState:
        (row,) = re.findall(rf"^\| `{state.value}` \|.*\| *(.*?) *\|$", page, re.MULTILINE)
        told = {each.strip() for each in row.split(",") if each.strip()}
        after = {to for (origin, _), to in DELIVERY_TRANSITIONS.items() if origin is state}
        assert told == {each.value for each in after} - {state.value}


def test_every_way_of_writing_is_there_in_its_order(page: str) -> None:
    table = page.partition("## Ways of writing")[2].partition("## What happens")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [each.value for each in Rung]


def test_limits_and_scopes_are_the_defaults(page: str) -> None:
    limits = Limits()
    rows = {
        "limits.concurrency": f"{limits.concurrency}",
        "limits.timeout_s`, `limits.attempt_timeout_s": f"{limits.timeout_s:.0f}, {limits.attempt_timeout_s:.0f}",
        "limits.max_response_bytes": f"{limits.max_response_bytes // 2**20} MiB",
        "limits.max_transaction_entries`, `limits.max_conditional_entries": (
            f"{limits.max_transaction_entries}, {limits.max_conditional_entries}"
        ),
        "limits.first_delay_s`, `limits.max_delay_s": f"{limits.first_delay_s:.0f}, {limits.max_delay_s:.0f}",
        "limits.give_up_after_s": f"{limits.give_up_after_s / 86400:.0f} days",
        "limits.breaker_failures`, `limits.breaker_pause_s": (
            f"{limits.breaker_failures}, {limits.breaker_pause_s:.0f}"
        ),
    }
    for name, value in rows.items():
        assert re.search(rf"^\| `{name}` \|[^|]*\| {value} \|", page, re.MULTILINE), name
    assert {name for row in rows for name in row.split("`, `")} == {f"limits.{each}" for each in Limits.__annotations__}
    types = [each.removeprefix("system/").removesuffix(".cruds") for each in SmartAuth("x").scopes[1:]]
    assert f"{', '.join(types[:-1])} and {types[-1]}" in page
