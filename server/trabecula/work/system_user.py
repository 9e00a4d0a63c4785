"""PostgreSQL does not run as root; where the program does, a system user of its own stands in.

It gets the right to pass through (not to read) the folders above its data, by POSIX access lists that name this one
user; the modes of those folders stay as they are for everybody else.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import struct
import subprocess
from pathlib import Path
from typing import Final

from trabecula.errors import DatabaseStartFailed

NAME: Final = "trabecula-postgres"
_ACCESS_LIST: Final = "system.posix_acl_access"
# Tags of acl(5), as the kernel stores them (linux/posix_acl_xattr.h, version 2).
_VERSION: Final = 2
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY: Final = 0xFFFFFFFF
_PASS: Final = 1


def system_user() -> pwd.struct_passwd | None:
    """The user that the server runs as; None when that is simply ours.

    Raises:
        DatabaseStartFailed: when we are root and no such user can be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        pass
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise DatabaseStartFailed(
            "as root, and without useradd, there is no user to run PostgreSQL as", reason="no-system-user"
        )
    arguments = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    done = subprocess.run(  # noqa: S603 - a program found in fixed places, no shell  # nosec B603
        [program, *arguments, "--shell", "/usr/sbin/nologin", NAME], capture_output=True, check=False
    )
    try:
        return pwd.getpwnam(NAME)  # another process may have made it at the same moment
    except KeyError:
        raise DatabaseStartFailed(done.stderr.decode(errors="replace")[-200:], reason="no-system-user") from None


def grant_traversal(folder: Path, uid: int) -> None:
    """Let the user pass through every folder above this one.

    Raises:
        DatabaseStartFailed: where the file system has no access lists.
    """
    for above in folder.resolve().parents:
        status = above.stat()
        if status.st_mode & stat.S_IXOTH or status.st_uid == uid:
            continue
        try:
            _grant(above, uid, status.st_mode)
        except OSError as error:
            raise DatabaseStartFailed(
                f"PostgreSQL runs as {NAME} here and cannot pass through {above}", reason="folder-closed"
            ) from error


def _grant(folder: Path, uid: int, mode: int) -> None:
    entries = _entries(folder, mode)
    entries[(_USER, uid)] = entries.get((_USER, uid), 0) | _PASS
    # chmod writes the group's bits into the mask, so the mask is opened anew each time.
    entries[(_MASK, _NOBODY)] = entries.get((_MASK, _NOBODY), entries[(_GROUP_OBJ, _NOBODY)]) | _PASS
    packed = b"".join(struct.pack("<HHI", tag, rights, who) for (tag, who), rights in sorted(entries.items()))
    os.setxattr(folder, _ACCESS_LIST, struct.pack("<I", _VERSION) + packed)


def _entries(folder: Path, mode: int) -> dict[tuple[int, int], int]:
    try:
        raw = os.getxattr(folder, _ACCESS_LIST)
    except OSError:
        return {
            (_USER_OBJ, _NOBODY): mode >> 6 & 7,
            (_GROUP_OBJ, _NOBODY): mode >> 3 & 7,
            (_OTHER, _NOBODY): mode & 7,
        }
    found = struct.iter_unpack("<HHI", raw[4:])
    return {(tag, who): rights for tag, rights, who in found}
