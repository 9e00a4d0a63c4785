"""The published page says what the published figures say, and the figures are of the cohort that is stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cohort.exams import FOLDER, read_exams
from cohort.markdown import as_markdown
from cohort.methods import METHODS
from cohort.patients import TEST


@pytest.fixture(scope="module")
def published(repository: Path) -> dict[str, Any]:
    return json.loads((repository / "docs" / "benchmarks" / "cohort.json").read_text(encoding="utf-8"))


def test_the_page_is_made_from_the_figures(repository: Path, published: dict[str, Any]) -> None:
    page = (repository / "docs" / "benchmarks" / "cohort.md").read_text(encoding="utf-8")
    assert page == as_markdown(published)


def test_the_figures_are_of_the_stored_cohort_and_of_every_method(published: dict[str, Any]) -> None:
    exams = read_exams(FOLDER / "test.jsonl")
    assert published["patients"] == len(exams) == len(published["points"]) == TEST.count
    assert [point["truth"] for point in published["points"]] == [round(e.vbmd_mg_cm3, 2) for e in exams]
    assert [row["name"] for row in published["methods"]] == [method.name for method in METHODS]


def test_the_plots_the_page_shows_are_there(repository: Path) -> None:
    folder = repository / "docs" / "benchmarks"
    for name in ("cohort-bland-altman.svg", "cohort-by-kvp.svg", "cohort-by-size.svg"):
        assert f"({name})" in (folder / "cohort.md").read_text(encoding="utf-8")
        assert (folder / name).read_text(encoding="utf-8").startswith("<?xml")
