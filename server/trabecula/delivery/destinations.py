"""The site's destinations: where results go and how. Read once from a TOML file, frozen from then on.

docs/delivery.md shows the form. Nothing here is a secret: keys and certificates are named by their paths.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from trabecula.errors import ConfigurationError, DestinationsFileError, OutboundRefused
from trabecula.outbound import DEFAULT_PORTS, OutboundPolicy, parse_policy
from trabecula.texts import parse_toml

STRICT: Final = ConfigDict(extra="forbid", frozen=True)
MIB: Final = 1024 * 1024

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Positive = Annotated[int, Field(strict=True, gt=0)]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?$")]
"""PS3.5 value representation AE: up to 16 printable characters without backslash."""
ResourceType = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]{2,39}$")]


class What(StrEnum):
    """Which results a destination wants."""

    RESULTS = "results"
    REFUSALS = "refusals"
    DOCUMENTS = "documents"
    """To an EHR, a DocumentReference with the report beside the other resources."""


class DicomObject(StrEnum):
    """Result objects for a PACS."""

    SEG = "seg"
    SR = "sr"
    PDF = "pdf"
    SC = "sc"


@dataclass(frozen=True)
class Limits:
    """What one destination may be asked for, and how long it is waited for. Times in seconds."""

    __pydantic_config__ = STRICT
    concurrency: Annotated[int, Field(strict=True, gt=0, le=32)] = 2
    """Deliveries under way at the same time; 1 on the rungs where a server could make duplicates."""
    timeout_s: Seconds = 30.0
    """Longest time for one request, from its first byte to the answer's last."""
    attempt_timeout_s: Seconds = 300.0
    """Longest time for one attempt at a delivery."""
    max_response_bytes: Positive = 8 * MIB
    max_transaction_entries: Annotated[int, Field(strict=True, gt=0, le=500)] = 40
    """Entries in a transaction of PUTs."""
    max_conditional_entries: Annotated[int, Field(strict=True, gt=0, le=500)] = 8
    """Entries in a transaction of conditional creates."""
    first_delay_s: Seconds = 10.0
    """Upper end of the first delay; doubles with every failure."""
    max_delay_s: Seconds = 3600.0
    give_up_after_s: Seconds = 14 * 86400.0
    """Age at which a delivery that still fails is parked."""
    breaker_failures: Positive = 5
    """Failures in a row after which the destination is left alone for a while."""
    breaker_pause_s: Seconds = 60.0
    """First pause; doubles up to ``max_delay_s``."""


@dataclass(frozen=True)
class PatientSystem:
    """How a DICOM Patient ID is looked up at the destination."""

    __pydantic_config__ = STRICT
    system: Annotated[str, Field(min_length=1, max_length=256)]
    """Identifier system there, such as ``urn:oid:2.16.840.1.113883.19.5``."""
    issuer: str | None = None
    """Only for studies whose Issuer of Patient ID (0010,0021) is this; None for those without an entry of their own."""


@dataclass(frozen=True)
class NoAuth:
    """No credentials; TLS or the network is all that protects it."""

    __pydantic_config__ = STRICT
    type: Literal["none"] = "none"


@dataclass(frozen=True)
class SmartAuth:
    """SMART Backend Services (private_key_jwt)."""

    __pydantic_config__ = STRICT
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["smart-backend-services"] = "smart-backend-services"
    key_folder: Path | None = None
    """None takes ``TRABECULA_CLIENT_KEYS_DIR``."""
    scopes: tuple[str, ...] = (
        "system/Patient.rs",
        "system/Device.cruds",
        "system/ImagingStudy.cruds",
        "system/Observation.cruds",
        "system/RiskAssessment.cruds",
        "system/DiagnosticReport.cruds",
        "system/DetectedIssue.cruds",
        "system/DocumentReference.cruds",
        "system/ServiceRequest.cruds",
        "system/Provenance.cruds",
    )
    token_url: str | None = None
    """None asks ``.well-known/smart-configuration``."""
    token_hosts: tuple[str, ...] = ()
    """Hosts other than the server's own that the token endpoint may be on."""


Auth = Annotated[NoAuth | SmartAuth, Field(discriminator="type")]


@dataclass(frozen=True)
class Network:
    """How the destination is reached."""

    __pydantic_config__ = STRICT
    private_networks: tuple[str, ...] = ()
    """CIDR of private networks the host may lie in; public addresses always may."""
    plain_http: Flag = False
    """Whether ``http:`` will do. Patient data then travel in the clear."""
    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""


@dataclass(frozen=True)
class FhirDestination:
    """An EHR's FHIR R4 server."""

    __pydantic_config__ = STRICT
    kind: Literal["fhir"]
    name: Name
    base_url: str
    patient: Annotated[tuple[PatientSystem, ...], Field(min_length=1)]
    send: tuple[What, ...] = (What.RESULTS, What.REFUSALS)
    leave_out: tuple[ResourceType, ...] = ()
    """Resource types that are not written there; others then name them by identifier."""
    declare_profiles: Flag = True
    """Whether resources name their profiles; some servers refuse profiles that they do not know."""
    auth: Auth = NoAuth()
    network: Network = Network()
    limits: Limits = Limits()


@dataclass(frozen=True)
class StowDestination:
    """A PACS reached by STOW-RS."""

    __pydantic_config__ = STRICT
    kind: Literal["stow"]
    name: Name
    base_url: str
    objects: Annotated[tuple[DicomObject, ...], Field(min_length=1)] = tuple(DicomObject)
    send: tuple[What, ...] = (What.RESULTS, What.REFUSALS)
    auth: Auth = NoAuth()
    network: Network = Network()
    limits: Limits = Limits()


@dataclass(frozen=True)
class DimseDestination:
    """A PACS reached by C-STORE."""

    __pydantic_config__ = STRICT
    kind: Literal["dimse"]
    name: Name
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(strict=True, gt=0, lt=65536)]
    ae_title: AeTitle
    calling_ae_title: AeTitle = "TRABECULA"
    objects: Annotated[tuple[DicomObject, ...], Field(min_length=1)] = tuple(DicomObject)
    send: tuple[What, ...] = (What.RESULTS, What.REFUSALS)
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    limits: Limits = Limits()


Destination = FhirDestination | StowDestination | DimseDestination
WebDestination = FhirDestination | StowDestination


@dataclass(frozen=True)
class DestinationsFile:
    __pydantic_config__ = STRICT
    destination: tuple[Annotated[Destination, Field(discriminator="kind")], ...] = ()


def read_destinations(path: Path | None) -> tuple[Destination, ...]:
    """The destinations of a site; none without a file.

    Raises:
        DestinationsFileError: if the file cannot be read, or an entry cannot be used; names the place.
    """
    if path is None:
        return ()
    try:
        document = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DestinationsFileError(f"it cannot be read: {error}") from error
    return parse_destinations(document)


def parse_destinations(document: dict[str, Any]) -> tuple[Destination, ...]:
    """Destinations from the file's content; raises as :func:`read_destinations` does."""
    try:
        found = TypeAdapter(DestinationsFile).validate_python(document).destination
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DestinationsFileError(place=place, why=first["msg"], faults=error.error_count()) from None
    twice = [name for name, count in Counter(each.name for each in found).items() if count > 1]
    if twice:
        raise DestinationsFileError(why="two destinations of one name", name=twice[0])
    for each in found:
        _check(each)
    return found


def _check(destination: Destination) -> None:
    if not destination.send:
        raise DestinationsFileError(name=destination.name, why="send names nothing")
    if isinstance(destination, DimseDestination):
        if (destination.tls_certificate_file is None) != (destination.tls_key_file is None):
            raise DestinationsFileError(name=destination.name, why="tls_key_file goes with tls_certificate_file")
        return
    parts = urlsplit(destination.base_url)
    if parts.query or parts.fragment:
        raise DestinationsFileError(name=destination.name, why="base_url has a query or fragment")
    try:
        policy = outbound_policy(destination)
        policy.check(destination.base_url)
        token_url = destination.auth.token_url if isinstance(destination.auth, SmartAuth) else None
        if token_url is not None:
            policy.check(token_url)
    except (OutboundRefused, ConfigurationError, ValueError) as error:
        why = error.client_message if isinstance(error, OutboundRefused | ConfigurationError) else "malformed address"
        raise DestinationsFileError(name=destination.name, why=why) from None


def authority(url: str) -> str:
    """``host:port`` of an address, the port always written.

    Raises:
        ValueError: if the address has none.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not host or port is None:
        raise ValueError("no host")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def outbound_policy(destination: WebDestination) -> OutboundPolicy:
    """What may be called for this destination: its own host, and those its token endpoint may be on.

    Raises:
        ConfigurationError, ValueError: if a network, a host or the address cannot be read.
    """
    auth, network = destination.auth, destination.network
    extra: tuple[str, ...] = ()
    if isinstance(auth, SmartAuth):
        extra = (*auth.token_hosts, *([authority(auth.token_url)] if auth.token_url else ()))
    hosts = ",".join((authority(destination.base_url), *extra))
    return parse_policy(hosts, ",".join(network.private_networks), plain_http=network.plain_http)
