"""Who may talk to whom, read from the rendered policies as a cluster would read them."""

from __future__ import annotations

import re
from typing import Any

from helm_chart import Object, Rendered

ROLES = ("api", "worker", "migrations", "test")


def chosen(rendered: Rendered, policy: Object) -> set[str]:
    """Components whose pods a policy holds for."""
    selector = policy["spec"]["podSelector"]
    found = set()
    for _, metadata, _ in rendered.pods():
        labels = metadata["labels"]
        fits = selector.get("matchLabels", {}).items() <= labels.items()
        for each in selector.get("matchExpressions", []):
            assert each["operator"] == "In"
            fits = fits and labels.get(each["key"]) in each["values"]
        if fits:
            found.add(labels["app.kubernetes.io/component"])
    return found


def rules(rendered: Rendered, component: str, direction: str) -> list[dict[str, Any]]:
    side = direction.lower()
    return [
        rule
        for policy in rendered.of("NetworkPolicy")
        if component in chosen(rendered, policy) and direction in policy["spec"]["policyTypes"]
        for rule in policy["spec"].get(side, [])
    ]


def reached(rendered: Rendered, component: str) -> set[tuple[str, object]]:
    """Networks and ports that pods of a component may call, DNS and one another left out."""
    return {
        (peer["ipBlock"]["cidr"], port["port"])
        for rule in rules(rendered, component, "Egress")
        for peer in rule["to"]
        if "ipBlock" in peer
        for port in rule["ports"]
    }


def let_in(rendered: Rendered, component: str) -> dict[object, int]:
    """Number of peers that each port is open to."""
    return {
        port["port"]: len(rule["from"])
        for rule in rules(rendered, component, "Ingress")
        for port in rule["ports"]
    }  # fmt: skip


def test_nothing_is_open_to_everybody(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        assert not re.search(r"cidr:\s*\"?(0\.0\.0\.0/0|::/0)", rendered.text)
        assert "0.0.0.0/0" not in rendered.text
        for policy in rendered.of("NetworkPolicy"):
            for side in ("ingress", "egress"):
                for rule in policy["spec"].get(side) or []:
                    peers = rule["from" if side == "ingress" else "to"]
                    assert peers, policy["metadata"]["name"]
                    assert rule["ports"], policy["metadata"]["name"]
                    for peer in peers:
                        assert peer
                        assert peer.get("namespaceSelector", {"some": 1}) != {}


def test_every_pod_is_denied_both_ways_by_default(renders: tuple[Rendered, ...]) -> None:
    for rendered in renders:
        if "bare" in rendered.values:
            continue
        deny = rendered.one("NetworkPolicy", "-default-deny")
        assert chosen(rendered, deny) == {m["labels"]["app.kubernetes.io/component"] for _, m, _ in rendered.pods()}
        assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert not {"ingress", "egress"} & set(deny["spec"])


def test_with_little_given_little_is_open(minimal: Rendered) -> None:
    assert reached(minimal, "api") == {("10.20.0.0/24", 5432), ("10.30.0.0/24", 443)}
    assert reached(minimal, "worker") == reached(minimal, "api")
    assert reached(minimal, "migrations") == {("10.20.0.0/24", 5432)}
    assert reached(minimal, "test") == set()
    assert let_in(minimal, "worker") == {}
    assert let_in(minimal, "api") == {"grpc": 1, "metrics": 1, "health": 1}  # the test pod alone
    for rule in rules(minimal, "api", "Ingress"):
        assert rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


def test_what_is_listed_is_open_and_nothing_else(everything: Rendered) -> None:
    both = {
        ("fd00::5/128", 6432),
        ("10.30.0.0/24", 443),
        ("10.40.0.0/24", 443),
        ("10.40.0.0/24", 11112),
        ("10.50.0.0/24", 443),
    }
    assert reached(everything, "api") == both
    assert reached(everything, "worker") == both
    assert reached(everything, "migrations") == {("fd00::5/128", 6432)}
    assert let_in(everything, "api") == {"grpc": 2, "http": 1, "dicom": 1, "metrics": 2, "health": 1}
    assert let_in(everything, "worker") == {"metrics": 1}
    assert let_in(everything, "migrations") == let_in(everything, "test") == {}


def test_ports_of_policies_exist_in_the_pods(everything: Rendered) -> None:
    names = {
        metadata["labels"]["app.kubernetes.io/component"]: {
            port["name"] for container in spec["containers"] for port in container.get("ports", [])
        }
        for _, metadata, spec in everything.pods()
    }
    for component in ROLES:
        assert set(let_in(everything, component)) <= names[component]


def test_everyone_who_calls_by_name_may_look_it_up(everything: Rendered) -> None:
    for component in ROLES:
        dns = [
            rule for rule in rules(everything, component, "Egress") if {"port": 53, "protocol": "UDP"} in rule["ports"]
        ]
        assert len(dns) == 1, component
