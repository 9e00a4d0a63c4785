"""Commands that the runbooks name are commands that there are, with the options they have."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from trabecula.cli.app import app

PAGES = ("runbooks.md", "monitoring.md")
SPAN = re.compile(r"`(trabecula [^`]+)`")
LINE = re.compile(r"^(trabecula .+)$", re.MULTILINE)


def commands(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return {found for found in (*SPAN.findall(text), *LINE.findall(text)) if "..." not in found}


@pytest.mark.parametrize("name", PAGES)
def test_each_command_is_one(repository: Path, name: str) -> None:
    found = commands(repository / "docs" / name)
    assert len(found) >= 3
    for line in sorted(found):
        words = [each.partition("=")[0] for each in shlex.split(line)[1:]]
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words:
            word = words.pop(0)
            for part in word.split("|"):
                assert part in command.commands, line
            command = command.commands[word.split("|")[0]]
        options = {option for each in command.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
