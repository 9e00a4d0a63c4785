"""Write docs/soup.md: software of unknown provenance (IEC 62304), from the environment and docs/soup.toml.

``--check`` writes nothing and ends with 1 when the page is not current.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name
from runtime_packages import REPOSITORY, Package, direct, packages

PAGE: Final = REPOSITORY / "docs" / "soup.md"
PURPOSES: Final = REPOSITORY / "docs" / "soup.toml"
EXTRAS: Final = ("otel",)
"""Extras that change nothing of how a study is read; those that do (GPU, OpenVINO, nnU-Net) are the site's choice."""
RISKS: Final = {
    "result": "a wrong number",
    "lost": "a result late or not at all",
    "privacy": "patient data where they do not belong",
    "none": "a worse view of the service",
}
HEAD: Final = """# Software of unknown provenance

What runs beside our own code, for a file by IEC 62304 section 8.1.2. Written by `make sbom` from `requirements.lock` as
it is installed, and [soup.toml](soup.toml); do not edit. The same list for machines, with the libraries that wheels
carry inside, PostgreSQL and the models, is `sbom.cdx.json` (CycloneDX 1.6): `make sbom` writes it to `out/`, the image
has it at `/opt/trabecula/sbom.cdx.json`.

"At worst" is what a fault of the library could do if nothing were in its way; what is in its way stands in the
[risk log](risk-log.md). Known vulnerabilities: `make audit` ([SECURITY.md](../SECURITY.md#known-vulnerabilities)).
"""


def page() -> str:
    """The page as it should be.

    Raises:
        LookupError: if a direct dependency has no line in soup.toml, or a line no dependency.
    """
    purposes = {
        canonicalize_name(name): entry for name, entry in tomllib.loads(PURPOSES.read_text(encoding="utf-8")).items()
    }
    installed = packages(Path(sys.executable), EXTRAS)
    # Health, reflection and so on of one family are named in pyproject one by one; what is there twice counts once.
    named = sorted({str(canonicalize_name(each.name)) for each in direct(EXTRAS)})
    if missing := set(named) - purposes.keys():
        raise LookupError(f"docs/soup.toml does not say what these are for: {', '.join(sorted(missing))}")
    if unknown := purposes.keys() - set(named):
        raise LookupError(
            f"docs/soup.toml has lines for what pyproject.toml does not name: {', '.join(sorted(unknown))}"
        )
    rows = [_row(installed[name], purposes[name]) for name in named]
    others = [
        f"| {each.name} | {each.version} | {each.licence} | {', '.join(_needed_by(name, installed))} |"
        for name, each in installed.items()
        if name not in named
    ]
    return "\n".join([
        HEAD,
        f"## Named by us ({len(rows)})\n",
        "| library | version | licence | for | at worst |",
        "|---|---|---|---|---|",
        *rows,
        f"\n## Needed by those ({len(others)})\n",
        "| library | version | licence | needed by |",
        "|---|---|---|---|",
        *others,
        "",
    ])  # fmt: skip


def _row(package: Package, entry: dict[str, str]) -> str:
    return f"| {package.name} | {package.version} | {package.licence} | {entry['purpose']} | {RISKS[entry['risk']]} |"


def _needed_by(name: str, installed: dict[str, Package]) -> list[str]:
    return [each.name for each in installed.values() if name in each.requires]


if __name__ == "__main__":
    try:
        written = page()
    except LookupError as error:
        sys.exit(str(error))
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == written else "docs/soup.md is not current: make sbom")
    PAGE.write_text(written, encoding="utf-8")
