"""Write the Helm chart's ``values.schema.json`` and the table in its README from the comments of ``values.yaml``.

Usage: python scripts/write_helm_reference.py [--check]
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from trabecula.config import Settings

CHART = Path(__file__).resolve().parents[1] / "helm" / "trabecula"
BEGIN, END = "<!-- values: written by scripts/write_helm_reference.py -->", "<!-- end of values -->"

MADE_BY_THE_CHART = frozenset(
    {
        "role",
        "listen",
        "admin_listen",
        "backup_dir",
        "metrics_listen",
        "health_listen",
        "tls_certificate_file",
        "tls_key_file",
        "tls_client_ca_file",
        "models_dir",
        "state_dir",
        "database_url",
        "database_password_file",
        "content_url",
        "content_options_file",
        "workers",
        "worker_memory_bytes",
        "drain_timeout_s",
        "destinations_file",
        "client_keys_dir",
        "cds_clients_file",
        "users_file",
        "session_key_file",
        "http_listen",
        "http_tls_certificate_file",
        "http_tls_key_file",
        "public_base_url",
        "dimse_listen",
        "dimse_ae_title",
        "dimse_peers",
        "dimse_tls_certificate_file",
        "dimse_tls_key_file",
        "dimse_tls_client_ca_file",
    }
)
"""Settings that have values of their own in the chart, or that would break it."""


@dataclass(frozen=True)
class Value:
    """One key of ``values.yaml`` that a user gives."""

    path: str
    default: Any
    description: str
    schema: dict[str, Any]


INT32 = 2**31 - 1
"""Kubernetes reads most whole numbers as int32."""


def main() -> int:
    """0 when what is written is up to date, or was written."""
    wanted = {CHART / "values.schema.json": schema_text(), CHART / "README.md": readme_text()}
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
        sys.stderr.writelines(f"{name} is not up to date\n" for name in stale)
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


def schema_text() -> str:
    """The schema, in draft-07: older and newer Helm read it."""
    root = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart trabecula"}
    definitions = json.loads((CHART / "schema-definitions.json").read_text(encoding="utf-8"))
    definitions["settings"] = _settings()
    described, _ = _read()
    described["properties"]["global"] = {
        "type": "object",
        "additionalProperties": True,
        "description": "What a parent chart shares with all; not read here.",
    }
    return json.dumps({**root, **described, "definitions": definitions}, indent=2, ensure_ascii=False) + "\n"


def readme_text() -> str:
    """The README with its table anew."""
    _, values = _read()
    lines = ["| value | default | what |", "|---|---|---|"]
    for value in values:
        shown = "" if value.default in ("", [], {}) else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        choices = value.schema.get("enum")
        words = value.description + (
            "" if not choices else " One of " + ", ".join(f"`{_word(c)}`" for c in choices) + "."
        )
        lines.append(f"| `{value.path}` | {shown.replace('|', chr(92) + '|')} | {words} |")
    text = (CHART / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def _word(choice: object) -> str:
    return choice if isinstance(choice, str) and choice else json.dumps(choice)


def _read() -> tuple[dict[str, Any], list[Value]]:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    found: list[Value] = []
    return _object(yaml.compose(text), text.splitlines(), "", "", found), found


def _object(node: Any, lines: list[str], path: str, description: str, found: list[Value]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key, value in node.value:
        name, comment = key.value, _comment(lines, key.start_mark.line)
        where = f"{path}.{name}" if path else name
        words, extra = _words(comment)
        is_group = isinstance(value, yaml.MappingNode) and value.value and not extra and not words
        if is_group:
            properties[name] = _object(value, lines, where, f"Values of `{where}`.", found)
            continue
        if not words:
            raise SystemExit(f"{where} has no description")
        default = yaml.safe_load(yaml.serialize(value))
        properties[name] = {"description": words, **_inferred(default, extra), **extra}
        found.append(Value(where, default, words, extra))
    return {
        "description": description or "Values.",
        "type": "object",
        "additionalProperties": False,
        # All have a default. A null takes it away, and templates would stumble over what is not there.
        "required": list(properties),
        "properties": properties,
    }


def _comment(lines: list[str], line: int) -> list[str]:
    comment: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return comment


def _words(comment: list[str]) -> tuple[str, dict[str, Any]]:
    """Description and what ``@schema`` says."""
    words, extra, begun = [], {}, False
    for line in comment:
        if line.startswith("@schema "):
            extra = json.loads(line.removeprefix("@schema "))
        elif line.startswith("-- "):
            words, begun = [line.removeprefix("-- ")], True
        elif begun:
            words.append(line)
    return " ".join(words), extra


def _inferred(default: Any, extra: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in extra or "type" in extra:
        return {}
    kinds: dict[type, dict[str, Any]] = {
        bool: {"type": "boolean"},
        int: {"type": "integer", "maximum": INT32},
        str: {"type": "string"},
    }
    if isinstance(default, list):
        return {"type": "array", "maxItems": 100}
    return kinds[type(default)]


def _settings() -> dict[str, Any]:
    """Every other field of the program's settings, with its type."""
    hints = get_type_hints(Settings)
    properties = {
        each.name: {
            "description": f"`TRABECULA_{each.name.upper()}` of docs/configuration.md.",
            **_typed(hints[each.name]),
        }
        for each in fields(Settings)
        if each.name not in MADE_BY_THE_CHART
    }
    words = "Settings of the program by name."
    return {"description": words, "type": "object", "additionalProperties": False, "properties": properties}


def _typed(hint: Any) -> dict[str, Any]:
    import types
    import typing

    if typing.get_origin(hint) is typing.Literal:
        return {"enum": list(typing.get_args(hint))}
    if isinstance(hint, types.UnionType):
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
        return _typed(hint)
    simple = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
    return {"type": simple[hint]}


if __name__ == "__main__":
    raise SystemExit(main())
