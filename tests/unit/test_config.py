"""Settings from the environment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from trabecula.config import PREFIX, Settings, bound_library_threads, load_settings, split_address, usable_cores
from trabecula.errors import ConfigurationError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load_settings({}) == Settings()


def test_values_are_read_as_the_type_of_their_field() -> None:
    settings = load_settings(
        {
            "TRABECULA_LISTEN": "0.0.0.0:9000",
            "TRABECULA_REFLECTION": "true",
            "TRABECULA_WORKERS": "3",
            "TRABECULA_STATE_DIR": "/var/lib/trabecula",
            "TRABECULA_PIXEL_RETENTION_S": "60",
            "TRABECULA_TLS_CERTIFICATE_FILE": "c.pem",
            "TRABECULA_TLS_KEY_FILE": "k.pem",
        }
    )
    assert settings.listen == "0.0.0.0:9000"
    assert settings.reflection is True
    assert settings.workers == 3
    assert settings.state_dir == Path("/var/lib/trabecula")
    assert settings.pixel_retention_s == 60.0
    assert settings.tls_key_file == Path("k.pem")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "many"),
        ("WORKERS", "0"),
        ("REFLECTION", "perhaps"),
        ("LISTEN", "nowhere"),
        ("LISTEN", "host:99999"),
        ("METRICS_LISTEN", ":"),
        ("WORKER_KIND", "fork"),
        ("MAX_MESSAGE_BYTES", "10"),
        ("QUEUE_CAPACITY", "-1"),
        ("TLS_KEY_FILE", "key.pem"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({PREFIX + name: value})
    assert name.removeprefix("METRICS_") in caught.value.client_message or value in caught.value.client_message


def test_what_kubernetes_sets_beside_a_service_does_no_harm() -> None:
    injected = {
        "TRABECULA_PORT": "tcp://10.0.0.1:50051",
        "TRABECULA_SERVICE_HOST": "10.0.0.1",
        "TRABECULA_SERVICE_PORT": "50051",
        "TRABECULA_PORT_50051_TCP": "tcp://10.0.0.1:50051",
    }
    assert load_settings(injected) == Settings()


@pytest.mark.parametrize(("address", "expected"), [("a:1", ("a", 1)), ("[::1]:50051", ("[::1]", 50051))])
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


def test_every_setting_is_documented_with_its_default(repository: Path) -> None:
    page = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        assert f"`{PREFIX}{field.name.upper()}`" in page, field.name
        if field.default is not dataclasses.MISSING and field.default not in (None, ""):
            row = next(line for line in page.splitlines() if f"`{PREFIX}{field.name.upper()}`" in line)
            assert f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`" in row


def test_libraries_get_a_workers_threads_unless_the_operator_said_otherwise() -> None:
    environment: dict[str, str] = {}
    bound_library_threads(Settings(inference_threads=3), environment)
    assert environment == {"OMP_NUM_THREADS": "3"}
    bound_library_threads(Settings(inference_threads=5), environment)
    assert environment == {"OMP_NUM_THREADS": "3"}


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 6),
        ("200000 100000", 2),
        ("50000 100000", 1),
        ("250000 100000", 2),
        ("900000 100000", 6),
        ("", 6),
        (None, 6),
    ],
)
def test_a_containers_cpu_limit_bounds_the_threads(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trabecula.config.sched_getaffinity", lambda _: set(range(6)))
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores(tmp_path / "cpu.max") == cores
