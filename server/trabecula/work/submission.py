"""What makes two submissions the same, for every door a study comes through."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from trabecula.patient import PatientContext
from trabecula.work.records import ContentRef, Priority, Source, Submission


def submission_of(
    instances: Sequence[ContentRef],
    patient: PatientContext,
    *,
    want_masks: bool = False,
    idempotency_key: str = "",
    priority: Priority = Priority.ROUTINE,
    source: Source = Source.GRPC,
) -> Submission:
    """The submission of files that lie in the content store."""
    key = idempotency_key.encode()
    return Submission(
        key_hash=hashlib.sha256(key).hexdigest() if key else None,
        fingerprint=_fingerprint(instances, patient, want_masks),
        instances=len(instances),
        total_bytes=sum(ref.size_bytes for ref in instances),
        priority=priority,
        source=source,
    )


def _fingerprint(instances: Sequence[ContentRef], patient: PatientContext, want_masks: bool) -> str:
    """SHA-256 over the files' hashes in any order, the patient context and the options."""
    options = {"patient": dataclasses.asdict(patient), "want_masks": want_masks}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for sha256 in sorted(ref.sha256 for ref in instances):
        digest.update(bytes.fromhex(sha256))
    return digest.hexdigest()
