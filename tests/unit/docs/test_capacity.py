"""The capacity plan: its arithmetic, and that the page says what the benchmarks say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def capacity(repository: Path) -> ModuleType:
    return load(repository / "scripts" / "capacity.py")


@pytest.fixture(scope="module")
def writer(repository: Path) -> ModuleType:
    return load(repository / "scripts" / "write_capacity_plan.py")


def load(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))


def test_the_page_has_today_s_figures(writer: ModuleType) -> None:
    text = writer.PAGE.read_text(encoding="utf-8")
    assert writer.page(text) == text, "run python scripts/write_capacity_plan.py"


def test_every_figure_of_the_page_is_that_of_a_benchmark(writer: ModuleType, repository: Path) -> None:
    durable = json.loads((repository / "docs/benchmarks/durable.json").read_text(encoding="utf-8"))
    stages = durable["profile"]["median_s"]
    assert f"| {stages['first byte to committed result, as the client sees it']:.1f} s |" in writer.sizing_table()


def test_the_sizing_table_takes_what_has_been_run(
    writer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(writer, "BENCHMARKS", tmp_path)
    assert writer.sizing_table().count("\n") == 1
    row = {"studies": 4, "mib_each": 150.1, "studies_per_hour": 611, "cpu_s_per_study": 9.5}
    (tmp_path / "load.json").write_text(
        json.dumps({"throughput_full_size": row, "uploads_small": {"uploads_per_s": 80.0}})
    )
    made = writer.sizing_table()
    assert "| studies of full size, one worker | 611 an hour | 150.1 MiB each |" in made
    assert "80 a second" in made


@pytest.mark.parametrize(
    ("workers", "offered", "waits"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (5, 4.0, 0.5541), (3, 3.0, 1.0), (1, 7.0, 1.0)]
)
def test_erlang_c(capacity: ModuleType, workers: int, offered: float, waits: float) -> None:
    assert capacity.waiting_probability(workers, offered) == pytest.approx(waits, abs=1e-4)


@pytest.fixture(scope="module")
def figures(capacity: ModuleType) -> object:
    """Round numbers, so that the plan can be reckoned by hand."""
    made = {
        "study_s": 6, "study_slices": 300, "slice_bytes": 2**19, "worker_cores": 2, "child_gib": 1.0,
        "service_gib": 0.5, "documents_bytes": 2**20, "dicom_objects_bytes": 2**22, "database_bytes": 2**19,
        "instance_rows_bytes": 2**16, "audit_event_bytes": 2**10, "hook_cpu_s": 0.004, "hook_results": 100_000,
        "queue_jobs_per_s": 300,
    }  # fmt: skip
    return capacity.Measured(**{name: capacity.Figure(value, "", "") for name, value in made.items()})


def by_name(lines: tuple[object, ...]) -> dict[str, float]:
    return {each.what: each.value for each in lines}  # type: ignore[attr-defined]


def test_a_network_by_hand(capacity: ModuleType, figures: object) -> None:
    given = capacity.Network(
        hospitals=10, chest_cts_per_day=120, peak_hour_share=0.25, slices=600, utilisation=0.5, spare_workers=1,
        pixel_retention_days=2, chart_openings_per_day=36_000, reads_per_study=4, years=2,
    )  # fmt: skip
    plan = by_name(capacity.network_plan(figures, given))
    assert plan["studies a day"] == 1200
    assert plan["in the busiest hour"] == 300
    assert plan["one study on one worker"] == 12
    assert plan["workers busy on average in that hour"] == pytest.approx(1.0)
    assert plan["workers for it"] == 2
    assert plan["studies that wait (Erlang C)"] == pytest.approx(100 / 3)
    assert plan["average wait"] == pytest.approx(4.0)
    assert (plan["workers with spare"], plan["their cores"]) == (3, 6)
    assert plan["their memory at the measured peaks"] == pytest.approx(4.5)
    assert plan["one study's files"] == 300
    assert plan["coming in, busiest hour"] == pytest.approx(300 * 300 * 2**20 * 8 / 3600 / 1e6)
    assert plan["images kept"] == pytest.approx(1200 * 2 * 300 / 2**20)
    assert plan["documents a year"] == pytest.approx(438_000 / 1024)
    assert plan["DICOM objects a year"] == pytest.approx(438_000 * 4 / 2**20)
    assert plan["database a year"] == pytest.approx(438_000 * (512 + 4) / 2**20)
    assert plan["results after 2 years"] == 876_000
    assert plan["against the fullest store measured"] == pytest.approx(8.76)
    assert plan["CDS Hooks calls, busiest hour"] == pytest.approx(25)
    assert plan["cores for them"] == pytest.approx(0.1)
    assert plan["api pods"] == 2


def test_an_archive_by_hand(capacity: ModuleType, figures: object) -> None:
    given = capacity.Archive(
        studies=1_000_000, slices=300, workers=10, utilisation=1.0, network_gbit_s=1.0, compressed_share=0.5,
        pixel_retention_hours=1, core_hour_price=0.1, tib_month_price=10, disk_mib_s=100,
    )  # fmt: skip
    plan = by_name(capacity.archive_plan(figures, given))
    raw = 300 * 2**19
    assert plan["work"] == pytest.approx(6e6 / 86400)
    assert plan["processor time"] == pytest.approx(12e6 / 3600)
    assert plan["time by computing"] == pytest.approx(6e5 / 86400)
    assert plan["time by network"] == pytest.approx(1e6 * raw / 2 * 8 / 1e9 / 86400)
    assert plan["time: the longer one"] == max(plan["time by computing"], plan["time by network"])
    assert plan["workers that the network can feed"] == 10
    rate = 1e6 / (plan["time: the longer one"] * 86400)
    assert plan["limit of the queue against it"] == pytest.approx(300 / rate)
    assert plan["images lying about at once"] == pytest.approx(rate * 3600 * raw / 2**40)
    assert plan["documents"] == pytest.approx(1e6 / 2**20)
    assert plan["database"] == pytest.approx(1e6 / 2**21)
    assert plan["dump or restore"] == pytest.approx(1e6 / 2 / 100 / 3600)
    assert plan["cost of computing"] == pytest.approx(12e6 / 3600 * 0.1)
    assert plan["cost of keeping"] == pytest.approx((1e6 / 2**20 + 1e6 / 2**21) * 10)


def test_a_site_reckons_with_its_own_figures(repository: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(repository / "scripts/write_capacity_plan.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    made = json.loads(run("--print", "network", "--hospitals", "3", "--json").stdout)
    assert made["given"]["hospitals"] == 3
    assert made["plan"][0]["value"] == 3 * made["given"]["chest_cts_per_day"]
    assert "core-hours" in run("--print", "archive", "--studies", "2e6").stdout
    assert run("--print", "network", "--studies", "5").returncode == 2
