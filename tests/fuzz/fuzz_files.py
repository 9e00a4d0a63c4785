"""Files that operators write, beside those of :mod:`fuzz_targets`: settings, rules, clients, keys, maps, histograms."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from fuzz_targets import REPOSITORY, Target, json_mutator, of_file
from fuzz_values import mutate_text

from trabecula.archive.manifest import read_manifest
from trabecula.assessment.fhirpath import compile_expression
from trabecula.assessment.rules import load_rules
from trabecula.assets import fhir_dir
from trabecula.clinical.entries import read_entries
from trabecula.config import load_settings, split_address
from trabecula.drift.reference import MANIFEST_FIELD, read_references
from trabecula.evaluation.label_map import load_label_map
from trabecula.keys import SigningAlgorithm, generate_key, read_keys
from trabecula.outbound import parse_policy
from trabecula.segmentation.nnunet.labels import load_label_map as load_network_labels
from trabecula.segmentation.nnunet.plans import read_json, read_labels
from trabecula.service.auth.certificates import read_grpc_clients
from trabecula.service.dimse.peers import parse_peers
from trabecula.service.model_cards import read_model_cards
from trabecula.work.object_content import read_options

_HISTOGRAMS: Final = "models/calibration-phantomless-v1"
NOW: Final = datetime(2026, 3, 14, tzinfo=UTC)
_SETTINGS: Final = b"""TRABECULA_LISTEN=127.0.0.1:50051
TRABECULA_WORKERS=2
TRABECULA_DIMSE_PEERS=SCANNER@10.0.0.0/8, PACS@fd00::/8
TRABECULA_OUTBOUND_HOSTS=ehr.example.org,*.example.net:8443
TRABECULA_OUTBOUND_NETWORKS=10.0.0.0/8
TRABECULA_WORKER_MEMORY_BYTES=1000000000
TRABECULA_HTTP_LISTEN=[::1]:8080
TRABECULA_DRAIN_TIMEOUT_S=30.5
TRABECULA_STOW_IN=true
TRABECULA_AUTH=off
TRABECULA_ROLE=all
TRABECULA_LOG_LEVEL=info"""


def _settings(data: bytes) -> object:
    """Lines as an environment holds them."""
    text = data.decode("utf-8", "replace").replace("\0", "")
    pairs = (line.partition("=") for line in text.split("\n") if line)
    settings = load_settings({name.strip(): value.strip() for name, _, value in pairs})
    for address in (settings.listen, settings.http_listen, settings.admin_listen, settings.dimse_listen):
        if address is not None:
            split_address(address)
    return parse_policy(settings.outbound_hosts, settings.outbound_networks), parse_peers(
        settings.dimse_peers or "A@::1"
    )


@cache
def _rules_room() -> tuple[Path, str]:
    """A copy of the rules, and the name of the file that is changed in it."""
    room = Path(tempfile.mkdtemp(prefix="trabecula-fuzz-rules-"))
    for name in ("plandefinitions", "activitydefinitions"):
        shutil.copytree(fhir_dir() / name, room / name)
    return room, sorted(path.name for path in (room / "plandefinitions").glob("*.json"))[0]


def _rules(data: bytes) -> object:
    room, name = _rules_room()
    (room / "plandefinitions" / name).write_bytes(data)
    return load_rules.__wrapped__(room)


def _fhirpath(data: bytes) -> object:
    return compile_expression(data.decode("utf-8", "replace"))


def _key(data: bytes) -> object:
    name = "a.json" if data.lstrip()[:1] == b"{" else "a.pem"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(data)
        return read_keys(Path(folder))


@cache
def _key_seeds() -> tuple[bytes, ...]:
    found = []
    for algorithm in SigningAlgorithm:
        with tempfile.TemporaryDirectory() as folder:
            generate_key(Path(folder), algorithm, NOW, NOW)
            found += [path.read_bytes() for path in Path(folder).iterdir() if path.is_file()]
    return tuple(found)


def _key_mutator(data: bytes, random: Random) -> bytes:
    return json_mutator(data, random) if data.lstrip()[:1] == b"{" else mutate_text(data, random)


def _card(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "a-v1")
        bundle.mkdir()
        (bundle / "manifest.json").write_bytes(data)
        (bundle / "MODEL_CARD.md").write_text("# a")
        return read_model_cards(Path(folder))


def _labels(path: Path) -> object:
    return read_labels(read_json(path))


def _dump(*values: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


def file_targets() -> tuple[Target, ...]:
    """In the form of :func:`fuzz_targets.targets`."""
    plan = (fhir_dir() / "plandefinitions" / _rules_room()[1]).read_bytes()
    expressions = re.findall(r'"expression": "((?:[^"\\]|\\.)*)"', plan.decode())
    constants = (REPOSITORY / "server/trabecula/clinical/constants.toml").read_bytes()
    clients = b'[client.router]\ncertificates = ["dns:router.hospital.example"]\nscopes = ["screening.submit"]\n'
    listed, table = b'{"path": "a/b"}\n{"study_uid": "1.2.3"}\n', b"path,study_uid\na/b,\n,1.2.3\n"
    histograms = json.loads((REPOSITORY / _HISTOGRAMS / "manifest.json").read_bytes())[MANIFEST_FIELD]
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "T12": 1}, "file_ending": ".nii.gz"}
    options = b'[store]\nregion = "x"\n[client]\ntimeout = "30s"\n'
    maps = (REPOSITORY / "server/trabecula/segmentation/nnunet/maps").glob("*.toml")
    known = tuple(path.read_bytes() for path in maps)
    return (
        Target("settings", _settings, (_SETTINGS,), mutate_text),
        Target("rules", _rules, (plan,), json_mutator, cost=10),
        Target("fhirpath", _fhirpath, tuple(map(str.encode, expressions)), mutate_text, also=(ValueError,)),
        Target("constants", lambda data: read_entries(data.decode("utf-8", "replace")), (constants,), mutate_text),
        Target("grpc-clients", of_file("c.toml", read_grpc_clients), (clients,), mutate_text),
        Target("content-options", of_file("o.toml", read_options), (options,), mutate_text),
        Target(
            "drift-reference",
            of_file("d.json", lambda path: read_references(path.parent / "none", path)),
            _dump(histograms),
            json_mutator,
        ),
        Target("signing-key", _key, _key_seeds(), _key_mutator),
        Target("model-card", _card, ((REPOSITORY / "models/fine-v1/manifest.json").read_bytes(),), json_mutator),
        Target("network-labels", of_file("m.toml", load_network_labels), known, mutate_text),
        Target(
            "label-map",
            of_file("m.toml", lambda path: load_label_map("m.toml", path.parent)),
            (b'[labels]\n1 = "T12"\n2 = "L1"\n',),
            mutate_text,
        ),
        Target(
            "nnunet-dataset", of_file("d.json", lambda path: read_labels(read_json(path))), _dump(dataset), json_mutator
        ),
        Target("archive-list", of_file("l.jsonl", lambda path: list(read_manifest(path))), (listed,), mutate_text),
        Target("archive-table", of_file("l.csv", lambda path: list(read_manifest(path))), (table,), mutate_text),
    )
