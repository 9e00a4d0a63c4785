"""What a decision makes of the SR in the archive: accepted, corrected, rejected, one after the other."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import dicom_headers
import numpy as np
import pydicom
import pytest
import report_samples as samples
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset

from trabecula.anatomy import Level
from trabecula.assembly import as_reviewed
from trabecula.clinical import load_constants
from trabecula.imaging.limits import ImagingLimits
from trabecula.outputs.dicom import DicomOptions, ObjectKind, read_source, to_dicom
from trabecula.outputs.dicom.results import encode
from trabecula.outputs.dicom.sr import Outcome, Review, observer, reviewed
from trabecula.outputs.dicom.sr.review import NOT_STATED, RENAMED
from trabecula.programme.corrections import Corrections, FractureReading, corrected_report
from trabecula.report import ScreeningReport

SIGNED_AT = "2026-03-15T09:30:00+00:00"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[ObjectKind, Dataset]:
    """The machine's own objects, read back from their files as the service does."""
    folder = tmp_path_factory.mktemp("review")
    dicom_headers.write_headers(folder / "source", samples.geometry(), samples.STUDY_UID, samples.SERIES_UID)
    source = read_source([folder / "source"], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    found = {}
    for kind, data in to_dicom(samples.screening(), source, DicomOptions(zone=UTC)).files().items():
        (folder / f"{kind}.dcm").write_bytes(data)
        found[kind] = pydicom.dcmread(folder / f"{kind}.dcm")
    return found


def decide(outcome: Outcome, version: int = 1, **more: object) -> Review:
    return Review(outcome, observer("Ada Lovelace", "Sample Hospital", SIGNED_AT, version), **more)  # type: ignore[arg-type]


def corrected(corrections: Corrections) -> ScreeningReport:
    return as_reviewed(corrected_report(samples.reported(), corrections, load_constants()))


def texts(item: Dataset) -> Iterator[str]:
    for child in item.get("ContentSequence", ()):
        yield child.get("TextValue", "")
        yield from texts(child)


def densities(document: Dataset) -> dict[str, float]:
    groups = Comprehensive3DSR.from_dataset(document).content
    return {
        str(group.tracking_identifier): float(one.value)
        for group in groups.get_volumetric_roi_measurement_groups() + groups.get_image_measurement_groups()
        for one in group.get_measurements()
        if one.unit.value == "mg/cm3" and "uncertainty" not in one.name.meaning
    }


def predecessor(document: Dataset) -> str:
    (study,) = document.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (document.StudyInstanceUID, document.SeriesInstanceUID)
    return str(instance.ReferencedSOPInstanceUID)


def check_signed(made: Dataset, before: Dataset) -> None:
    assert (made.PreliminaryFlag, made.VerificationFlag, made.CompletionFlag) == ("FINAL", "VERIFIED", "COMPLETE")
    (person,) = made.VerifyingObserverSequence
    assert (person.VerifyingObserverName, person.VerifyingOrganization) == ("Ada Lovelace^", "Sample Hospital")
    assert person.VerificationDateTime == "20260315093000"
    assert predecessor(made) == before.SOPInstanceUID != made.SOPInstanceUID
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"):
        assert made[keyword] == before[keyword]
    assert not any("not verified" in text for text in texts(made))


def validate(made: Dataset, folder: Path) -> str:
    """dciodvfy finds no error; dsrdump's text."""
    for program in ("dciodvfy", "dsrdump"):
        if shutil.which(program) is None:
            pytest.skip(f"{program.upper()} MISSING: scripts/install-debian-packages.sh installs it")
    (folder / "made.dcm").write_bytes(encode(made))
    ran = subprocess.run(["dciodvfy", str(folder / "made.dcm")], capture_output=True, text=True, check=False)
    lines = (ran.stdout + ran.stderr).splitlines()
    assert "Comprehensive3DSR" in lines
    assert [line for line in lines if line.startswith("Error")] == []
    dump = ["dsrdump", "+Pl", str(folder / "made.dcm")]
    return subprocess.run(dump, capture_output=True, text=True, check=True).stdout


def test_an_accepted_result_says_the_same_and_is_verified(kept: dict[ObjectKind, Dataset], tmp_path: Path) -> None:
    before = kept[ObjectKind.SR]
    made = reviewed(before, as_reviewed(samples.reported()), decide(Outcome.ACCEPTED), kept[ObjectKind.SEG], UTC)
    check_signed(made, before)
    assert densities(made) == densities(before)
    text = validate(made, tmp_path)
    assert "VERIFIED" in text.upper()
    assert "Ada Lovelace" in text
    assert before.VerificationFlag == "UNVERIFIED"


def test_a_corrected_result_says_what_the_corrected_report_says(
    kept: dict[ObjectKind, Dataset], tmp_path: Path
) -> None:
    before = kept[ObjectKind.SR]
    corrections = Corrections(left_out={Level.T12: "metal beside it"}, fractures={Level.T11: FractureReading(0)})
    report = corrected(corrections)
    made = reviewed(before, report, decide(Outcome.CORRECTED), kept[ObjectKind.SEG], UTC)
    check_signed(made, before)
    assert densities(made) != densities(before)
    assert report.density is not None
    stated = densities(made)["Trabecula Lumbar equivalent"]
    assert stated == pytest.approx(report.density.lumbar_equivalent_mg_cm3, abs=0.051)
    assert any("metal beside it" in text for text in texts(made))
    assert "Ada Lovelace" in validate(made, tmp_path)


@pytest.mark.parametrize("shift", [-1, 1])
def test_renamed_vertebrae_refer_to_the_segments_that_they_were(
    kept: dict[ObjectKind, Dataset], shift: int, tmp_path: Path
) -> None:
    before, seg = kept[ObjectKind.SR], kept[ObjectKind.SEG]
    report = corrected(Corrections(level_shift=shift))
    made = reviewed(before, report, decide(Outcome.CORRECTED, level_shift=shift), seg, UTC)
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
    ordered = sorted(Level, key=lambda level: level.ordinal)
    checked = 0
    for group in Comprehensive3DSR.from_dataset(made).content.get_volumetric_roi_measurement_groups():
        item = next(item for item in group[0].ContentSequence if item.name.value == "121191")
        numbers = np.atleast_1d(item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
        names = [site.value.meaning.split()[0] for site in group.finding_sites]
        for number, name in zip(numbers, names, strict=True):
            machine = ordered[ordered.index(Level(name)) - shift].value
            assert machine in labels[int(number)].split()
            checked += 1
    assert checked >= len(report.vertebrae)
    assert RENAMED in list(texts(made))
    validate(made, tmp_path)


def test_a_rejected_result_says_so_and_holds_no_number(kept: dict[ObjectKind, Dataset], tmp_path: Path) -> None:
    before = kept[ObjectKind.SR]
    review = decide(Outcome.REJECTED, reason="Bewegung,\x00 nicht\x1b auswertbar 腰椎")
    made = reviewed(before, as_reviewed(samples.reported()), review, kept[ObjectKind.SEG], UTC)
    check_signed(made, before)
    assert densities(made) == {}
    said = list(texts(made))
    assert "AI result, rejected by a person: do not use it." in said
    assert "Reason: Bewegung,  nicht  auswertbar 腰椎" in said
    assert not any(text.startswith("AI result, verified") for text in said)
    assert not any("mg/cm3" in text for text in said)
    assert "rejected by a person" in validate(made, tmp_path)


def test_each_version_names_the_one_before(kept: dict[ObjectKind, Dataset], tmp_path: Path) -> None:
    report = as_reviewed(samples.reported())
    first = reviewed(kept[ObjectKind.SR], report, decide(Outcome.ACCEPTED), None, UTC)
    second = reviewed(first, corrected(Corrections(conclusion="Agreed.")), decide(Outcome.CORRECTED, 2), None, UTC)
    third = reviewed(second, report, decide(Outcome.REJECTED, 3, reason="wrong patient"), None, UTC)
    uids = [each.SOPInstanceUID for each in (kept[ObjectKind.SR], first, second, third)]
    assert len(set(uids)) == 4
    assert [predecessor(each) for each in (first, second, third)] == uids[:3]
    numbers = [int(each.InstanceNumber) for each in (kept[ObjectKind.SR], first, second, third)]
    assert numbers == sorted(set(numbers))
    assert any(text.startswith("Agreed.") for text in texts(second))
    assert not any(text.startswith("Agreed.") for text in texts(third))
    validate(third, tmp_path)


def test_the_same_decision_made_twice_is_one_object(kept: dict[ObjectKind, Dataset]) -> None:
    report = corrected(Corrections(left_out={Level.T12: "metal"}))
    review = decide(Outcome.CORRECTED)
    once, twice = (reviewed(kept[ObjectKind.SR], report, review, kept[ObjectKind.SEG], UTC) for _ in range(2))
    assert encode(once) == encode(twice)


def test_a_refused_study_can_be_accepted_and_rejected(tmp_path: Path) -> None:
    report = samples.refused()
    dicom_headers.write_headers(tmp_path / "s", samples.geometry(), samples.STUDY_UID, samples.SERIES_UID, planes=2)
    source = read_source([tmp_path / "s"], samples.SERIES_UID, ImagingLimits())
    assert source is not None
    before = to_dicom(samples.screening(report), source, DicomOptions(zone=UTC)).datasets[ObjectKind.SR]
    for outcome in (Outcome.ACCEPTED, Outcome.CORRECTED, Outcome.REJECTED):
        made = reviewed(before, as_reviewed(report), decide(outcome, reason="x"), None, UTC)
        check_signed(made, before)
        validate(made, tmp_path)


@pytest.mark.parametrize(
    ("name", "organization", "person", "place"),
    [
        ("Röntgen^Wilhelm", "Würzburg", "Röntgen^Wilhelm", "Würzburg"),
        ("Wilhelm Röntgen", None, "Wilhelm Röntgen^", NOT_STATED),
        ("a\\b=c\x00d", " \\ ", "a b c d^", NOT_STATED),
        ("x" * 200, "y" * 200, "x" * 63 + "^", "y" * 64),
        ("王小东", "", "王小东^", NOT_STATED),
    ],
)
def test_any_name_becomes_one_that_dicom_allows(
    name: str, organization: str | None, person: str, place: str, kept: dict[ObjectKind, Dataset], tmp_path: Path
) -> None:
    signature = observer(name, organization, SIGNED_AT, 1)
    assert (signature.observer, signature.organization) == (person, place)
    review = Review(Outcome.ACCEPTED, signature)
    validate(reviewed(kept[ObjectKind.SR], as_reviewed(samples.reported()), review, None, UTC), tmp_path)


def test_a_reading_without_findings_of_a_person_is_still_the_persons(kept: dict[ObjectKind, Dataset]) -> None:
    """The corrected content names its human observer before the software (TID 1001)."""
    report = corrected(Corrections(conclusion="Seen."))
    made = reviewed(kept[ObjectKind.SR], report, decide(Outcome.CORRECTED), kept[ObjectKind.SEG], UTC)
    names = [str(item.PersonName) for item in made.ContentSequence if "PersonName" in item]
    assert names == ["Ada Lovelace^"]
