"""What runs is known by name, version, licence and checksum; and judged by bandit and by what is known of it."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))
import audit
import runtime_packages
import write_sbom
import write_soup
from packaging.utils import canonicalize_name

Json = dict[str, Any]


@pytest.fixture(scope="module")
def environment() -> Json:
    """What cyclonedx-py says of this environment; made once, for it takes seconds."""
    return write_sbom._of_environment(Path(sys.executable))


@pytest.fixture
def sbom(environment: Json, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Json]:
    monkeypatch.setattr(write_sbom, "_of_environment", lambda _: copy.deepcopy(environment))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    return lambda: write_sbom.bill_of_materials(Path(sys.executable), [])


@pytest.mark.slow
def test_bandit_finds_nothing_that_nobody_explained(repository: Path) -> None:
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", "server/trabecula", "scripts"]
    done = subprocess.run([*command, "-f", "json"], cwd=repository, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert not found["errors"]
    assert [f"{each['filename']}:{each['line_number']} {each['test_id']}" for each in found["results"]] == []


def test_whoever_silences_bandit_says_why(repository: Path) -> None:
    silent = []
    for path in [*(repository / "server").rglob("*.py"), *(repository / "scripts").glob("*.py")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := re.search(r"#(?P<words>.*)# nosec(?P<tests>.*)$|# nosec", line):
                words = re.sub(r"noqa: [A-Z0-9, ]+", "", match["words"] or "").strip(" -#")
                if len(words) < 8 or not re.fullmatch(r" B\d{3}(, B\d{3})*", match["tests"] or ""):
                    silent.append(f"{path.name}:{number}: {line.strip()}")
    assert not silent


def test_the_bill_of_materials_is_valid_and_the_same_each_time(sbom: Callable[[], Json]) -> None:
    text = json.dumps(sbom(), sort_keys=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.dumps(sbom(), sort_keys=True) == text


def test_it_holds_what_runs_and_nothing_else(sbom: Callable[[], Json], repository: Path) -> None:
    components = sbom()["components"]
    names = {canonicalize_name(each["name"]) for each in components}
    named = {canonicalize_name(each.name) for each in runtime_packages.direct()}
    assert named <= names
    assert not names & {"pytest", "ruff", "mypy", "bandit", "cyclonedx-bom", "torch", "pip", "schemathesis"}
    lock = (repository / "requirements.lock").read_text(encoding="utf-8")
    # Some are pinned twice, for older and newer versions of Python.
    pinned = {
        (canonicalize_name(name), version)
        for name, version in re.findall(r"^([\w.-]+)==([^ ;\n]+)", lock, re.MULTILINE)
    }
    packages = [each for each in components if each.get("purl", "").startswith("pkg:pypi/")]
    assert len(packages) > 60
    assert {(canonicalize_name(each["name"]), each["version"]) for each in packages} <= pinned
    assert all(each["licenses"] for each in packages)


def test_models_and_postgresql_are_in_it(sbom: Callable[[], Json], repository: Path) -> None:
    components = sbom()["components"]
    models = {each["name"]: each for each in components if each["type"] == "machine-learning-model"}
    manifests = [json.loads(path.read_text()) for path in (repository / "models").glob("*/manifest.json")]
    assert len(models) == len(manifests) >= 5
    for path in (repository / "models").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        digest = hashlib.sha256((path.parent / manifest["file"]).read_bytes()).hexdigest()
        assert models[manifest["name"]]["hashes"] == [{"alg": "SHA-256", "content": digest}]
        assert "Not a medical device" in models[manifest["name"]]["modelCard"]["considerations"]["useCases"][0]
    servers = [each for each in components if each["name"] == "postgresql"]
    assert servers
    assert all(re.fullmatch(r"\d+\.\d+", each["version"]) for each in servers)


def test_libraries_inside_wheels_are_in_it(sbom: Callable[[], Json]) -> None:
    document = sbom()
    openssl = [each for each in document["components"] if each["name"] == "libcrypto"]
    assert {tuple(each["version"].split(".")[:2]) for each in openssl} >= {("3", "5")}
    edges = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert any(ref.startswith("psycopg-binary") and openssl for ref in edges)
    assert all(any(each["bom-ref"] in found for found in edges.values()) for each in openssl)


def test_a_dependency_without_a_purpose_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_soup.PURPOSES.read_text(encoding="utf-8")
    for text, word in (
        (whole.replace("[numpy]", "[numpie]"), "numpy"),
        (whole + '\n[left-pad]\npurpose = "none"\nrisk = "none"\n', "left-pad"),
    ):
        changed = tmp_path / "soup.toml"
        changed.write_text(text)
        monkeypatch.setattr(write_soup, "PURPOSES", changed)
        with pytest.raises(LookupError, match=word):
            write_soup.page()


def test_the_published_list_is_current() -> None:
    """Write it again with: make sbom"""
    assert write_soup.PAGE.read_text(encoding="utf-8") == write_soup.page(), "make sbom"


TODAY = date(2026, 11, 23)
FOUND = audit.Finding("pillow", "13.0.0", "PYSEC-2026-1", ("CVE-2026-1",))


@pytest.mark.parametrize(
    ("findings", "accepted", "wrong"),
    [
        ([], [], 0),
        ([FOUND], [], 1),
        ([FOUND], [audit.Acceptance("CVE-2026-1", "Pillow", date(2026, 11, 23), "because it is so")], 0),
        ([FOUND], [audit.Acceptance("CVE-2026-1", "pillow", date(2026, 11, 22), "because it is so")], 1),
        ([FOUND], [audit.Acceptance("CVE-2026-1", "numpy", date(2027, 1, 1), "because it is so")], 2),
        ([], [audit.Acceptance("CVE-2026-1", "pillow", date(2027, 1, 1), "because it is so")], 1),
    ],
)
def test_what_is_accepted_is_accepted_for_a_time(
    findings: list[audit.Finding], accepted: list[audit.Acceptance], wrong: int
) -> None:
    assert len(audit.judge(findings, accepted, TODAY, whole=True)) == wrong


def test_what_nobody_maintains_any_more_is_found_without_a_network(sbom: Callable[[], Json]) -> None:
    accepted, ends = audit.policy()
    found = audit.not_maintained(sbom(), ends, datetime.now(UTC).date())
    assert not audit.judge(found, accepted, datetime.now(UTC).date(), whole=False)
    later = audit.not_maintained(sbom(), ends, date(2031, 1, 1))
    assert {"EOL-postgresql", "EOL-openssl"} == {each.id.rpartition("-")[0] for each in later}
    assert audit.judge(later, accepted, date(2031, 1, 1), whole=False)


@pytest.mark.parametrize("entry", ['id = "CVE-1"', 'id = "CVE-1"\npackage = "p"\nreason = "short"\nuntil = 2027-01-01'])
def test_an_acceptance_without_a_reason_or_an_end_is_refused(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f"[[accepted]]\n{entry}\n")
    with pytest.raises((TypeError, KeyError)):
        audit.policy(path)


def test_a_service_that_knows_few_of_the_packages_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip-audit itself ends with 0 when it could look up none of them."""
    said = json.dumps({"dependencies": [{"name": "numpy", "skip_reason": "not found on PyPI"}]})
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.audited("pypi") is None


@pytest.mark.slow
def test_known_vulnerabilities(sbom: Callable[[], Json], tmp_path: Path, repository: Path) -> None:
    path = tmp_path / "sbom.json"
    path.write_text(json.dumps(sbom()))
    command = [sys.executable, "scripts/audit.py", "--sbom", str(path)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if done.returncode == audit.NOT_AUDITED:
        pytest.skip("NOT AUDITED for known vulnerabilities: no vulnerability service can be reached (make audit)")
    assert done.returncode == 0, done.stderr
