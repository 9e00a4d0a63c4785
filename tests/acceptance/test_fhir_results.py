"""What the real program writes as FHIR of a phantom and of real CTs, before judges and a server that are not ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fhir_guide import MISSING, validators_missing
from fhir_judges import npm_faults, schema_faults
from fhir_server import FhirServer

from trabecula.config import load_settings
from trabecula.outputs.page import to_html
from trabecula.outputs.r4 import to_bundle
from trabecula.report import ReportStatus, Screening
from trabecula.screening import Engine, screen
from trabecula.service.engine import fhir_options

pytestmark = [pytest.mark.slow, pytest.mark.skipif(validators_missing(), reason=MISSING)]


def assert_taken(screening: Screening, server: FhirServer) -> None:
    """Faultless by every judge, taken twice, one copy kept, and the same numbers read back."""
    page = to_html(screening).encode()
    bundle = to_bundle(screening.report, replace(fhir_options(load_settings({})), page_html=page))
    assert schema_faults(bundle) == []
    assert npm_faults({"it": bundle}) == {"it": []}
    assert len(bundle["entry"]) <= 50
    for _ in range(2):
        status, answer = server.call("POST", "/", bundle)
        assert status == 200, answer
    assert sum(len(found) for found in server.stored().values()) == len(bundle["entry"])
    for entry in bundle["entry"]:
        _, found = server.call("GET", f"/{entry['request']['url']}")
        assert found.get("valueQuantity") == entry["resource"].get("valueQuantity")
        assert found.get("component") == entry["resource"].get("component")


def test_a_phantom(engine: Engine, phantom_study: Path, fhir_server: FhirServer) -> None:
    screening = screen([phantom_study], engine)
    assert screening.report.status is ReportStatus.REPORTED
    assert_taken(screening, fhir_server)


@pytest.mark.data
@pytest.mark.parametrize("name", ["lidc-idri-0001", "acrin-nsclc-042"])
def test_a_real_ct(engine: Engine, data_dir: Path, fhir_server: FhirServer, name: str) -> None:
    screening = screen([data_dir / "ct" / name], engine)
    assert screening.report.status is ReportStatus.REPORTED
    assert_taken(screening, fhir_server)


@pytest.mark.data
def test_a_real_refusal(engine: Engine, data_dir: Path, fhir_server: FhirServer) -> None:
    """Ten slices of a real CT: too few to read."""
    slices = sorted((data_dir / "ct" / "lidc-idri-0001").rglob("*.dcm"))[:10]
    assert slices
    screening = screen(slices, engine)
    assert screening.report.status is ReportStatus.REFUSED
    assert_taken(screening, fhir_server)
