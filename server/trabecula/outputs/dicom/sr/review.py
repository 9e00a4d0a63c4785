"""What a person's decision makes of a document in the archive: a new version that names the one before (PS3.3 C.17.2).

The stored document is all that is needed of the study: patient, study, evidence and series stay as they are there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from typing import Final

from highdicom.sr import ContentSequence
from pydicom.dataset import Dataset

from trabecula.anatomy import Level
from trabecula.composition.tissue import Tissue
from trabecula.outputs.dicom import codes
from trabecula.outputs.dicom.filing import DicomOptions, Filing, Signature
from trabecula.outputs.dicom.seg import Segments
from trabecula.outputs.dicom.seg.segments import TISSUES, Segment
from trabecula.outputs.dicom.source import SourceStudy
from trabecula.outputs.dicom.sr.build import comments, document_content, rejected_content, sign
from trabecula.report import ScreeningReport

NOT_STATED: Final = "not stated"
RENAMED: Final = "The vertebrae were renamed by the person who signed; the Segmentation has their names from before."
_LO_MAX: Final = 64
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


class Outcome(StrEnum):
    """What the person decided."""

    ACCEPTED = "accepted"
    CORRECTED = "corrected"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Review:
    """A decision. Personal data: never logged."""

    outcome: Outcome
    signature: Signature
    level_shift: int = 0
    """Levels by which all vertebrae were renamed, positive towards the feet."""
    reason: str | None = None
    """Why it was rejected, in the person's words."""


def observer(name: str, organization: str | None, signed_at: str, version: int) -> Signature:
    """Who decided, in values that their VRs allow (PS3.5 6.2: PN, LO).

    Args:
        name: as the identity provider gives it; ``Family^Given`` stays as it is, any other becomes the family name.
        signed_at: ISO 8601 with zone.
        version: of the result, 1 for the first decision.
    """
    person = _FORBIDDEN.sub(" ", name).replace("=", " ").strip()[:_LO_MAX]
    place = _FORBIDDEN.sub(" ", organization or "").strip()[:_LO_MAX]
    return Signature(person if "^" in person else f"{person[: _LO_MAX - 1]}^", place or NOT_STATED, signed_at, version)


def reviewed(
    before: Dataset, report: ScreeningReport, review: Review, seg: Dataset | None = None, zone: tzinfo | None = None
) -> Dataset:
    """The version of a document that follows from a decision; ``before`` stays as it is.

    Args:
        before: the newest version in the archive.
        report: as it stands after the decision.
        seg: the Segmentation, for the measurements of a corrected result to refer to.
    """
    made = sign(before, review.signature, zone)
    if review.outcome is Outcome.ACCEPTED:
        return made
    filing = Filing(report, _source(before, report), DicomOptions(zone, review.signature))
    if review.outcome is Outcome.REJECTED:
        return _with_content(made, rejected_content(filing, _plain(review.reason)))
    content = document_content(filing, None if seg is None else _segments(seg, review.level_shift))
    if review.level_shift and seg is not None:
        comments(content[0].ContentSequence[-1].ContentSequence, [RENAMED])
    return _with_content(made, content)


def _with_content(document: Dataset, content: ContentSequence) -> Dataset:
    document.ContentSequence = list(content[0].ContentSequence)
    return document


def _source(document: Dataset, report: ScreeningReport) -> SourceStudy:
    """Of the study no more than what content refers to."""
    series_uid = "" if report.study is None else report.study.series_instance_uid
    return SourceStudy(str(document.StudyInstanceUID), series_uid or "", Dataset(), "CT", ())


def _segments(seg: Dataset, level_shift: int) -> Segments:
    """The stored segments, with the names that their vertebrae have now."""
    levels = sorted(Level, key=lambda level: level.ordinal)
    names: dict[str, tuple[Level, Tissue | None]] = {f"{level.value} vertebra": (level, None) for level in Level}
    for tissue, (label, _, _) in TISSUES.items():
        names |= {f"{label} at {level.value}": (level, tissue) for level in Level}
    found = []
    for item in seg.SegmentSequence:
        name = names.get(str(item.SegmentLabel))
        place = -1 if name is None else levels.index(name[0]) + level_shift
        if name is not None and 0 <= place < len(levels):
            found.append(
                Segment(
                    int(item.SegmentNumber),
                    str(item.SegmentLabel),
                    codes.ANATOMICAL_STRUCTURE if name[1] is None else codes.TISSUE,
                    codes.vertebra(name[0]) if name[1] is None else TISSUES[name[1]][1],
                    None,
                    levels[place],
                    name[1],
                    (0, 0, 0),
                )
            )
    return Segments(seg, tuple(found), ())


def _plain(text: str | None) -> str | None:
    return None if text is None else re.sub(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]", " ", text).strip() or None
