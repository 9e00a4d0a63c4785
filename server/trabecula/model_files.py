"""Reading model bundles only when they are what their manifest says and bring nothing along but arithmetic."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from trabecula.errors import ModelChecksumMismatch, ModelError
from trabecula.onnx_scan import scan_onnx

T = TypeVar("T")

MANIFEST_NAME: Final = "manifest.json"
ALLOWED_DOMAINS: Final = frozenset({"", "ai.onnx", "com.microsoft"})
"""Operator sets that onnxruntime itself implements; nothing else is ever loaded."""
REFUSED_OPERATORS: Final = frozenset({"EPContext"})
"""Of those operator sets, what would make the runtime open another file or a library."""
MAX_MANIFEST_BYTES: Final = 4 << 20
MAX_MODEL_BYTES: Final = (2 << 30) - 1
"""No protobuf message is larger (https://protobuf.dev/programming-guides/encoding/#size-limits)."""


def inside(folder: Path, name: str) -> Path:
    """Path of a file of a bundle.

    Raises:
        ModelError: if the name leads out of the bundle's folder.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
    except (ValueError, OSError) as error:  # a null, or a name longer than any file's
        raise ModelError(f"bundle {folder.name} names no file", bundle=folder.name) from error
    if not path.is_relative_to(root):
        raise ModelError(f"bundle {folder.name} points outside its folder", bundle=folder.name)
    return path


def read_manifest(folder: Path, validate: Callable[[bytes], T]) -> T:
    """The bundle's manifest as ``validate`` (a pydantic validator of JSON) understands it.

    Raises:
        ModelError: if there is none, it is too large, or it is wrong; the first wrong field is named.
    """
    try:
        content = inside(folder, MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise ModelError(f"bundle {folder.name} has no readable manifest", bundle=folder.name) from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise ModelError(f"manifest of {folder.name} is too large")
    try:
        return validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"manifest of {folder.name}: {where}: {first['msg']}", bundle=folder.name) from error


def read_verified(path: Path, sha256: str, most_bytes: int = MAX_MODEL_BYTES) -> bytes:
    """Bytes of a model file whose sha256 (hexadecimal) is as announced. What is hashed is what is given back: nothing
    reads the file a second time.

    Raises:
        ModelError: if the file cannot be read or is too large.
        ModelChecksumMismatch: if its sha256 is another.
    """
    try:
        with path.open("rb") as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            # Room is made for all that is asked for: not for the most there may be, or every worker maps 2 GiB.
            content = stream.read(size_bytes + 1) if size_bytes <= most_bytes else None
            if content is None or len(content) > most_bytes:
                raise ModelError(f"{path.name} is too large", file=path.name, at_most_bytes=most_bytes)
    except OSError as error:
        raise ModelError(f"cannot read the model file {path.name}", file=path.name) from error
    if hashlib.sha256(content).hexdigest() != sha256.lower():
        raise ModelChecksumMismatch(f"{path.name} is not the file its manifest announces", file=path.name)
    return content


def read_onnx(folder: Path, file: str, sha256: str, model: str, most_bytes: int = MAX_MODEL_BYTES) -> bytes:
    """Bytes of a bundle's ONNX file, checked before any runtime sees it.

    Raises:
        ModelChecksumMismatch: if it is not the file that the manifest names.
        ModelError: if it is missing, too large or outside the folder, or as :func:`check_onnx` says.
    """
    content = read_verified(inside(folder, file), sha256, most_bytes)
    check_onnx(content, file, model)
    return content


def check_onnx(content: bytes, file: str, model: str) -> None:
    """Look into an ONNX file before any runtime does.

    Raises:
        ModelError: if it is no ONNX model, keeps weights outside the file, or uses operators that onnxruntime does not
            bring along.
    """
    try:
        facts = scan_onnx(content)
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is not an ONNX model: {error}", model=model) from error
    if facts.external_data:
        raise ModelError(f"{file} keeps weights outside the file", model=model)
    foreign = facts.domains - ALLOWED_DOMAINS
    if foreign:
        raise ModelError(f"{file} uses operators of {min(foreign)!r}", model=model)
    refused = facts.operators & REFUSED_OPERATORS
    if refused:
        raise ModelError(f"{file} uses the operator {min(refused)}", model=model)
