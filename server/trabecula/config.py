"""Settings of the program: the only module that reads the environment.

Every field is read from ``TRABECULA_<FIELD>``. Secrets are named by the file that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from ipaddress import ip_address
from os import environ, sched_getaffinity
from pathlib import Path
from secrets import token_hex
from typing import Final, Literal, get_type_hints

from trabecula import assets
from trabecula.errors import ConfigurationError


class Role(StrEnum):
    """What one process does."""

    ALL = "all"
    API = "api"
    """Takes studies in and answers; loads no models."""
    WORKER = "worker"
    """Works on studies, and on the jobs of the other queues; listens to nothing but its metrics."""
    ADMIN = "admin"
    """The operators' service alone, also on a database that is empty or of another release: for upgrades and restores
    while nothing else runs."""


PREFIX: Final = "TRABECULA_"
MIB: Final = 1024 * 1024
CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
MOST_THREADS: Final = 8


@dataclass(frozen=True)
class Settings:
    """What an operator may choose. Times in seconds, sizes in bytes.

    No field is called ``port`` or ``service_*``: Kubernetes sets ``TRABECULA_PORT`` and
    ``TRABECULA_SERVICE_HOST`` by itself beside a Service of that name.
    """

    role: Role = Role.ALL
    """``all``, or ``api`` and ``worker`` in processes of their own, as many as are wanted, that share database and
    content store; ``admin`` for upgrades and restores."""
    listen: str = "127.0.0.1:50051"
    """host:port of the gRPC service; port 0 takes a free one."""
    admin_listen: str | None = None
    """host:port of the operators' gRPC service; None serves none. Beyond the loopback interface it asks for client
    certificates (``tls_client_ca_file``)."""
    backup_dir: Path | None = None
    """The only folder that the operators' service writes backups to and restores them from."""
    metrics_listen: str | None = None
    """host:port for Prometheus (``/metrics``); None serves none."""
    health_listen: str | None = None
    """host:port of ``grpc.health.v1`` without TLS, for the platform's probes (services ``startup`` and ``ready``, and
    ``""`` for liveness); None serves none. The gRPC service has its own health beside it."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    """When given, only clients with a certificate of this authority are let in."""
    tls_elsewhere: bool = False
    """Whether something before this service encrypts (a gateway, a mesh). Without TLS of its own, gRPC is served beyond
    the loopback interface on that word only."""
    grpc_auth: Literal["auto", "on", "off", "off-beyond-loopback"] = "auto"
    """Who may call gRPC. ``on``: whoever has a token of ``auth_issuers`` or a certificate listed in
    ``grpc_clients_file``. ``auto``: the same once one of the two is given; else any certificate of
    ``tls_client_ca_file``; else everybody, on the loopback interface only. ``off`` asks nobody and works on the
    loopback interface only; the last one works anywhere, on your word."""
    grpc_audience: str | None = None
    """Audience that tokens for gRPC must name; None takes ``auth_audience`` or ``public_base_url``. Without any of them
    tokens are not asked for on the loopback interface, and beyond it the service does not start."""
    grpc_clients_file: Path | None = None
    """Client certificates and what each may call (TOML; docs/grpc.md)."""
    client_requests_per_s: int = 200
    """Requests and calls of one client (token, certificate, CDS client) that are let in, on average over ten seconds,
    in one process; each door counts for itself."""
    address_requests_per_s: int = 1000
    """The same for one address, before it is known who calls."""
    client_max_calls: int = 64
    """gRPC calls and HTTP requests of one client that may be open at once."""
    client_max_uploads: int | None = None
    """Uploads and DICOM associations of one client that may be open at once; None: as many as there are for all."""
    trusted_proxies: str = ""
    """Addresses or networks (CIDR), commas between, of the proxies in front of the HTTP service whose
    ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed; none when empty."""
    reflection: bool = False
    """Whether the service tells clients its own protocol."""
    models_dir: Path = field(default_factory=assets.models_dir)
    segmentation_models: str | None = None
    """Folders in ``models_dir``, separated by commas, of the bundles that segment; None takes the newest coarse and
    fine ones."""
    state_dir: Path = Path("out/state")
    """Results, and uploads while they are worked on; made private to the user (0700)."""
    database_url: str | None = None
    """``postgresql://user@host/name`` of a PostgreSQL 14 or newer, in libpq's form, without a password; None starts
    the one that comes with the program under ``state_dir``."""
    database_password_file: Path | None = None
    database_pool_size: int = 16
    """Connections one process keeps open; a quarter of them is for single statements (CDS Hooks, the audit trail)."""
    database_pool_overflow: int = 0
    """Connections beyond those, closed after use. Opening one takes longer than most queries: with many of them a burst
    costs more than it brings and does not end."""
    database_timeout_s: float = 10.0
    """How long to wait for a connection."""
    content_url: str | None = None
    """Where instances and documents lie: ``s3://``, ``gs://`` or ``az://``; None takes a folder in ``state_dir``."""
    content_options_file: Path | None = None
    """TOML with the object storage's options and secrets."""
    execution_provider: Literal["cpu", "openvino", "cuda"] = "cpu"
    """Preferred onnxruntime execution provider; the report says which one ran."""
    inference_threads: int = 0
    """Threads of one worker for reading, decoding and inference; 0 shares the cores this process may use out among the
    workers, at most 8 to each."""
    inference_max_voxels: int = 1_500_000
    """Most voxels (on a network's own grid) that one pass takes; larger scans are worked on in slabs."""
    warm_start: bool = True
    """Run each model once when it is loaded, so that the first study is not slower."""
    memory_arena: bool = True
    """Whether onnxruntime keeps memory within a run (faster); it is given back after each."""
    workers: int = 1
    """Studies worked on at the same time, each in a process of its own."""
    worker_kind: Literal["process", "thread"] = "process"
    """``thread`` works inside the service's process: less memory, no shelter from a crash, no limit of memory."""
    worker_memory_bytes: int = 6144 * MIB
    """Resident memory one worker process may take, models included; a study that needs more fails alone. 0: no
    limit."""
    max_attempts: int = 3
    """How often a study may take its worker down with it before it is a dead letter."""
    heartbeat_s: float = 5.0
    """How often a worker tells the database that it lives."""
    stalled_after_s: float = 30.0
    """A worker whose heartbeat stands still for so long is given up: another one takes its studies."""
    queue_capacity: int = 64
    """Studies that may wait or be uploading, over all processes, when a routine one comes; archive work may take half
    of it, urgent work a quarter more."""
    max_concurrent_uploads: int = 4
    max_study_bytes: int = 4096 * MIB
    max_instances: int = 20_000
    max_message_bytes: int = 4 * MIB
    upload_idle_timeout_s: float = 30.0
    screening_timeout_s: float = 600.0
    drain_timeout_s: float = 30.0
    """How long running studies may go on after SIGTERM; then they are put back for another worker."""
    pixel_retention_s: float = 7 * 24 * 3600.0
    """How long images and patient context are kept after a screening has ended and its results are delivered."""
    result_retention_s: float | None = None
    """How long results are kept after a screening has ended and its results are delivered; None keeps them."""
    content_grace_s: float = 24 * 3600.0
    """How long bytes that no screening names are kept; longer than any upload takes."""
    job_retention_s: float = 7 * 24 * 3600.0
    """How long finished jobs of the queue are kept."""
    level_profile: str = "cn-2024"
    """Rules by which densities are read at each level: ``cn-2024``, ``acr``, or the path of a site's own TOML file."""
    calibration_file: Path | None = None
    """The site's calibration file (TOML): order of methods, QCT phantoms, fitted corrections; docs/calibration.md."""
    scanner_history_file: Path | None = None
    """Phantom scans and maintenance of the site's scanners, kept by ``trabecula scanner``."""
    second_readers: str | None = None
    """Second-reader bundles in ``models_dir`` to ask beside the measurement, by folder name, commas between."""
    fhir_base_url: str = "https://trabecula.example/fhir"
    """Canonical base of the project's code systems in FHIR bundles."""
    fhir_patient_identifier_system: str | None = None
    """System of the DICOM Patient ID, when the site has named one."""
    fhir_accession_system: str | None = None
    """Who issues accession numbers, as a URI; reports then name their order by that number."""
    fhir_declare_profiles: bool = True
    """Whether resources name their profiles; some servers refuse profiles that they do not know."""
    destinations_file: Path | None = None
    """Where results go, EHRs and PACS (TOML; docs/delivery.md); None delivers nothing."""
    dicom_results: Literal["auto", "on", "off"] = "auto"
    """Whether results are written as DICOM objects as well; ``auto`` does so when studies come by DIMSE or STOW-RS, or
    a destination is a PACS."""
    dicomweb_archive: str | None = None
    """Name of the ``stow`` destination whose archive ``$screen-bone`` pulls studies from; None offers no such thing."""
    stow_in: bool = False
    """Whether the HTTP service takes studies in by STOW-RS, at ``/dicom-web/studies``."""
    dimse_listen: str | None = None
    """host:port on which studies are taken in by C-STORE; port 0 takes a free one, None takes none."""
    dimse_ae_title: str = "TRABECULA"
    """AE title by which this service must be called."""
    dimse_peers: str = ""
    """Who may send, commas between: ``AE_TITLE@address`` or ``AE_TITLE@network/bits``; nobody else is let in."""
    dimse_tls_certificate_file: Path | None = None
    dimse_tls_key_file: Path | None = None
    dimse_tls_client_ca_file: Path | None = None
    """When given, only peers with a certificate of this authority are let in."""
    dimse_max_associations: int = 4
    dimse_idle_timeout_s: float = 60.0
    """An association on which nothing happens for so long is ended."""
    dimse_max_instance_bytes: int = 1024 * MIB
    dimse_study_complete: Literal["quiet", "release"] = "quiet"
    """When a study counts as complete: nothing more of it came for ``dimse_quiet_s``, or the sender released its
    association."""
    dimse_quiet_s: float = 60.0
    dimse_journal_s: float = 24 * 3600.0
    """How long instances of accepted studies are remembered, so that late ones join them."""
    http_listen: str | None = None
    """host:port of the HTTP service (FHIR, CDS Hooks, pages); port 0 takes a free one, None serves none."""
    http_tls_certificate_file: Path | None = None
    http_tls_key_file: Path | None = None
    public_base_url: str | None = None
    """Address under which clients reach the HTTP service, with its path behind a proxy; None takes ``http_listen``.
    Tokens must name it (or what lies below it) as their audience."""
    http_max_body_bytes: int = 1 * MIB
    """Largest body of a request to FHIR and CDS Hooks."""
    http_timeout_s: float = 30.0
    """Longest time that one request may take; operations on studies have a time of their own."""
    http_screening_wait_s: float = 120.0
    """How long ``$screen-bone`` waits for its result before it asks the client to come back."""
    cors_origins: str = ""
    """Origins of browser clients that may call the HTTP service, commas between; none when empty."""
    auth: Literal["on", "off", "off-beyond-loopback"] = "on"
    """``off`` asks for no token and works on the loopback interface only; the third works anywhere, on your word."""
    auth_issuers: str = ""
    """Issuers of access tokens that are accepted (``iss``), commas between."""
    auth_jwks: str = ""
    """For each issuer, in the same order, where its public keys are: an https address or the path of a file."""
    auth_audience: str | None = None
    """Audience that tokens must name; None takes ``<public_base_url>/fhir`` and the base itself."""
    auth_v1_scopes: bool = False
    """Whether ``.read`` and ``.*`` of SMART v1 count as ``.rs``."""
    auth_patient_identifier_system: str | None = None
    """When set, the ``patient`` claim of a launch is also the patient's identifier in this system."""
    auth_patient_identifier_claim: str = "patient_identifier"
    """Claim that holds the patient's identifier (``system|value``, an Identifier, or a list of them)."""
    auth_clock_skew_s: float = 30.0
    auth_authorize_url: str | None = None
    """Authorization endpoint of the site's server, for ``.well-known/smart-configuration``."""
    auth_token_url: str | None = None
    """Token endpoint of the site's server, likewise."""
    cds_clients_file: Path | None = None
    """EHRs that may call CDS Hooks, with their keys and FHIR servers (TOML; docs/cds-hooks.md). Without it the services
    are offered only where ``auth`` is ``off`` on the loopback interface."""
    cds_read_budget_s: float = 0.3
    """Longest time for reading from the EHR, within one call of CDS Hooks, what its prefetch left out."""
    cds_card_retention_s: float = 400 * 24 * 3600.0
    """How long cards that were shown and feedback on them are kept."""
    client_keys_dir: Path | None = None
    """Folder of the private keys (JWK or PEM, ``<kid>.json`` or ``<kid>.pem``) that this service signs with; their
    public halves are at ``/.well-known/jwks.json``."""
    outbound_hosts: str = ""
    """Hosts that may be called (EHR, authorization server, PACS), commas between: ``ehr.example.org``,
    ``ehr.example.org:8443`` or ``*.example.org``. Empty: none."""
    outbound_networks: str = ""
    """Private or loopback networks (CIDR, commas between) that listed hosts may lie in; public addresses always may."""
    outbound_ca_file: Path | None = None
    """Authorities (PEM) that issuers of tokens, EHRs read for CDS Hooks and the OpenID provider may have certificates
    of, besides the public ones."""
    oidc_issuer: str | None = None
    """OpenID provider (``iss``) that people at the pages sign in with; None: with a password of ``users_file`` only."""
    oidc_client_id: str | None = None
    """What this service is called there."""
    oidc_client_secret_file: Path | None = None
    """Its secret; None signs in with a key of ``client_keys_dir`` (``private_key_jwt``)."""
    oidc_scopes: str = "openid profile"
    """What is asked for, blanks between."""
    oidc_roles_claim: str = "roles"
    """Claim of the ID token (or the userinfo endpoint) with the person's groups or roles; dots lead into objects."""
    oidc_roles: str = ""
    """What they mean here, commas between: ``<value>=<role>``, with the roles viewer, radiologist, programme and
    auditor."""
    users_file: Path | None = None
    """TOML file with the people who may sign in at the pages (``trabecula users add``); None: nobody can."""
    session_key_file: Path | None = None
    """File with at least 32 random bytes that sign the pages' sessions, shared by replicas; None takes a fresh key at
    each start."""
    session_lasts_s: float = 8 * 3600.0
    """How long a person stays signed in at the pages."""
    reviewer_identifier_system: str | None = None
    """Who gives out the reviewers' ids, as a URI; goes into signed results."""
    organization_name: str | None = None
    """The organisation that answers for signed results."""
    programme_contact_days: int = 14
    """A reminder is due when a person proposed for DXA was not contacted within so many days."""
    programme_booking_days: int = 30
    """... when no appointment was booked so long after the contact."""
    programme_result_days: int = 90
    """... when no DXA result came so long after the booking."""
    drift_reference_file: Path | None = None
    """The site's own reference window (JSON, written by ``trabecula drift reference``); wins over the one that comes
    with the calibration model."""
    drift_window_days: int = 14
    """Days that the drift evaluator compares with the reference."""
    drift_retention_s: float = 400 * 24 * 3600.0
    """How long the figures of each series and the evaluations of drift are kept; they name nobody."""
    traces_endpoint: str | None = None
    """Where spans go by OTLP over gRPC, for example ``https://collector.example.org:4317``; None traces nothing. Needs
    the extra ``otel``."""
    traces_sample_ratio: float = 1.0
    """Share of traces begun here that are kept; a caller's own decision wins."""
    traces_service_name: str = "trabecula"
    """``service.name`` of the spans."""
    traces_ca_file: Path | None = None
    """Authority of the collector's certificate, with https; None takes the system's."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def bundle_names(settings: Settings) -> tuple[str, ...]:
    """``segmentation_models`` taken apart."""
    return listed(settings.segmentation_models or "")


def threads_per_worker(settings: Settings) -> int:
    """``inference_threads``, or a fair share of the cores that this process may use."""
    if settings.inference_threads:
        return settings.inference_threads
    return max(1, min(MOST_THREADS, usable_cores() // settings.workers))


def usable_cores(quota: Path = CPU_QUOTA) -> int:
    """Cores that this process may run on, and no more than its container's CPU limit (rounded down, at least one):
    threads beyond the limit would only be stopped with the others until the next period.

    Args:
        quota: ``cpu.max`` of the control group (cgroup v2).
    """
    cores = len(sched_getaffinity(0))
    try:
        most_us, period_us = quota.read_text(encoding="ascii").split()
        limit = cores if most_us == "max" else int(most_us) // int(period_us)
    except (OSError, ValueError):
        return cores
    return max(1, min(cores, limit))


def bound_library_threads(settings: Settings, environment: MutableMapping[str, str] = environ) -> None:
    """Let the libraries below numpy (OpenBLAS, OpenMP) start no more threads than a worker may have, here and in the
    processes that this one starts. They look when they are loaded, and take one for each core of the machine unless
    told. What the operator has set stays."""
    environment.setdefault("OMP_NUM_THREADS", str(threads_per_worker(settings)))


def harden_ray(*, own_cluster: bool, environment: MutableMapping[str, str] = environ) -> None:
    """Before Ray is imported: whoever joins its cluster needs a token, and it tells nobody that it is used. What the
    operator has set stays.

    Args:
        own_cluster: whether the cluster is started here for the time of the run; it then gets a token of its own.
    """
    environment.setdefault("RAY_AUTH_MODE", "token")
    environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if own_cluster and "RAY_AUTH_TOKEN_PATH" not in environment:
        environment.setdefault("RAY_AUTH_TOKEN", token_hex(32))


def with_models(settings: Settings, names: str) -> Settings:
    """Settings with other bundles that segment, named as in ``segmentation_models``.

    Raises:
        ConfigurationError: if a name is not that of a folder.
    """
    changed = replace(settings, segmentation_models=names)
    _check(changed)
    return changed


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; fields that are not set keep their default.

    Raises:
        ConfigurationError: if a value cannot be read as the field's type, or is out of range.
    """
    from pydantic import TypeAdapter, ValidationError

    source = environ if environment is None else environment
    hints = get_type_hints(Settings)
    values: dict[str, object] = {}
    for each in fields(Settings):
        text = source.get(PREFIX + each.name.upper())
        if text is None:
            continue
        try:
            values[each.name] = TypeAdapter(hints[each.name]).validate_python(text)
        except ValidationError as error:
            raise ConfigurationError(setting=PREFIX + each.name.upper()) from error
    settings = Settings(**values)  # type: ignore[arg-type]
    _check(settings)
    return settings


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host stands in brackets.

    Raises:
        ConfigurationError: if it is not of that form.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(address=address)
    return host, int(port)


def listed(text: str) -> tuple[str, ...]:
    """The items of a setting with commas between."""
    return tuple(item for part in text.split(",") if (item := part.strip()))


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is reached from this machine alone; an IPv6 one may stand in brackets."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


_POSITIVE: Final = (
    "session_lasts_s",
    "programme_contact_days",
    "programme_booking_days",
    "programme_result_days",
    "inference_max_voxels",
    "workers",
    "max_attempts",
    "heartbeat_s",
    "queue_capacity",
    "max_concurrent_uploads",
    "max_study_bytes",
    "max_instances",
    "upload_idle_timeout_s",
    "screening_timeout_s",
    "database_pool_size",
    "database_timeout_s",
    "dimse_max_associations",
    "dimse_idle_timeout_s",
    "dimse_max_instance_bytes",
    "dimse_quiet_s",
    "dimse_journal_s",
    "cds_read_budget_s",
    "cds_card_retention_s",
    "drift_window_days",
    "drift_retention_s",
    "client_requests_per_s",
    "address_requests_per_s",
    "client_max_calls",
)


def _check(settings: Settings) -> None:
    split_address(settings.listen)
    if settings.metrics_listen is not None:
        split_address(settings.metrics_listen)
    if settings.health_listen is not None:
        split_address(settings.health_listen)
    if settings.admin_listen is not None:
        host, _ = split_address(settings.admin_listen)
        if not is_loopback(host) and settings.tls_client_ca_file is None:
            raise ConfigurationError(setting=PREFIX + "ADMIN_LISTEN", beyond_loopback="needs TLS_CLIENT_CA_FILE")
    if settings.role is Role.ADMIN and settings.admin_listen is None:
        raise ConfigurationError(setting=PREFIX + "ADMIN_LISTEN", must_be="given with the role admin")
    if settings.content_url is not None and "@" in settings.content_url.partition("://")[2].partition("/")[0]:
        raise ConfigurationError(
            setting=PREFIX + "CONTENT_URL", must_be="without secrets; CONTENT_OPTIONS_FILE holds them"
        )
    for name in _POSITIVE:
        if getattr(settings, name) <= 0:
            raise ConfigurationError(setting=PREFIX + name.upper(), must_be="positive")
    if any(Path(name).name != name for name in bundle_names(settings)):
        raise ConfigurationError(setting=PREFIX + "SEGMENTATION_MODELS", must_be="names of folders")
    for name in ("inference_threads", "worker_memory_bytes"):
        if getattr(settings, name) < 0:
            raise ConfigurationError(setting=PREFIX + name.upper(), must_be="0 or more")
    if settings.traces_endpoint is not None:
        _check_traces(settings)
    if settings.stalled_after_s < 2 * settings.heartbeat_s:
        raise ConfigurationError(setting=PREFIX + "STALLED_AFTER_S", must_be="at least two heartbeats")
    if settings.max_message_bytes < MIB:
        raise ConfigurationError(setting=PREFIX + "MAX_MESSAGE_BYTES", at_least=MIB)
    if (settings.tls_certificate_file is None) != (settings.tls_key_file is None):
        raise ConfigurationError(setting=PREFIX + "TLS_KEY_FILE", must_be="given together with the certificate")


def _check_traces(settings: Settings) -> None:
    scheme, separator, address = (settings.traces_endpoint or "").partition("://")
    if not separator or scheme not in ("http", "https"):
        raise ConfigurationError(setting=PREFIX + "TRACES_ENDPOINT", must_be="http:// or https:// with host and port")
    split_address(address.rstrip("/"))
    if not 0.0 <= settings.traces_sample_ratio <= 1.0:
        raise ConfigurationError(setting=PREFIX + "TRACES_SAMPLE_RATIO", must_be="0 to 1")
