"""The site's file of destinations: read strictly, or not at all."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from trabecula.delivery.destinations import (
    DicomObject,
    DimseDestination,
    FhirDestination,
    SmartAuth,
    StowDestination,
    What,
    outbound_policy,
    parse_destinations,
    read_destinations,
)
from trabecula.errors import DestinationsFileError, OutboundRefused

EHR = """
[[destination]]
kind = "fhir"
name = "ehr"
base_url = "https://ehr.example.org/fhir/r4"
[[destination.patient]]
system = "urn:oid:1.2.3"
"""
FULL = """
[[destination]]
kind = "fhir"
name = "ehr"
base_url = "https://ehr.example.org/fhir/r4"
send = ["results", "documents"]
leave_out = ["ImagingStudy"]
declare_profiles = false
[[destination.patient]]
system = "urn:oid:1.2.3"
issuer = "NORTH"
[[destination.patient]]
system = "urn:oid:1.2.4"
[destination.auth]
type = "smart-backend-services"
client_id = "trabecula"
key_folder = "/etc/trabecula/keys"
scopes = ["system/Patient.rs", "system/Observation.cruds"]
token_hosts = ["login.example.org"]
[destination.network]
private_networks = ["10.0.0.0/8"]
[destination.limits]
concurrency = 4
timeout_s = 10

[[destination]]
kind = "dimse"
name = "pacs"
host = "pacs.example.org"
port = 104
ae_title = "MAIN PACS"
objects = ["sr", "sc"]

[[destination]]
kind = "stow"
name = "archive"
base_url = "https://pacs.example.org/dicom-web"
"""


def test_a_whole_file() -> None:
    ehr, pacs, archive = parse_destinations(tomllib.loads(FULL))
    assert isinstance(ehr, FhirDestination)
    assert (ehr.send, ehr.leave_out, ehr.limits.timeout_s) == ((What.RESULTS, What.DOCUMENTS), ("ImagingStudy",), 10.0)
    assert isinstance(ehr.auth, SmartAuth)
    assert ehr.auth.key_folder == Path("/etc/trabecula/keys")
    assert [each.issuer for each in ehr.patient] == ["NORTH", None]
    assert isinstance(pacs, DimseDestination)
    assert pacs.objects == (DicomObject.SR, DicomObject.SC)
    assert isinstance(archive, StowDestination)
    assert archive.send == (What.RESULTS, What.REFUSALS)
    with pytest.raises(FrozenInstanceError):
        ehr.name = "other"  # type: ignore[misc]


def test_no_file_is_no_destinations(tmp_path: Path) -> None:
    assert read_destinations(None) == ()
    (tmp_path / "d.toml").write_text("")
    assert read_destinations(tmp_path / "d.toml") == ()
    with pytest.raises(DestinationsFileError):
        read_destinations(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "wrong",
    [
        "[[destination",
        "colour = 1",
        EHR.replace("base_url", "url"),
        EHR.replace("https:", "http:"),
        EHR.replace("ehr.example.org", "user:word@ehr.example.org"),
        EHR.replace("/fhir/r4", "/fhir/r4?x=1"),
        EHR.replace("/fhir/r4", "/fhir/r4#x"),
        EHR.replace("https://ehr.example.org/fhir/r4", "https://"),
        EHR.replace('"fhir"', '"hl7v2"'),
        EHR.replace('"ehr"', '"EHR prod"'),
        EHR + EHR,
        EHR.partition("[[destination.patient]]")[0],
        EHR.replace('name = "ehr"', 'name = "ehr"\nsend = []'),
        EHR.replace('name = "ehr"', 'name = "ehr"\nsend = ["everything"]'),
        EHR.replace('name = "ehr"', 'name = "ehr"\nsecret = "x"'),
        EHR + '[destination.auth]\ntype = "basic"\n',
        EHR + '[destination.auth]\ntype = "smart-backend-services"\n',
        EHR + '[destination.auth]\ntype = "smart-backend-services"\nclient_id = "x"\ntoken_url = "http://a/b"\n',
        EHR + "[destination.limits]\nconcurrency = 0\n",
        EHR + '[destination.limits]\nconcurrency = "2"\n',
        EHR + "[destination.limits]\ntimeout_s = inf\n",
        EHR + '[destination.network]\nplain_http = "yes"\n',
        EHR + '[destination.network]\nprivate_networks = ["10.0.0.1/8"]\n',
        FULL.replace("port = 104", "port = 70000"),
        FULL.replace("MAIN PACS", "A NAME THAT IS TOO LONG"),
        FULL.replace('ae_title = "MAIN PACS"', 'ae_title = "P"\ntls_key_file = "k"'),
    ],
)
def test_whatever_is_odd_is_refused_with_its_place(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(wrong)
    with pytest.raises(DestinationsFileError) as caught:
        read_destinations(file)
    assert str(caught.value)
    assert "word@" not in caught.value.client_message


def test_only_the_destinations_own_hosts_may_be_called() -> None:
    ehr = parse_destinations(tomllib.loads(FULL))[0]
    assert isinstance(ehr, FhirDestination)
    policy = outbound_policy(ehr)
    policy.check("https://ehr.example.org/fhir/r4/Patient")
    policy.check("https://login.example.org/token")
    for url in ("https://ehr.example.org:8443/x", "https://evil.example.org/x", "http://ehr.example.org/x"):
        with pytest.raises(OutboundRefused):
            policy.check(url)


def test_the_example_in_the_docs_is_a_good_file(repository: Path) -> None:
    page = (repository / "docs" / "delivery.md").read_text(encoding="utf-8")
    examples = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    assert examples
    assert {each.kind for example in examples for each in parse_destinations(tomllib.loads(example))} == {
        "fhir",
        "dimse",
        "stow",
    }
