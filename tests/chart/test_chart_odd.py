# ruff: noqa: E501 - values as people write them
"""Whatever is given: the chart refuses it in words of its own, or what it renders is legal and means what was said.

``make chart-odd`` tries many more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_chart import (
    CHART,
    CUSTOM_GROUPS,
    HELM,
    MISSING,
    NEWEST,
    OLDEST,
    Object,
    complaints_on_custom_resources,
    helm,
    objects_in,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
BASES = tuple(CHART / "ci" / f"{name}-values.yaml" for name in ("minimal", "everything", "volumes", "bare"))
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
CANARY = "canary-that-nobody-wrote-a-key-of"
WORDS = (
    "true",
    "null",
    "no",
    "on",
    "y",
    "~",
    "123",
    "1e5",
    "0x1f",
    "1:20",
    "0o7",
    ".5",
    "1_000",
    "2026-11-23",
    "=",
    "<<",
)
"""What YAML 1.1 takes for something other than a string."""
INJECTIONS = (
    f"x\n{CANARY}: 1",
    f'x"\n      {CANARY}: 1\n      a: "',
    f"x'}}, {CANARY}: 1, a: {{b: '",
    "{{ .Values.database }}",
    '{{ fail "templates in values are not run" }}',
    "x # y",
    "- x",
    "&a *b",
    "|",
    "!!int 3",
    "%YAML",
    "\t",
    "\u2028\x85x",
    "Krankenhaus Süd 腰椎 🦴",
    " ",
    "",
    "x" * 300,
    "a" * 64,
    "..",
    "a..b",
    "-a",
    "A",
    "0.0.0.0/0",
    "::/0",
)
NOT_STRINGS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    10**12,
    0.5,
    1e300,
    [],
    [None],
    {},
    {"a": None},
    [[]],
)


@pytest.fixture(autouse=True)
def needs_helm() -> None:
    if not HELM.exists():
        pytest.skip(MISSING)


def check(folder: Path, values: object, base: Path = BASES[0], *, release: str = "demo", namespace: str = "imaging",
          kubernetes: str = NEWEST, custom: bool = False) -> str | None:  # fmt: skip
    """What the chart said when it refused; None when it rendered, and all of that was well."""
    path = folder / "odd.yaml"
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    where = ("--namespace", namespace, "--kube-version", f"{kubernetes}.0")
    done = helm("template", release, CHART, *where, "--values", base, "--values", path)
    if done.returncode != 0:
        ours = ("meet the specifications of the schema", "value(s) to look at")
        assert any(each in done.stderr for each in ours), done.stderr
        return done.stderr
    objects = objects_in(done.stdout)
    for each in objects:
        check_object(each, kubernetes)
    others = [each for each in objects if each["apiVersion"].partition("/")[0] in CUSTOM_GROUPS]
    if custom and others:
        found = complaints_on_custom_resources(others)
        assert not any(found), found
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names)), names
    assert CANARY not in set(keys_of(objects))
    assert not {"0.0.0.0/0", "::/0"} & set(peers_of(objects))
    return None


def check_object(each: Object, kubernetes: str) -> None:
    """Kubernetes would take it: by its schema, and by the rules for names that schemas do not hold."""
    if each["apiVersion"].partition("/")[0] not in CUSTOM_GROUPS:
        kubernetes_validate.validate(each, kubernetes, strict=True)
    name = each["metadata"]["name"]
    assert SUBDOMAIN.fullmatch(name), name
    assert len(name) <= 253
    if each["kind"] == "Service":
        assert SERVICE.fullmatch(name), name
        ports = [port["port"] for port in each["spec"]["ports"]]
        assert len(ports) == len(set(ports))
    if each["kind"] in ("Deployment", "Job", "CronJob", "Pod"):
        assert len(name) <= 52, name
    for key, value in each["metadata"].get("labels", {}).items():
        assert isinstance(value, str), key
        assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value), (key, value)
    for value in each.get("data", {}).values():
        assert isinstance(value, str)


def keys_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from keys_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from keys_of(each)


def peers_of(objects: list[Object]) -> Iterator[str]:
    for each in objects:
        if each["kind"] == "NetworkPolicy":
            for rule in [*each["spec"].get("ingress", ()), *each["spec"].get("egress", ())]:
                for peer in [*rule.get("from", ()), *rule.get("to", ())]:
                    yield peer.get("ipBlock", {}).get("cidr", "")


# By hand

TAKEN = {
    "names that YAML takes for something else": """
        fullnameOverride: "null"
        nameOverride: "true"
        image: {repository: "1", tag: "20", pullSecrets: ["1e3"]}
        serviceAccount: {name: "0x1f"}
        database: {existingSecret: "123", passwordKey: "1", caKey: "true"}
        content: {existingSecret: "null", optionsKey: "~"}
        tls: {existingSecret: "1.5", certificateKey: "1", keyKey: "2"}
        tests: {clientTlsSecret: "7"}
        delivery: {existingSecret: "1", key: "on"}
        clientKeys: {existingSecret: "2"}
        files: {existingConfigMap: "3", existingSecret: "4"}
        api: {priorityClassName: "5", topologySpread: {topologyKey: "6"}}
        worker: {keda: {enabled: true}}
        ingress: {enabled: true, className: "7", tlsSecret: "8", grpc: {host: "9"}}
        monitoring: {serviceMonitor: {enabled: true}}
    """.replace('optionsKey: "~"', 'optionsKey: "no"'),
    "volumes with names of numbers": 'content: {url: "", existingSecret: "", existingClaim: "1"}\nmodels: {source: existingClaim, existingClaim: "2"}',
    "labels of the pods over those of all": "commonLabels: {tier: a}\napi: {podLabels: {tier: b}}",
    "labels of a monitor over those of all": "commonLabels: {release: a}\nmonitoring: {serviceMonitor: {enabled: true, labels: {release: b}}}",
    "a template where none is run": 'commonAnnotations: {a: "{{ .Release.Name }}"}\nextraEnv: {A: "{{ x"}',
    "lines and quotes in texts": 'settings: {organization_name: "a\\"b\\n c: d # e"}\nextraEnv: {A: "x\\ny: z"}\nsecretsRevision: "a: b"',
    "nobody at the door": "api: {replicas: 0}",
    "sizes in plain bytes": "api: {scratch: {tmpSizeLimit: 1000000000}}\nworker: {resources: {limits: {memory: 8589934592}}}",
    "the empty file": "",
    "what a parent chart shares": "global: {a: {b: c}}",
    "two objects in one text": """
        extraObjects:
          - |
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: a}
            ---
            # the second
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: "{{ .Release.Name }}-b"}
    """,
}  # fmt: skip

REFUSED = {
    "api: null": "api",
    "database: null": "database",
    "settings: null": "settings",
    "networkPolicy: {egress: {dns: {to: null}}}": "to",
    "worker: {resources: null}": "resources",
    "api: {replicas: null}": "replicas",
    "api: {replicas: '2'}": "integer",
    "api: {replicas: 99999999999}": "less than or equal",
    "worker: {studiesAtOnce: 1.5}": "integer",
    "database: {existingSecret: a..b}": "existingSecret",
    "database: {passwordKey: ..}": "passwordKey",
    'api: {topologySpread: {topologyKey: "x\\n      foo: bar"}}': "topologyKey",
    "api: {topologySpread: {topologyKey: ''}}": "topologyKey",
    'monitoring: {prometheusRule: {enabled: true, runbookUrl: "https://a/\\": b"}}': "runbookUrl",
    "monitoring: {prometheusRule: {enabled: true, runbookUrl: 'https://a/{{x}}'}}": "runbookUrl",
    "commonAnnotations: {helm.sh/hook: post-install}": "commonAnnotations",
    "api: {podAnnotations: {checksum/settings: x}}": "podAnnotations",
    "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: 1.2.3.4/0}}]}}}": "cidr",
    "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: 0.0.0.0/00}}]}}}": "cidr",
    "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: 999.1.1.1/24}}]}}}": "cidr",
    "networkPolicy: {ingress: {grpc: [{namespaceSelector: {matchLabels: {}}}]}}": "matchLabels",
    "networkPolicy: {ingress: {grpc: [{namespaceSelector: {matchExpressions: []}}]}}": "matchExpressions",
    "networkPolicy: {ingress: {grpc: [{namespaceSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}]}}": "operator",
    "networkPolicy: {ingress: {grpc: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}}]}}": "grpc",
    "networkPolicy: {ingress: {grpc: [{ipBlock: {cidr: 10.0.0.0/24}, podSelector: {}}]}}": "grpc",
    "worker: {resources: {limits: {memory: 6G}}}": "do not fit",
    "worker: {resources: {limits: {memory: 7000m}}}": "do not fit",
    "worker: {resources: {requests: {memory: 9Gi}, limits: {memory: 7Gi}}}": "more than its limit",
    "database: {passwordKey: a, caKey: a}": "cannot be two files",
    "http: {enabled: true, publicBaseUrl: 'https://a'}\napi: {service: {grpcPort: 1, httpPort: 1}}": "the same",
    "dicom: {enabled: true, aeTitle: '    ', peers: ['A@1.2.3.4']}": "aeTitle",
    "extraObjects: ['a: b']": "extraObjects[0]",
    "extraObjects: ['[]']": "extraObjects[0]",
    "schlüssel: 1": "schlüssel",
}  # fmt: skip


@pytest.mark.parametrize("values", TAKEN.values(), ids=TAKEN)
def test_odd_but_legal_values_give_legal_objects(tmp_path: Path, values: str) -> None:
    assert check(tmp_path, values) is None


@pytest.mark.parametrize(("values", "words"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_work_is_refused_by_name(tmp_path: Path, values: str, words: str) -> None:
    said = check(tmp_path, values)
    assert said is not None
    assert words in said


@pytest.mark.parametrize(
    ("release", "namespace"),
    [("123", "456"), ("1e5", "true"), ("true", "null"), ("a" * 53, "x" * 63), ("a.b", "imaging"), ("trabecula", "no")],
)
def test_odd_names_of_releases_and_namespaces(tmp_path: Path, release: str, namespace: str) -> None:
    everything = release == "true"  # slow, so once
    found = check(tmp_path, "", BASES[everything], release=release, namespace=namespace, custom=everything)
    assert found is None


def test_values_of_the_release_before_still_render(tmp_path: Path) -> None:
    """A user's values name only what differs from the defaults; those that the examples show are never taken away."""
    for path in sorted((CHART / "examples").glob("*/values.yaml")):
        kept = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert check(tmp_path, kept, path) is None


# By chance


def leaves(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every value that has a default, with what the schema says of it."""
    for name, each in schema.get("properties", {}).items():
        if "$ref" in each:
            each = {**SCHEMA["definitions"][each["$ref"].rpartition("/")[2]], **each}
        yield (*path, name), each
        if "additionalProperties" in each and each["additionalProperties"] is False:
            yield from leaves(each, (*path, name))


LEAVES = [(path, schema) for path, schema in leaves(SCHEMA) if path != ("global",)]


def legal(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows, as far as it is a simple one."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        low = int(schema.get("minimum", 0))
        return st.integers(low, min(int(schema.get("maximum", low + 10**6)), low + 10**6))
    if kind == "string" and "pattern" in schema:
        return st.one_of(st.from_regex(schema["pattern"], fullmatch=True), st.sampled_from(WORDS))
    if kind == "string":
        return st.text(max_size=80)
    if kind == "array" and schema.get("items", {}).get("$ref", "").endswith("/name"):
        return st.lists(st.sampled_from(WORDS), max_size=3)
    return st.nothing()


NASTY = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(INJECTIONS),
    st.sampled_from(NOT_STRINGS),
    st.dictionaries(st.sampled_from((*WORDS, *INJECTIONS)), st.sampled_from((*WORDS, *INJECTIONS)), max_size=3),
    st.text(max_size=20),
)


@st.composite
def odd_values(draw: st.DrawFn) -> dict[str, Any]:
    """One to four values, legal or nasty, wherever the chart has one; sometimes under a key that it has not."""
    values: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 4))):
        path, schema = draw(st.sampled_from(LEAVES))
        value = draw(st.one_of(legal(schema), NASTY))
        if draw(st.integers(0, 19)) == 0:
            path = (*path[:-1], draw(st.sampled_from((*WORDS, "nonsense"))))
        place = values
        for name in path[:-1]:
            below = place.setdefault(name, {})
            if not isinstance(below, dict):
                below = place[name] = {}
            place = below
        place[path[-1]] = value
    return values


def try_one(folder: Path, values: dict[str, Any], base: Path, kubernetes: str, *, custom: bool = False) -> None:
    try:
        text = yaml.safe_dump(values, allow_unicode=True)
    except yaml.YAMLError:
        text = json.dumps(values)
    if yaml.safe_load(text) == values:
        check(folder, text, base, kubernetes=kubernetes, custom=custom)


@given(odd_values(), st.sampled_from(BASES[:3]), st.sampled_from((OLDEST, NEWEST)))
@settings(max_examples=25, deadline=None, phases=[Phase.generate], derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
def test_by_chance(tmp_path: Path, values: dict[str, Any], base: Path, kubernetes: str) -> None:
    try_one(tmp_path, values, base, kubernetes)


@pytest.mark.heavy
@given(odd_values(), st.sampled_from(BASES), st.sampled_from((OLDEST, NEWEST)))
@settings(max_examples=2000, deadline=None, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
def test_by_much_chance(tmp_path: Path, values: dict[str, Any], base: Path, kubernetes: str) -> None:
    try_one(tmp_path, values, base, kubernetes, custom=True)
