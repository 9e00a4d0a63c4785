"""The Containerfile, read: what a platform team looks for before it lets an image in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

CHART_USER = "65532:65532"


@dataclass(frozen=True)
class Step:
    """One instruction, with its continuation lines joined."""

    stage: str
    verb: str
    text: str


@pytest.fixture(scope="module")
def steps(repository: Path) -> list[Step]:
    text = (repository / "Containerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    found, stage = [], ""
    for line in joined:
        verb, _, rest = line.strip().partition(" ")
        if verb == "FROM":
            stage = rest.split()[-1]
        found.append(Step(stage, verb, rest))
    return found


def of(steps: list[Step], verb: str, stage: str = "runtime") -> list[str]:
    return [each.text for each in steps if each.verb == verb and each.stage == stage]


def test_hadolint_has_nothing_to_say(repository: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--format", "json", repository / "Containerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout) == []


def test_the_last_stage_is_what_runs(steps: list[Step]) -> None:
    assert steps[-1].stage == "runtime"
    assert [each.text for each in steps if each.verb == "FROM" and each.stage == "runtime"] == [
        "${PYTHON_IMAGE} AS runtime"
    ]
    assert steps[0].text.startswith("PYTHON_IMAGE="), "the base can be given by digest"


def test_it_runs_as_the_charts_user_by_number(steps: list[Step], repository: Path) -> None:
    values = yaml.safe_load((repository / "helm/trabecula/values.yaml").read_text(encoding="utf-8"))
    chart = values["security"]
    assert of(steps, "USER") == [f"{chart['runAsUser']}:{chart['runAsGroup']}"] == [CHART_USER]
    assert str(chart["fsGroup"]) == CHART_USER.split(":")[0]
    after = [each.verb for each in steps if each.stage == "runtime"]
    assert "RUN" not in after[after.index("USER") :], "nothing is made by the user that runs"


def test_its_places_are_the_charts(steps: list[Step], repository: Path) -> None:
    rendered = (repository / "helm/trabecula/templates/_workload.tpl").read_text(encoding="utf-8")
    environment = dict(re.findall(r"(\w+)=(\S+)", " ".join(of(steps, "ENV"))))
    for name in ("HOME", "TMPDIR", "TRABECULA_STATE_DIR"):
        assert f"{name}: {environment[name]}" in rendered
    assert '"state" "/var/lib/trabecula"' in rendered
    assert json.loads(of(steps, "VOLUME")[0]) == ["/var/lib/trabecula"]
    assert environment["PATH"].startswith("/opt/trabecula/bin:"), "the chart calls `trabecula` and `python3` by name"


def test_its_ports_are_the_charts(steps: list[Step], repository: Path) -> None:
    rendered = "".join(
        each.read_text(encoding="utf-8") for each in (repository / "helm/trabecula/templates").glob("*.*")
    )
    for port in of(steps, "EXPOSE")[0].split():
        assert re.search(rf"\b{port}\b", rendered), port


def test_signals_reach_the_program(steps: list[Step]) -> None:
    assert of(steps, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(of(steps, "ENTRYPOINT")[0]) == ["trabecula"]
    assert json.loads(of(steps, "CMD")[0]) == ["serve"]
    assert 'CMD ["trabecula", "health"]' in of(steps, "HEALTHCHECK")[0]


def test_nothing_comes_from_an_address(steps: list[Step]) -> None:
    assert not [each for each in steps if each.verb == "ADD"]
    assert not [each.text for each in steps if re.search(r"https?://|\b(curl|wget|git clone)\b", each.text)]


def test_packages_are_held_to_their_hashes(steps: list[Step]) -> None:
    installs = [part for each in of(steps, "RUN", "build") for part in each.split("&&") if " install " in part]
    assert len(installs) == 3
    for part in installs:
        assert "--require-hashes" in part or "--no-index" in part, part
    assert not [each for each in of(steps, "RUN") if "pip" in each], "nothing is installed in the stage that runs"


def test_every_source_is_there_and_let_in(steps: list[Step], repository: Path) -> None:
    allowed = (repository / ".containerignore").read_text(encoding="utf-8").split("\n")
    let_in = {line[1:] for line in allowed if line.startswith("!")}
    for each in (step for step in steps if step.verb == "COPY" and "--from=" not in step.text):
        for source in each.text.split()[:-1]:
            assert (repository / source).exists(), source
            assert any(Path(source).match(pattern) or source.startswith(f"{pattern}/") for pattern in let_in), source
    assert (repository / ".dockerignore").read_text(encoding="utf-8").split("\n") == allowed


def test_every_bundle_of_the_wheel_is_in_the_image_of_models(steps: list[Step], repository: Path) -> None:
    with (repository / "pyproject.toml").open("rb") as stream:
        included = tomllib.load(stream)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    bundles = {source for source in included if source.startswith("models/")}
    assert {each.split()[0] for each in of(steps, "COPY", "models")} == bundles


def test_labels(steps: list[Step]) -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', " ".join(of(steps, "LABEL"))))
    assert {"title", "description", "licenses", "version", "revision", "created", "base.name"} <= set(labels)
    assert labels["licenses"] == "Apache-2.0"


@pytest.mark.parametrize("name", ["runtime.lock", "build.lock"])
def test_the_images_locks_are_those_of_the_tests(repository: Path, name: str) -> None:
    tested = pins(repository / "requirements.lock")
    for package, versions in pins(repository / "container" / name).items():
        assert versions <= tested.get(package, versions), f"{package}: run `make lock`"


def test_the_image_has_every_dependency(repository: Path) -> None:
    with (repository / "pyproject.toml").open("rb") as stream:
        project = tomllib.load(stream)["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    wanted = {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-").replace(".", "-") for each in named}  # type: ignore[index]
    locked = {each.replace("_", "-").replace(".", "-") for each in pins(repository / "container/runtime.lock")}
    assert wanted <= locked


def test_every_locked_package_has_hashes(repository: Path) -> None:
    for name in ("runtime.lock", "build.lock"):
        entries = re.split(r"\n(?=\S)", (repository / "container" / name).read_text(encoding="utf-8").strip())
        assert [each.split()[0] for each in entries if "--hash=sha256:" not in each] == []


def pins(lock: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.\[\]-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name.lower().split("[")[0], set()).add(version)
    return found
