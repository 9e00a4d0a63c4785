"""One machine without Kubernetes: the systemd units and the compose file, read but not run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trabecula.config import load_settings

UNITS = ("trabecula.service", "trabecula-backup.service", "trabecula-backup.timer")


@pytest.fixture
def folder(repository: Path) -> Path:
    return repository / "container"


def test_systemd_understands_the_units(folder: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("NO systemd-analyze here")
    for name in UNITS:
        text = (folder / "systemd" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/trabecula/bin/trabecula serve", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "trabecula" in line]
    assert ours == []
    assert done.returncode == 0


def test_the_unit_is_shut_off(folder: Path) -> None:
    unit = (folder / "systemd" / "trabecula.service").read_text(encoding="utf-8")
    for line in ("User=trabecula", "NoNewPrivileges=yes", "CapabilityBoundingSet=\n", "ProtectSystem=strict"):
        assert line in unit
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(folder / "systemd/trabecula.service")],
            capture_output=True,
            text=True,
            check=False,
        )
        exposure = re.search(r"Overall exposure level .*: ([\d.]+)", done.stdout)
        assert exposure is not None
        assert float(exposure[1]) < 2.5


def test_the_unit_waits_for_the_drain(folder: Path) -> None:
    settings = load_settings(environment(folder))
    unit = (folder / "systemd" / "trabecula.service").read_text(encoding="utf-8")
    assert int(re.findall(r"TimeoutStopSec=(\d+)", unit)[0]) > settings.drain_timeout_s + 10


def environment(folder: Path) -> dict[str, str]:
    lines = (folder / "systemd" / "trabecula.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_setting_of_the_example_is_one(folder: Path) -> None:
    text = (folder / "systemd" / "trabecula.env").read_text(encoding="utf-8")
    known = {f"TRABECULA_{name.upper()}" for name in load_settings({}).__dataclass_fields__}
    assert set(re.findall(r"^(?:# )?(TRABECULA_\w+)=", text, re.MULTILINE)) <= known


@pytest.fixture
def compose(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8")))


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: compose["services"][name] for name in ("tables", "api", "worker")}


def test_the_services_are_shut_off(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        assert service["user"] == "65532:65532", name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [each.split(":")[0] for each in service["tmpfs"]] == ["/tmp"]
    published = [port for each in compose["services"].values() for port in each.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_it_names_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("networks", [])) <= set(compose["networks"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert {each.split(":")[0] for each in service.get("volumes", [])} <= set(compose["volumes"])
        assert set(service.get("depends_on", {})) <= set(compose["services"])


def test_settings_are_settings_and_the_stop_waits_for_the_drain(compose: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        service = compose["services"][name]
        own = {key: str(value) for key, value in service["environment"].items() if key.startswith("TRABECULA_")}
        settings = load_settings({**own, "TRABECULA_ROLE": name})
        assert {key.removeprefix("TRABECULA_").lower() for key in own} <= set(settings.__dataclass_fields__)
        assert int(service["stop_grace_period"].removesuffix("s")) > settings.drain_timeout_s + 10
        assert service["command"] == ["serve", "--role", name]


def test_no_secret_and_no_unpinned_image_is_in_it(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert re.match(r"\$\{\w+:\?", service["image"])
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or str(value).startswith("/run/secrets/")
