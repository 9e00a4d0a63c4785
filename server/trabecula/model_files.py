"""Reading model files only when they are what their manifest says."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trabecula.errors import ModelChecksumMismatch, ModelError


def read_verified(path: Path, sha256: str) -> bytes:
    """Bytes of a model file whose sha256 (hexadecimal) is as announced.

    Raises:
        ModelError: if the file cannot be read.
        ModelChecksumMismatch: if its sha256 is another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model file {path.name}", file=path.name) from error
    if hashlib.sha256(content).hexdigest() != sha256.lower():
        raise ModelChecksumMismatch(f"{path.name} is not the file its manifest announces", file=path.name)
    return content
