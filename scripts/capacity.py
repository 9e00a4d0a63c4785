"""The arithmetic of the capacity plan: from measured figures and stated assumptions to machines, bytes and days.

Every figure is a :class:`Figure` with its unit and its source, so that a reader can follow each line with a pencil.
``scripts/write_capacity_plan.py`` writes docs/capacity.md from it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
HOUR_S, DAY_S, YEAR_DAYS = 3600, 86_400, 365


@dataclass(frozen=True)
class Figure:
    """A number that the plan starts from."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Line:
    """One step of the arithmetic."""

    what: str
    how: str
    value: float
    unit: str


@dataclass(frozen=True)
class Measured:
    """What ``docs/benchmarks`` says; read from there each time."""

    study_s: Figure
    """Processing of one study by one worker, from start to commit."""
    study_slices: Figure
    """Of that study."""
    slice_bytes: Figure
    worker_cores: Figure
    child_gib: Figure
    service_gib: Figure
    documents_bytes: Figure
    dicom_objects_bytes: Figure
    database_bytes: Figure
    """Rows that stay as long as the result."""
    instance_rows_bytes: Figure
    """Rows that go with the images."""
    audit_event_bytes: Figure
    hook_cpu_s: Figure
    hook_results: Figure
    queue_jobs_per_s: Figure


def _given(value: float, what: str) -> float:
    return field(default=value, metadata={"what": what})


@dataclass(frozen=True)
class Network:
    """Assumptions for a network of hospitals. Replace each by your own count."""

    hospitals: float = _given(20, "in the network")
    chest_cts_per_day: float = _given(60, "chest CTs of one hospital, all days of the year alike")
    peak_hour_share: float = _given(0.12, "of a day's studies and calls, in the busiest hour")
    slices: float = _given(500, "of 512 x 512 pixels of 16 bits, in one study")
    utilisation: float = _given(0.7, "of the workers in that hour")
    spare_workers: float = _given(1, "that may be away without anybody noticing")
    pixel_retention_days: float = _given(7, "`TRABECULA_PIXEL_RETENTION_S`")
    chart_openings_per_day: float = _given(20_000, "calls of CDS Hooks from one hospital")
    reads_per_study: float = _given(10, "accesses to one result over its life, an AuditEvent each")
    years: float = _given(5, "that results are kept")


@dataclass(frozen=True)
class Archive:
    """Assumptions for an archive that is read once."""

    studies: float = _given(10_000_000, "in the archive")
    slices: float = _given(500, "of 512 x 512 pixels of 16 bits, in one study")
    workers: float = _given(64, "of as many cores as measured, each")
    utilisation: float = _given(0.9, "of the workers: there is always a next study")
    network_gbit_s: float = _given(10.0, "between PACS and workers, or the PACS' own limit")
    compressed_share: float = _given(0.5, "size of what the PACS sends, against plain pixels")
    pixel_retention_hours: float = _given(6, "`TRABECULA_PIXEL_RETENTION_S`, and the next collection")
    core_hour_price: float = _given(0.05, "in your money")
    tib_month_price: float = _given(20.0, "of storage, in your money")
    disk_mib_s: float = _given(200.0, "at which a database is dumped and restored")


def measured(benchmarks: Path) -> Measured:
    """The figures of the benchmarks' JSON files.

    Raises:
        FileNotFoundError: where one was not run yet.
    """
    durable = json.loads((benchmarks / "durable.json").read_text(encoding="utf-8"))
    hooks = json.loads((benchmarks / "hooks.json").read_text(encoding="utf-8"))
    storage = json.loads((benchmarks / "storage.json").read_text(encoding="utf-8"))
    stages = durable["profile"]["median_s"]
    work_s = sum(seconds for stage, seconds in stages.items() if stage.startswith(("work:", "keep:")))
    kinds = storage["content"]["document_bytes"]
    dicom = sum(size for kind, size in kinds.items() if kind.endswith(".dcm"))
    database = storage["database"]
    tables, rows = database["bytes_per_study_by_table"], database["rows_per_study"]
    audit = tables.get("audit_event", 0) / rows["audit_event"] if rows["audit_event"] else 0
    slices = storage["content"]["instances"]
    slice_bytes = round(storage["content"]["instance_bytes"] / slices)
    return Measured(
        study_s=Figure(round(work_s, 2), "s", "durable.json: stages `work` and `keep`, summed"),
        study_slices=Figure(float(re.findall(r"x (\d+) phantom", durable["study"])[0]), "slices", "durable.json"),
        slice_bytes=Figure(slice_bytes, "bytes", f"storage.json: {slices} files of 512 x 512"),
        worker_cores=Figure(durable["cores"], "cores", "durable.json"),
        child_gib=Figure(round(durable["profile"]["peak_gib"]["worker's child"], 2), "GiB", "durable.json: peak"),
        service_gib=Figure(round(durable["profile"]["peak_gib"]["service"], 2), "GiB", "durable.json: peak"),
        documents_bytes=Figure(sum(kinds.values()) - dicom, "bytes", "storage.json: report, page, FHIR bundle"),
        dicom_objects_bytes=Figure(
            dicom, "bytes", "storage.json: SEG, SR, PDF and pictures for a PACS, deflated as they are kept"
        ),
        database_bytes=Figure(
            database["bytes_per_study"] - tables["instance"] - tables["audit_event"],
            "bytes",
            f"storage.json: {rows['resource']:g} resources, screening, result",
        ),
        instance_rows_bytes=Figure(tables["instance"], "bytes", "storage.json: rows that go with the images"),
        audit_event_bytes=Figure(round(audit), "bytes", "storage.json: one access, with its index"),
        hook_cpu_s=Figure(hooks["service_cpu_ms_per_call"] / 1000, "s", "hooks.json"),
        hook_results=Figure(hooks["results_in_store"], "results", "hooks.json: the fullest store measured"),
        queue_jobs_per_s=Figure(293, "jobs/s", "procrastinate 3.10: empty jobs, 4 at once, two cores"),
    )


def seconds_per_study(figures: Measured, slices: float) -> float:
    """Time of one worker for a study of so many slices, taken to grow in proportion (an assumption)."""
    return figures.study_s.value * slices / figures.study_slices.value


def bytes_per_study(figures: Measured, slices: float) -> float:
    return figures.slice_bytes.value * slices


def waiting_probability(workers: int, offered: float) -> float:
    """Erlang C: that a study finds all workers busy, ``offered`` of them are worked on."""
    if offered >= workers:
        return 1.0
    inverse = 1.0
    for number in range(1, workers + 1):
        inverse = 1.0 + inverse * number / offered
    blocked = 1.0 / inverse
    return blocked / (1.0 - (offered / workers) * (1.0 - blocked))


def network_plan(figures: Measured, given: Network) -> tuple[Line, ...]:
    """What a network of hospitals needs."""
    per_day = given.hospitals * given.chest_cts_per_day
    peak_hour = per_day * given.peak_hour_share
    each_s = seconds_per_study(figures, given.slices)
    offered = peak_hour * each_s / HOUR_S
    needed = max(1, math.ceil(offered / given.utilisation))
    workers = needed + given.spare_workers
    waits = waiting_probability(needed, offered)
    wait_s = waits * each_s / (needed - offered) if offered < needed else math.inf
    study_bytes = bytes_per_study(figures, given.slices)
    documents, objects = figures.documents_bytes.value, figures.dicom_objects_bytes.value
    row, audit = figures.database_bytes.value, figures.audit_event_bytes.value
    database = row + given.reads_per_study * audit
    kept = per_day * YEAR_DAYS
    results = kept * given.years
    cores = figures.worker_cores.value
    gib = figures.child_gib.value + figures.service_gib.value
    measured_slices, slice_kib = figures.study_slices.value, figures.slice_bytes.value / KIB
    mib = study_bytes / MIB
    calls = given.hospitals * given.chart_openings_per_day
    hooks = calls * given.peak_hour_share / HOUR_S
    hook_ms = figures.hook_cpu_s.value * 1000
    hook_cores = hooks * hook_ms / 1000
    fullest = figures.hook_results.value
    rows = (
        ("studies a day", f"{given.hospitals:g} x {given.chest_cts_per_day:g}", per_day, "studies"),
        ("in the busiest hour", f"{per_day:g} x {given.peak_hour_share:g}", peak_hour, "studies"),
        (
            "one study on one worker",
            f"{figures.study_s.value:g} s x {given.slices:g} / {measured_slices:g} slices",
            each_s,
            "s",
        ),
        ("workers busy on average in that hour", f"{peak_hour:g} x {each_s:.2f} s / 3600", offered, "workers"),
        ("workers for it", f"{offered:.2f} / {given.utilisation:g}, rounded up", needed, "workers"),
        ("studies that wait (Erlang C)", f"{needed} workers, {offered:.2f} busy", 100 * waits, "%"),
        ("average wait", f"{waits:.3f} x {each_s:.2f} s / ({needed} - {offered:.2f})", wait_s, "s"),
        ("workers with spare", f"{needed} + {given.spare_workers:g}", workers, "workers"),
        ("their cores", f"{workers:g} x {cores:g}", workers * cores, "cores"),
        ("their memory at the measured peaks", f"{workers:g} x {gib:.2f} GiB", workers * gib, "GiB"),
        ("one study's files", f"{slice_kib:.0f} KiB x {given.slices:g}", mib, "MiB"),
        (
            "coming in, busiest hour",
            f"{peak_hour:g} x {mib:.0f} MiB x 8 / 3600 s",
            peak_hour * study_bytes * 8 / HOUR_S / 1e6,
            "Mbit/s",
        ),
        (
            "images kept",
            f"{per_day:g} x {given.pixel_retention_days:g} days x {mib:.0f} MiB",
            per_day * given.pixel_retention_days * study_bytes / TIB,
            "TiB",
        ),
        (
            "database rows that go with them",
            f"{per_day:g} x {given.pixel_retention_days:g} x {figures.instance_rows_bytes.value / KIB:.0f} KiB",
            per_day * given.pixel_retention_days * figures.instance_rows_bytes.value / GIB,
            "GiB",
        ),
        ("documents a year", f"{kept:g} x {documents / MIB:.2f} MiB", kept * documents / GIB, "GiB"),
        ("DICOM objects a year", f"{kept:g} x {objects / MIB:.1f} MiB", kept * objects / TIB, "TiB"),
        (
            "database a year",
            f"{kept:g} x ({row / KIB:.1f} + {given.reads_per_study:g} x {audit / KIB:.1f}) KiB",
            kept * database / GIB,
            "GiB",
        ),
        (f"results after {given.years:g} years", f"{kept:g} x {given.years:g}", results, "results"),
        ("against the fullest store measured", f"{results:g} / {fullest:g}", results / fullest, "times"),
        ("CDS Hooks calls, busiest hour", f"{calls:g} x {given.peak_hour_share:g} / 3600 s", hooks, "calls/s"),
        ("cores for them", f"{hooks:.1f} x {hook_ms:.2f} ms", hook_cores, "cores"),
        (
            "api pods",
            f"{hook_cores:.2f} / {given.utilisation:g}, rounded up, and one more",
            math.ceil(hook_cores / given.utilisation) + 1,
            "pods",
        ),
    )
    return tuple(Line(*each) for each in rows)


def archive_plan(figures: Measured, given: Archive) -> tuple[Line, ...]:
    """What reading an archive once takes."""
    each_s = seconds_per_study(figures, given.slices)
    worker_s = given.studies * each_s
    compute_days = worker_s / (given.workers * given.utilisation) / DAY_S
    raw = bytes_per_study(figures, given.slices)
    sent = raw * given.compressed_share
    network_days = given.studies * sent * 8 / (given.network_gbit_s * 1e9) / DAY_S
    days = max(compute_days, network_days)
    rate = given.studies / (days * DAY_S)
    documents = given.studies * figures.documents_bytes.value
    database = given.studies * figures.database_bytes.value
    core_hours = worker_s * figures.worker_cores.value / HOUR_S
    pixels = rate * given.pixel_retention_hours * HOUR_S * raw
    balanced = math.ceil(worker_s / given.utilisation / (network_days * DAY_S))
    worker_days, petabytes = worker_s / DAY_S, given.studies * sent / 1e15
    slices, cores = figures.study_slices.value, figures.worker_cores.value
    queue, fullest = figures.queue_jobs_per_s.value, figures.hook_results.value
    studies = f"{given.studies:g}"
    document_kib, row_kib = figures.documents_bytes.value / KIB, figures.database_bytes.value / KIB
    dump_hours = database / MIB / given.disk_mib_s / HOUR_S
    kept_tib = (documents + database) / TIB
    rows = (
        ("one study on one worker", f"{figures.study_s.value:g} s x {given.slices:g} / {slices:g}", each_s, "s"),
        ("work", f"{studies} x {each_s:.2f} s / 86400", worker_days, "worker-days"),
        ("processor time", f"{studies} x {each_s:.2f} s x {cores:g} / 3600", core_hours, "core-hours"),
        (
            "time by computing",
            f"{worker_days:.0f} / ({given.workers:g} x {given.utilisation:g})",
            compute_days,
            "days",
        ),
        ("one study as the PACS sends it", f"{raw / MIB:.0f} MiB x {given.compressed_share:g}", sent / MIB, "MiB"),
        ("over the network", f"{studies} x {sent / MIB:.0f} MiB", petabytes, "PB"),
        ("time by network", f"{petabytes:.2f} PB x 8 / {given.network_gbit_s:g} Gbit/s", network_days, "days"),
        ("time: the longer one", f"max({compute_days:.1f}, {network_days:.1f})", days, "days"),
        (
            "workers that the network can feed",
            f"{worker_days:.0f} / {given.utilisation:g} / {network_days:.1f}",
            balanced,
            "workers",
        ),
        ("rate", f"{studies} / {days:.1f} days", rate, "studies/s"),
        ("limit of the queue against it", f"{queue:g} / {rate:.2f}", queue / rate, "times"),
        (
            "images lying about at once",
            f"{rate:.2f} x {given.pixel_retention_hours:g} h x {raw / MIB:.0f} MiB",
            pixels / TIB,
            "TiB",
        ),
        ("documents", f"{studies} x {document_kib:.0f} KiB", documents / TIB, "TiB"),
        ("database", f"{studies} x {row_kib:.1f} KiB", database / TIB, "TiB"),
        ("against the fullest store measured", f"{studies} / {fullest:g}", given.studies / fullest, "times"),
        ("dump or restore", f"{database / TIB:.2f} TiB / {given.disk_mib_s:g} MiB/s", dump_hours, "hours"),
        (
            "cost of computing",
            f"{core_hours:.0f} x {given.core_hour_price:g}",
            core_hours * given.core_hour_price,
            "units of money",
        ),
        (
            "cost of keeping",
            f"{kept_tib:.2f} TiB x {given.tib_month_price:g}",
            kept_tib * given.tib_month_price,
            "units of money a month",
        ),
    )
    return tuple(Line(*each) for each in rows)


def changed(default: Network | Archive, **values: float | None) -> Network | Archive:
    """The assumptions with those that were given."""
    own = {each.name: getattr(default, each.name) for each in fields(default)}
    return type(default)(**{**own, **{name: value for name, value in values.items() if value is not None}})
