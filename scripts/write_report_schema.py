"""Writes docs/report.schema.json from the report's types; run it after a change of the report."""

from __future__ import annotations

import json
from pathlib import Path

from trabecula.outputs.report_json import json_schema

TARGET = Path(__file__).resolve().parents[1] / "docs" / "report.schema.json"


def main() -> None:
    TARGET.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
