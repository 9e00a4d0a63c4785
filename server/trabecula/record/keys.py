"""What a resource is found by, as 128-bit hashes.

Each search value (a code, an identifier, a reference) becomes one key; equal values make equal keys, and the index
holds no identifier in clear. BLAKE2b at 128 bits: two values meeting by chance or by design is out of reach.
"""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID


def _key(*parts: str) -> UUID:
    digest = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return UUID(bytes=digest.digest())


def code_key(parameter: str, system: str, code: str) -> UUID:
    """``system|code``; an empty system means that there is none."""
    return _key(parameter, "code", system, code)


def any_system_key(parameter: str, code: str) -> UUID:
    """``code`` under any system or none."""
    return _key(parameter, "any", code)


def system_key(parameter: str, system: str) -> UUID:
    """``system|``: any code of it."""
    return _key(parameter, "system", system)


def reference_key(parameter: str, target: str) -> UUID:
    """A literal reference, ``Type/id`` or an absolute address."""
    return _key(parameter, "reference", target)


def reference_id_key(parameter: str, identity: str) -> UUID:
    """A literal reference by its id alone."""
    return _key(parameter, "reference-id", identity)


def token_keys(parameter: str, system: str, code: str) -> tuple[UUID, ...]:
    """All keys under which a coded value is found."""
    found = (any_system_key(parameter, code), code_key(parameter, system, code))
    return (*found, system_key(parameter, system)) if system else found


def identifier_parameter(parameter: str) -> str:
    """Name under which the identifier inside a reference is kept: ``patient:identifier``."""
    return f"{parameter}:identifier"
