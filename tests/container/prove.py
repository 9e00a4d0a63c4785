"""``make container-proof``: builds the image for real and uses it as a platform would. Writes the figures it saw."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_postgres import Cluster, free_port
from image import (
    IMAGE,
    USER,
    Container,
    Store,
    build,
    config,
    layers,
    make_base,
    missing_programs,
    running,
    size_bytes,
)

REPOSITORY = Path(__file__).resolve().parents[2]
DRAIN_S = 120.0
TIMES = ("build_s", "start_s", "drain_s")
MOST_BUSY = 1.0
"""Load average beyond which other work ran: no times are published then."""


@dataclass
class Proof:
    """What was looked at, and what was seen."""

    checks: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def check(self, what: str, holds: bool, seen: object = "") -> None:
        self.checks.append({"what": what, "holds": bool(holds), "seen": str(seen)[:300]})
        print(f"{'ok ' if holds else 'BAD'} {what}" + (f": {str(seen)[:200]}" if seen != "" else ""), flush=True)


def look_at_configuration(proof: Proof, settings: dict[str, Any]) -> None:
    inner = settings["config"]
    proof.check("user is the chart's, by number", inner["User"] == f"{USER}:{USER}", inner["User"])
    proof.check("entry point is a program, not a shell", inner["Entrypoint"] == ["trabecula"], inner["Entrypoint"])
    proof.check("SIGTERM stops it", inner.get("StopSignal") == "SIGTERM")
    proof.check("health is looked at", inner["Healthcheck"]["Test"] == ["CMD", "trabecula", "health"])
    proof.check("nothing secret in the environment", not any("PASSWORD" in each for each in inner["Env"]))
    labels = [each for each in inner["Labels"] if each.startswith("org.opencontainers.image.")]
    proof.check("OCI labels", len(labels) >= 8, len(labels))


def look_at_files(proof: Proof, root: Path) -> None:
    """Owners, rights, and what must not be in it."""
    loose, owned, special = [], [], []
    for folder, names, files in os.walk(root):
        if Path(folder) == root:
            names[:] = [name for name in names if name not in ("proc", "sys", "dev", "run", "tmp")]
        for name in (*names, *files):
            path = Path(folder) / name
            status = path.lstat()
            if status.st_uid == USER:
                owned.append("/" + str(path.relative_to(root)))
            if path.is_symlink():
                continue
            if status.st_mode & 0o6000 and path.is_file():
                special.append(path.name)
            if path.is_relative_to(root / "opt/trabecula") and (status.st_mode & 0o022 or status.st_uid):
                loose.append(path.name)
    proof.check("the user owns its data folder and nothing else", owned == ["/var/lib/trabecula"], owned[:5])
    proof.check("nobody but root can write to the program", not loose, loose[:5])
    proof.check("no setuid or setgid program", not special, special[:5])
    found = [name for name in ("gcc", "cc", "ld", "make", "git") if shutil.which(name, path=f"{root}/usr/bin")]
    proof.check("no compiler", not found, found)
    proof.check("no pip in the program's environment", not list((root / "opt/trabecula").rglob("site-packages/pip")))
    bill = json.loads((root / "opt/trabecula/sbom.cdx.json").read_text(encoding="utf-8"))
    installed = list((root / "opt/trabecula").glob("lib/python3.*/site-packages/*.dist-info"))
    named = {each["name"].lower().replace("_", "-") for each in bill["components"]}
    names = {re.split(r"-\d", each.name)[0].lower().replace("_", "-").replace(".", "-") for each in installed}
    lacking = {each for each in names if each not in {name.replace(".", "-") for name in named} | {"trabecula"}}
    proof.check("the bill of materials names every package", not lacking, lacking or f"{len(named)} components")


def wait_until(holds: Callable[[], bool], at_most_s: float, what: str) -> float:
    """Seconds it took."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > at_most_s:
            raise TimeoutError(what)
        time.sleep(0.2)
    return time.monotonic() - started


def ready(container: Container) -> bool:
    said = container.log.read_text(encoding="utf-8", errors="replace")
    if container.process.poll() is not None:
        raise RuntimeError(f"the service ended: {said[-1000:]}")
    return '"event": "serving"' in said


def states(container: Container) -> list[str]:
    """Of all studies, as the operator's command tells them."""
    done = container.exec("trabecula", "jobs", "list", "--json")
    listed = json.loads(done.stdout)["jobs"] if done.returncode == 0 else []
    return [each["state"].removeprefix("SCREENING_STATE_").lower() for each in listed]


def changes(container: Container, state: str) -> int:
    """How many studies came to this state, by the log."""
    said = container.log.read_text(encoding="utf-8", errors="replace")
    return len(re.findall(rf'"state": "{state}"[^\n]*"event": "screening changed"', said))


def use_it(proof: Proof, root: Path, settings: dict[str, Any], folder: Path) -> None:
    """A study through the service, a stop in the midst of another one, and the start after it."""
    data = folder / "data"
    data.mkdir(parents=True, mode=0o700)
    os.chown(data, USER, USER)
    with running(root, settings, folder, name="first", data=data) as container:
        proof.figures["start_s"] = round(wait_until(lambda: ready(container), 120, "start"), 1)
        look_inside(proof, container)
        made = container.exec("trabecula", "phantom", "/tmp/phantom", "--quiet")
        proof.check("writes a phantom study", made.returncode == 0, made.stderr)
        sent = submit(container, "/tmp/out")
        proof.check("screens it", sent.returncode == 0, sent.stderr[-200:])
        written = container.exec("ls", "/tmp/out").stdout.split()
        proof.check("gives its documents", {"report.html", "report.json"} <= set(written), written)
        stop_in_the_midst(proof, container)
    with running(root, settings, folder, name="second", data=data) as container:
        wait_until(lambda: ready(container), 120, "second start")
        wait_until(lambda: not {"queued", "running"} & set(states(container)), 180, "end")
        seen = states(container)
        proof.check("no study is lost over stop and start", seen == ["reported"] * 3, seen)
        proof.check("checks its own data", container.exec("trabecula", "db", "check", "--deep").returncode == 0)
        container.terminate()
        proof.check("an idle service stops with 0", container.ended(60) == 0)


def submit(container: Container, out: str) -> subprocess.CompletedProcess[str]:
    return container.exec(
        "trabecula", "submit", "/tmp/phantom/dicom", "--server", "127.0.0.1:50051", "--out", out, "--quiet"
    )


def look_inside(proof: Proof, container: Container) -> None:
    status = container.exec("cat", "/proc/1/status").stdout
    fields = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    proof.check("runs as the user", fields["Uid"].split() == [str(USER)] * 4, fields["Uid"])
    none = {fields[each] for each in ("CapEff", "CapPrm", "CapBnd", "CapAmb")}
    proof.check("without capabilities", none == {"0" * 16})
    touched = container.exec("touch", "/opt/trabecula/x", "/etc/x", "/home/x")
    proof.check("its root is read-only", touched.stderr.count("Read-only file system") == 3)
    proof.check("answers health", container.exec("trabecula", "health").returncode == 0)
    shown = container.exec("sh", "-c", "cat /proc/[0-9]*/status").stdout
    owners = set(re.findall(r"^Name:\tpostgres$.*?^Uid:\t(\d+)", shown, re.MULTILINE | re.DOTALL))
    proof.check("PostgreSQL is the same user", owners == {str(USER)}, owners)
    commands = re.findall(r"^│ (\w+)", container.exec("trabecula", "--help").stdout, re.MULTILINE)
    bad = [each for each in commands if container.exec("trabecula", each, "--help").returncode]
    proof.check("every command of the entry point answers", len(commands) > 10 and not bad, bad or len(commands))


def stop_in_the_midst(proof: Proof, container: Container) -> None:
    """SIGTERM while one study runs and one waits."""
    senders = [threading.Thread(target=submit, args=(container, f"/tmp/late{number}")) for number in (1, 2)]
    for each in senders:
        each.start()
    wait_until(lambda: changes(container, "queued") >= 3 and changes(container, "running") >= 2, 120, "running")
    started = time.monotonic()
    container.terminate()
    code = container.ended(DRAIN_S)
    proof.figures["drain_s"] = round(time.monotonic() - started, 1)
    proof.check("SIGTERM under a running study ends with 0", code == 0, code)
    log = container.log.read_text(encoding="utf-8", errors="replace")
    lines = [json.loads(each) for each in log.splitlines()]
    events = [each["event"] for each in lines]
    proof.check("says that it drains, and that it stopped", "draining" in events and "stopped" in events, events[-4:])
    for each in senders:
        each.join(60)


def refuse(proof: Proof, root: Path, settings: dict[str, Any], folder: Path) -> None:
    """What a platform may get wrong, and what is said then."""
    foreign = folder / "foreign"
    foreign.mkdir(parents=True, mode=0o755)
    with running(root, settings, folder, name="refused", data=foreign) as container:
        code = container.ended(60)
        said = container.log.read_text(encoding="utf-8", errors="replace")
        proof.check("a data folder of somebody else is refused in words", code == 1 and "Traceback" not in said, said)
    with running(root, settings, folder, name="demo", arguments=("demo", "--out", "/tmp/demo", "--quiet")) as container:
        code = container.ended(240)
        said = container.log.read_text(encoding="utf-8", errors="replace")
        proof.check("the demo needs no data folder", code == 0 and "/tmp/demo/report.html" in said, said[-200:])


def two_roles(proof: Proof, root: Path, settings: dict[str, Any], folder: Path) -> None:
    """Tables, api and worker in containers of their own on a PostgreSQL of the site's, as compose and the chart do."""
    folder.mkdir(mode=0o755)
    shared = folder / "shared"
    shared.mkdir(mode=0o700)
    os.chown(shared, USER, USER)
    cluster = Cluster(folder / "postgres")
    cluster.create()
    cluster.start()

    def role(name: str, *arguments: str) -> AbstractContextManager[Container]:
        environment = {
            "TRABECULA_DATABASE_URL": cluster.url,
            "TRABECULA_LISTEN": f"127.0.0.1:{port}",
            "TRABECULA_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
        }
        return running(
            root,
            settings,
            folder,
            name=name,
            arguments=arguments,
            environment=environment,
            data=shared,
            host_network=True,
        )

    port = free_port()
    try:
        with role("tables", "db", "upgrade") as container:
            proof.check("makes the tables in a PostgreSQL of the site's", container.ended(120) == 0)
        with role("api", "serve", "--role", "api") as api, role("worker", "serve", "--role", "worker") as worker:
            for each in (api, worker):
                wait_until(lambda each=each: ready(each), 120, "a role")
                proof.check(f"{each.name} is healthy", each.exec("trabecula", "health").returncode == 0)
            api.exec("trabecula", "phantom", "/tmp/phantom", "--matrix", "256", "--slice-mm", "2.5", "--quiet")
            command = (
                "trabecula",
                "submit",
                "/tmp/phantom/dicom",
                "--server",
                f"127.0.0.1:{port}",
                "--out",
                "/tmp/out",
            )
            sent = api.exec(*command)
            proof.check("api and worker screen a study between them", sent.returncode == 0, sent.stderr[-200:])
            for each in (worker, api):
                each.terminate()
                proof.check(f"{each.name} stops with 0", each.ended(60) == 0)
    finally:
        cluster.stop()


def deliver_models(
    proof: Proof, store: Store, root: Path, settings: dict[str, Any], context: Path, folder: Path
) -> None:
    """The image of models alone, mounted read-only."""
    build(store, context, "models", "localhost/trabecula-models:proof", folder.parent / "models.log")
    proof.figures["models_image_bytes"] = size_bytes(store, "localhost/trabecula-models:proof")
    mounted = Path(store.run("mount", store.run("from", "localhost/trabecula-models:proof")))
    with running(
        root,
        settings,
        folder,
        name="models",
        arguments=("models", "list"),
        environment={"TRABECULA_MODELS_DIR": "/models"},
        read_only={mounted / "models": "/models"},
    ) as container:
        code = container.ended(120)
        said = container.log.read_text(encoding="utf-8", errors="replace")
        proof.check("models from an image of their own", code == 0 and "fine-v1" in said, said[-300:])


def committed(folder: Path) -> Path:
    """The checkout as it was last committed: what is built is what others can build."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", "HEAD"], check=True, capture_output=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def prove(work: Path) -> Proof:
    proof, store = Proof(), Store(work)
    busy = os.getloadavg()[1]
    context = committed(work / "context")
    proof.figures["base_bytes"] = make_base(store)
    proof.figures["build_s"] = round(build(store, context, "runtime", IMAGE, work / "build.log"), 1)
    proof.check("the Containerfile builds", True)
    settings = config(store, IMAGE)
    proof.figures["image_bytes"] = size_bytes(store, IMAGE)
    proof.figures["layers"] = layers(store, IMAGE)
    look_at_configuration(proof, settings)
    root = Path(store.run("mount", store.run("from", IMAGE)))
    proof.figures["program_bytes"] = tree_bytes(root / "opt/trabecula")
    proof.figures["largest_packages"] = largest(next((root / "opt/trabecula/lib").glob("python3.*/site-packages")))
    look_at_files(proof, root)
    use_it(proof, root, settings, work / "use")
    refuse(proof, root, settings, work / "refuse")
    two_roles(proof, root, settings, work / "roles")
    deliver_models(proof, store, root, settings, context, work / "deliver")
    if busy > MOST_BUSY:
        for name in TIMES:
            del proof.figures[name]
    return proof


def tree_bytes(folder: Path) -> int:
    return sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file() and not each.is_symlink())


def largest(packages: Path) -> dict[str, int]:
    sizes = {each.name: tree_bytes(each) for each in packages.iterdir() if each.is_dir()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1])[:8])


def write(proof: Proof, out: Path) -> None:
    machine = {"cores": len(os.sched_getaffinity(0)), "system": platform.system(), "machine": platform.machine()}
    report = {"machine": machine, "figures": proof.figures, "checks": proof.checks}
    (out / "container.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    figures = proof.figures
    rows = [
        ("image, unpacked", f"{figures['image_bytes'] / 1e6:.0f} MB in {len(figures['layers'])} layers"),
        ("of it the base (debootstrap with Python 3.11)", f"{figures['base_bytes'] / 1e6:.0f} MB"),
        ("of it the program with its packages", f"{figures['program_bytes'] / 1e6:.0f} MB"),
        ("image of the models alone", f"{figures['models_image_bytes'] / 1e6:.1f} MB"),
    ]
    names = ("build", "first start, with a new database", "stop with one study running")
    rows += [(what, f"{figures[name]:.1f} s") for what, name in zip(names, TIMES, strict=True) if name in figures]
    text = "# The image, built and used\n\nWritten by `make container-proof` "
    text += f"({machine['cores']} cores, {machine['machine']}). What it means: [containers.md](../containers.md).\n\n"
    text += "| what | measured |\n|---|---|\n" + "".join(f"| {what} | {seen} |\n" for what, seen in rows)
    text += "\nLargest packages: "
    text += ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in figures["largest_packages"].items())
    text += f".\n\n| check ({len(proof.checks)}) | holds |\n|---|---|\n"
    text += "".join(f"| {each['what']} | {'yes' if each['holds'] else 'NO'} |\n" for each in proof.checks)
    (out / "container.md").write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for container.json and container.md")
    parser.add_argument("--work", type=Path, help="folder for layers and data; a temporary one by default")
    given = parser.parse_args()
    lacking = missing_programs()
    if lacking:
        print(f"This machine lacks: {', '.join(lacking)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="trabecula-container-") as temporary:
        work = given.work or Path(temporary)
        work.mkdir(exist_ok=True)
        try:
            proof = prove(work)
        finally:
            Store(work).run("umount", "--all")
            Store(work).run("rm", "--all")
        if given.out is not None:
            write(proof, given.out)
    return 0 if all(each["holds"] for each in proof.checks) else 1


if __name__ == "__main__":
    sys.exit(main())
