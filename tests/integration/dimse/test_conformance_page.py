"""docs/dicom-conformance.md says what the program does: tables against tables, and against what is negotiated."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import UID
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from trabecula.config import Settings
from trabecula.delivery.answers import Verdict
from trabecula.delivery.pacs import cstore
from trabecula.outputs.dicom.filing import NOT_VERIFIED, SERIES_NUMBERS
from trabecula.service.dimse import contexts, scp
from trabecula.service.dimse.serving import dimse_service
from trabecula.service.dimse.statuses import StoreStatus
from trabecula.service.http.stow import STOW_PATH
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.records import DocumentKind
from trabecula.work.store import ScreeningStore


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "dicom-conformance.md").read_text(encoding="utf-8")


def table(page: str, first: str) -> list[list[str]]:
    """Rows of the table whose header begins with these words."""
    lines = page.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first}"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


async def test_what_is_negotiated_is_what_the_page_says(page: str, database: Database, content: FolderContent) -> None:
    settings = replace(Settings(), dimse_listen="127.0.0.1:0", dimse_peers="ANY@127.0.0.0/8")
    storage_classes = [context.abstract_syntax for context in AllStoragePresentationContexts]
    proposed = [*storage_classes, Verification, StorageCommitmentPushModel]
    accepted: dict[str, set[str]] = {}

    def negotiate(port: int, chunk: list[tuple[str, str]]) -> None:
        entity = AE("ANY")
        entity.requested_contexts = [build_context(uid, [syntax]) for uid, syntax in chunk]
        association = entity.associate("127.0.0.1", port, ae_title="TRABECULA")
        assert association.is_established
        for context in association.accepted_contexts:
            accepted.setdefault(str(context.abstract_syntax), set()).update(map(str, context.transfer_syntax))
        association.release()

    pairs = [(str(uid), "1.2.840.10008.1.2") for uid in proposed]
    storage = [row[1] for row in table(page, "SOP class | UID | transfer syntaxes")]
    pairs += [(uid, str(syntax)) for uid in storage for syntax in ALL_TRANSFER_SYNTAXES]
    store = ScreeningStore(database, content=content)
    async with dimse_service(settings, database, content, store) as door:
        for start in range(0, len(pairs), 120):
            await asyncio.to_thread(negotiate, door.port, pairs[start : start + 120])
    syntaxes = table(page, "transfer syntax | UID | in")
    every = {row[1] for row in syntaxes}
    plain = {row[1] for row in syntaxes if row[2] == "yes"}
    said = {row[1]: every if row[2] == "all" else plain for row in table(page, "SOP class | UID | transfer syntaxes")}
    assert accepted == said


def test_names_belong_to_their_uids(page: str) -> None:
    for first in ("SOP class | UID | transfer syntaxes", "SOP class | UID | transfer syntax |"):
        for row in table(page, first):
            assert UID(row[1]).name.removesuffix(" SOP Class") == row[0]
    assert {row[1] for row in table(page, "transfer syntax | UID")} == set(map(str, contexts.TRANSFER_SYNTAXES))


def test_statuses_are_those_of_the_program(page: str) -> None:
    rows = {int(row[0], 16): row[1] for row in table(page, "status | name | when")}
    assert rows == {int(status): status.name for status in StoreStatus}


def test_what_is_sent_is_what_the_page_says(page: str) -> None:
    rows = table(page, "SOP class | UID | transfer syntax |")
    assert [row[1] for row in rows] == [str(uid) for uid in cstore.STORAGE]
    assert {row[2] for row in rows} == {UID(uid).name for uid in cstore.TRANSFER_SYNTAXES}
    meanings = {
        "stored": Verdict.OK,
        "tried again with growing delays": Verdict.RETRY,
        "parked for a person": Verdict.PARK,
    }
    for said, meaning in table(page, "status received"):
        for part in said.split(", "):
            digits = part.removeprefix("0x")
            samples = [None] if part == "no answer" else [int(digits.replace("x", each), 16) for each in "05f"]
            assert {cstore.outcome_of(status).verdict for status in samples} == {meanings[meaning]}, part


def test_settings_and_figures_are_those_of_the_program(page: str) -> None:
    names = {f"TRABECULA_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(re.findall(r"TRABECULA_[A-Z_]+[A-Z]", page)) <= names
    settings = Settings()
    rows = {row[0]: row[1] for row in table(page, "property")}
    assert rows["associations at once"].startswith(f"{settings.dimse_max_associations};")
    assert f"{settings.dimse_idle_timeout_s:g} s" in rows["idle association"]
    assert f"{settings.dimse_max_instance_bytes >> 20} MiB" in rows["largest instance"]
    assert rows["largest PDU received"] == f"{scp.MAXIMUM_PDU_BYTES >> 10} KiB"
    assert rows["implementation class UID"] == scp.IMPLEMENTATION_CLASS_UID
    assert f"`TRABECULA_DIMSE_QUIET_S` ({settings.dimse_quiet_s:g} s)" in page
    assert f"`TRABECULA_DIMSE_JOURNAL_S`, {settings.dimse_journal_s / 3600:g} h" in page
    assert f"`POST {STOW_PATH}`" in page
    assert settings.dimse_listen is None
    assert not settings.stow_in


def test_result_objects_are_those_of_the_program(page: str) -> None:
    rows = table(page, "object | SOP class")
    assert [row[1] for row in rows] == [str(uid) for uid in cstore.STORAGE]
    assert [int(row[2].split(", ")[1]) for row in rows] == list(SERIES_NUMBERS.values())
    files = [DocumentKind.DICOM_SEG, DocumentKind.DICOM_SR, DocumentKind.DICOM_PDF, DocumentKind.DICOM_SC]
    assert [row[3] for row in rows] == [kind.value for kind in files]
    assert NOT_VERIFIED in page
