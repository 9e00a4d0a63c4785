"""Writes the tables of docs/capacity.md anew from docs/benchmarks/*.json and the plan's assumptions.

    python scripts/write_capacity_plan.py                                     # the tables of docs/capacity.md
    python scripts/write_capacity_plan.py --print network --hospitals 3 --chest-cts-per-day 90
    python scripts/write_capacity_plan.py --print archive --studies 2e6 --workers 16 --json

With ``--print`` nothing is written: the plan for your own figures goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from capacity import (
    MIB,
    Archive,
    Line,
    Measured,
    Network,
    archive_plan,
    changed,
    measured,
    network_plan,
)

REPOSITORY = Path(__file__).resolve().parents[1]
BENCHMARKS = REPOSITORY / "docs" / "benchmarks"
PAGE = REPOSITORY / "docs" / "capacity.md"


def number(value: float) -> str:
    """Three significant digits, whole above a hundred."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def lines_table(lines: tuple[Line, ...]) -> str:
    return table(("what", "arithmetic", "gives"), [(e.what, e.how, f"{number(e.value)} {e.unit}") for e in lines])


def measured_table(figures: Measured) -> str:
    rows = []
    for each in fields(figures):
        figure = getattr(figures, each.name)
        shown = f"{number(figure.value / MIB)} MiB" if figure.unit == "bytes" and figure.value > MIB else ""
        shown = shown or (f"{number(figure.value / 1024)} KiB" if figure.unit == "bytes" else "")
        rows.append((WHAT[each.name], shown or f"{number(figure.value)} {figure.unit}", figure.source))
    return table(("figure", "value", "from"), rows)


WHAT = {
    "study_s": "one study on one worker, from start to commit",
    "study_slices": "slices of that study",
    "slice_bytes": "one slice's file",
    "worker_cores": "cores of that worker",
    "child_gib": "peak memory of a worker's child",
    "service_gib": "peak memory of the service beside it",
    "documents_bytes": "documents of one result",
    "dicom_objects_bytes": "its DICOM objects",
    "database_bytes": "its rows",
    "instance_rows_bytes": "rows that go with the images",
    "audit_event_bytes": "one access to it",
    "hook_cpu_s": "processor time of one CDS Hooks call",
    "hook_results": "fullest store measured",
    "queue_jobs_per_s": "the queue, work that does nothing",
}
"""Names of the measured figures."""


def assumptions_table(given: Network | Archive) -> str:
    rows = [
        (f"`--{each.name.replace('_', '-')}`", number(getattr(given, each.name)), each.metadata["what"])
        for each in fields(given)
    ]
    return table(("assumption", "value", "what"), rows)


def sizing_table() -> str:
    """What one process needs, as it was measured; a row where its benchmark has been run."""
    rows: list[tuple[str, ...]] = []
    durable = _read("durable")
    if durable:
        median, peak = durable["profile"]["median_s"], durable["profile"]["peak_gib"]
        child = peak["worker's child"]
        whole = median["first byte to committed result, as the client sees it"]
        rows += [
            (f"{durable['study']}, first byte to result", f"{whole:.1f} s", f"{durable['cores']} cores", "durable"),
            ("peak memory of a worker's child", f"{child:.2f} GiB", "the same study", "durable"),
            ("peak memory of the service beside it", f"{peak['service']:.2f} GiB", "the same study", "durable"),
        ]
    single = _read("end-to-end")
    if single:
        rows.append(
            (
                "the same study, `trabecula screen`",
                f"{single['median']['wall_s']:.1f} s",
                f"{single['cores']} cores",
                "end-to-end",
            )
        )
    load = _read("load")
    if load:
        rows += load_rows(load)
    hooks = _read("hooks")
    if hooks:
        rows.append(
            (
                f"CDS Hooks, {hooks['rate_per_s']:g} calls/s, {hooks['results_in_store']:,} results",
                f"p50 {hooks['all']['p50_ms']:g} ms, p99 {hooks['all']['p99_ms']:g} ms",
                f"{hooks['service_cpu_ms_per_call']:g} ms of processor time a call",
                "hooks",
            )
        )
    soak = _read("soak")
    if soak:
        medians = {
            name: e["rss_mib"]["median"] for name, e in soak["verdict"].items() if "median" in e.get("rss_mib", {})
        }
        rows += [
            (
                f"{name}, {'private' if name == 'postgresql' else 'resident'}, steady",
                f"{number(value)} MiB",
                f"{soak['minutes']:g} minutes of load",
                "soak",
            )
            for name, value in sorted(medians.items())
        ]
    container = _read("container")
    if container:
        seen = container["figures"]
        rows += [
            ("image, unpacked", f"{seen['image_bytes'] / 1e9:.2f} GB", f"{len(seen['layers'])} layers", "container"),
        ]
        names = (("start_s", "first start to ready, new database"), ("drain_s", "stop while a study runs"))
        rows += [(what, f"{seen[name]:g} s", "in a container", "container") for name, what in names if name in seen]
    storage = _read("storage")
    if storage:
        content, database = storage["content"], storage["database"]
        rows += [
            (
                "database, one result",
                f"{number(database['bytes_per_study'] / 1024)} KiB",
                "all tables but the queue's",
                "storage",
            ),
            (
                f"documents, one result of {content['instances']} slices",
                f"{number(sum(content['document_bytes'].values()) / 1024)} KiB",
                "with DICOM objects and PDF",
                "storage",
            ),
            ("images of that study", f"{number(content['instance_bytes'] / MIB)} MiB", "as sent", "storage"),
        ]
    return table(
        ("what", "measured", "on", "by"),
        [(*row[:3], f"[{row[3]}](benchmarks/{row[3]}.{suffix(row[3])})") for row in rows],
    )


def at_once_table() -> str:
    """Studies an hour of the same cores, shared out among workers in different ways."""
    measured_ways = (_read("durable") or {}).get("studies_per_hour", {})
    ways = list(dict.fromkeys(way for rates in measured_ways.values() for way in rates))
    rows = []
    for study, rates in measured_ways.items():
        cells = [number(rates[way]) if way in rates else "-" for way in ways]
        first, last = rates.get(ways[0]), rates.get(ways[-1])
        rows.append((study, *cells, f"{last / first - 1:+.0%}" if first and last else "-"))
    return table(("studies an hour", *ways, ""), rows)


def load_rows(load: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rates under load, on one API process and one worker that share the machine with PostgreSQL and the senders."""
    full, small, large = (load.get(name, {}) for name in ("throughput_full_size", "uploads_small", "uploads_large"))
    rows = []
    if "studies_per_hour" in full:
        on = f"{full['mib_each']:g} MiB each"
        rows += [
            ("studies of full size, one worker", f"{number(full['studies_per_hour'])} an hour", on, "load"),
            ("processor time of one, all parts", f"{full['cpu_s_per_study']:g} s", on, "load"),
        ]
    rows += [
        (f"uploads, {what}", f"{number(row['uploads_per_s'])} a second", "4 senders", "load")
        for what, row in (("one small file each", small), ("full size", large))
        if "uploads_per_s" in row
    ]
    return rows


def suffix(name: str) -> str:
    return "md" if (BENCHMARKS / f"{name}.md").exists() else "json"


def _read(name: str) -> dict[str, Any] | None:
    path = BENCHMARKS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def page(text: str) -> str:
    """The page with its tables as they are today."""
    figures = measured(BENCHMARKS)
    parts = {
        "sizing": sizing_table(),
        "at-once": at_once_table(),
        "measured": measured_table(figures),
        "network-assumptions": assumptions_table(Network()),
        "network": lines_table(network_plan(figures, Network())),
        "archive-assumptions": assumptions_table(Archive()),
        "archive": lines_table(archive_plan(figures, Archive())),
    }
    for name, made in parts.items():
        begin, end = f"<!-- made: {name} -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        if not found or end not in rest:
            raise SystemExit(f"docs/capacity.md has no place for: {name}")
        text = f"{before}{begin}{made}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", choices=("network", "archive"), dest="kind")
    parser.add_argument("--json", action="store_true")
    for name in dict.fromkeys(each.name for kind in (Network, Archive) for each in fields(kind)):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float)
    given = vars(parser.parse_args())
    kind, as_json = given.pop("kind"), given.pop("json")
    if kind is None:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    default = Network() if kind == "network" else Archive()
    unknown = [name for name, value in given.items() if value is not None and not hasattr(default, name)]
    if unknown:
        parser.error(f"not of this plan: {', '.join(unknown)}")
    chosen = changed(default, **{name: value for name, value in given.items() if hasattr(default, name)})
    figures = measured(BENCHMARKS)
    lines = network_plan(figures, chosen) if isinstance(chosen, Network) else archive_plan(figures, chosen)
    if as_json:
        print(
            json.dumps(
                {"given": asdict(chosen), "measured": asdict(figures), "plan": [asdict(e) for e in lines]}, indent=2
            )
        )
    else:
        print(lines_table(lines))


if __name__ == "__main__":
    main()
