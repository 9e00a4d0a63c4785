"""The Segmentation object itself."""

from __future__ import annotations

from dataclasses import dataclass

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset

from trabecula.anatomy import Level
from trabecula.composition.tissue import Tissue
from trabecula.outputs.dicom import codes
from trabecula.outputs.dicom.filing import CREATOR, MANUFACTURER, Filing, ObjectKind
from trabecula.outputs.dicom.seg.placing import place
from trabecula.outputs.dicom.seg.segments import Segment, segment_pixels
from trabecula.outputs.dicom.source import SourceImage
from trabecula.report import Screening


@dataclass(frozen=True, eq=False)
class Segments:
    """A Segmentation and what its segments are, for those who refer to them."""

    dataset: Dataset
    segments: tuple[Segment, ...]
    images: tuple[SourceImage, ...]
    """Source images that the segmentation refers to."""

    def number(self, level: Level, tissue: Tissue | None = None) -> int | None:
        """Segment number of a vertebra, or of a tissue in the slice through its middle."""
        return next((one.number for one in self.segments if one.level is level and one.tissue is tissue), None)


def to_seg(screening: Screening, filing: Filing) -> Segments | None:
    """Vertebrae and measured tissue as a BINARY Segmentation.

    Frames lie on the source images' own pixels where these have them, and on the canonical grid where the scan was
    resampled. Empty segments and frames are left out.

    Returns:
        None when there is nothing to segment (a refused study, labels not kept) or nowhere to put it (the source
        names no Frame of Reference).
    """
    anatomy = screening.evidence.anatomy
    if anatomy is None or "FrameOfReferenceUID" not in filing.source.header or not filing.source.images:
        return None
    found = segment_pixels(screening)
    if found is None:
        return None
    placed = place(found.planes, found.numbers, anatomy.geometry, filing.source.images)
    source = filing.source
    images = placed.images if placed.images[0].placed else placed.images[:1]
    dataset = Segmentation(
        source_images=[source.dataset(image) for image in images],
        pixel_array=placed.pixels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(segment, filing) for segment in found.segments],
        content_label="AI_VERTEBRAE",
        content_description=filing.statement,
        content_creator_name=CREATOR,
        plane_positions=placed.positions,
        plane_orientation=placed.orientation,
        pixel_measures=placed.measures,
        **filing.series_of(ObjectKind.SEG),
    )
    _fix_dimension_uid(dataset, filing.uid(ObjectKind.SEG, "dimensions"))
    return Segments(filing.finish(dataset), found.segments, images)


def _description(segment: Segment, filing: Filing) -> SegmentDescription:
    report = filing.report
    purpose = "vertebra" if segment.tissue is None else "tissue"
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=f"Trabecula {purpose} segmentation",
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=report.software_version,
            source=MANUFACTURER,
            parameters={model.name: f"{model.version} {model.sha256[:12]}" for model in report.models},
        ),
        tracking_id=segment.label,
        tracking_uid=filing.uid(ObjectKind.SEG, f"tracking/{segment.label}"),
        anatomic_regions=None if segment.region is None else [segment.region],
        display_color=CIELabColor.from_rgb(*segment.colour),
    )


def _fix_dimension_uid(dataset: Dataset, uid: str) -> None:
    """highdicom takes a new UID each time; a result that is made twice is the same result."""
    for sequence in (dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = uid
