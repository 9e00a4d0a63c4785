"""Write the table of error codes into docs/grpc.md, from the tree of errors and its two tables of status."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import trabecula
from trabecula import errors
from trabecula.service.http.outcomes import status_of
from trabecula.service.status import status_code

BEGIN, END = "<!-- errors: written by scripts/write_status_table.py -->\n", "<!-- end -->\n"


def table() -> str:
    """One row for each error of the tree, by code."""
    for module in pkgutil.walk_packages(trabecula.__path__, "trabecula."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[errors.TrabeculaError]] = set()
    waiting = [errors.TrabeculaError]
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    rows = sorted(
        f"| `{kind.code}` | {(kind.__doc__ or '').strip().splitlines()[0]} | `{status_code(kind).name}` "
        f"| {status_of(kind)[0]} |"
        for kind in found
    )
    return "\n".join(["| code | meaning | gRPC | HTTP |", "|---|---|---|---|", *rows]) + "\n"


def filled(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    path = Path(__file__).resolve().parent.parent / "docs" / "grpc.md"
    text = path.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(filled(text) != text)
    path.write_text(filled(text), encoding="utf-8")
