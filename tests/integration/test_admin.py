"""Operators' calls and ``trabecula jobs``, through a running service and straight on the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from live_service import LiveServer, StartServer, make_study, wait_until
from typer.testing import CliRunner, Result

from trabecula import errors
from trabecula.cli.app import app
from trabecula.config import Role, Settings
from trabecula.service.client import AdminClient, Client
from trabecula.v1 import admin_pb2, admin_pb2_grpc
from trabecula.v1 import screening_pb2 as pb
from trabecula.work.records import Priority

UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def operated(start_server: StartServer, tmp_path: Path) -> LiveServer:
    return start_server(admin_listen="127.0.0.1:0", backup_dir=tmp_path / "backups")


@pytest.fixture
def operator(operated: LiveServer) -> Iterator[AdminClient]:
    with AdminClient(operated.admin_address) as connected:
        yield connected


def jobs(service: LiveServer, through: str, *arguments: object) -> Result:
    """``trabecula jobs`` over the wire or on the database itself."""
    where = ["--server", service.admin_address]
    if through == "database":
        url, folder = service.settings.database_url, service.settings.state_dir
        where = ["--database-url", str(url), "--state-dir", str(folder)]
    return CliRunner().invoke(app, ["jobs", *(str(each) for each in arguments), *where])


def dead_letter(client: Client, tmp_path: Path) -> str:
    screening_id = client.submit(make_study(tmp_path / "text", b"text"))
    assert list(client.watch(screening_id))[-1].state == pb.SCREENING_STATE_FAILED
    return screening_id


@pytest.mark.parametrize("through", ["service", "database"])
def test_dead_letters_are_listed_with_their_reason_and_tried_again(
    operated: LiveServer, tmp_path: Path, through: str
) -> None:
    with Client(operated.address) as client:
        failed = dead_letter(client, tmp_path)
        reported = client.submit(make_study(tmp_path / "fine"), priority=Priority.STAT)
        list(client.watch(reported))

        table = jobs(operated, through, "list")
        assert table.exit_code == 0, table.output
        assert "no-dicom-found" in table.stdout
        assert "1 failed" in table.stdout
        listed = json.loads(jobs(operated, through, "list", "--state", "failed", "--json").stdout)
        assert [job["screening_id"] for job in listed["jobs"]] == [failed]
        listed = json.loads(jobs(operated, through, "list", "--priority", "stat", "--source", "grpc", "--json").stdout)
        assert [job["screening_id"] for job in listed["jobs"]] == [reported]

        shown = json.loads(jobs(operated, through, "show", failed, "--json").stdout)
        assert [step["event"] for step in shown["steps"]] == ["accept", "start", "fail"]
        assert "no-dicom-found" in jobs(operated, through, "show", failed).stdout

        assert jobs(operated, through, "retry", failed).exit_code == 0
        assert list(client.watch(failed))[-1].state == pb.SCREENING_STATE_FAILED
        shown = json.loads(jobs(operated, through, "show", failed, "--json").stdout)
        assert [step["event"] for step in shown["steps"]] == ["accept", "start", "fail", "revive", "start", "fail"]


@pytest.mark.parametrize("through", ["service", "database"])
def test_cancel_hold_and_release(operated: LiveServer, tmp_path: Path, through: str) -> None:
    with Client(operated.address) as client:
        running = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(running)[0].state == pb.SCREENING_STATE_RUNNING)
        assert "on legal hold" in jobs(operated, through, "hold", running).stdout
        assert client.get(running)[0].legal_hold
        assert "hold" not in jobs(operated, through, "release", running).stdout
        assert not client.get(running)[0].legal_hold
        assert jobs(operated, through, "cancel", running).exit_code == 0
        assert list(client.watch(running))[-1].state == pb.SCREENING_STATE_CANCELLED


@pytest.mark.parametrize("through", ["service", "database"])
def test_what_cannot_be_done_ends_with_its_code(operated: LiveServer, tmp_path: Path, through: str) -> None:
    with Client(operated.address) as client:
        reported = client.submit(make_study(tmp_path / "fine"))
        list(client.watch(reported))
    for arguments, code in ((("show", UNKNOWN), "not-found"), (("retry", reported), "already-ended")):
        result = jobs(operated, through, *arguments)
        assert result.exit_code == 1
        assert code in result.stderr
    assert jobs(operated, through, "list", "--state", "lost").exit_code == 2


def test_the_list_goes_on_over_pages(operated: LiveServer, operator: AdminClient, tmp_path: Path) -> None:
    with Client(operated.address) as client:
        ids = [client.submit(make_study(tmp_path / "study")) for _ in range(5)]
        first = operator.call("ListJobs", admin_pb2.ListJobsRequest(page_size=3))
        second = operator.call("ListJobs", admin_pb2.ListJobsRequest(page_size=3, page_token=first.next_page_token))
        for each in ids:
            list(client.watch(each))
    assert [job.screening_id for job in (*first.jobs, *second.jobs)] == ids[::-1]
    with pytest.raises(errors.InvalidRequest):
        operator.call("ListJobs", admin_pb2.ListJobsRequest(page_size=201))
    limited = json.loads(jobs(operated, "service", "list", "--limit", 2, "--json").stdout)
    assert len(limited["jobs"]) == 2


def test_a_job_that_waits_for_its_next_attempt_says_until_when(
    operated: LiveServer, operator: AdminClient, tmp_path: Path
) -> None:
    import asyncio

    from trabecula.errors import WorkerCrashed

    with Client(operated.address) as client:
        running = client.submit(make_study(tmp_path / "slow", b"slow"))
        wait_until(lambda: client.get(running)[0].state == pb.SCREENING_STATE_RUNNING)
        for attempt in (1, 2):
            wait_until(lambda attempt=attempt: client.get(running)[0].attempt == attempt)  # type: ignore[misc]
            lost = operated.server.store.give_back(running, attempt, WorkerCrashed())
            asyncio.run_coroutine_threadsafe(lost, operated.loop).result(10)
        shown = operator.call("GetJob", admin_pb2.GetJobRequest(screening_id=running))
        assert shown.not_before.ToDatetime() > shown.job.submitted_at.ToDatetime()
        assert shown.steps[-1].reason == "worker-crashed"
        client.cancel(running)


# Database and content store


def test_backup_check_and_collection_through_the_service(
    operated: LiveServer, operator: AdminClient, tmp_path: Path
) -> None:
    with Client(operated.address) as client:
        list(client.watch(client.submit(make_study(tmp_path / "fine"))))
    found = operator.call("CheckDatabase", admin_pb2.CheckDatabaseRequest(deep=True))
    assert (found.ok, found.screenings, found.open_screenings) == (True, 1, 0)
    assert found.objects > 3
    upgraded = operator.call("UpgradeDatabase", admin_pb2.UpgradeDatabaseRequest())
    assert upgraded.revision == upgraded.revision_before == found.revision
    collected = operator.call("CollectGarbage", admin_pb2.CollectGarbageRequest(dry_run=True))
    assert (collected.pixels, collected.dry_run) == (0, True)
    written = operator.call("BackupDatabase", admin_pb2.BackupDatabaseRequest(name="one.tar"))
    assert (written.screenings, list(written.left_out)) == (1, [])
    assert (tmp_path / "backups" / "one.tar").is_file()
    with pytest.raises(errors.BackupExists):
        operator.call("BackupDatabase", admin_pb2.BackupDatabaseRequest(name="one.tar"))
    with pytest.raises(errors.DatabaseInUse):
        operator.call("RestoreDatabase", admin_pb2.RestoreDatabaseRequest(name="one.tar"))


@pytest.mark.parametrize("name", ["", "../one", "/tmp/one", "a/b", ".hidden", "x" * 200])  # noqa: S108
def test_a_backup_never_leaves_its_folder(operator: AdminClient, name: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        operator.call("BackupDatabase", admin_pb2.BackupDatabaseRequest(name=name))


def test_a_backup_is_restored_into_an_empty_database(
    operated: LiveServer,
    operator: AdminClient,
    start_server: StartServer,
    database_server: object,
    tmp_path: Path,
) -> None:
    with Client(operated.address) as client:
        screening_id = client.submit(make_study(tmp_path / "fine"))
        list(client.watch(screening_id))
        _, report = client.get(screening_id)
    operator.call("BackupDatabase", admin_pb2.BackupDatabaseRequest(name="one"))
    empty = {"database_url": database_server.url(database_server.create("template0"))}  # type: ignore[attr-defined]
    fresh = start_server(
        role=Role.ADMIN,
        admin_listen="127.0.0.1:0",
        backup_dir=tmp_path / "backups",
        state_dir=tmp_path / "new",
        **empty,
    )
    with AdminClient(fresh.admin_address) as there:
        assert not there.call("CheckDatabase", admin_pb2.CheckDatabaseRequest()).ok
        restored = there.call("RestoreDatabase", admin_pb2.RestoreDatabaseRequest(name="one"))
        assert restored.screenings == 1
        assert there.call("CheckDatabase", admin_pb2.CheckDatabaseRequest(deep=True)).ok
        with pytest.raises(errors.DatabaseNotEmpty):
            there.call("RestoreDatabase", admin_pb2.RestoreDatabaseRequest(name="one"))
    fresh.stop(0.0)
    again = start_server(state_dir=tmp_path / "new", **empty)
    with Client(again.address) as client:
        assert client.get(screening_id)[1] == report


# Who may call


def test_the_operators_service_is_not_on_the_address_of_clients(operated: LiveServer) -> None:
    with grpc.insecure_channel(operated.address) as channel, pytest.raises(grpc.RpcError) as caught:
        admin_pb2_grpc.AdminServiceStub(channel).ListJobs(admin_pb2.ListJobsRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_there_is_none_unless_asked_for(service: LiveServer) -> None:
    assert service.server.admin_port == 0


def test_beyond_the_loopback_interface_it_asks_for_client_certificates() -> None:
    from trabecula.config import load_settings

    assert load_settings({"TRABECULA_ADMIN_LISTEN": "127.0.0.1:50052"}).admin_listen
    with pytest.raises(errors.ConfigurationError):
        load_settings({"TRABECULA_ADMIN_LISTEN": "0.0.0.0:50052"})
    certificates = {
        "TRABECULA_TLS_CLIENT_CA_FILE": "ca.pem",
        "TRABECULA_TLS_CERTIFICATE_FILE": "certificate.pem",
        "TRABECULA_TLS_KEY_FILE": "key.pem",
    }
    assert load_settings({"TRABECULA_ADMIN_LISTEN": "0.0.0.0:50052", **certificates}).admin_listen
    assert replace(Settings(), role=Role.ADMIN).role is Role.ADMIN
    with pytest.raises(errors.ConfigurationError):
        load_settings({"TRABECULA_ROLE": "admin"})
