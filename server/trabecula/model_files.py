"""Reading model bundles only when they are what their manifest says and bring nothing along but arithmetic."""

from __future__ import annotations

import hashlib
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
MAX_MANIFEST_BYTES: Final = 4 << 20


def inside(folder: Path, name: str) -> Path:
    """Path of a file of a bundle.

    Raises:
        ModelError: if the name leads out of the bundle's folder.
    """
    root = folder.resolve()
    path = (root / name).resolve()
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


def read_onnx(folder: Path, file: str, sha256: str, model: str, most_bytes: int | None = None) -> bytes:
    """Bytes of a bundle's ONNX file, checked before any runtime sees it.

    Raises:
        ModelChecksumMismatch: if it is not the file that the manifest names.
        ModelError: if it is missing, too large or outside the folder, or as :func:`check_onnx` says.
    """
    path = inside(folder, file)
    if most_bytes is not None and path.is_file() and path.stat().st_size > most_bytes:
        raise ModelError(f"{file} is too large", model=model)
    content = read_verified(path, sha256)
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
