"""The threat model and the risk log name code and tests that exist, and leave no threat without either."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

PAGES = ("SECURITY.md", "docs/risk-log.md")
REFERENCE = re.compile(r"`(\w+)::(\w+)`")
CODE = re.compile(r"`((?:\w+/)*\w+\.(?:py|toml))`")
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, repository: Path) -> Path:
    return repository / request.param


def test_every_named_test_is_there(page: Path, repository: Path) -> None:
    references = REFERENCE.findall(page.read_text(encoding="utf-8"))
    named = {f"test_{file}" for file, _ in references}
    there: dict[str, set[str]] = {}
    for path in (repository / "tests").rglob("test_*.py"):
        if path.stem in named:
            there.setdefault(path.stem, set()).update(functions(path))
    missing = [f"{file}::{name}" for file, name in references if f"test_{name}" not in there.get(f"test_{file}", ())]
    assert len(references) > 40
    assert not missing


def test_every_named_module_is_there(page: Path, repository: Path) -> None:
    missing = [
        name
        for name in CODE.findall(page.read_text(encoding="utf-8"))
        if not any(
            (repository / base / name).is_file() for base in ("server/trabecula", ".", "tests/integration/security")
        )
    ]
    assert not missing


def test_links_lead_somewhere(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [each for each in targets if not (page.parent / each).exists()] == []


def test_every_threat_has_a_control_and_a_test(repository: Path) -> None:
    text = (repository / "SECURITY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([STRIDE]) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) > 60
    assert {letter for letter, _ in rows} == set("STRIDE")
    assert [row for _, row in rows if not REFERENCE.search(row)] == []


def test_every_boundary_of_the_picture_is_treated(repository: Path) -> None:
    text = (repository / "SECURITY.md").read_text(encoding="utf-8")
    named = {int(number) for number in re.findall(r"\bB(\d+)\b", text.partition("## Threats")[0])}
    treated = {
        int(number)
        for line in re.findall(r"^### (.*)$", text, re.MULTILINE)
        for number in re.findall(r"\bB(\d+)", line)
    }
    assert named == treated == set(range(1, 14))


def test_every_risk_is_whole(repository: Path) -> None:
    """Number, harm, judgement before and after, control, test; and what is not acceptable is said."""
    text = (repository / "docs" / "risk-log.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (R-\d+) \|(.*)\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == [f"R-{number:02d}" for number in range(1, len(rows) + 1)]
    above = []
    for name, row in rows:
        hazard, harm, before, control, tests, after, _residual = (cell.strip() for cell in row.split("|"))
        assert hazard.startswith("**"), name
        assert harm, name
        assert control, name
        assert REFERENCE.search(tests), name
        (severity, probability), (severity_after, probability_after) = (
            re.fullmatch(r"S(\d) P(\d)", each).groups()  # type: ignore[union-attr]
            for each in (before, after)
        )
        assert severity_after <= severity, name
        assert probability_after <= probability, name
        if int(probability_after) > {1: 4, 2: 3, 3: 2, 4: 1}[int(severity_after)]:
            above.append(name)
    assert above == ["R-14"]
    assert "R-14 stays above the line" in text
