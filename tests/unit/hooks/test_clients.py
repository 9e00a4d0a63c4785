"""The site's file of EHRs."""

from __future__ import annotations

from pathlib import Path

import pytest

from trabecula.errors import ClientsFileError
from trabecula.hooks.clients import load_clients
from trabecula.hooks.services import Need

GOOD = """
[[client]]
name = "main-ehr"
iss = "https://ehr.example.org"
jku = ["https://ehr.example.org/jwks.json"]
fhir_servers = ["https://ehr.example.org/fhir/R4/"]
cannot_give = ["problems"]

[[client]]
name = "sandbox"
iss = "https://sandbox.cds-hooks.org"
jku = ["https://sandbox.cds-hooks.org/.well-known/jwks.json"]
jwks_file = "sandbox.json"
algorithms = ["ES384"]
max_token_lifetime_s = 300
"""


def load(tmp_path: Path, text: str) -> object:
    path = tmp_path / "clients.toml"
    path.write_text(text)
    return load_clients(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    path.write_text(GOOD)
    main, sandbox = load_clients(path)
    assert main.fhir_servers == ("https://ehr.example.org/fhir/R4",)
    assert main.may_read("https://ehr.example.org/fhir/R4")
    assert not main.may_read("https://ehr.example.org/fhir/R4/other")
    assert not main.may_read("https://evil.example/fhir")
    assert main.waived == {Need.PROBLEMS}
    assert sandbox.jwks_file == tmp_path / "sandbox.json"
    assert sandbox.algorithms == ("ES384",)
    assert not sandbox.may_read("https://ehr.example.org/fhir/R4")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "sandbox"', 'name = "main-ehr"'),
        ('https://sandbox.cds-hooks.org"', 'https://ehr.example.org"'),
        ('["ES384"]', '["HS256"]'),
        ('["ES384"]', '["none"]'),
        ('["ES384"]', "[]"),
        ("= 300", "= 0"),
        ("= 300", "= 1e9"),
        ('["problems"]', '["patient"]'),
        ('["problems"]', '["weather"]'),
        ('"https://ehr.example.org/fhir/R4/"', '"ehr.example.org"'),
        ('"https://ehr.example.org/jwks.json"', '"file:///etc/passwd"'),
        ('jku = ["https://ehr.example.org/jwks.json"]', ""),
        ("iss = ", "issuer = "),
        ("[[client]]", "[[clients]]"),
        ("= ", "=="),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(ClientsFileError):
        load(tmp_path, GOOD.replace(old, new))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientsFileError):
        load_clients(tmp_path / "none.toml")
    with pytest.raises(ClientsFileError):
        load(tmp_path, "")
