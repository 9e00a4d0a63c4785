"""What the chart renders: valid for Kubernetes, and shut as far as it can be."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import kubernetes_validate
import pytest
from helm_chart import CHART, CUSTOM_GROUPS, NEWEST, OLDEST, Object, Rendered, complaints_on_custom_resources, helm

from trabecula.config import Settings, load_settings

GOLDEN = Path(__file__).resolve().parent / "golden"


def is_custom(each: Object) -> bool:
    return each["apiVersion"].split("/")[0] in CUSTOM_GROUPS


def test_helm_lint_is_content(renders: tuple[Rendered, ...]) -> None:
    assert renders
    for words in ([], *(["--values", path] for path in (CHART / "ci").glob("*.yaml"))):
        done = helm("lint", "--strict", CHART, *words)
        assert done.returncode == 0, done.stdout


def test_kubernetes_takes_every_object(renders: tuple[Rendered, ...]) -> None:
    assert {each.kubernetes for each in renders} == {OLDEST, NEWEST}
    seen = set()  # what two values files render alike is held against the schemas once
    for rendered in renders:
        for each in rendered.objects:
            key = (rendered.kubernetes, json.dumps(each, sort_keys=True))
            if not is_custom(each) and key not in seen:
                seen.add(key)
                kubernetes_validate.validate(each, rendered.kubernetes, strict=True)


def test_the_judge_of_kubernetes_objects_is_awake(minimal: Rendered) -> None:
    broken = {**minimal.one("Deployment", "-api"), "nonsense": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


def test_custom_resources_are_as_their_definitions_want_them(renders: tuple[Rendered, ...]) -> None:
    custom = [each for rendered in renders for each in rendered.objects if is_custom(each)]
    kinds = {each["kind"] for each in custom}
    assert kinds == {
        "GRPCRoute", "HTTPRoute", "ServiceMonitor", "PodMonitor", "PrometheusRule", "ScaledObject",
        "TriggerAuthentication", "ExternalSecret",
    }  # fmt: skip
    custom = [json.loads(each) for each in sorted({json.dumps(each, sort_keys=True) for each in custom})]
    first = {each["kind"]: each for each in custom}
    broken = [{**each, "spec": {**each["spec"], "nonsense": 1}} for each in first.values()]
    complaints = complaints_on_custom_resources([*custom, *broken])
    assert complaints[: len(custom)] == [[]] * len(custom)
    assert all("nonsense" in str(found) for found in complaints[len(custom) :])


def test_renders_are_as_they_were(renders: tuple[Rendered, ...]) -> None:
    """``TRABECULA_UPDATE_GOLDEN=1`` writes them anew: read the difference before it is committed."""
    stale = []
    for rendered in renders:
        if rendered.kubernetes != NEWEST or not rendered.values.startswith("ci/"):
            continue
        path = GOLDEN / Path(rendered.values).name
        if os.environ.get("TRABECULA_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(rendered.text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != rendered.text:
            stale.append(path.name)
    assert not stale


def test_every_pod_is_restricted(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        for name, _, spec in rendered.pods():
            assert spec["automountServiceAccountToken"] is False, name
            assert spec["enableServiceLinks"] is False, name
            pod = spec["securityContext"]
            assert pod["runAsNonRoot"] is True
            assert pod["runAsUser"] >= 1
            assert pod["fsGroupChangePolicy"] == "OnRootMismatch"
            assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
            for container in [*spec.get("initContainers", []), *spec["containers"]]:
                shut = container["securityContext"]
                assert shut["readOnlyRootFilesystem"] is True, name
                assert shut["allowPrivilegeEscalation"] is False, name
                assert shut["runAsNonRoot"] is True, name
                assert shut["capabilities"] == {"drop": ["ALL"]}, name
                assert shut["seccompProfile"] == {"type": "RuntimeDefault"}, name
                assert container["resources"]["requests"], name
                assert container["resources"]["limits"]["memory"], name
            for volume in spec["volumes"]:
                assert "hostPath" not in volume
                if "emptyDir" in volume:
                    assert volume["emptyDir"]["sizeLimit"], name
                if "secret" in volume:
                    assert volume["secret"]["defaultMode"] == 0o440


def test_whatever_is_mounted_there_is_a_volume_for(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        for name, _, spec in rendered.pods():
            volumes = [each["name"] for each in spec["volumes"]]
            assert len(volumes) == len(set(volumes))
            mounted = set()
            for container in [*spec.get("initContainers", []), *spec["containers"]]:
                places = [each["mountPath"] for each in container["volumeMounts"]]
                assert len(places) == len(set(places)), name
                mounted |= {each["name"] for each in container["volumeMounts"]}
                for each in container["volumeMounts"]:
                    writable = each["name"] in ("tmp", "state") or each["mountPath"] == "/target"
                    assert writable or each["readOnly"] is True, (name, each)
            assert mounted == set(volumes), name


def test_selectors_choose_the_pods_they_mean(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        labels = {name: metadata["labels"] for name, metadata, _ in rendered.pods()}
        for each in rendered.of("Deployment"):
            selector = each["spec"]["selector"]["matchLabels"]
            chosen = [name for name, own in labels.items() if selector.items() <= own.items()]
            assert chosen == [f"Deployment/{each['metadata']['name']}"]
        for each in rendered.of("Service"):
            selector = each["spec"]["selector"]
            chosen = [name for name, own in labels.items() if selector.items() <= own.items()]
            assert chosen == ["Deployment/demo-trabecula-api"]
        for each in rendered.of("PodDisruptionBudget"):
            selector = each["spec"]["selector"]["matchLabels"]
            (chosen_one,) = (name for name, own in labels.items() if selector.items() <= own.items())
            assert chosen_one == f"Deployment/{each['metadata']['name']}"
            assert each["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_monitors_find_their_targets(everything: Rendered) -> None:
    metrics = everything.one("Service", "-metrics")
    monitor = everything.one("ServiceMonitor")["spec"]
    found = [
        each for each in everything.of("Service")
        if monitor["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]  # fmt: skip
    assert found == [metrics]
    assert monitor["endpoints"][0]["port"] in [port["name"] for port in metrics["spec"]["ports"]]
    pods = everything.one("PodMonitor")["spec"]
    worker = everything.one("Deployment", "-worker")["spec"]["template"]
    assert pods["selector"]["matchLabels"].items() <= worker["metadata"]["labels"].items()
    ports = [port["name"] for port in worker["spec"]["containers"][0]["ports"]]
    assert pods["podMetricsEndpoints"][0]["port"] in ports
    jobs = {each["replacement"] for spec in (monitor["endpoints"], pods["podMetricsEndpoints"])
            for each in spec[0]["relabelings"]}  # fmt: skip
    assert jobs == {"trabecula"}


def test_names_are_legal_and_never_twice(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in rendered.objects]
        assert len(names) == len(set(names))
        for _, kind, name in names:
            assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name), name
            assert len(name) <= 63, (kind, name)
        outside = [each for each in rendered.objects if not each["metadata"]["name"].startswith("demo-")]
        assert {each["kind"] for each in outside} <= {"ExternalSecret"}


def test_probes_are_grpc_on_the_plain_port_by_service_name(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        for deployment in rendered.of("Deployment"):
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            assert container["startupProbe"]["grpc"] == {"port": 8081, "service": "startup"}
            assert container["readinessProbe"]["grpc"] == {"port": 8081, "service": "ready"}
            assert container["livenessProbe"]["grpc"] == {"port": 8081}
            assert {"name": "health", "containerPort": 8081} in container["ports"]


def test_pods_get_the_time_to_drain(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        for role in ("api", "worker"):
            spec = rendered.one("Deployment", f"-{role}")["spec"]["template"]["spec"]
            drain_s = int(rendered.one("ConfigMap", f"-{role}")["data"]["TRABECULA_DRAIN_TIMEOUT_S"])
            sleep = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            assert spec["terminationGracePeriodSeconds"] >= sleep + drain_s + 15


@pytest.mark.parametrize("role", ["api", "worker"])
def test_the_program_takes_the_environment_it_is_given(renders: tuple[Rendered, ...], role: str) -> None:
    for rendered in renders:
        data = rendered.one("ConfigMap", f"demo-trabecula-{role}")["data"]
        ours = {name: text for name, text in data.items() if name.startswith("TRABECULA_")}
        settings = load_settings(ours)
        known = {f"TRABECULA_{name.upper()}" for name in Settings.__dataclass_fields__}
        assert set(ours) <= known
        assert settings.role == role
        assert settings.health_listen is not None
        assert settings.health_listen.endswith(":8081")
        spec = rendered.one("Deployment", f"-{role}")["spec"]["template"]["spec"]
        mounts = {each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
        for name, text in ours.items():
            if text.startswith("/"):
                assert any(text == place or text.startswith(place + "/") for place in mounts), (name, text)
        if role == "worker":
            limit = spec["containers"][0]["resources"]["limits"]["memory"]
            assert limit.endswith("Gi")
            assert int(limit[:-2]) << 30 > settings.workers * settings.worker_memory_bytes


def test_numbers_reach_the_program_whole(everything: Rendered) -> None:
    data = everything.one("ConfigMap", "-worker")["data"]
    assert data["TRABECULA_MAX_STUDY_BYTES"] == "4294967296"
    assert data["TRABECULA_WORKER_MEMORY_BYTES"] == "6442450944"
    assert data["TRABECULA_HEARTBEAT_S"] == "2.5"
    assert data["TRABECULA_WARM_START"] == "false"


def test_secrets_are_files_and_never_values(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        assert not rendered.of("Secret")
        assert "secretKeyRef" not in rendered.text
        for _, _, spec in rendered.pods():
            for container in spec["containers"]:
                assert all("valueFrom" not in each for each in container.get("env", []))
                assert all("secretRef" not in each for each in container.get("envFrom", []))


def test_every_way_to_bring_models(renders: tuple[Rendered, ...]) -> None:
    def models(values: str) -> tuple[Object | None, Object, str | None]:
        rendered = next(each for each in renders if values in each.values and each.kubernetes == NEWEST)
        spec = rendered.one("Deployment", "-worker")["spec"]["template"]["spec"]
        volume = next((each for each in spec["volumes"] if each["name"] == "models"), None)
        return volume, spec, rendered.one("ConfigMap", "trabecula-worker")["data"].get("TRABECULA_MODELS_DIR")

    digest = "registry.example.org/models@sha256:" + "b" * 64
    assert models("ci/minimal")[0] is None
    volume, _, place = models("ci/image-volume")
    assert volume is not None
    assert volume["image"] == {"reference": digest, "pullPolicy": "IfNotPresent"}
    assert place == "/models/models"
    volume, _, place = models("ci/volumes")
    assert volume is not None
    assert volume["persistentVolumeClaim"] == {"claimName": "trabecula-models", "readOnly": True}
    assert place == "/models"
    volume, spec, place = models("ci/everything")
    assert volume is not None
    assert volume["emptyDir"] == {"sizeLimit": "2Gi"}
    (copying,) = spec["initContainers"]
    assert copying["image"] == digest
    assert copying["command"] == ["cp", "-R", "/models/.", "/target/"]
    assert place == "/models"


def test_images_carry_their_digest(everything: Rendered) -> None:
    wanted = "trabecula:0.1.0@sha256:" + "a" * 64
    for name, _, spec in everything.pods():
        assert spec["containers"][0]["image"] == wanted, name


def test_what_is_off_renders_nothing(bare: Rendered) -> None:
    kinds = sorted((each["kind"], each["metadata"]["name"]) for each in bare.objects)
    assert kinds == [
        ("ConfigMap", "demo-trabecula-api"),
        ("ConfigMap", "demo-trabecula-worker"),
        ("Deployment", "demo-trabecula-api"),
        ("Deployment", "demo-trabecula-worker"),
        ("Service", "demo-trabecula"),
        ("Service", "demo-trabecula-metrics"),
    ]


def test_replicas_are_left_to_who_scales(everything: Rendered, minimal: Rendered) -> None:
    for rendered, there in ((everything, False), (minimal, True)):
        for each in rendered.of("Deployment"):
            assert ("replicas" in each["spec"]) is there


def test_pods_spread_and_roll(everything: Rendered, minimal: Rendered) -> None:
    for rendered in (everything, minimal):
        for each in rendered.of("Deployment"):
            (spread,) = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert spread["matchLabelKeys"] == ["pod-template-hash"]
            assert spread["labelSelector"]["matchLabels"] == each["spec"]["selector"]["matchLabels"]
        api = rendered.one("Deployment", "-api")["spec"]
        assert api["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_migrations_run_before_everything_and_need_nothing_of_the_release(minimal: Rendered) -> None:
    job = minimal.one("Job")
    hooks = job["metadata"]["annotations"]
    assert hooks["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert [*container["command"], *container["args"]] == ["trabecula", "db", "upgrade"]
    assert "serviceAccountName" not in spec
    assert "envFrom" not in container
    settings = load_settings({each["name"]: each["value"] for each in container["env"]})
    assert settings.database_url is not None
    policy = minimal.one("NetworkPolicy", "-migrations")
    assert policy["metadata"]["annotations"]["helm.sh/hook"] == hooks["helm.sh/hook"]
    assert int(policy["metadata"]["annotations"]["helm.sh/hook-weight"]) < int(hooks["helm.sh/hook-weight"])


def test_routes_and_ingresses_point_at_ports_that_exist(everything: Rendered) -> None:
    service = everything.one("Service", "demo-trabecula")
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    for kind, name in (("GRPCRoute", "grpc"), ("HTTPRoute", "http")):
        (rule,) = everything.one(kind)["spec"]["rules"]
        assert rule["backendRefs"] == [{"name": "demo-trabecula", "port": ports[name]}]
        ingress = everything.one("Ingress", name)
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {"name": "demo-trabecula", "port": {"name": name}}
        assert ingress["spec"]["tls"][0]["hosts"] == [ingress["spec"]["rules"][0]["host"]]
    from trabecula.v1 import screening_pb2

    (match,) = everything.one("GRPCRoute")["spec"]["rules"][0]["matches"]
    assert match["method"]["service"] == screening_pb2.DESCRIPTOR.services_by_name["ScreeningService"].full_name


def test_the_checksum_follows_the_settings(everything: Rendered, minimal: Rendered) -> None:
    for role in ("api", "worker"):
        pods = [each.one("Deployment", f"-{role}")["spec"]["template"] for each in (everything, minimal)]
        notes = [pod["metadata"]["annotations"] for pod in pods]
        sums = [{key: text for key, text in each.items() if key.startswith("checksum/")} for each in notes]
        assert set(sums[0]) == {"checksum/settings", "checksum/secrets"}
        assert all(sums[0][key] != sums[1][key] for key in sums[0])


def test_extra_objects_are_filled_in(everything: Rendered) -> None:
    assert {"demo-extra", "demo-text"} <= {each["metadata"]["name"] for each in everything.of("ConfigMap")}
