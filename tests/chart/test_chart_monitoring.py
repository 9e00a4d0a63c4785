"""Alert rules and dashboards: judged by promtool, and made of metrics that the program really gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, REPOSITORY, Rendered, template
from prometheus_client import CollectorRegistry, generate_latest

from trabecula.service.interceptors import CallMetrics
from trabecula.telemetry.catalogue import SPECS, Metrics, Teller

RULES = CHART / "files" / "rules" / "trabecula.yaml"
DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
OF_PROMETHEUS = {"up"}
WORD = re.compile(r"\b(?:trabecula|grpc_server)_[a-z0-9_]+\b")


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("PROMTOOL MISSING (Debian package prometheus): the alert rules are not tested")
    return found


@pytest.fixture(scope="session")
def exported() -> set[str]:
    """Names of all series that the program's own collectors can give."""
    registry = CollectorRegistry()
    Metrics(registry)
    CallMetrics(registry)
    names = set()
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            names |= {name} if kind != "histogram" else {f"{name}_{end}" for end in ("bucket", "sum", "count")}
    return names


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_promtool_takes_the_rendered_rules(promtool: str, everything: Rendered, tmp_path: Path) -> None:
    path = tmp_path / "rendered.yaml"
    path.write_text(yaml.safe_dump(everything.one("PrometheusRule")["spec"]), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts()) + 4} rules found" in done.stdout


def test_every_alert_fires_when_it_should_and_not_before(promtool: str, tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    cases = sorted(Path(__file__).resolve().parent.glob("trabecula_*rules_test.yaml"))
    for each in cases:
        shutil.copy(each, tmp_path)
    names = [tmp_path / each.name for each in cases]
    done = subprocess.run([promtool, "test", "rules", *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(each.read_text(encoding="utf-8") for each in cases)
    assert {each["alert"] for each in alerts()} == set(re.findall(r"alertname: (\w+)", text))


def test_the_rendered_rules_are_the_tested_bytes(everything: Rendered) -> None:
    own = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    minimal = CHART / "ci" / "minimal-values.yaml"
    done = template(CHART, "--values", minimal, "--set", "monitoring.prometheusRule.enabled=true")
    (rule,) = (each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "PrometheusRule")
    assert rule["spec"] == own
    linked = [each["annotations"]["runbook_url"] for group in everything.one("PrometheusRule")["spec"]["groups"]
              for each in group["rules"] if "alert" in each]  # fmt: skip
    assert linked
    assert all(each.startswith("https://docs.example.org/runbooks#") for each in linked)


def test_rules_and_dashboards_use_only_metrics_that_exist(exported: set[str]) -> None:
    assert len(exported) > 20
    used = set(WORD.findall(RULES.read_text(encoding="utf-8")))
    recorded = {"grpc_server_handled_errors"}  # the middle of a recording rule's name
    recorded |= set(re.findall(r"record: trabecula:(\w+):", RULES.read_text(encoding="utf-8")))
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", []):
                used |= set(WORD.findall(target["expr"]))
    assert used - recorded - OF_PROMETHEUS <= exported


def test_outcomes_in_rules_are_words_of_the_program() -> None:
    from trabecula.errors import Overloaded
    from trabecula.telemetry.events import DeliveryOutcome
    from trabecula.work.states import State

    text = RULES.read_text(encoding="utf-8")
    outcomes = {word for found in re.findall(r'outcome=~?"([a-z|-]+)"', text) for word in found.split("|")}
    assert outcomes <= {*State, *DeliveryOutcome, Overloaded().code}


def test_every_alert_has_a_severity_and_a_section_in_the_runbooks() -> None:
    page = (REPOSITORY / "docs" / "runbooks.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert [*sections] == [each["alert"] for each in sorted(alerts(), key=lambda each: sections.index(each["alert"]))]
    assert set(sections) == {each["alert"] for each in alerts()}
    for each in alerts():
        assert each["labels"]["severity"] in ("page", "ticket")
        assert each["annotations"]["runbook_url"] == f"docs/runbooks.md#{each['alert'].lower()}"
        assert each["annotations"]["summary"]


def test_promtool_takes_every_expression_of_the_dashboards(promtool: str, tmp_path: Path) -> None:
    expressions = [
        target["expr"]
        for path in DASHBOARDS
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(expressions) > 15
    rules = [{"record": f"panel:n{index}", "expr": text} for index, text in enumerate(expressions)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_whole_and_lie_on_grafana_s_grid(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["schemaVersion"] >= 39
    assert board["uid"] == f"trabecula-{path.stem}"
    (variable,) = board["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["legendFormat"]


def test_what_every_process_shows_alike_is_never_added_up() -> None:
    shared = {spec.name for spec in SPECS if spec.teller is Teller.SHARED}
    text = RULES.read_text(encoding="utf-8") + "".join(path.read_text(encoding="utf-8") for path in DASHBOARDS)
    for name in shared:
        assert name in text, name
        assert not re.search(rf"\bsum\b(?: by \([^)]*\))? ?\((?:\w+\()?{name}", text), name


def test_dashboards_come_as_the_sidecar_wants_them(everything: Rendered) -> None:
    maps = [each for each in everything.of("ConfigMap") if "grafana_dashboard" in each["metadata"].get("labels", {})]
    assert len(maps) == len(DASHBOARDS)
    for each, path in zip(maps, DASHBOARDS, strict=True):
        assert json.loads(each["data"][path.name]) == json.loads(path.read_text(encoding="utf-8"))
        panels = json.loads(each["data"][path.name])["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
