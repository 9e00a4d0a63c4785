"""C-STORE, C-ECHO and storage commitment, asked for by pynetdicom and dcmtk over a real socket."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dicom_headers
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, Association, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification
from sqlalchemy import select

from trabecula.config import Settings
from trabecula.errors import ConfigurationError
from trabecula.geometry import Geometry
from trabecula.service.dimse import journal
from trabecula.service.dimse.peers import parse_peers
from trabecula.service.dimse.reception import Instance, Reception
from trabecula.service.dimse.serving import DimseDoor, dimse_service
from trabecula.service.dimse.statuses import StoreStatus
from trabecula.work.content import FolderContent
from trabecula.work.database import Database
from trabecula.work.records import ContentRef, ScreeningRecord, Source
from trabecula.work.schema import screening
from trabecula.work.store import ScreeningStore

GRID = Geometry((3, 8, 8), np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
QUIET_S = 2.0
"""More than a busy machine may pause between two instances."""
STUDY, SERIES = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["series"])

OpenDoor = Callable[..., AbstractAsyncContextManager[DimseDoor]]


@pytest.fixture
def open_door(database: Database, content: FolderContent) -> OpenDoor:
    """Opens the provider on this test's database; settings by keyword."""

    @asynccontextmanager
    async def opened(**changes: object) -> AsyncIterator[DimseDoor]:
        chosen = {
            "dimse_listen": "127.0.0.1:0",
            "dimse_peers": "SCANNER@127.0.0.0/8, PACS@10.9.0.0/16",
            "dimse_quiet_s": QUIET_S,
            **changes,
        }
        settings = replace(Settings(), **chosen)  # type: ignore[arg-type]
        store = ScreeningStore(database, content=content)
        async with dimse_service(settings, database, content, store) as door:
            yield door

    return opened


@pytest.fixture
def study(tmp_path: Path) -> list[FileDataset]:
    return dicom_headers.write_headers(tmp_path / "study", GRID, STUDY, SERIES)


def call(
    port: int, title: str = "SCANNER", called: str = "TRABECULA", contexts: Sequence[str] = (CTImageStorage,)
) -> Association:
    entity = AE(title)
    for context in (*contexts, Verification, StorageCommitmentPushModel):
        entity.add_requested_context(context)
    entity.acse_timeout = entity.dimse_timeout = 20
    return entity.associate("127.0.0.1", port, ae_title=called)


def send(port: int, datasets: Sequence[Dataset], **options: object) -> list[int]:
    association = call(port, **options)  # type: ignore[arg-type]
    assert association.is_established
    statuses = [int(association.send_c_store(each).Status) for each in datasets]
    association.release()
    return statuses


async def screenings(database: Database) -> list[ScreeningRecord]:
    store = ScreeningStore(database, content=None)
    async with database.transaction() as connection:
        ids = (await connection.execute(select(screening.c.id))).scalars().all()
    return [await store.get(each) for each in ids]


async def until_accepted(database: Database, number: int = 1) -> list[ScreeningRecord]:
    for _ in range(100):
        found = await screenings(database)
        if len(found) >= number:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the study was not accepted in time")


async def test_a_study_that_is_quiet_becomes_one_screening(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.port, study) == [0, 0, 0]
        (record,) = await until_accepted(database)
    assert record.submission.source is Source.DIMSE
    assert record.submission.instances == 3


async def test_what_was_stored_is_what_was_sent(
    open_door: OpenDoor, database: Database, content: FolderContent, study: list[FileDataset]
) -> None:
    async with open_door() as door:
        await asyncio.to_thread(send, door.port, study)
        (record,) = await until_accepted(database)
    store = ScreeningStore(database, content=content)
    claim = await store.claim(record.screening_id)
    assert claim is not None
    async with content.local_files(claim.instances) as paths:
        from pydicom import dcmread

        kept = {each.SOPInstanceUID: each for each in map(dcmread, paths)}
    for sent in study:
        assert kept[sent.SOPInstanceUID].to_json_dict() == sent.to_json_dict()


async def test_a_resend_is_the_same_screening(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door() as door:
        await asyncio.to_thread(send, door.port, study)
        await until_accepted(database)
        await asyncio.to_thread(send, door.port, list(reversed(study)))
        await asyncio.to_thread(send, door.port, study[:1])
        async with database.transaction() as connection:
            assert await journal.open_studies(connection) == 0
        assert len(await screenings(database)) == 1


async def test_late_instances_join_the_whole_study(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door() as door:
        await asyncio.to_thread(send, door.port, study[:2])
        await until_accepted(database)
        await asyncio.to_thread(send, door.port, study[2:])
        found = await until_accepted(database, 2)
    assert sorted(record.submission.instances for record in found) == [2, 3]


async def test_a_release_completes_the_study_where_it_should(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door(dimse_study_complete="release", dimse_quiet_s=300.0) as door:
        await asyncio.to_thread(send, door.port, study)
        (record,) = await until_accepted(database)
    assert record.submission.instances == 3


async def test_what_was_acknowledged_survives_a_stop(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door(dimse_quiet_s=300.0) as door:
        assert await asyncio.to_thread(send, door.port, study) == [0, 0, 0]
    assert await screenings(database) == []
    async with open_door(dimse_quiet_s=0.1):
        (record,) = await until_accepted(database)
    assert record.submission.instances == 3


async def test_two_services_accept_a_study_once(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door() as one, open_door() as other:
        await asyncio.to_thread(send, one.port, study[:2])
        await asyncio.to_thread(send, other.port, study[2:])
        await until_accepted(database)
        await asyncio.sleep(1.0)
        (record,) = await screenings(database)
    assert record.submission.instances == 3


# Who may come in


async def test_echo_is_answered(open_door: OpenDoor) -> None:
    async with open_door() as door:
        association = await asyncio.to_thread(call, door.port)
        assert (await asyncio.to_thread(association.send_c_echo)).Status == 0
        await asyncio.to_thread(association.release)


@pytest.mark.parametrize(("title", "called", "diagnostic"), [("STRANGER", "TRABECULA", 3), ("SCANNER", "OTHER", 7)])
async def test_strangers_are_rejected_with_the_reason(
    open_door: OpenDoor, title: str, called: str, diagnostic: int
) -> None:
    async with open_door() as door:
        association = await asyncio.to_thread(call, door.port, title, called)
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == diagnostic


async def test_a_peer_at_a_wrong_address_gets_nothing_in(
    open_door: OpenDoor, database: Database, study: list[FileDataset]
) -> None:
    async with open_door() as door:
        association = await asyncio.to_thread(call, door.port, "PACS")
        if association.is_established:
            answer = await asyncio.to_thread(association.send_c_store, study[0])
            assert answer.get("Status") != 0
            association.abort()
        await asyncio.sleep(1.0)
    assert await screenings(database) == []


async def test_no_more_associations_than_set(open_door: OpenDoor) -> None:
    async with open_door(dimse_max_associations=2) as door:
        held = [await asyncio.to_thread(call, door.port) for _ in range(2)]
        third = await asyncio.to_thread(call, door.port)
        assert third.is_rejected
        assert third.acceptor.primitive.diagnostic == 2
        for association in held:
            await asyncio.to_thread(association.release)


def test_peers_must_be_named() -> None:
    for text in ("", "SCANNER", "SCANNER@nowhere", "@10.0.0.1", "A_VERY_LONG_AE_TITLE@10.0.0.1"):
        with pytest.raises(ConfigurationError):
            parse_peers(text)
    peers = parse_peers("A@10.0.0.1, B@fd00::/8, A@192.168.0.0/16")
    assert peers.allows("A", "192.168.7.7")
    assert peers.allows("A ", "10.0.0.1")
    assert peers.allows("A", "::ffff:10.0.0.1")
    assert peers.allows("B", "fd00::1")
    assert not peers.allows("B", "10.0.0.1")
    assert not peers.allows("A", "10.0.0.2")
    assert not peers.allows("A", "not an address")


# What is refused


async def test_other_storage_classes_are_refused_at_negotiation(open_door: OpenDoor) -> None:
    async with open_door() as door:
        association = await asyncio.to_thread(
            call, door.port, contexts=(CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage)
        )
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        refused = {context.abstract_syntax: context.result for context in association.rejected_contexts}
        await asyncio.to_thread(association.release)
    assert CTImageStorage in accepted
    assert refused == {MRImageStorage: 3, SecondaryCaptureImageStorage: 3}


async def test_a_data_set_that_is_another_instance_is_refused(open_door: OpenDoor, study: list[FileDataset]) -> None:
    async with open_door() as door:
        association = await asyncio.to_thread(call, door.port)
        wrong = study[0]
        request_uid = wrong.SOPInstanceUID

        def store() -> int:
            from io import BytesIO

            from pynetdicom.dimse_primitives import C_STORE
            from pynetdicom.dsutils import encode

            request = C_STORE()
            request.MessageID, request.Priority = 1, 2
            request.AffectedSOPClassUID = CTImageStorage
            request.AffectedSOPInstanceUID = generate_uid()
            context = association._get_valid_context(CTImageStorage, "", "scu")
            syntax = context.transfer_syntax[0]
            request.DataSet = BytesIO(encode(wrong, syntax.is_implicit_VR, syntax.is_little_endian) or b"")
            association._reactor_checkpoint.clear()
            association.dimse.send_msg(request, context.context_id)
            _, answer = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            return int(answer.Status)

        assert await asyncio.to_thread(store) == StoreStatus.DATA_SET_MISMATCH
        assert request_uid == wrong.SOPInstanceUID
        association.abort()


async def test_an_instance_without_study_cannot_be_understood(open_door: OpenDoor, study: list[FileDataset]) -> None:
    del study[0].StudyInstanceUID
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.port, study[:1]) == [StoreStatus.CANNOT_UNDERSTAND]


async def test_a_full_queue_tells_senders_to_try_again(open_door: OpenDoor, tmp_path: Path) -> None:
    others = [
        dicom_headers.write_headers(tmp_path / str(n), GRID, generate_uid(), generate_uid(), planes=1)[0]
        for n in range(3)
    ]
    async with open_door(queue_capacity=2, dimse_quiet_s=300.0) as door:
        statuses = await asyncio.to_thread(send, door.port, others)
    assert statuses == [0, 0, StoreStatus.OUT_OF_RESOURCES]


async def test_a_study_over_the_limit_is_refused(open_door: OpenDoor, study: list[FileDataset]) -> None:
    async with open_door(max_instances=2) as door:
        again = [study[0], study[0], study[1], study[2]]
        assert await asyncio.to_thread(send, door.port, again) == [0, 0, 0, StoreStatus.OVER_LIMIT]


async def test_an_instance_without_end_is_cut_off(open_door: OpenDoor, study: list[FileDataset]) -> None:
    study[0].add_new(0x7FE00010, "OW", b"\0" * 4_000_000)
    async with open_door(dimse_max_instance_bytes=1_000_000) as door:
        association = await asyncio.to_thread(call, door.port)
        answer = await asyncio.to_thread(association.send_c_store, study[0])
        assert "Status" not in answer
        echo = await asyncio.to_thread(call, door.port)
        assert echo.is_established
        await asyncio.to_thread(echo.release)


async def test_an_idle_association_is_ended(open_door: OpenDoor) -> None:
    async with open_door(dimse_idle_timeout_s=1.0) as door:
        association = await asyncio.to_thread(call, door.port)
        for _ in range(60):
            if not association.is_alive():
                break
            await asyncio.sleep(0.1)
        assert not association.is_established


async def test_a_service_that_stops_says_try_again(open_door: OpenDoor, study: list[FileDataset]) -> None:
    async with open_door() as door:
        door.drain()
        assert await asyncio.to_thread(send, door.port, study[:1]) == [StoreStatus.OUT_OF_RESOURCES]


async def test_bytes_that_were_taken_away_meanwhile_are_not_acknowledged(
    open_door: OpenDoor,
    database: Database,
    content: FolderContent,
    study: list[FileDataset],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = content.put

    async def put_and_lose(data: bytes | Path) -> ContentRef:
        ref = await put(data)
        (content.folder / ref.sha256[:2] / ref.sha256).unlink()
        return ref

    monkeypatch.setattr(content, "put", put_and_lose)
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.port, study[:1]) == [StoreStatus.OUT_OF_RESOURCES]
        await asyncio.sleep(1.0)
    assert await screenings(database) == []


# Storage commitment


async def test_storage_commitment_promises_what_is_kept(open_door: OpenDoor, study: list[FileDataset]) -> None:
    async with open_door(dimse_quiet_s=300.0) as door:
        reports: list[tuple[int, Dataset]] = []
        heard = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_report(event: evt.Event) -> tuple[int, None]:
            reports.append((event.event_type, event.event_information))
            loop.call_soon_threadsafe(heard.set)
            return 0x0000, None

        def ask() -> Association:
            entity = AE("SCANNER")
            entity.add_requested_context(CTImageStorage)
            entity.add_requested_context(StorageCommitmentPushModel)
            association = entity.associate(
                "127.0.0.1", door.port, ae_title="TRABECULA", evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)]
            )
            assert association.send_c_store(study[0]).Status == 0
            request = Dataset()
            request.TransactionUID = "1.2.3.4.5"
            request.ReferencedSOPSequence = [Dataset(), Dataset()]
            for item, each in zip(request.ReferencedSOPSequence, study, strict=False):
                item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = each.SOPClassUID, each.SOPInstanceUID
            answer, _ = association.send_n_action(request, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
            assert answer.Status == 0
            return association

        association = await asyncio.to_thread(ask)
        await asyncio.wait_for(heard.wait(), 20)
        await asyncio.to_thread(association.release)
    ((event_type, report),) = reports
    assert event_type == 2
    assert report.TransactionUID == "1.2.3.4.5"
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [study[0].SOPInstanceUID]
    assert [item.ReferencedSOPInstanceUID for item in report.FailedSOPSequence] == [study[1].SOPInstanceUID]
    assert report.FailedSOPSequence[0].FailureReason == 0x0112


# Other people's software


async def test_storescu_of_dcmtk_sends_a_study(
    open_door: OpenDoor, database: Database, study: list[FileDataset], tmp_path: Path
) -> None:
    if shutil.which("storescu") is None:
        pytest.skip("STORESCU MISSING: scripts/install-debian-packages.sh installs dcmtk")
    async with open_door() as door:
        titles = ["-aet", "SCANNER", "-aec", "TRABECULA"]
        command = ["storescu", *titles, "+sd", "127.0.0.1", str(door.port), str(tmp_path / "study")]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        (record,) = await until_accepted(database)
    assert record.submission.instances == len(study)


async def test_old_journals_are_forgotten(database: Database, content: FolderContent) -> None:
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    settings = replace(Settings(), dimse_quiet_s=10.0, dimse_journal_s=100.0)
    store = ScreeningStore(database, content=content)
    reception = Reception(database, content, store, settings, now=lambda: moment[0])
    await reception.take(Instance("1.2", "1.2.3", CTImageStorage, b"bytes"))
    assert await reception.look() == 0
    moment[0] += timedelta(seconds=11)
    assert await reception.look() == 1
    await reception.take(Instance("1.2", "1.2.3", CTImageStorage, b"bytes"))
    moment[0] += timedelta(seconds=11)
    assert await reception.look() == 0  # the same again is nothing new
    assert await reception.committed(["1.2.3"]) == {"1.2.3": CTImageStorage}
    moment[0] += timedelta(seconds=101)
    assert await reception.look() == 0
    assert await reception.committed(["1.2.3"]) == {}


async def test_bytes_of_open_studies_are_not_collected(database: Database, content: FolderContent) -> None:
    from trabecula.work.gc import RetentionPolicy, collect

    reception = Reception(database, content, ScreeningStore(database, content=content), Settings())
    await reception.take(Instance("1.2", "1.2.3", CTImageStorage, b"bytes"))
    later = datetime.now(UTC) + timedelta(days=30)
    done = await collect(database, content, RetentionPolicy(1.0, None, 1.0, 1.0), now=later)
    assert done.objects == 0


# What may not be said, and what must be hidden on the wire


async def test_no_patient_data_reach_the_logs(
    open_door: OpenDoor, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    study = dicom_headers.write_headers(
        tmp_path / "s", GRID, STUDY, SERIES, name="CANARY^NAME", PatientID="CANARY-ID", PatientBirthDate="CANARY"
    )
    caplog.clear()
    capfd.readouterr()
    async with open_door(max_instances=2) as door:
        await asyncio.to_thread(send, door.port, study)
        del study[0].StudyInstanceUID
        await asyncio.to_thread(send, door.port, study[:1])
        await asyncio.to_thread(call, door.port, "STRANGER")
        await asyncio.sleep(1.5)
    said = "".join([*capfd.readouterr(), *(record.getMessage() for record in caplog.records)])
    for secret in ("CANARY", STUDY, SERIES, str(study[1].SOPInstanceUID)):
        assert secret not in said


async def test_tls_with_client_certificates(
    open_door: OpenDoor, database: Database, study: list[FileDataset], tmp_path: Path
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("OPENSSL MISSING")
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *options, *names, *files], check=True, capture_output=True)
    server = {
        "dimse_tls_certificate_file": certificate,
        "dimse_tls_key_file": key,
        "dimse_tls_client_ca_file": certificate,
    }

    def over_tls(port: int, *, with_certificate: bool) -> Association:
        context = ssl.create_default_context(cafile=str(certificate))
        if with_certificate:
            context.load_cert_chain(certificate, key)
        entity = AE("SCANNER")
        entity.add_requested_context(CTImageStorage)
        entity.acse_timeout = entity.dimse_timeout = 10
        return entity.associate("127.0.0.1", port, ae_title="TRABECULA", tls_args=(context, "127.0.0.1"))

    async with open_door(**server) as door:
        association = await asyncio.to_thread(over_tls, door.port, with_certificate=True)
        assert association.is_established
        assert (await asyncio.to_thread(association.send_c_store, study[0])).Status == 0
        await asyncio.to_thread(association.release)
        plain = await asyncio.to_thread(call, door.port)
        assert not plain.is_established
        nobody = await asyncio.to_thread(over_tls, door.port, with_certificate=False)
        assert not nobody.is_established
        await until_accepted(database)


async def test_a_forgotten_study_that_comes_again_in_another_order_is_the_same_screening(
    database: Database, content: FolderContent
) -> None:
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    settings = replace(Settings(), dimse_journal_s=100.0)
    store = ScreeningStore(database, content=content)
    reception = Reception(database, content, store, settings, now=lambda: moment[0])
    instances = [Instance("1.2", f"1.2.{n}", CTImageStorage, bytes([n])) for n in range(4)]
    seen = []
    for order in (instances, instances[::-1]):
        for each in order:
            moment[0] += timedelta(seconds=1)
            await reception.take(each)
        record = await reception.complete("1.2")
        assert record is not None
        seen.append(record.screening_id)
        moment[0] += timedelta(seconds=200)
        await reception.look()
        assert await reception.committed(["1.2.1"]) == {}
    assert len(set(seen)) == 1
