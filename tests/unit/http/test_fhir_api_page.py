"""The API page says what the code does, table by table."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula import errors
from trabecula.config import MIB, Settings
from trabecula.record.parameters import COMMON, PARAMETERS
from trabecula.record.search import COUNTED_UP_TO
from trabecula.service.auth.tokens import ALGORITHMS
from trabecula.service.http.facade.apply import MOST_SUBJECTS
from trabecula.service.http.facade.interactions import (
    ARTEFACT_INTERACTIONS,
    ARTEFACT_TYPES,
    DEFAULT_COUNT,
    MAX_COUNT,
    OPERATIONS,
    RECORD_TYPES,
    RESULT_PARAMETERS,
    Interaction,
    includes,
    reverse_includes,
)
from trabecula.service.http.facade.negotiate import MAX_DEPTH
from trabecula.service.http.facade.paging import VALID_S
from trabecula.service.http.facade.query import MAX_PARAMETERS
from trabecula.service.http.guard import MAX_HEADER_BYTES, MAX_TARGET_BYTES
from trabecula.service.http.outcomes import status_of
from trabecula.service.http.serving import HEADER_S, MAX_CONNECTIONS


@pytest.fixture(scope="module")
def page() -> str:
    return (Path(__file__).resolve().parents[3] / "docs" / "fhir-api.md").read_text(encoding="utf-8")


def table(page: str, name: str) -> list[list[str]]:
    """Rows of the table between the marks, without its head."""
    text = page.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def words(cell: str) -> list[str]:
    return [] if cell == "-" else [word.strip() for word in cell.split(",")]


def test_interactions(page: str) -> None:
    columns = (Interaction.READ, Interaction.VREAD, Interaction.HISTORY, Interaction.SEARCH)
    *kept, artefacts = table(page, "interactions")
    shown = {row[0]: tuple(each for each, cell in zip(columns, row[1:], strict=True) if cell == "yes") for row in kept}
    assert shown == RECORD_TYPES
    assert words(artefacts[0]) == list(ARTEFACT_TYPES)
    offered = tuple(each for each, cell in zip(columns, artefacts[1:], strict=True) if cell == "yes")
    assert offered == ARTEFACT_INTERACTIONS


def test_search_parameters(page: str) -> None:
    shown = {row[0]: words(row[1]) for row in table(page, "parameters")}
    assert shown == {name: [each.name for each in parameters] for name, parameters in PARAMETERS.items()}
    for name in ("_id", "_lastUpdated", *(each.name for each in COMMON), *RESULT_PARAMETERS):
        assert f"`{name}" in page, name


def test_includes(page: str) -> None:
    shown = {row[0]: (words(row[1]), words(row[2])) for row in table(page, "includes")}
    assert shown == {name: (list(includes(name)), list(reverse_includes(name))) for name in RECORD_TYPES}


def test_operations(page: str) -> None:
    for row, operation in zip(table(page, "operations"), OPERATIONS, strict=True):
        assert row[0] == f"`${operation.name}`"
        assert words(row[1]) == list(operation.methods)
        on_type = [f"`{operation.resource_type}/${operation.name}`"] if operation.on_type else []
        assert words(row[2]) == [*on_type, f"`{operation.resource_type}/[id]/${operation.name}`"]


def every_error(kind: type[errors.TrabeculaError] = errors.TrabeculaError) -> set[type[errors.TrabeculaError]]:
    return {kind, *(each for below in kind.__subclasses__() for each in every_error(below))}


def test_errors(page: str) -> None:
    shown = {int(row[0]): set(words(row[1])) for row in table(page, "errors")}
    found: dict[int, set[str]] = {}
    for kind in every_error():
        status, issue = status_of(kind)
        found.setdefault(status, set()).add(issue)
    assert shown == found


def test_figures(page: str) -> None:
    settings = Settings()
    assert (DEFAULT_COUNT, MAX_COUNT, COUNTED_UP_TO, MAX_PARAMETERS, MAX_DEPTH) == (20, 200, 1000, 50, 64)
    assert settings.http_max_body_bytes == MIB
    assert (MAX_HEADER_BYTES, MAX_TARGET_BYTES, VALID_S) == (32 * 1024, 8 * 1024, 3600)
    assert (settings.http_timeout_s, HEADER_S, MAX_CONNECTIONS, MOST_SUBJECTS) == (30.0, 10.0, 512, 20)
    for text in (
        "`_count` (20, at most 200)",
        "exact up to 1000",
        "holds for an hour",
        "body 1 MiB",
        "header 32 KiB, address 8 KiB, JSON 64 deep, 50 parameters, 30 s",
        "10 s for the head of a request, 512 connections",
        "up to 20 of them",
        ", ".join(ALGORITHMS[:-1]) + f" or {ALGORITHMS[-1]}",
    ):
        assert text in page, text
