"""Functions that read what others wrote, each as a target: bytes in, and nothing but an error of the tree may come out.

Every target is fed by mutations of its seeds (:mod:`fuzz_values`) and by atheris (:mod:`run_atheris`).
"""

from __future__ import annotations

import json
import re
import struct
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import cds_ehr
import fhir_samples
import report_samples
from fuzz_seeds import seed
from fuzz_values import mutate_bytes, mutate_json, mutate_text

from trabecula.calibration.calibration import DensityScale
from trabecula.calibration.phantom_fit import PhantomFit
from trabecula.calibration.scanner_history import (
    PhantomScan,
    ScannerHistory,
    ScannerKey,
    history_document,
    read_history,
)
from trabecula.calibration.site_file import read_profile
from trabecula.clinical.profiles import load_profile
from trabecula.delivery.answers import Answer, Verdict, expect_ok
from trabecula.delivery.capability import capability_document, capability_from, parse_capability
from trabecula.delivery.destinations import read_destinations
from trabecula.delivery.fhir_client import body_id, created_id
from trabecula.delivery.smart import token_in
from trabecula.errors import TrabeculaError
from trabecula.hooks.chart import is_dxa_order
from trabecula.hooks.clients import load_clients
from trabecula.hooks.prefetch import chart_of, patient_in, read_answer
from trabecula.hooks.services import Hook, Need
from trabecula.hooks.wire import read_feedback, read_request
from trabecula.imaging.codecs import check_supported, decode_frame
from trabecula.imaging.headers import read_instance
from trabecula.imaging.instance import PixelFormat
from trabecula.imaging.intake import take_in
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.study import KernelClass, SpectralFilter
from trabecula.model_files import check_onnx
from trabecula.outputs import report_json
from trabecula.patient_file import parse_patient
from trabecula.programme.dxa import read_dxa
from trabecula.programme.sign_off import corrections_from_json
from trabecula.second_reader import manifest as second_reader_manifest
from trabecula.segmentation.bundle import load_bundle
from trabecula.service import messages
from trabecula.service.auth import tokens as token_words
from trabecula.service.auth.jwks import _parsed as parsed_keys
from trabecula.service.auth.local_users import Role, read_users, users_entry
from trabecula.service.auth.scopes import parse_scopes
from trabecula.service.dimse import reception
from trabecula.service.http.facade.negotiate import decoded, parse_json
from trabecula.service.http.facade.query import parse_query
from trabecula.v1 import screening_pb2
from trabecula.work.backup_format import BackupReader
from trabecula.work.records import ContentRef, Source

NOW = datetime(2026, 3, 14, tzinfo=UTC)
REPOSITORY = Path(__file__).resolve().parents[2]
LIMITS = ImagingLimits(threads=1)
Mutator = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    mutate: Mutator = mutate_bytes
    also: tuple[type[Exception], ...] = field(default=())
    """Errors beside the tree that its callers expect by contract."""
    cost: int = 1
    """It is given this many times fewer inputs than others."""

    def __str__(self) -> str:
        return self.name

    def try_one(self, data: bytes) -> str:
        """Code of the answer; raises what must not come out."""
        try:
            self.read(data)
        except TrabeculaError as error:
            error.client_message.encode("utf-8")  # fails for what no terminal and no answer can take
            return error.code
        except self.also as error:
            return type(error).__name__
        return "read"


def json_mutator(data: bytes, random: Random) -> bytes:
    try:
        return mutate_json(json.loads(data), random)
    except ValueError:
        return mutate_bytes(data, random)


def of_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def from_bytes(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, name)
            path.write_bytes(data)
            return read(path)

    return from_bytes


def _block(page: str, language: str = "toml") -> bytes:
    """First block of code of a page of the documentation."""
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    found = re.search(rf"( *)```{language}\n(.*?)```", text, re.DOTALL)
    if found is None:
        raise ValueError(page)
    return "\n".join(line.removeprefix(found[1]) for line in found[2].split("\n")).encode()


# Readers


def _fhir_in(data: bytes) -> object:
    return read_dxa(parse_json(data))


def _query(data: bytes) -> object:
    text = data.decode("latin-1")
    kind, _, query = text.partition("?")
    return parse_query(kind, decoded(query), strict=not query.startswith("_lenient"))


def _chart(data: bytes) -> object:
    hook = Hook.ORDER_SELECT if b"order-select" in data else Hook.PATIENT_VIEW
    call = read_request(data, cds_ehr.service(hook))
    found = {need: read_answer(call.prefetch.get(need.value)) for need in Need}
    given = {need: answer for need, answer in found.items() if answer is not None}
    list(map(is_dxa_order, call.context.selected))
    patient_id = call.context.patient_id
    return patient_in(given.get(Need.PATIENT), patient_id), chart_of(given, patient_id)


def _answer_of_ehr(data: bytes) -> object:
    body = parse_json(data)
    answer = Answer(200, body, str(body.get("url", "")), str(body.get("id", "")))
    found: list[object] = [answer.outcome, body_id(body, "Observation"), created_id(answer, "Observation")]
    try:
        found.append(capability_from(capability_document(parse_capability(body))))
    except TrabeculaError:
        found.append(Verdict.PARK)
    for refused in (429, 503, 422, 501):
        try:
            expect_ok(Answer(refused, body, None, str(body.get("id", ""))), NOW)
        except TrabeculaError as error:
            found.append(error.client_message)
    try:
        found.append(token_in(answer, NOW))
    except TrabeculaError as error:
        found.append(error.client_message)
    return found


def _header(data: bytes) -> object:
    """Door and header, as they come in one by one."""
    reception.read_instance(data, Source.DIMSE, LIMITS)
    return of_file("a", lambda path: (read_instance(path, LIMITS), take_in([path], LIMITS, lambda _: None)))(data)


_SYNTAXES = tuple(
    f"1.2.840.10008.1.2.{tail}"
    for tail in (
        "1",
        "2",
        "5",
        "4.50",
        "4.51",
        "4.53",
        "4.55",
        "4.57",
        "4.70",
        "4.80",
        "4.81",
        "4.90",
        "4.91",
        "4.201",
        "4.203",
    )
)


def frame_seed(name: str) -> bytes:
    """One stored frame behind a head that says how it is stored."""
    part = seed(name).instances[0]
    pixels = next(each for each in part.body if each.tag == 0x7FE00010)
    stored = pixels.value if pixels.fragments is None else pixels.fragments[1]
    rows, columns, allocated, bits, signed = (
        struct.unpack("<H", next(each.value for each in part.body if each.tag == tag))[0]
        for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280103)
    )
    return struct.pack("<BHHBBB", _SYNTAXES.index(part.syntax), rows, columns, allocated, bits, signed) + stored


def _frame(data: bytes) -> object:
    if len(data) < 8:
        return None
    syntax, rows, columns, allocated, bits, signed = struct.unpack_from("<BHHBBB", data)
    pixels = PixelFormat(
        _SYNTAXES[syntax % len(_SYNTAXES)],
        rows % 2049,
        columns % 2049,
        1,
        "MONOCHROME2",
        allocated,
        min(bits, allocated),
        bool(signed & 1),
        None,
    )
    check_supported(pixels)
    values = decode_frame(data[8:], pixels)
    if values.shape != (pixels.rows, pixels.columns):
        raise AssertionError("a frame of another size")
    return values


def _frame_mutator(data: bytes, random: Random) -> bytes:
    head, stored = bytearray(data[:8]), data[8:]
    if random.random() < 0.4:
        head[random.randrange(8)] = random.choice((*range(18), 24, 31, 32, 33, 255))
    return bytes(head) + (mutate_bytes(stored, random) if random.random() < 0.8 else stored)


def _upload(data: bytes) -> object:
    request = screening_pb2.SubmitStudyRequest()
    request.ParseFromString(data)
    part = request.WhichOneof("part")
    if part == "header":
        return messages.header_from_proto(request.header)
    return messages.chunk_from_proto(request.chunk)


def _token(data: bytes) -> object:
    text = data.decode("latin-1")
    return token_words.opened(text), parse_scopes(text.split(), v1=True)


def _backup(data: bytes) -> object:
    def read(path: Path) -> object:
        reader = BackupReader(path)
        try:
            manifest = reader.manifest()
            for ref in manifest.objects[:5]:
                list(reader.pieces(ref.sha256, ContentRef(ref.sha256, ref.size_bytes)))
            return manifest
        finally:
            reader.close()

    return of_file("backup.tar", read)(data)


def _model(load: Callable[[Path], object], data: bytes) -> object:
    """A bundle whose manifest is the bytes, beside a file that is no model."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "manifest.json").write_bytes(data)
        Path(folder, "model.onnx").write_bytes(b"no model")
        return load(Path(folder))


# Seeds


def _known_history() -> ScannerHistory:
    key = ScannerKey("abc", 120.0, SpectralFilter.NONE, KernelClass.SOFT)
    fit = PhantomFit(DensityScale.K2HPO4, 1.1, 3.0, 0.01, 0.2, 0.0, 0.999, 2.0)
    return ScannerHistory((PhantomScan(key, date(2025, 1, 2), fit, 30.0),), ())


def _history() -> bytes:
    return json.dumps(history_document(_known_history())).encode()


def _tar() -> bytes:
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in (("manifest.json", b'{"format": 1, "objects": []}'), ("database.dump", b"PGDMP")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return made.getvalue()


def _dump(*values: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


def dxa_report() -> dict[str, Any]:
    """A DXA result as an EHR sends it."""
    patient = {"identifier": {"system": "urn:oid:1.2.3", "value": "4711"}}
    observation = {
        "resourceType": "Observation", "id": "o1", "status": "final", "subject": patient,
        "code": {"coding": [{"system": "http://loinc.org", "code": "38267-1"}]},
        "effectiveDateTime": "2026-03-01", "valueQuantity": {"value": -2.7, "unit": "T-score", "code": "{T-score}"},
    }  # fmt: skip
    report = {
        "resourceType": "DiagnosticReport", "id": "r1", "status": "final", "subject": patient,
        "code": {"coding": [{"system": "http://loinc.org", "code": "38269-7"}]},
        "effectiveDateTime": "2026-03-01T10:00:00+01:00", "result": [{"reference": "#o2"}],
        "contained": [{**observation, "id": "o2"}],
    }  # fmt: skip
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": report}, {"resource": observation}]}


def _requests() -> tuple[bytes, ...]:
    header = screening_pb2.SubmitStudyRequest()
    header.header.idempotency_key, header.header.expected_instances, header.header.total_bytes = "key", 2, 100
    header.header.patient.age_years, header.header.patient.sex = 71.0, 1
    chunk = screening_pb2.SubmitStudyRequest()
    chunk.chunk.data, chunk.chunk.last, chunk.chunk.sha256 = b"abc", True, b"\0" * 32
    return header.SerializeToString(), chunk.SerializeToString()


def _dicom_seeds() -> tuple[bytes, ...]:
    names = ("explicit", "implicit", "big-endian", "deflated", "rle", "enhanced")
    return tuple(seed(name).instances[0].to_bytes() for name in names)


def capability_statement() -> dict[str, Any]:
    resource = {"type": "Observation", "interaction": [{"code": "create"}, {"code": "read"}], "updateCreate": True}
    return {
        "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": {"name": "x"},
        "rest": [{"mode": "server", "interaction": [{"code": "transaction"}], "resource": [resource]}],
    }  # fmt: skip


def targets() -> dict[str, Target]:
    """All of them by name."""
    failed = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "not-found"}]}
    order = {
        **cds_ehr.draft(),
        "status": "active",
        "authoredOn": "2026-01-02",
        "subject": {"reference": f"Patient/{cds_ehr.PATIENT_ID}"},
    }
    filled = {
        "dxa": cds_ehr.bundle(cds_ehr.dxa_report("2025-03-01"), failed),
        "dxaResults": cds_ehr.bundle(
            {**cds_ehr.dxa_report("2025-03"), "resourceType": "Observation"}, following="http://x/2"
        ),
        "problems": cds_ehr.bundle(cds_ehr.condition("http://snomed.info/sct", "64859006")),
        "orders": cds_ehr.bundle(order),
    }
    given = cds_ehr.prefetch(**filled)
    cds = _dump(cds_ehr.call(Hook.PATIENT_VIEW, prefetch=given), cds_ehr.call(Hook.ORDER_SELECT, prefetch=given))
    feedback = {
        "card": "9368d37b-283f-44a0-93ea-547cebab93ed",
        "outcome": "overridden",
        "outcomeTimestamp": "2026-03-14T10:00:00Z",
    }
    patient = {"resourceType": "Patient", "birthDate": "1950-03", "gender": "female", "id": "1"}
    conditions = {
        "resourceType": "Bundle",
        "entry": [{"resource": patient}, {"resource": cds_ehr.condition("http://snomed.info/sct", "64859006")}],
    }
    height = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
        "valueQuantity": {"value": 170, "code": "cm"},
    }
    measured = {"resourceType": "Bundle", "entry": [{"resource": patient}, {"resource": height}]}
    models = REPOSITORY / "models"
    manifests = tuple((models / name / "manifest.json").read_bytes() for name in ("coarse-v1", "fine-v1"))
    second = (models / "second-reader-example-v1" / "manifest.json").read_bytes()
    bundle = next(iter(fhir_samples.bundles().values()))
    searches = (
        b"Observation?patient=Patient/1&code=http://loinc.org|24701-5&date=ge2025-01-01&_count=5&_sort=-date",
        b"DiagnosticReport?subject:Patient=abc&_include=DiagnosticReport:result&_summary=count&_total=accurate&_lastUpdated=lt2026",
        b"Patient?identifier=urn:oid:1.2|4711&_elements=id,name&_revinclude=Observation:subject",
    )
    token = b"eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhIiwiYXVkIjoiYiIsImV4cCI6MX0.AAAA"
    listed = (
        Target("json-body", parse_json, _dump(dxa_report(), bundle), json_mutator),
        Target("dxa", _fhir_in, _dump(dxa_report()), json_mutator),
        Target("query", _query, searches, mutate_text),
        Target("cds-call", _chart, cds, json_mutator),
        Target("cds-feedback", read_feedback, _dump({"feedback": [feedback]}), json_mutator),
        Target(
            "ehr-answer",
            _answer_of_ehr,
            _dump(capability_statement(), bundle, {"access_token": "a", "token_type": "bearer", "expires_in": 300}),
            json_mutator,
        ),
        Target(
            "patient-file",
            partial(parse_patient, today=date(2026, 3, 14)),
            _dump(patient, conditions, measured, {"age_years": 70, "sex": "female"}),
            json_mutator,
        ),
        Target(
            "corrections",
            lambda data: corrections_from_json(parse_json(data)),
            _dump(
                {
                    "level_shift": 1,
                    "left_out": {"T12": "x"},
                    "fractures": {"T11": {"grade": 1, "kind": "wedge"}},
                    "conclusion": "x",
                }
            ),
            json_mutator,
        ),
        Target(
            "report",
            lambda data: report_json.from_json(data.decode("utf-8", "replace")),
            tuple(report_json.to_json(each).encode() for each in (report_samples.reported(), report_samples.refused())),
            json_mutator,
        ),
        Target("destinations", of_file("d.toml", read_destinations), (_block("delivery.md"),), mutate_text),
        Target("cds-clients", of_file("c.toml", load_clients), (_block("cds-hooks.md"),), mutate_text),
        Target(
            "site-profile",
            of_file("s.toml", lambda path: read_profile(path, _known_history())),
            (_block("calibration.md"),),
            mutate_text,
        ),
        Target("scanner-history", of_file("h.json", read_history), (_history(),), json_mutator),
        Target(
            "level-profile",
            of_file("p.toml", load_profile),
            tuple(
                path.read_bytes().replace(b'name = "', b'name = "my-', 1)
                for path in sorted((REPOSITORY / "server/trabecula/clinical/profiles").glob("*.toml"))
            ),
            mutate_text,
        ),
        Target(
            "users",
            of_file("u.toml", read_users),
            (users_entry("anna", "Anna", (Role.VIEWER,), "secret-secret").encode(),),
            mutate_text,
        ),
        Target("model-manifest", partial(_model, load_bundle), manifests, json_mutator),
        Target("second-reader-manifest", partial(_model, second_reader_manifest.load_bundle), (second,), json_mutator),
        Target(
            "onnx",
            lambda data: check_onnx(data, "model.onnx", "m"),
            ((models / "calibration-mass-attenuation-v1" / "calibration.onnx").read_bytes(),),
        ),
        Target("backup", _backup, (_tar(),)),
        Target("upload-message", _upload, _requests(), also=(_decode_error(),)),
        Target(
            "token", _token, (token, b"system/*.rs patient/Observation.read user/Task.cruds?category=a|b"), mutate_text
        ),
        Target(
            "issuer-keys",
            parsed_keys,
            _dump({"keys": [{"kty": "EC", "crv": "P-384", "x": "a", "y": "b"}]}),
            json_mutator,
            also=(ValueError,),
        ),
        Target("dicom-header", _header, _dicom_seeds()),
        Target(
            "frame",
            _frame,
            tuple(
                map(
                    frame_seed,
                    ("explicit", "rle", "jpeg-ls", "jpeg-2000", "jpeg-lossless", "jpeg-extended", "jpeg-baseline"),
                )
            ),
            _frame_mutator,
        ),
    )
    from fuzz_files import file_targets  # written in the words of this module

    return {each.name: each for each in (*listed, *file_targets())}


def _decode_error() -> type[Exception]:
    from google.protobuf.message import DecodeError

    return DecodeError
