"""The guides: every command, setting, link and alert that they name is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from trabecula.cli.app import app
from trabecula.config import Settings

GUIDES = ("operations", "incidents", "capacity", "containers", "archive")
WORDS = re.compile(r"TRABECULA_[A-Z0-9_]+")
NOT_SETTINGS = {"TRABECULA_IMAGE"}
"""Of the compose file."""


@pytest.fixture(params=GUIDES)
def guide(repository: Path, request: pytest.FixtureRequest) -> Path:
    return repository / "docs" / f"{request.param}.md"


def commands_in(text: str) -> list[str]:
    """Command lines of ``trabecula``, in blocks and in running text."""
    blocks = "\n".join(re.findall(r"^```sh.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    lines = re.sub(r"\\\n\s*", " ", blocks).splitlines()
    quoted = [part for line in lines for part in re.split(r"&&|\|\||[;|&]|\$\(|xargs.*?sh -c ['\"]?|'", line)]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = []
    for line in (*quoted, *inline):
        match = re.search(r"(?:^|exec(?: -T)? worker |deploy/[\w-]+ -- |bin/)(trabecula [a-z].*)", line.strip())
        if match:
            found.append(match[1].split(" #")[0].split(" > ")[0].split(" 2>")[0])
    return found


def check_command(line: str) -> str | None:
    """What is wrong with a command line, as far as names go."""
    try:
        words = shlex.split(line.replace("...", "").replace("…", ""))[1:]
    except ValueError:
        words = line.split()[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("trabecula", [], resilient_parsing=True)
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        following = command.get_command(context, words[0])
        if following is None:
            return f"no command {words[0]!r}"
        command, words = following, words[1:]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
    wrong = [word for word in words if re.match(r"--[a-z]", word) and word.split("=")[0] not in known]
    return f"no option {wrong[0]}" if wrong else None


def test_the_reader_of_command_lines_reads() -> None:
    text = "```sh\ntrabecula jobs list && trabecula db backup x.tar\n```\n`kubectl exec deploy/x -- trabecula gc`"
    assert commands_in(text) == ["trabecula jobs list", "trabecula db backup x.tar", "trabecula gc"]
    assert check_command("trabecula jobs list --json") is None
    assert check_command("trabecula jobs list --nonsense") == "no option --nonsense"
    assert check_command("trabecula nonsense") == "no command 'nonsense'"
    assert check_command("trabecula db nonsense x") == "no command 'nonsense'"


def test_every_command_is_one(guide: Path) -> None:
    commands = commands_in(guide.read_text(encoding="utf-8"))
    assert commands
    wrong = {line: fault for line in commands if (fault := check_command(line))}
    assert wrong == {}


def test_every_setting_is_one(guide: Path) -> None:
    known = {f"TRABECULA_{name.upper()}" for name in Settings.__dataclass_fields__}
    named = set(WORDS.findall(guide.read_text(encoding="utf-8"))) - NOT_SETTINGS
    stars = {name for name in named if name.endswith("_")}  # written as TRABECULA_TLS_*
    assert {name for name in named - stars if name not in known} == set()
    assert all(any(each.startswith(star) for each in known) for star in stars)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each).replace("`", "").lower() for each in headings)
    return {re.sub(r"[^\w\- ]", "", each).strip().replace(" ", "-") for each in plain}


def test_every_link_leads_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", guide.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        page = (guide.parent / path).resolve() if path else guide
        assert page.exists(), target
        if anchor and page.suffix == ".md":
            assert anchor in anchors(page), target


def test_what_kubernetes_lines_name_is_in_the_chart(guide: Path, repository: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    helpers = (repository / "helm/trabecula/templates").glob("*.yaml")
    rendered = "".join(each.read_text(encoding="utf-8") for each in helpers)
    for name in set(re.findall(r"deploy/trabecula-(\w+)", text)):
        assert (repository / f"helm/trabecula/templates/{name}-deployment.yaml").exists(), name
    for component in set(re.findall(r"scaledobject trabecula-(\w+)", text)):
        assert re.search(rf"kind: ScaledObject.*?{component}", rendered, re.DOTALL)
    values = yaml.safe_load((repository / "helm/trabecula/values.yaml").read_text(encoding="utf-8"))
    for key in set(re.findall(r"`(?:models|worker|api|settings)\.([\w.]+)", text)):
        assert any(key.split(".")[0] in section for section in values.values() if isinstance(section, dict)), key


def test_every_alert_that_is_named_has_a_rule(guide: Path, repository: Path) -> None:
    rules = "".join(each.read_text(encoding="utf-8") for each in (repository / "helm/trabecula/files/rules").glob("*"))
    for name in set(re.findall(r"`(Trabecula[A-Z]\w+)`", guide.read_text(encoding="utf-8"))):
        assert f"alert: {name}" in rules


def test_every_metric_is_in_the_catalogue(guide: Path, repository: Path) -> None:
    catalogue = (repository / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"\btrabecula_[a-z_]+[a-z]", guide.read_text(encoding="utf-8"))):
        assert f"`{name}" in catalogue, name


def test_the_guides_are_found(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    operations = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    assert "docs/operations.md" in readme
    assert all(f"({name}.md" in operations for name in GUIDES if name != "operations")
