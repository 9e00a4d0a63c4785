"""What must hold when all is quiet again. Asked of the database by SQL and of the disk, never of the service."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fault_ledger import Entry
from fault_postgres import Cluster
from fault_studies import ENDS

# On purpose not imported from the product: the test has its own copy of the law.
LEGAL = {
    ("queued", "start"): "running",
    ("queued", "fail"): "failed",
    ("queued", "cancel"): "cancelled",
    ("running", "report"): "reported",
    ("running", "refuse"): "refused",
    ("running", "fail"): "failed",
    ("running", "requeue"): "queued",
    ("running", "cancel"): "running",
    ("running", "stop"): "cancelled",
    ("failed", "revive"): "queued",
    ("cancelled", "cancel"): "cancelled",
    ("cancelled", "revive"): "queued",
}
STAGING = "staging"
GOING_S = 5.0
"""What a process gets to follow its parent, which multiprocessing's own helper does a moment later."""
ENDED = frozenset({"reported", "refused", "failed", "cancelled"})
# At least these; settings may ask for more of a result.
DOCUMENTS = {
    "reported": frozenset({"report.json", "report.html", "bundle.json"}),
    "refused": frozenset({"report.json", "report.html", "bundle.json"}),
    "failed": frozenset[str](),
    "cancelled": frozenset[str](),
}


@dataclass
class Verdict:
    """What was counted, and every breach in words."""

    counts: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    def breach(self, text: str) -> None:
        self.breaches.append(text)

    @property
    def holds(self) -> bool:
        return not self.breaches


def open_work(cluster: Cluster) -> tuple[int, int]:
    """How many screenings, and jobs about one, are open."""
    (screenings,) = cluster.rows("SELECT count(*) FROM screening WHERE state IN ('queued', 'running')")[0]
    (jobs,) = cluster.rows(
        "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND args ? 'screening_id'"
    )[0]
    return int(screenings), int(jobs)


def is_quiet(cluster: Cluster) -> bool:
    """Whether nothing is open any more."""
    return open_work(cluster) == (0, 0)


def check_ledger(cluster: Cluster, entries: list[Entry], verdict: Verdict) -> None:
    """Accepted = ended exactly once, in a way that the client could expect."""
    rows = {
        row[0]: row[1:]
        for row in cluster.rows("SELECT id::text, state, key_hash, failure_code, failure_message FROM screening")
    }
    by_hash: dict[str, list[str]] = defaultdict(list)
    for screening_id, (_, key_hash, _, _) in rows.items():
        by_hash[key_hash].append(screening_id)
    ends: Counter[str] = Counter()
    spent = 0
    for entry in entries:
        key_hash = hashlib.sha256(entry.key.encode()).hexdigest()
        if len(entry.accepted) > 1:
            verdict.breach(f"{entry.key}: one key, {len(entry.accepted)} ids")
        for screening_id in entry.accepted:
            if screening_id not in rows:
                verdict.breach(f"{screening_id}: accepted and LOST")
            elif by_hash[key_hash] != [screening_id]:
                verdict.breach(f"{screening_id}: the key's rows are {by_hash[key_hash]}")
        for screening_id in by_hash.pop(key_hash, []):
            state, _, code, message = rows[screening_id]
            ends[state] += 1
            if state not in ENDED:
                verdict.breach(f"{screening_id}: accepted and still {state}")
                continue
            allowed = {ENDS[entry.kind], "failed"} | ({"cancelled"} if entry.cancel_asked else set())
            if state not in allowed:
                verdict.breach(f"{screening_id}: a study to be {ENDS[entry.kind]} ended {state}")
            if state == "failed" and not (code and message):
                verdict.breach(f"{screening_id}: dead letter without a reason")
            spent += state == "failed" and ENDS[entry.kind] != "failed"
            if any(seen != state for seen in entry.seen_ends):
                verdict.breach(f"{screening_id}: a client was told {entry.seen_ends}, it is {state}")
    for strangers in by_hash.values():
        verdict.breach(f"{strangers}: nobody sent these")
    verdict.counts |= {
        "submissions": len(entries),
        "accepted": sum(bool(entry.accepted) for entry in entries),
        "given_up": sum(entry.given_up for entry in entries),
        "sends": sum(entry.sends for entry in entries),
        "attempts_spent": spent,
        **{f"ended_{state}": number for state, number in sorted(ends.items())},
    }


def check_answers(answers: Mapping[str, int], verdict: Verdict) -> None:
    """Whatever happens behind it, the service answers what a client can act on, never "unforeseen"."""
    for answer, number in sorted(answers.items()):
        verdict.counts[f"answer {answer}"] = number
        if answer.startswith("UNKNOWN") or answer.startswith("INTERNAL ") or answer == "INTERNAL":
            verdict.breach(f"{number} submissions were answered {answer}")


def check_transitions(cluster: Cluster, verdict: Verdict) -> None:
    """Every step is a legal one, the last one is where the row stands, and each life ends once."""
    steps: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    query = "SELECT screening_id::text, event, state, attempt FROM transition ORDER BY screening_id, id"
    for screening_id, event, state, attempt in cluster.rows(query):
        steps[screening_id].append((event, state, attempt))
    for screening_id, state, attempt in cluster.rows("SELECT id::text, state, attempt FROM screening"):
        life = steps.get(screening_id, [])
        if not life:
            verdict.breach(f"{screening_id}: no transition at all")
            continue
        before = "queued"
        endings = 0
        if life[0][1] != "queued":
            verdict.breach(f"{screening_id}: begins as {life[0][1]}")
        for event, after, _ in life[1:]:
            if LEGAL.get((before, event)) != after:
                verdict.breach(f"{screening_id}: {before} --{event}--> {after}")
            endings = 0 if event == "revive" else endings + (after in ENDED and before not in ENDED)
            before = after
        if endings != (state in ENDED):
            verdict.breach(f"{screening_id}: {endings} endings for state {state}")
        if (before, life[-1][2]) != (state, attempt):
            verdict.breach(f"{screening_id}: history says {before} ({life[-1][2]}), the row {state} ({attempt})")
    verdict.counts["transitions"] = sum(map(len, steps.values()))
    verdict.counts["attempts_beyond_the_first"] = sum(
        max(0, sum(event == "start" for event, _, _ in life) - 1) for life in steps.values()
    )


def check_jobs(cluster: Cluster, verdict: Verdict) -> None:
    """An open screening has exactly one live job, an ended one none."""
    query = """
        SELECT s.id::text, s.state, count(j.id) FROM screening s LEFT JOIN procrastinate_jobs j
        ON j.args ->> 'screening_id' = s.id::text AND j.status IN ('todo', 'doing')
        GROUP BY s.id, s.state HAVING count(j.id) <> (s.state IN ('queued', 'running'))::int
    """
    for screening_id, state, jobs in cluster.rows(query):
        verdict.breach(f"{screening_id}: {state} with {jobs} live jobs")
    query = """
        SELECT j.id FROM procrastinate_jobs j WHERE j.args ? 'screening_id' AND j.status IN ('todo', 'doing')
        AND NOT EXISTS (SELECT FROM screening s WHERE s.id::text = j.args ->> 'screening_id')
    """
    for (job,) in cluster.rows(query):
        verdict.breach(f"job {job} is about no screening")


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def content_files(content: Path) -> Iterator[Path]:
    """The objects of a content folder: what is not on its way in."""
    return (path for path in files_below(content) if path.relative_to(content).parts[0] != STAGING)


def check_content(cluster: Cluster, content: Path, verdict: Verdict, *, after_gc: bool) -> None:
    """No row without its bytes, whole; after garbage collection no bytes without a row."""
    on_disk: dict[str, int] = {}
    for path in content_files(content):
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        on_disk[digest] = len(data)
        if digest != path.name:
            verdict.breach(f"content {path.relative_to(content)} holds other bytes than its name says")
    named: dict[str, int] = {}
    documents: dict[str, set[str]] = defaultdict(set)
    for screening_id, kind, digest, size in cluster.rows(
        "SELECT screening_id::text, kind, sha256, size_bytes FROM document"
    ):
        documents[screening_id].add(kind)
        named[digest] = size
    files: Counter[str] = Counter()
    for screening_id, digest, size in cluster.rows("SELECT screening_id::text, sha256, size_bytes FROM instance"):
        files[screening_id] += 1
        named[digest] = size
    for digest, size in named.items():
        if on_disk.get(digest) != size:
            verdict.breach(f"a row names {digest[:12]} of {size} bytes, on disk {on_disk.get(digest)}")
    query = "SELECT id::text, state, instances, pixels_deleted_at FROM screening"
    for screening_id, state, instances, deleted in cluster.rows(query):
        wanted = DOCUMENTS.get(state, frozenset())
        if not wanted <= documents[screening_id] or (documents[screening_id] and not wanted):
            verdict.breach(f"{screening_id}: {state} with documents {sorted(documents[screening_id])}")
        if files[screening_id] != (0 if deleted else instances):
            verdict.breach(f"{screening_id}: {files[screening_id]} of {instances} instance rows")
    strays = set(on_disk) - set(named)
    if after_gc and strays:
        verdict.breach(f"{len(strays)} contents on disk without a row after gc")
    verdict.counts |= {"contents": len(on_disk), "rows_naming_content": len(named)}
    verdict.counts["strays_after_gc" if after_gc else "strays_before_gc"] = len(strays)


def check_leftovers(state_dir: Path, content: Path, verdict: Verdict) -> None:
    """No staged upload and no private folder of a job is left once all processes are gone."""
    objects = set(content_files(content))
    left = [path for path in files_below(state_dir) if path not in objects]
    for path in left:
        verdict.breach(f"left behind: {path.relative_to(state_dir)}")
    verdict.counts["left_behind"] = len(left)


def check_processes(run: Path, verdict: Verdict) -> None:
    """No process of the run is left, the screening children least of all.

    Args:
        run: the run's folder, which every process has in its environment.
    """
    deadline = time.monotonic() + GOING_S
    while (left := list(_processes_of(run))) and time.monotonic() < deadline:
        time.sleep(0.1)
    for name in left:
        verdict.breach(f"process left: {name}")


def _processes_of(run: Path) -> Iterator[str]:
    for process in psutil.process_iter():
        try:
            if not process.environ().get("TRABECULA_STATE_DIR", "").startswith(str(run)):
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                yield " ".join(process.cmdline()[1:])[:100]
        except psutil.Error:
            continue
