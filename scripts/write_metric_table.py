"""Write the table of metrics in docs/monitoring.md anew from the catalogue of the program.

python scripts/write_metric_table.py
"""

from __future__ import annotations

from pathlib import Path

from trabecula.telemetry.catalogue import SPECS, MetricSpec

PAGE = Path(__file__).resolve().parents[1] / "docs" / "monitoring.md"
BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->\n"
MOST_VALUES = 12


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}", encoding="utf-8")


def table() -> str:
    """The table in Markdown."""
    head = "| metric | type | labels | given by | what it says |\n|---|---|---|---|---|\n"
    return head + "".join(_row(spec) for spec in SPECS)


def _row(spec: MetricSpec) -> str:
    labels = "; ".join(_label(name, values) for name, values in spec.labels.items()) or "-"
    return f"| `{spec.name}` | {spec.kind.value} | {labels} | {spec.teller.value} | {spec.help} |\n"


def _label(name: str, values: tuple[str, ...]) -> str:
    if not values:
        return f"`{name}`"
    if len(values) > MOST_VALUES:
        return f"`{name}` ({len(values)} codes)"
    return f"`{name}` = {', '.join(str(value) for value in values)}"


if __name__ == "__main__":
    main()
