"""What a chart of this kind is held to, point by point; the other tests of this folder go deeper into each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_chart import CHART, CUSTOM_GROUPS, REPOSITORY, Rendered

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def deployment(rendered: Rendered, role: str) -> dict[str, Any]:
    found: dict[str, Any] = rendered.one("Deployment", f"-{role}")["spec"]
    return found


def container(rendered: Rendered, role: str) -> dict[str, Any]:
    (found,) = deployment(rendered, role)["template"]["spec"]["containers"]
    return dict(found)


def test_01_schema_is_draft_07_closed_described_and_the_source_of_the_table() -> None:
    assert "draft-07" in SCHEMA["$schema"]
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["required"]) == set(SCHEMA["properties"]) - {"global"}
    table = (CHART / "README.md").read_text(encoding="utf-8")
    assert "| `worker.keda.enabled` |" in table


def test_02_pods_are_restricted(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        for name, _, spec in rendered.pods():
            pod = spec["securityContext"]
            assert (pod["runAsNonRoot"], pod["fsGroupChangePolicy"]) == (True, "OnRootMismatch"), name
            assert min(pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) > 0
            assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
            assert spec["automountServiceAccountToken"] is False
            for each in [*spec["containers"], *spec.get("initContainers", ())]:
                context = each["securityContext"]
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert context["readOnlyRootFilesystem"] is True
            for volume in spec["volumes"]:
                assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], name


def test_02_user_namespaces_can_be_asked_for(everything: Rendered) -> None:
    assert all(spec["hostUsers"] is False for _, _, spec in everything.pods())


def test_03_probes_are_grpc_by_named_service_and_pods_drain(minimal: Rendered) -> None:
    for role in ("api", "worker"):
        own = container(minimal, role)
        probes = [own[f"{kind}Probe"]["grpc"].get("service") for kind in ("startup", "readiness", "liveness")]
        assert probes == ["startup", "ready", None]
        ports = {port["name"]: port["containerPort"] for port in own["ports"]}
        assert own["readinessProbe"]["grpc"]["port"] == ports["health"]  # plain, beside TLS
    spec = deployment(minimal, "api")["template"]["spec"]
    assert container(minimal, "api")["lifecycle"]["preStop"]["sleep"]["seconds"] > 0
    data = minimal.one("ConfigMap", "-worker")["data"]
    grace = deployment(minimal, "worker")["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > int(data["TRABECULA_DRAIN_TIMEOUT_S"])
    assert spec["terminationGracePeriodSeconds"] > int(minimal.one("ConfigMap", "-api")["data"]["TRABECULA_DRAIN_TIMEOUT_S"])  # fmt: skip # noqa: E501


def test_04_two_workloads_of_one_image(everything: Rendered) -> None:
    api, worker = container(everything, "api"), container(everything, "worker")
    assert api["image"] == worker["image"]
    assert api["resources"] != worker["resources"]
    assert (api["args"][-1], worker["args"][-1]) == ("api", "worker")


def test_05_api_scales_by_cpu_and_workers_by_the_queue(everything: Rendered) -> None:
    assert everything.one("HorizontalPodAutoscaler", "-api")["spec"]["metrics"][0]["resource"]["name"] == "cpu"
    (trigger,) = everything.one("ScaledObject")["spec"]["triggers"]
    assert trigger["type"] == "postgresql"
    assert {"query", "targetQueryValue", "activationTargetQueryValue"} <= trigger["metadata"].keys()
    assert "password" not in trigger["metadata"]


def test_06_disruptions_are_few_and_pods_spread(minimal: Rendered) -> None:
    for budget in minimal.of("PodDisruptionBudget"):
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert {each["metadata"]["name"][-3:] for each in minimal.of("PodDisruptionBudget")} == {"api", "ker"}
    (spread,) = deployment(minimal, "api")["template"]["spec"]["topologySpreadConstraints"]
    assert spread["matchLabelKeys"] == ["pod-template-hash"]
    assert deployment(minimal, "api")["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_07_network_is_shut_by_default(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        assert "0.0.0.0/0" not in rendered.text
        assert "::/0" not in rendered.text
        if "bare" not in rendered.values:
            denied = rendered.one("NetworkPolicy", "-default-deny")["spec"]
            assert denied["policyTypes"] == ["Ingress", "Egress"]
            assert not denied.get("ingress")
            assert not denied.get("egress")


def test_07_every_way_out_can_be_opened_by_itself(everything: Rendered) -> None:
    egress = everything.one("NetworkPolicy", "-egress")["spec"]["egress"]
    ports = {port["port"] for rule in egress for port in rule["ports"]}
    assert ports == {53, 6432, 443, 11112, 4317}  # names, PostgreSQL, storage and FHIR, PACS, traces


def test_08_the_edge_is_a_gateway_or_an_ingress(everything: Rendered) -> None:
    assert everything.one("GRPCRoute")["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert everything.of("HTTPRoute")
    assert len(everything.of("Ingress")) == 2
    guide = (REPOSITORY / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    assert "4 MiB" in guide or "stream" in guide


def test_09_secrets_are_named_mounted_as_files_and_roll_the_pods(everything: Rendered) -> None:
    assert not everything.of("Secret")
    assert everything.of("ExternalSecret")
    for role in ("api", "worker"):
        assert "secretKeyRef" not in json.dumps(container(everything, role))
        notes = deployment(everything, role)["template"]["metadata"]["annotations"]
        assert {"checksum/settings", "checksum/secrets"} <= notes.keys()


@pytest.mark.parametrize("source", ["image", "persistentVolumeClaim", "emptyDir"])
def test_10_models_come_three_ways(renders: tuple[Rendered, ...], source: str) -> None:
    found = [
        volume
        for rendered in renders
        for _, _, spec in rendered.pods()
        for volume in spec["volumes"]
        if volume["name"] == "models" and source in volume
    ]
    assert found
    if source == "image":
        assert all("@sha256:" in volume["image"]["reference"] for volume in found)


def test_11_images_go_by_digest(everything: Rendered) -> None:
    for _, _, spec in everything.pods():
        for each in [*spec["containers"], *spec.get("initContainers", ())]:
            assert "@sha256:" in each["image"]


def test_12_monitoring_comes_along(everything: Rendered) -> None:
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule"):
        assert len(everything.of(kind)) == 1
    boards = [each for each in everything.of("ConfigMap") if "-dashboard-" in each["metadata"]["name"]]
    assert len(boards) == len(list((CHART / "files" / "dashboards").glob("*.json")))
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in boards)
    rules = [rule for group in everything.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    assert all(rule["annotations"]["runbook_url"].startswith("https://") for rule in rules if "alert" in rule)


def test_13_helm_test_sends_a_phantom_through(minimal: Rendered) -> None:
    pod = minimal.one("Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    check = minimal.one("ConfigMap", "-test")["data"]["check.py"]
    assert all(word in check for word in ("phantom", "health", "metrics"))


def test_14_migrations_are_a_hook(minimal: Rendered) -> None:
    job = minimal.one("Job", "-migrations")
    assert "pre-upgrade" in job["metadata"]["annotations"]["helm.sh/hook"]
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["db", "upgrade"]


def test_15_batch_is_optional(everything: Rendered, minimal: Rendered) -> None:
    assert not minimal.of("CronJob")
    job = everything.one("CronJob", "-drift")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    (own,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert own["args"][:2] == ["drift", "evaluate"]
    # Ray is not used by this program, so there is no RayJob.
    assert not any("ray.io" in each["apiVersion"] for each in everything.objects)


def test_15_the_drift_job_is_given_what_its_command_reads(everything: Rendered) -> None:
    spec = everything.one("CronJob", "-drift")["spec"]["jobTemplate"]["spec"]["template"]
    assert spec["metadata"]["labels"]["app.kubernetes.io/component"] == "drift"
    (meant,) = everything.one("NetworkPolicy", "-egress")["spec"]["podSelector"]["matchExpressions"]
    assert "drift" in meant["values"]
    (own,) = spec["spec"]["containers"]
    mounted = {mount["mountPath"] for mount in own["volumeMounts"]}
    environment = everything.one("ConfigMap", "-worker")["data"]
    assert str(Path(environment["TRABECULA_DATABASE_PASSWORD_FILE"]).parent) in mounted
    assert str(Path(environment["TRABECULA_STATE_DIR"]).parent) in mounted


def test_16_hygiene(everything: Rendered) -> None:
    own = [each for each in everything.objects if each["metadata"]["name"] not in ("demo-extra", "demo-text")]
    for each in own:
        assert each["metadata"]["labels"]["app.kubernetes.io/part-of"] == "trabecula"
        assert each["metadata"]["annotations"]["example.org/owner"] == "imaging"
    assert any(each["metadata"]["name"] == "demo-extra" for each in everything.of("ConfigMap"))
    assert (CHART / "templates" / "NOTES.txt").is_file()
    assert len(list((CHART / "ci").glob("*-values.yaml"))) >= 5
    assert len(list((CHART / "examples").glob("[0-9][0-9]-*/values.yaml"))) >= 3
    assert {each["apiVersion"].partition("/")[0] for each in everything.objects} >= set(CUSTOM_GROUPS)
    assert yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["kubeVersion"]
