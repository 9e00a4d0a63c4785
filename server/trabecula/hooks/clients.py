"""The EHRs that may call: the site's TOML file, read once.

::

    [[client]]
    name = "main-ehr"                                   # for logs and statistics
    iss = "https://ehr.example.org"
    jku = ["https://ehr.example.org/.well-known/jwks.json"]
    # jwks_file = "main-ehr.jwks.json"                  # public keys handed over by hand; then nothing is fetched
    # algorithms = ["ES384", "RS384"]
    # max_token_lifetime_s = 3600
    fhir_servers = ["https://ehr.example.org/fhir/R4"]  # what fhirServer may be; none: prefetch only
    # cannot_give = ["problems"]                        # prefetch keys to do without
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trabecula.errors import ClientsFileError
from trabecula.hooks.services import Need
from trabecula.texts import parse_toml

ALGORITHMS: Final = ("ES384", "RS384")
"""What CDS Hooks recommends, and all that is taken: neither ``none`` nor a shared secret can be listed."""
WAIVABLE: Final = frozenset({Need.DXA, Need.PROBLEMS, Need.ORDERS})
LONGEST_LIFETIME_S: Final = 24 * 3600.0


@dataclass(frozen=True)
class Client:
    """One EHR."""

    name: str
    iss: str
    jku: tuple[str, ...]
    """Addresses of its keys; a token may name one of them and no other."""
    jwks_file: Path | None = None
    algorithms: tuple[str, ...] = ALGORITHMS
    max_token_lifetime_s: float = 3600.0
    fhir_servers: tuple[str, ...] = ()
    """Without a slash at the end."""
    waived: frozenset[Need] = frozenset()
    """What it cannot give; done without."""
    any_fhir_server: bool = False
    """Whether every FHIR server on a host of ``outbound_hosts`` may be read; for the open mode alone."""

    def may_read(self, fhir_server: str) -> bool:
        """Whether ``fhirServer`` of a request is one that the site lists."""
        return self.any_fhir_server or fhir_server in self.fhir_servers


OPEN: Final = Client("open", iss="", jku=(), any_fhir_server=True)
"""Everybody, where no token is asked for."""


class _Client(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    iss: Annotated[str, Field(min_length=1, max_length=1024)]
    jku: list[str] = []
    jwks_file: Path | None = None
    algorithms: Annotated[list[str], Field(min_length=1)] = list(ALGORITHMS)
    max_token_lifetime_s: Annotated[float, Field(gt=0, le=LONGEST_LIFETIME_S)] = 3600.0
    fhir_servers: list[str] = []
    cannot_give: list[Need] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    client: Annotated[list[_Client], Field(min_length=1)]


def load_clients(path: Path) -> tuple[Client, ...]:
    """The clients of a file; a relative ``jwks_file`` is beside it.

    Raises:
        ClientsFileError: if the file cannot be read, an entry is wrong, or two have the same name or issuer.
    """
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ClientsFileError(f"{path.name}: {error}", file=path.name) from error
    try:
        entries = _File.model_validate(document).client
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise ClientsFileError(f"{path.name}: {place}: {fault['msg']}", entry=place) from None
    for what in ("name", "iss"):
        values = [getattr(entry, what) for entry in entries]
        if len(set(values)) < len(values):
            raise ClientsFileError(f"{path.name}: two clients have the same {what}", entry=what)
    return tuple(_client(entry, path.parent) for entry in entries)


def _client(entry: _Client, folder: Path) -> Client:
    unknown = [name for name in entry.algorithms if name not in ALGORITHMS]
    if unknown:
        raise ClientsFileError(f"{entry.name}: algorithm {unknown[0]!r} is not accepted", entry="algorithms")
    if not entry.jku and entry.jwks_file is None:
        raise ClientsFileError(f"{entry.name}: neither jku nor jwks_file", entry="jku")
    for name, urls in (("jku", entry.jku), ("fhir_servers", entry.fhir_servers)):
        if any(not _is_plain_url(url) for url in urls):
            raise ClientsFileError(f"{entry.name}: {name} holds what is no absolute URL", entry=name)
    if not set(entry.cannot_give) <= WAIVABLE:
        raise ClientsFileError(f"{entry.name}: only {sorted(WAIVABLE)} can be done without", entry="cannot_give")
    return Client(
        name=entry.name,
        iss=entry.iss,
        jku=tuple(entry.jku),
        jwks_file=None if entry.jwks_file is None else folder / entry.jwks_file,
        algorithms=tuple(entry.algorithms),
        max_token_lifetime_s=entry.max_token_lifetime_s,
        fhir_servers=tuple(url.rstrip("/") for url in entry.fhir_servers),
        waived=frozenset(entry.cannot_give),
    )


_SPACE: Final = re.compile(r"\s")


def _is_plain_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.hostname) and not parts.fragment and not _SPACE.search(url)
