"""The figures of fuzzing as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Figures = Mapping[str, Any]


def page(figures: Figures) -> str:
    """Markdown; what was not run is not in it."""
    lines = [
        "# Fuzzing",
        "",
        "Made by `make fuzz` ([how it works](../fuzzing.md)); the numbers behind it are in [fuzz.json](fuzz.json).",
        "Times are processor times of programs that shared the machine with others.",
        "",
    ]
    for name, part in _PARTS.items():
        if name in figures:
            lines += [*part(figures[name]), f"Code: commit `{figures[name].get('commit', 'unknown')}`.", ""]
            lines += [*_findings(figures[name].get("findings", {})), ""]
            lines += [figures[name]["note"], ""] if "note" in figures[name] else []
    return "\n".join(lines)


def _findings(findings: Mapping[str, Any]) -> Iterator[str]:
    if not findings:
        yield "**Findings: none.**"
        return
    yield f"**Findings: {len(findings)}.**"
    yield ""
    for text, names in sorted(findings.items()):
        count = len(names) if isinstance(names, list) else names
        yield f"* {text} ({count})"


def _table(head: tuple[str, str], counts: Mapping[str, int]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |"
    yield "|---|---:|"
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"| {name} | {count} |"
    yield ""


def _dicom(part: Figures) -> Iterator[str]:
    seeds = ", ".join(map(str, part["seeds"]))
    yield "## DICOM instances"
    yield ""
    yield (
        f"{part['instances']:,} mutated instances in {part['studies']:,} studies (seed {seeds}) through the "
        f"check at the "
        "door of C-STORE and STOW and through the product's own worker process. No study may take more than "
        f"{part['limit_cpu_s']:.0f} s of processor time; the slowest took {part['slowest_cpu_s']} s. The "
        f"worker's memory "
        f"peaked at {part['peak_mib']} MiB, of which the libraries take some 500; the campaign ends a worker at "
        f"1,536 MiB."
    )
    yield ""
    yield from _table(("what became of the study", "studies"), part["outcomes"])
    yield from _table(("answer at the door", "instances"), part["doors"])
    yield from _table(("mutation", "studies that hold it"), part["mutations"])
    yield from _table(("sound study that was mutated", "studies"), part["bases"])


def _whole(part: Figures) -> Iterator[str]:
    yield "## Whole screenings"
    yield ""
    yield (
        f"{part['instances']:,} mutated instances in {part['studies']:,} studies (seed {part['seed']}; phantoms that "
        "can be measured, ones too short, two series, small series in every way of storing) sent to the whole "
        f"service by gRPC, STOW-RS and C-STORE, and screened by its durable worker with the models; "
        f"{part['screenings']:,} screenings came of them. Some were sent twice under one key, called off, or "
        "tried again as dead letters. Afterwards each had ended exactly once with what belongs to its end, no "
        f"file was left, and every byte and every resource that was promised ({part['resources']:,} of the record) "
        "was there."
    )
    yield ""
    yield from _table(("how a screening ended", "screenings"), part["outcomes"])
    yield from _table(("door and its answers", "studies"), part["doors"])
    yield from _table(("study", "studies"), part["kinds"])


def _readers(part: Figures) -> Iterator[str]:
    yield "## Readers of files and messages"
    yield ""
    yield (
        f"{part['tries']:,} mutated inputs (seed {part['seed']}), the slowest {part['slowest_s']} s. Nothing "
        f"but an error "
        "of the tree may come out."
    )
    yield ""
    yield "| reader | answers |"
    yield "|---|---|"
    for name, answers in sorted(part["readers"].items()):
        yield f"| {name} | {', '.join(f'{code} {count}' for code, count in sorted(answers.items()))} |"
    yield ""


def _grpc(part: Figures) -> Iterator[str]:
    yield "## gRPC"
    yield ""
    yield (
        f"{part['calls']:,} odd calls to every RPC of the live service (seed {part['seed']}): mutated messages, "
        f"raw bytes, "
        f"uploads out of order, cut and cancelled. The slowest answer took {part['slowest_s']:.2f} s. UNKNOWN "
        f"and INTERNAL "
        "may not come. Afterwards database and content store were checked byte by byte."
    )
    yield ""
    yield from _table(("RPC and status", "calls"), part["codes"])


def _http(part: Figures) -> Iterator[str]:
    yield "## HTTP"
    yield ""
    yield (
        f"{part['requests']:,} odd requests to the live service (seed {part['seed']}): by schemathesis from "
        "`/openapi.json`, mutated FHIR, CDS Hooks and STOW bodies, raw bytes. The slowest answer took "
        f"{part['slowest_s']:.2f} s. 500 may not come, nor a word of the program's inside."
    )
    yield ""
    yield from _table(("operation and status", "requests"), part["statuses"])


def _sockets(part: Figures) -> Iterator[str]:
    yield "## HTTP and HTTP/2 below the request"
    yield ""
    yield (
        f"{part['connections']:,} connections (seed {part['seed']}) to the HTTP and gRPC ports: frames of HTTP/2 that "
        "fit nowhere, chunks that lie, requests one behind the other, and many that stop half-way. The longest took "
        f"{part['slowest_s']:.2f} s; {part['served']:,} well-behaved clients between them were all to be answered, and "
        f"memory grew by {part['peak_mib']} MiB at most."
    )
    yield ""
    yield from _table(("port and answer", "connections"), part["answers"])


def _dimse(part: Figures) -> Iterator[str]:
    yield "## The DICOM port"
    yield ""
    yield (
        f"{part['connections']:,} connections (seed {part['seed']}) with odd requests for an association, PDUs, "
        "fragments and commands, endless ones, and many that wait in silence; the longest conversation took "
        f"{part['slowest_s']:.1f} s. {part['echoes']:,} C-ECHOs of a well-behaved peer between them were all to be "
        f"answered, memory grew by {part['peak_mib']} MiB at most, and all associations had to end in time."
    )
    yield ""
    yield from _table(("conversation, by its last answer", "connections"), part["answers"])


def _answers(part: Figures) -> Iterator[str]:
    yield "## Answers of EHRs, archives and sign-in providers"
    yield ""
    yield (
        f"{part['calls']:,} calls of our clients (seed {part['seed']}) to servers that answer with mutated resources, "
        "endless, slow, packed, cut and nested bodies, redirects and bytes that are no HTTP. The slowest call took "
        f"{part['slowest_s']:.1f} s, memory grew by {part['peak_mib']} MiB, and {part['elsewhere']} calls went to an "
        "address that no site has named."
    )
    yield ""
    yield from _table(("client and outcome", "calls"), part["outcomes"])


def _restore(part: Figures) -> Iterator[str]:
    yield "## Restore of broken backups"
    yield ""
    yield (
        f"{part['backups']:,} broken backups (seed {part['seed']}) put back over a database that holds something else. "
        "After each the database held what it had held before, or all of the backup; the slowest took "
        f"{part['slowest_s']:.1f} s."
    )
    yield ""
    yield from _table(("what was broken, and the outcome", "backups"), part["outcomes"])


def _guided(part: Figures) -> Iterator[str]:
    yield "## Guided by coverage"
    yield ""
    yield (
        f"atheris on single readers for {part['seconds_each']} s each; what it found interesting was thinned out by "
        "the answer and is part of the kept inputs."
    )
    yield ""
    yield "| reader | inputs tried | inputs with new coverage |"
    yield "|---|---:|---:|"
    for name, (tried, new) in sorted(part["readers"].items()):
        yield f"| {name} | {tried:,} | {new:,} |"
    yield ""


_PARTS = {
    "dicom": _dicom,
    "whole": _whole,
    "readers": _readers,
    "guided": _guided,
    "grpc": _grpc,
    "http": _http,
    "sockets": _sockets,
    "dimse": _dimse,
    "answers": _answers,
    "restore": _restore,
}
