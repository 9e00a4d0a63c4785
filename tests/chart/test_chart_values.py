"""What the chart refuses, and that its schema, its table and the program say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, HELM, MISSING, REPOSITORY, template

from trabecula import __version__
from trabecula.config import Settings

MINIMAL = CHART / "ci" / "minimal-values.yaml"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

ODD = {
    "unknown key": "nonsense: 1",
    "unknown key below": "api: {nonsense: 1}",
    "unknown setting": "settings: {nonsense: 1}",
    "setting of the chart's own": "settings: {listen: '0.0.0.0:1'}",
    "setting with a password": "settings: {database_url: 'postgresql://a:b@c/d'}",
    "word for a number": "api: {replicas: abc}",
    "negative replicas": "api: {replicas: -1}",
    "no worker": "worker: {replicas: 0}",
    "KEDA down to none": "worker: {keda: {minReplicas: 0}}",
    "root": "security: {runAsUser: 0}",
    "root's group": "security: {fsGroup: 0}",
    "short digest": "image: {digest: 'sha256:abc'}",
    "tag with a blank": "image: {tag: 'a b'}",
    "unknown pull policy": "image: {pullPolicy: Sometimes}",
    "unknown source of models": "models: {source: internet}",
    "path upwards": "models: {image: {path: /models/../etc}}",
    "everybody's addresses": "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: 0.0.0.0/0}}]}}}",
    "half of everybody's addresses": "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: 128.0.0.0/1}}]}}}",
    "everybody's addresses in IPv6": "networkPolicy: {egress: {fhir: {to: [{ipBlock: {cidr: '::/0'}}]}}}",
    "every namespace": "networkPolicy: {ingress: {grpc: [{namespaceSelector: {}}]}}",
    "a peer that is everybody": "networkPolicy: {ingress: {grpc: [{}]}}",
    "a password where none belongs": "database: {password: secret}",
    "a secret in the environment": "extraEnv: {API_TOKEN: abc}",
    "our settings in the environment": "extraEnv: {TRABECULA_ROLE: all}",
    "injection through the host": "database: {host: 'db/other?sslmode=disable'}",
    "injection through the user": "database: {user: 'a@b'}",
    "weak sslmode": "database: {sslMode: prefer}",
    "port out of range": "database: {port: 70000}",
    "a label of the chart's own": "commonLabels: {app.kubernetes.io/name: other}",
    "a pod label of the chart's own": "api: {podLabels: {app.kubernetes.io/component: worker}}",
    "number as a label": "commonLabels: {a: 1}",
    "odd host name": "gateway: {grpcRoute: {hostnames: ['a b']}}",
    "odd size": "api: {scratch: {tmpSizeLimit: lots}}",
    "odd resources": "worker: {resources: {claims: []}}",
    "quantity with a blank": "worker: {resources: {limits: {memory: '7 Gi'}}}",
    "odd percent": "api: {podDisruptionBudget: {maxUnavailable: 120%}}",
    "long AE title": "dicom: {aeTitle: SEVENTEENLETTERSX}",
    "peer with a comma": "dicom: {peers: ['A@1.2.3.4,B@0.0.0.0/0']}",
    "http alone as public address": "http: {publicBaseUrl: trabecula.example}",
    "long name": f"fullnameOverride: {'a' * 41}",
    "capital name": "fullnameOverride: Trabecula",
    "null for a switch": "networkPolicy: {enabled: 'yes'}",
    "endless drain": "worker: {drainSeconds: 100000}",
    "half an object": "extraObjects: [{kind: ConfigMap}]",
}

AGAINST = {
    "worker: autoscaling (HPA) and keda exclude": "worker: {autoscaling: {enabled: true}, keda: {enabled: true}}",
    "database.host": "database: {host: ''}",
    "database.existingSecret": "database: {existingSecret: ''}",
    "database.caKey": "database: {sslMode: verify-ca}",
    "content: give": "content: {url: ''}",
    "exclude each other": "content: {existingClaim: both}",
    "networkPolicy.egress.database.to": "networkPolicy: {egress: {database: {to: []}}}",
    "networkPolicy.egress.objectStorage.to": "networkPolicy: {egress: {objectStorage: {to: []}}}",
    "needs repository and digest": "models: {source: initContainer, image: {repository: models}}",
    "models.existingClaim": "models: {source: existingClaim}",
    "http.publicBaseUrl": "http: {enabled: true}",
    "http.sessionKey": "http: {users: {existingSecret: users}}",
    "http.sessionKey.existingSecret": (
        "http: {enabled: true, publicBaseUrl: 'https://a'}\nsettings: {oidc_issuer: 'https://b', oidc_client_id: c}"
    ),
    "settings.oidc_issuer: needs": "settings: {oidc_issuer: 'https://b'}\nhttp: {sessionKey: {existingSecret: s}}",
    "tests.tokenSecret": (
        "settings: {grpc_auth: 'on', auth_issuers: 'https://b', grpc_audience: a, tls_elsewhere: true}"
    ),
    "dicom.peers": "dicom: {enabled: true}",
    "gateway.grpcRoute.parentRefs": "gateway: {grpcRoute: {enabled: true}}",
    "gateway.httpRoute: needs http": "gateway: {httpRoute: {enabled: true, parentRefs: [{name: edge}]}}",
    "ingress: give": "ingress: {enabled: true}",
    "ingress.tlsSecret": "ingress: {enabled: true, grpc: {host: a.example}}",
    "ingress.http.host": "ingress: {enabled: true, http: {host: a.example}}",
    "externalSecrets": "externalSecrets: {enabled: true}",
    "tests.clientTlsSecret": "tls: {existingSecret: tls}",
    "minReplicas is more": "api: {autoscaling: {minReplicas: 9}}",
    "worker.keda: minReplicas": "worker: {keda: {minReplicas: 9}}",
    "do not fit": "worker: {studiesAtOnce: 2}",
}


@pytest.fixture(autouse=True)
def needs_helm() -> None:
    if not HELM.exists():
        pytest.skip(MISSING)


def refused(folder: Path, values: str, kubernetes: str = "1.37") -> str:
    path = folder / "odd.yaml"
    path.write_text(values, encoding="utf-8")
    done = template(CHART, "--values", MINIMAL, "--values", path, kubernetes=kubernetes)
    assert done.returncode != 0, done.stdout[:300]
    return done.stderr


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_odd_values_are_refused_by_the_schema(tmp_path: Path, values: str) -> None:
    assert "meet the specifications of the schema" in refused(tmp_path, values)


@pytest.mark.parametrize(("words", "values"), AGAINST.items(), ids=AGAINST)
def test_values_that_contradict_each_other_are_refused_in_words(tmp_path: Path, words: str, values: str) -> None:
    found = refused(tmp_path, values)
    assert "value(s) to look at" in found
    assert words in found


def test_image_volumes_wait_for_a_kubernetes_that_has_them(tmp_path: Path) -> None:
    values = (CHART / "ci" / "image-volume-values.yaml").read_text(encoding="utf-8")
    assert "image volumes need Kubernetes 1.36, this is v1.35.0" in refused(tmp_path, values, "1.35")
    path = tmp_path / "odd.yaml"
    assert template(CHART, "--values", path, kubernetes="1.36").returncode == 0


def test_all_that_is_missing_is_named_at_once() -> None:
    done = template(CHART)
    assert done.returncode != 0
    assert "6 value(s) to look at" in done.stderr


def test_an_older_kubernetes_is_refused() -> None:
    assert "incompatible" in template(CHART, "--values", MINIMAL, kubernetes="1.29").stderr


def objects_of(schema: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        return [found for index, each in enumerate(schema) for found in objects_of(each, f"{path}[{index}]")]
    if not isinstance(schema, dict):
        return []
    own = [(path, schema)] if schema.get("type") == "object" else []
    return own + [found for key, each in schema.items() for found in objects_of(each, f"{path}/{key}")]


def test_the_schema_is_closed_and_described_at_every_level() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    open_by_nature = {"/definitions/extraObject/anyOf[1]", "/properties/global"}
    for path, schema in objects_of(SCHEMA):
        if path in open_by_nature:
            continue
        more = schema["additionalProperties"]
        # Maps of names that users choose: what they hold is typed, and so are the names.
        closed = more is False or (
            isinstance(more, dict) and "propertyNames" in schema and ("type" in more or "$ref" in more)
        )
        assert closed, path
        for name, each in schema.get("properties", {}).items():
            assert each.get("description") or "$ref" in each, f"{path}/{name}"
            if "$ref" in each:
                assert SCHEMA["definitions"][each["$ref"].rpartition("/")[2]]["description"]


def test_schema_and_table_are_written_from_the_values() -> None:
    script = REPOSITORY / "scripts" / "write_helm_reference.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_setting_of_the_program_has_a_place_in_the_chart() -> None:
    given = set(SCHEMA["definitions"]["settings"]["properties"])
    assert given < set(Settings.__dataclass_fields__)
    templates = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").glob("*.tpl"))
    for name in set(Settings.__dataclass_fields__) - given - {"admin_listen", "backup_dir"}:
        assert f"TRABECULA_{name.upper()}:" in templates, name


def test_the_chart_names_the_release_it_is_for() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__


def test_odd_release_names_stay_legal() -> None:
    done = template(CHART, "--values", MINIMAL, "--set", f"nameOverride={'n' * 40}", "--set", "fullnameOverride=")
    names = [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("  name: ")]
    assert names
    assert all(len(name) <= 63 for name in names)
