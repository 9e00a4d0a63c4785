"""The examples for campaigns: an Indexed Job and a RayJob, valid and shut.

KubeRay's definition is in no package of npm or PyPI, so the RayJob's own fields are held against those named here; its
pod templates, which are most of it, against Kubernetes' schemas. docs/archive.md says which definition it was held
against by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import typer
import yaml
from helm_chart import CHART, NEWEST, OLDEST

from trabecula.cli.app import app
from trabecula.config import load_settings

FOLDER = CHART / "examples" / "archive"
Object = dict[str, Any]


def objects(name: str) -> list[Object]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def job() -> Object:
    return objects("indexed-job.yaml")[0]


@pytest.fixture(scope="module")
def policy() -> Object:
    return objects("indexed-job.yaml")[1]


@pytest.fixture(scope="module")
def ray_job() -> Object:
    (found,) = objects("rayjob.yaml")
    return found


def templates_of(ray_job: Object) -> dict[str, Object]:
    cluster = ray_job["spec"]["rayClusterSpec"]
    workers = {f"worker {each['groupName']}": each["template"] for each in cluster["workerGroupSpecs"]}
    return {
        "submitter": ray_job["spec"]["submitterPodTemplate"],
        "head": cluster["headGroupSpec"]["template"],
    } | workers


def check_template(template: Object, version: str) -> None:
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    kubernetes_validate.validate(pod, version, strict=True)


def check_pod_is_shut(spec: Object) -> None:
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        shut = container["securityContext"]
        assert shut["readOnlyRootFilesystem"] is True
        assert shut["allowPrivilegeEscalation"] is False
        assert shut["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        assert "@sha256:" in container["image"]
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        assert set(mounts) == {each["name"] for each in spec["volumes"]}
        if "archive" in mounts:
            assert mounts["archive"]["readOnly"] is True
    for volume in spec["volumes"]:
        assert "hostPath" not in volume
        if "emptyDir" in volume:
            assert volume["emptyDir"]["sizeLimit"]


def options_of(words: list[str]) -> dict[str, Any]:
    """The command line as the program itself takes it apart; raises UsageError."""
    command: Any = typer.main.get_command(app)
    assert words[:3] == ["trabecula", "archive", "run"]
    for word in words[1:3]:
        command = command.commands[word]
    context: click.Context = command.make_context("run", words[3:])
    return context.params


def check_environment(container: Object, studies_at_once: int) -> None:
    """What a study may take fits into the container's limit."""
    ours = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("TRABECULA_")}
    limit = container["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) << 30 > studies_at_once * load_settings(ours).worker_memory_bytes


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_indexed_job_and_its_policy(job: Object, policy: Object, version: str) -> None:
    kubernetes_validate.validate(job, version, strict=True)
    kubernetes_validate.validate(policy, version, strict=True)


def test_the_indexed_job_reads_every_shard_once(job: Object) -> None:
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    (container,) = spec["template"]["spec"]["containers"]
    words = [*container["command"], *container["args"]]
    shards = {
        options_of([word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in words])["shard"]
        for index in range(spec["completions"])
    }
    count = spec["completions"]
    assert shards == {f"{index}/{count}" for index in range(count)}


def test_the_indexed_job_is_shut_and_begins_again(job: Object, policy: Object) -> None:
    pod = job["spec"]["template"]["spec"]
    check_pod_is_shut(pod)
    assert pod["restartPolicy"] == "Never"
    check_environment(pod["containers"][0], 1)
    options = options_of([*pod["containers"][0]["command"], *pod["containers"][0]["args"]])
    # what runs is put back, written and told before the pod is killed
    assert pod["terminationGracePeriodSeconds"] >= 2 * options["drain_s"]
    (fail, ignore) = job["spec"]["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailIndex", [2, 4])
    assert ignore["action"] == "Ignore"
    assert policy["spec"]["ingress"] == policy["spec"]["egress"] == []
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_the_rayjob_s_pods(ray_job: Object, version: str) -> None:
    for template in templates_of(ray_job).values():
        complete = {**template, "spec": {"restartPolicy": "Always", **template["spec"]}}
        check_template(complete, version)
    broken = {**template, "spec": {**template["spec"], "nonsense": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        check_template(broken, version)


def test_the_rayjob_is_shut(ray_job: Object) -> None:
    cluster = ray_job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert tuple(int(part) for part in cluster["rayVersion"].split(".")) >= (2, 52)
    assert cluster["networkPolicy"]["mode"] == "DenyAll"
    (ingress,) = cluster["networkPolicy"]["head"]["ingressRules"]
    assert ingress["ports"] == [{"port": 8265, "protocol": "TCP"}]
    assert all("podSelector" in peer and "namespaceSelector" in peer for peer in ingress["from"])
    for side in ("head", "worker"):
        for rule in cluster["networkPolicy"][side]["egressRules"]:
            assert {port["port"] for port in rule["ports"]} == {53}
    assert cluster["headGroupSpec"]["enableIngress"] is False
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["rayStartParams"]["disable-usage-stats"] == "true"
    for template in templates_of(ray_job).values():
        check_pod_is_shut(template["spec"])


def test_the_rayjob_waits_for_kueue_and_leaves_nothing(ray_job: Object) -> None:
    assert ray_job["apiVersion"] == "ray.io/v1"
    assert "kueue.x-k8s.io/queue-name" in ray_job["metadata"]["labels"]
    assert ray_job["spec"]["shutdownAfterJobFinishes"] is True
    assert set(ray_job["spec"]) <= {
        "submissionMode", "entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit",
        "submitterPodTemplate", "rayClusterSpec",
    }  # fmt: skip


def test_the_rayjob_s_workers_fit_its_driver(ray_job: Object) -> None:
    options = options_of(ray_job["spec"]["entrypoint"].split())
    assert options["executor"] == "ray"
    assert options["ray_address"] == "auto"
    (group,) = ray_job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    cpus = int(group["rayStartParams"]["num-cpus"]) * group["replicas"]
    assert options["workers"] * options["cpus_per_worker"] == cpus
    assert ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (container,) = group["template"]["spec"]["containers"]
    check_environment(container, 1)
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert str(options["root"]) in mounts


def test_every_blank_to_fill_in_is_seen(ray_job: Object) -> None:
    for path in sorted(FOLDER.glob("*.yaml")):
        blanks = re.findall(r"<[^>\n]+>", path.read_text(encoding="utf-8"))
        assert blanks, Path(path).name
    assert ray_job["kind"] == "RayJob"
