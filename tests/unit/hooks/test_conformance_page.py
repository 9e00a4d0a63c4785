"""docs/cds-hooks.md says what the code does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from trabecula import errors
from trabecula.clinical import load_constants
from trabecula.config import Settings
from trabecula.hooks.clients import ALGORITHMS, WAIVABLE, Client, load_clients
from trabecula.hooks.ehr import MAX_PAGES
from trabecula.hooks.orders import _DXA_CODE
from trabecula.hooks.services import SERVICES, TEMPLATES, VERSION
from trabecula.service.auth.jwks import AGAIN_S, KEEP_S
from trabecula.service.http.outcomes import status_of
from trabecula.telemetry.catalogue import BY_NAME


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "cds-hooks.md").read_text(encoding="utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    lines = page.partition(f"## {heading}\n")[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def test_services(page: str) -> None:
    expected = [
        [
            f"`{each.id}`",
            f"`{each.hook.value}`",
            " ".join(f"`{need.value}`" for need in each.required),
            " ".join(f"`{need.value}`" for need in each.helpful),
        ]
        for each in SERVICES
    ]
    assert rows(page, "Services") == expected
    assert f"version `{VERSION}`" in page


def test_prefetch(page: str) -> None:
    found = {key.strip("`"): template.strip("`").replace(r"\|", "|") for key, template in rows(page, "Prefetch")}
    assert set(found) == {need.value for need in TEMPLATES}
    for need, template in TEMPLATES.items():
        pattern = re.escape(found[need.value]).replace("…", r"[^&]+")
        assert re.fullmatch(pattern, template), need


def test_tokens(page: str) -> None:
    table = dict(row for row in rows(page, "Tokens"))
    assert all(f"`{name}`" in table["`alg`"] for name in ALGORITHMS)
    assert f"{Settings().auth_clock_skew_s:g} s" in table["`exp`, `iat`"]
    assert KEEP_S == 600.0
    assert f"every {AGAIN_S:g} s" in page


def test_statuses(page: str) -> None:
    told = {int(status) for status, _ in rows(page, "Statuses")}
    raised = (
        errors.InvalidRequest,
        errors.ClientNotTrusted,
        errors.ResourceNotFound,
        errors.MethodNotAllowed,
        errors.ChartUnavailable,
        errors.RequestTooLarge,
        errors.UnsupportedMediaType,
        errors.DatabaseUnavailable,
    )
    assert told == {200, *(status_of(kind)[0] for kind in raised)}


def test_numbers(page: str) -> None:
    months = load_constants().number("hooks.dxa.recent_months")
    assert page.count(f"{months:g} months") == 3
    assert f"({Settings().cds_read_budget_s:g} s), at most {MAX_PAGES} pages" in page
    assert all(coding["code"] in page for coding in _DXA_CODE["coding"])


def test_the_file_of_clients(page: str, tmp_path: Path) -> None:
    toml = page.partition("```toml\n")[2].partition("```")[0].replace("\n   ", "\n")
    path = tmp_path / "clients.toml"
    path.write_text(toml)
    (client,) = load_clients(path)
    assert client.may_read("https://ehr.example.org/fhir/R4")
    with_all = re.sub(r"^# (\w+ =)", r"\1", toml.strip(), flags=re.MULTILINE)
    keys = set(tomllib.loads(with_all)["client"][0])
    assert keys == {
        *("name", "iss", "jku", "jwks_file", "algorithms", "max_token_lifetime_s", "fhir_servers", "cannot_give")
    }
    assert f"max_token_lifetime_s = {Client('a', 'b', ()).max_token_lifetime_s:g}" in toml
    assert all(need.value in toml for need in WAIVABLE)


def test_settings_and_metrics(page: str, repository: Path) -> None:
    documented = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"TRABECULA_[A-Z_]+", page)):
        assert hasattr(Settings(), name.removeprefix("TRABECULA_").lower()), name
        assert f"`{name}`" in documented, name
    made = {name for name in BY_NAME if name.startswith("trabecula_cds_")}
    told = set(re.findall(r"`(trabecula_cds_\w+)\{", page))
    assert told == made
