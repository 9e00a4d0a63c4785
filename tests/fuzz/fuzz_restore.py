"""Damaged and hostile backups, put back over a database that holds something: all of it comes, or nothing changes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from database import DatabaseServer
from fuzz_service import running_service
from fuzz_values import mutate_bytes, mutate_json
from live_service import LiveServer, make_study
from sqlalchemy import text

from trabecula.config import Settings
from trabecula.errors import TrabeculaError
from trabecula.service.client import Client
from trabecula.work.backup import back_up
from trabecula.work.content import ContentStore
from trabecula.work.database import Database, open_database
from trabecula.work.open_content import open_content
from trabecula.work.restore import restore

HANG_S: Final = 60.0
"""``pg_restore`` and ``psql`` are programs of their own that start each time."""


@dataclass
class RestoreTally:
    """What was counted."""

    backups: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[str]] = field(default_factory=dict)
    slowest_s: float = 0.0


def screened(server: DatabaseServer, folder: Path, studies: int) -> Settings:
    """A service that has screened so many studies, and has stopped."""
    folder.mkdir(exist_ok=True)
    settings = Settings(database_url=server.url(server.create()), state_dir=folder / "state")
    with running_service(settings, folder) as live:
        for number in range(studies):
            _screen(live, folder / f"study-{number}")
    return settings


def _screen(live: LiveServer, folder: Path) -> None:
    with Client(live.address) as client:
        screening_id = client.submit(make_study(folder, files=2))
        for _ in client.watch(screening_id):
            pass


def fuzz_restore(source: Settings, target: Settings, room: Path, seed: int, count: int, tally: RestoreTally) -> None:
    """Back up what ``source`` holds, and put so many mutations of it back over ``target``."""
    sound, keep = room / "sound", room / "keep"
    asyncio.run(_with(source, lambda db, content: back_up(db, content, sound)))
    asyncio.run(_with(target, lambda db, content: back_up(db, content, keep)))
    held, other = asyncio.run(_with(target, _facts)), asyncio.run(_with(source, _facts))
    for number in range(count):
        random = Random(f"restore {seed} {number}")
        broken, how = room / f"broken-{number}", random.choice(list(_HOW))
        place = _HOW[how](sound, broken, random)
        started = time.monotonic()
        outcome = _try(target, place, tally, f"{how}-{seed}-{number}")
        tally.backups += 1
        tally.outcomes[f"{how}: {outcome}"] += 1
        tally.slowest_s = max(tally.slowest_s, time.monotonic() - started)
        now = asyncio.run(_with(target, _facts))
        if now != (other if outcome == "restored" else held):
            tally.findings.setdefault(f"{how}: half restored", []).append(str(number))
        if outcome == "restored" or now != held:
            asyncio.run(_with(target, lambda db, content: restore(db, content, keep, replace=True)))
        if tally.slowest_s > HANG_S:
            tally.findings.setdefault(f"{how}: more than {HANG_S:.0f} s", []).append(str(number))
        _remove(broken)
    escaped = [path for path in room.iterdir() if path.name not in ("sound", "keep")]
    if escaped:
        tally.findings["a file outside of where it belongs"] = [path.name for path in escaped]


def _try(target: Settings, place: Path, tally: RestoreTally, name: str) -> str:
    try:
        asyncio.run(asyncio.wait_for(_with(target, lambda db, content: restore(db, content, place, replace=True)), 300))
    except TrabeculaError as error:
        error.client_message.encode("utf-8")
        return error.code
    except Exception as error:
        tally.findings.setdefault(f"{type(error).__name__}: {error}"[:200], []).append(name)
        return "FAULT"
    return "restored"


async def _with(settings: Settings, what: Callable[[Database, ContentStore], Awaitable[Any]]) -> Any:
    async with open_database(settings, check_schema=False) as database, open_content(settings) as content:
        return await what(database, content)


async def _facts(database: Database, _content: ContentStore) -> tuple[Any, ...]:
    """What the database holds, as far as a half restore would change it."""
    async with database.transaction() as connection:
        tables = (await connection.execute(text(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
            " AND c.relkind = 'r' ORDER BY 1"))).scalars().all()  # fmt: skip
        rows = (await connection.execute(text("SELECT id, state FROM screening ORDER BY id"))).all()
        jobs = (await connection.execute(text("SELECT count(*) FROM procrastinate_jobs"))).scalar_one()
        instances = (await connection.execute(text("SELECT sha256 FROM instance ORDER BY 1"))).scalars().all()
    return tuple(tables), tuple(map(tuple, rows)), jobs, tuple(instances)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


# How a backup is broken; each gives where it lies


def _as_tar(sound: Path, broken: Path, change: Callable[[str, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> Path:
    with tarfile.open(broken, "w", format=tarfile.PAX_FORMAT) as made:
        for path in sorted(each for each in sound.rglob("*") if each.is_file()):
            for member, data in change(path.relative_to(sound).as_posix(), path.read_bytes()):
                made.addfile(member, io.BytesIO(data))
    return broken


def _plain(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    return member, data


def _tar_bytes(sound: Path, broken: Path, random: Random) -> Path:
    _as_tar(sound, broken, lambda name, data: [_plain(name, data)])
    data = bytearray(broken.read_bytes())
    if random.random() < 0.4:
        del data[random.randrange(len(data)) :]
    for _ in range(random.choice((1, 1, 8))):
        if data:
            # Most of what decides lies in the blocks that describe the members.
            blocks = max(1, len(data) // 512)
            block = random.randrange(blocks) if random.random() < 0.5 else random.choice((0, blocks - 1))
            at = min(len(data) - 1, 512 * block + random.randrange(512))
            data[at] = random.choice((0, 0xFF, 0x80, ord("7"), random.randrange(256)))
    broken.write_bytes(data)
    return broken


def _odd_members(sound: Path, broken: Path, random: Random) -> Path:
    """Links, devices, names that lead elsewhere, in place of one member or beside it."""
    names = sorted(each.relative_to(sound).as_posix() for each in sound.rglob("*") if each.is_file())
    chosen = random.choice((random.choice(names), "manifest.json", "database.dump"))

    def change(name: str, data: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        if name != chosen:
            return [_plain(name, data)]
        odd = tarfile.TarInfo(name)
        odd.type = random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE))
        odd.linkname = random.choice((name, "../../../etc/passwd", "/etc/passwd", *names, ""))
        outside = tarfile.TarInfo(random.choice(("../escaped", "/escaped", "content/../../escaped", "\\..\\x")))
        outside.size = len(data)
        sparse = tarfile.TarInfo(name)
        sparse.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": name,
                              "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,1"}  # fmt: skip
        sparse.size = 1
        return random.choice((
            [(odd, b"")], [(outside, data), _plain(name, data)], [(outside, data)], [(sparse, data[:1])],
            [_plain(name, data), _plain(name, mutate_bytes(data[:4096], random))], [],
        ))  # fmt: skip

    return _as_tar(sound, broken, change)


def _odd_manifest(sound: Path, broken: Path, random: Random) -> Path:
    shutil.copytree(sound, broken)
    path = broken / "manifest.json"
    path.write_bytes(mutate_json(json.loads(path.read_bytes()), random))
    return broken


def _other_version(sound: Path, broken: Path, random: Random) -> Path:
    shutil.copytree(sound, broken)
    path = broken / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest[random.choice(("format", "revision"))] = random.choice((0, 2, "9", "abc", "", "-1", None, "../x"))
    path.write_text(json.dumps(manifest))
    return broken


def _odd_file(sound: Path, broken: Path, random: Random) -> Path:
    """A file of the folder damaged, gone, or something else."""
    shutil.copytree(sound, broken)
    path = random.choice(sorted(each for each in broken.rglob("*") if each.is_file()))
    choice, data = random.randrange(5), path.read_bytes()
    path.unlink()
    if choice == 0:
        path.write_bytes(data[: random.randrange(len(data) + 1)])
    elif choice == 1:
        path.write_bytes(mutate_bytes(data, random))
    elif choice == 2:
        os.mkfifo(path)
    elif choice == 3:
        path.symlink_to(random.choice((path, Path("/dev/zero"), Path("/dev/null"), broken)))
    return broken


def _odd_dump(sound: Path, broken: Path, random: Random) -> Path:
    """A dump that is damaged and of which the manifest knows it: only PostgreSQL's programs can tell."""
    shutil.copytree(sound, broken)
    dump, path = broken / "database.dump", broken / "manifest.json"
    data = bytearray(dump.read_bytes())
    if random.random() < 0.3:
        del data[random.randrange(len(data)) :]
    for _ in range(random.choice((1, 4, 40))):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    dump.write_bytes(data)
    manifest = json.loads(path.read_bytes())
    manifest["dump"] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    path.write_text(json.dumps(manifest))
    return broken


def _no_backup(_sound: Path, broken: Path, random: Random) -> Path:
    broken.write_bytes(random.choice((b"", b"\0" * 10240, random.randbytes(5000), b"PGDMP", b"{}")))
    return broken


_HOW: Final[dict[str, Callable[[Path, Path, Random], Path]]] = {
    "bytes of the tar": _tar_bytes,
    "members": _odd_members,
    "manifest": _odd_manifest,
    "version": _other_version,
    "file": _odd_file,
    "dump": _odd_dump,
    "no backup": _no_backup,
}
