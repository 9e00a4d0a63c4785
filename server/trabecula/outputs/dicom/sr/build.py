"""The groups in DICOM's templates, and the document around them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, tzinfo
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_ROOT_UID, generate_uid

from trabecula.outputs.dicom import codes
from trabecula.outputs.dicom.filing import (
    MANUFACTURER,
    MODEL_NAME,
    NOT_VERIFIED,
    REJECTED,
    VERIFIED,
    Filing,
    ObjectKind,
    Signature,
)
from trabecula.outputs.dicom.seg import Segments
from trabecula.outputs.dicom.sr.groups import Group, Number, groups, quality

COMMENT = CodedConcept("121106", "DCM", "Comment")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
ENGLISH = CodedConcept("en", "RFC5646", "English")


def to_sr(filing: Filing, seg: Segments | None) -> Dataset:
    """The report as a Comprehensive 3D SR.

    Args:
        seg: the segmentation that vertebrae refer to; without it (a refused study, nothing segmented) measurements
            stand without a region, which TID 1501 allows.
    """
    evidence = [filing.source.dataset(image) for image in filing.source.images]
    if seg is not None:
        evidence.append(seg.dataset)
    signature = filing.options.signature
    document = Comprehensive3DSR(
        evidence=evidence,
        content=document_content(filing, seg),
        is_complete=True,
        is_final=signature is not None,
        is_verified=signature is not None,
        verifying_observer_name=None if signature is None else signature.observer,
        verifying_organization=None if signature is None else signature.organization,
        coding_schemes=[codes.scheme()],
        institution_name=filing.source.header.get("InstitutionName"),
        **filing.series_of(ObjectKind.SR),
    )
    if signature is not None:
        document.VerifyingObserverSequence = [_verifying(signature, filing.options.zone)]
    return filing.finish(document)


def document_content(filing: Filing, seg: Segments | None) -> ContentSequence:
    """All that the document says, as its root item."""
    return _root(filing, [_group(group, filing, seg) for group in groups(filing.report)], _quality(filing))


def rejected_content(filing: Filing, reason: str | None) -> ContentSequence:
    """What remains to be said of a rejected result: by whom and why, and nothing that was measured."""
    container = _container(QUALITATIVE_EVALUATIONS)
    because = () if reason is None else (f"Reason: {reason}",)
    comments(container.ContentSequence, (REJECTED, *because, *_versions(filing)))
    return _root(filing, [], container)


def sign(document: Dataset, signature: Signature, zone: tzinfo | None = None) -> Dataset:
    """A final, verified version of a preliminary document with the very same content.

    The preliminary one stays as it is; the new one names it as its predecessor (PS3.3 C.17.2).
    """
    signed = deepcopy(document)
    moment = datetime.fromisoformat(signature.signed_at).astimezone(zone).replace(microsecond=0)
    day, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    signed.SOPInstanceUID = generate_uid(
        prefix=PYDICOM_ROOT_UID, entropy_srcs=["trabecula-signed", document.SOPInstanceUID, str(signature.version)]
    )
    signed.file_meta.MediaStorageSOPInstanceUID = signed.SOPInstanceUID
    signed.InstanceNumber = int(document.InstanceNumber) + signature.version
    signed.InstanceCreationDate, signed.InstanceCreationTime = day, time
    signed.ContentDate, signed.ContentTime = day, time
    signed.PreliminaryFlag, signed.VerificationFlag = "FINAL", "VERIFIED"
    signed.VerifyingObserverSequence = [_verifying(signature, zone)]
    signed.PredecessorDocumentsSequence = [_predecessor(document)]
    for item in signed.ContentSequence:
        _replace_statement(item)
    return signed


def _replace_statement(item: Dataset) -> None:
    if item.get("TextValue") == NOT_VERIFIED:
        item.TextValue = VERIFIED
    for child in item.get("ContentSequence", ()):
        _replace_statement(child)


def _predecessor(document: Dataset) -> Dataset:
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = document.SOPClassUID, document.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = document.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = document.StudyInstanceUID, [series]
    return study


def _verifying(signature: Signature, zone: tzinfo | None) -> Dataset:
    item = Dataset()
    item.VerifyingObserverName = signature.observer
    item.VerifyingOrganization = signature.organization
    item.VerificationDateTime = datetime.fromisoformat(signature.signed_at).astimezone(zone).strftime("%Y%m%d%H%M%S")
    item.VerifyingObserverIdentificationCodeSequence = []
    return item


def _observers(filing: Filing) -> ObservationContext:
    signature = filing.options.signature
    person = None
    if signature is not None:
        person = ObserverContext(
            observer_type=standard.DCM.Person,
            observer_identifying_attributes=PersonObserverIdentifyingAttributes(
                name=signature.observer, organization_name=signature.organization
            ),
        )
    device = ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=filing.device_uid,
            name=MODEL_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=f"{MODEL_NAME} {filing.report.software_version}",
        ),
    )
    return ObservationContext(observer_person_context=person, observer_device_context=device)


def _root(filing: Filing, measured: Sequence[ContentSequence], said: ContainerContentItem) -> ContentSequence:
    """TID 1500. highdicom's own class knows no report without measurements, which that of a refused study is."""
    root = ContainerContentItem(name=standard.DCM.ImagingMeasurementReport, template_id="1500")
    procedure = CodeContentItem(
        name=standard.DCM.ProcedureReported,
        value=codes.CT_UNSPECIFIED_REGION,
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    root.ContentSequence = ContentSequence(
        [*LanguageOfContentItemAndDescendants(ENGLISH), *_observers(filing), procedure]
    )
    if measured:
        container = _container(standard.DCM.ImagingMeasurements)
        for group in measured:
            container.ContentSequence.extend(group)
        root.ContentSequence.append(container)
    root.ContentSequence.append(said)
    return ContentSequence([root], is_root=True)


def _quality(filing: Filing) -> ContainerContentItem:
    """Rows 12 to 14 of TID 1500."""
    said = quality(filing.report)
    container = _container(QUALITATIVE_EVALUATIONS)
    container.ContentSequence.extend(
        CodeContentItem(name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS)
        for name, value in said.evaluations
    )
    comments(container.ContentSequence, (filing.statement, *said.comments, *_versions(filing)))
    return container


def _versions(filing: Filing) -> tuple[str, ...]:
    return (
        f"{MODEL_NAME} {filing.report.software_version}, clinical data {filing.report.clinical_data_version}",
        *(f"Model {model.name} {model.version} sha256:{model.sha256}" for model in filing.report.models),
    )


def _container(name: CodedConcept | Code) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence()
    return container


def _group(group: Group, filing: Filing, seg: Segments | None) -> ContentSequence:
    shared: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=filing.tracking_uid(group.tracking), identifier=f"Trabecula {group.tracking}"
        ),
        "finding_type": group.finding,
        "finding_sites": [FindingSite(codes.vertebra(level)) for level in group.levels] or None,
        "algorithm_id": AlgorithmIdentification(name=MODEL_NAME, version=filing.report.software_version),
        "measurements": [_measurement(number) for number in group.numbers],
        "qualitative_evaluations": [QualitativeEvaluation(name, value) for name, value in group.evaluations],
    }
    segment = None if seg is None else _referenced(group, seg, filing.source.series_uid)
    built: ContentSequence
    if segment is None:
        built = MeasurementsAndQualitativeEvaluations(**shared)
    else:
        built = VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)
    comments(built[0].ContentSequence, group.comments)
    return built


def _referenced(group: Group, seg: Segments, series_uid: str) -> ReferencedSegment | None:
    """The tissue in its slice, else the vertebrae; None where one of them was not segmented."""
    numbers = [seg.number(level, group.tissue) or seg.number(level) for level in group.levels]
    known = [number for number in numbers if number is not None]
    if not known or len(known) < len(numbers):
        return None
    reference = ReferencedSegment(
        sop_class_uid=seg.dataset.SOPClassUID,
        sop_instance_uid=seg.dataset.SOPInstanceUID,
        segment_number=known[0],
        source_series=SourceSeriesForSegmentation(series_uid),
    )
    if len(known) > 1:  # the mean of several vertebrae; highdicom's constructor takes one, the attribute many
        reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber = known
    return reference


def _measurement(number: Number) -> Measurement:
    return Measurement(
        name=number.name, value=number.value, unit=number.unit, derivation=number.derivation, method=number.method
    )


def comments(content: ContentSequence, texts: Sequence[str]) -> None:
    """Put texts into a container, each as an item of its own."""
    for text in texts:
        content.append(TextContentItem(name=COMMENT, value=text, relationship_type=RelationshipTypeValues.CONTAINS))
