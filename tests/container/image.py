"""Builds the Containerfile and runs what it made, where no engine runs and no registry can be reached.

debootstrap makes the base, buildah (``--isolation chroot``) the image, runc the containers. Needs root on Debian.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAMS = ("debootstrap", "buildah", "runc")
SUITE = "bookworm"
BASE_PACKAGES = "ca-certificates,python3-minimal,python3-venv,libpython3-stdlib,tzdata"
USER = 65532
BASE = "localhost/python:3.11-slim"
IMAGE = "localhost/trabecula:proof"


def missing_programs() -> list[str]:
    """What this machine lacks for the proof; root among it."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    return lacking if os.geteuid() == 0 else [*lacking, "root"]


@dataclass(frozen=True)
class Store:
    """Where buildah keeps its layers; apart from what else is on the machine."""

    folder: Path

    def run(self, *command: str, log: Path | None = None) -> str:
        """One buildah command; what it printed."""
        options = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        done = subprocess.run(["buildah", *options, *command], capture_output=True, text=True, check=False)
        if log is not None:
            log.write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(f"buildah {command[0]}: {done.stderr[-2000:]}")
        return done.stdout.strip()


def make_base(store: Store) -> int:
    """A Debian with Python 3.11 to build on, unless the store has it; its size in bytes."""
    if BASE in store.run("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return size_bytes(store, BASE)
    tree = store.folder / "debian"
    subprocess.run(
        ["/usr/sbin/debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, str(tree)],
        check=True,
        capture_output=True,
        timeout=900,
    )
    for each in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(tree / each)
        (tree / each).mkdir()
    container = store.run("from", "scratch")
    mounted = store.run("mount", container)
    subprocess.run(["cp", "-a", f"{tree}/.", mounted], check=True)
    shutil.rmtree(tree)
    store.run("commit", "--quiet", "--rm", container, BASE)
    return size_bytes(store, BASE)


def size_bytes(store: Store, image: str) -> int:
    """Size of an image, unpacked."""
    return int(sum(each["size"] for each in layers(store, image)))


def layers(store: Store, image: str) -> list[dict[str, Any]]:
    """Digest and size in bytes, unpacked, of each layer."""
    found = json.loads((store.folder / "store" / "overlay-layers" / "layers.json").read_text(encoding="utf-8"))
    sizes = {each["diff-digest"]: each["diff-size"] for each in found if "diff-digest" in each}
    digests = config(store, image)["rootfs"]["diff_ids"]
    return [{"digest": digest, "size": sizes[digest]} for digest in digests]


def config(store: Store, image: str) -> dict[str, Any]:
    """The image's configuration as engines read it."""
    inspected = json.loads(store.run("inspect", "--type", "image", image))
    return dict(inspected["Docker"])


def pip_volumes() -> list[str]:
    """pip's configuration of this machine, and the folders it names, for the build: read-only."""
    files = [Path("/etc/pip.conf"), *(Path.home() / each for each in (".config/pip/pip.conf", ".pip/pip.conf"))]
    volumes: dict[str, str] = {}
    targets = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf")
    for path, target in zip((each for each in files if each.is_file()), targets, strict=False):
        volumes[str(path)] = target
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(path, encoding="utf-8")
        words = [word for section in parser.sections() for value in parser[section].values() for word in value.split()]
        for word in words:
            local = Path(word.removeprefix("file://"))
            if local.is_absolute() and local.exists():
                folder = local.parent if local.name == "simple" else local
                volumes.setdefault(str(folder), str(folder))
    return [part for source, target in volumes.items() for part in ("--volume", f"{source}:{target}:ro")]


def build(store: Store, repository: Path, target: str, image: str, log: Path) -> float:
    """Build one stage of the Containerfile; seconds it took."""
    started = time.monotonic()
    arguments = ["--build-arg", f"PYTHON_IMAGE={BASE}", "--build-arg", "VERSION=proof"]
    store.run(
        *("build-using-dockerfile", "--isolation", "chroot", "--format", "docker", "--layers"),
        *(*arguments, *pip_volumes(), "--target", target, "--tag", image),
        *("--file", str(repository / "Containerfile"), str(repository)),
        log=log,
    )
    return time.monotonic() - started


@dataclass(frozen=True)
class Container:
    """One runc container: root read-only, no capabilities, no new privileges, no network but loopback; writable are
    /tmp (in memory) and the data folder."""

    bundle: Path
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def exec(self, *command: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it as the image's user."""
        called = ["runc", "--root", str(self.bundle / "runc"), "exec", "--user", f"{USER}:{USER}", "--cwd", "/tmp"]
        return subprocess.run(
            [*called, self.name, *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def terminate(self) -> None:
        """SIGTERM to its first process, as an engine does."""
        subprocess.run(["runc", "--root", str(self.bundle / "runc"), "kill", self.name, "TERM"], check=True)

    def ended(self, timeout_s: float) -> int:
        """Its exit code."""
        return self.process.wait(timeout_s)


@contextmanager
def running(
    rootfs: Path,
    image_config: Mapping[str, Any],
    folder: Path,
    *,
    name: str,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    data: Path | None = None,
    read_only: Mapping[Path, str] | None = None,
    host_network: bool = False,
) -> Iterator[Container]:
    """A container of the image until the end of the block. ``data`` is mounted at /var/lib/trabecula."""
    bundle = folder / name
    bundle.mkdir(parents=True)
    subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
    spec = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    inner = image_config["config"]
    spec["process"].update(
        terminal=False,
        user={"uid": USER, "gid": USER},
        args=[*inner["Entrypoint"], *(arguments or inner["Cmd"])],
        env=[f"{name}={value}" for name, value in {**_variables(inner["Env"]), **(environment or {})}.items()],
        cwd=inner["WorkingDir"],
        capabilities={kind: [] for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        noNewPrivileges=True,
    )
    spec["root"] = {"path": str(rootfs), "readonly": True}
    spec["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
    ]
    if data is not None:
        spec["mounts"].append(_bind(data, "/var/lib/trabecula", "rw"))
    spec["mounts"] += [_bind(source, target, "ro") for source, target in (read_only or {}).items()]
    if host_network:
        spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "network"]
    (bundle / "config.json").write_text(json.dumps(spec), encoding="utf-8")
    log = bundle / "log"
    command = ["runc", "--root", str(bundle / "runc"), "run", "--bundle", str(bundle), name]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL)
        try:
            yield Container(bundle, name, process, log)
        finally:
            subprocess.run(
                ["runc", "--root", str(bundle / "runc"), "delete", "--force", name], check=False, capture_output=True
            )
            process.wait(30)


def _variables(listed: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (each.partition("=") for each in listed)}


def _bind(source: Path, target: str, mode: str) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": str(source), "options": ["rbind", "nosuid", "nodev", mode]}
