"""Which of an environment's packages the program needs to run: the closure of pyproject's dependencies, without dev."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY: Final = Path(__file__).resolve().parents[1]
_LOOK: Final = (
    "import json, sysconfig; print(json.dumps(sorted({sysconfig.get_path(p) for p in ('purelib', 'platlib')})))"
)


@dataclass(frozen=True)
class Package:
    """One installed package."""

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]
    """Canonical names of what it needs, as far as that is installed."""
    folder: Path
    """Its site-packages."""


def project() -> dict[str, object]:
    """``[project]`` of pyproject.toml."""
    found: dict[str, object] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def direct(extras: Iterable[str] = ()) -> list[Requirement]:
    """What pyproject names for running, and for these extras."""
    described = project()
    named = list(described["dependencies"])  # type: ignore[call-overload]
    for extra in extras:
        named += described["optional-dependencies"][extra]  # type: ignore[index]
    return [Requirement(each) for each in named]


def packages(python: Path, extras: Iterable[str] = ()) -> dict[str, Package]:
    """The closure, by canonical name, as installed for an interpreter.

    Raises:
        LookupError: if something that is needed is not installed.
    """
    command = [python, "-c", _LOOK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - no shell  # nosec B603
    folders = json.loads(done.stdout)
    installed = {canonicalize_name(each.name): each for each in distributions(path=folders)}
    found: dict[str, Package] = {}
    waiting = [(requirement, True) for requirement in direct(extras)]
    extras_of: dict[str, set[str]] = {}
    while waiting:
        requirement, needed = waiting.pop()
        name = canonicalize_name(requirement.name)
        known = extras_of.get(name)
        if known is not None and requirement.extras <= known:
            continue
        if name not in installed:
            if needed:
                raise LookupError(f"{name} is not installed")
            continue
        asked = extras_of.setdefault(name, set())
        asked |= requirement.extras
        needs = _needs(installed[name], asked)
        waiting += [(each, True) for each in needs]
        names = sorted({str(canonicalize_name(each.name)) for each in needs})
        described = installed[name]
        folder = Path(str(described.locate_file("")))
        found[name] = Package(described.name, described.version, licence_of(described), tuple(names), folder)
    return dict(sorted(found.items()))


def _needs(distribution: Distribution, extras: set[str]) -> list[Requirement]:
    needs = [Requirement(each) for each in distribution.requires or ()]
    chosen = {"", *extras}
    return [each for each in needs if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in chosen)]


def licence_of(distribution: Distribution) -> str:
    """SPDX expression, else what the classifiers or the licence field say; ``see package`` where there is a text."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classified = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::") and not each.endswith("OSI Approved")
    ]
    if classified:
        return " / ".join(sorted(classified))
    text = (metadata.get("License") or "").strip()
    return text if 0 < len(text) <= 60 and "\n" not in text else "see package"
