"""Every code that goes into DICOM results, in one place.

Standard codes come from DICOM's own tables (PS3.16). For trabecular density of one vertebra no code was found in
LOINC, SNOMED CT, DCM or RadElement; the project's scheme has the same codes as its FHIR code systems, and a test
holds the two together.
"""

from __future__ import annotations

from typing import Final

from highdicom import UID
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_ROOT_UID, generate_uid

from trabecula.anatomy import SNOMED_VERTEBRA, Level

SCHEME: Final = "99TRABECULA"
SCHEME_UID: Final = generate_uid(prefix=PYDICOM_ROOT_UID, entropy_srcs=["trabecula", "coding-scheme"])

SNOMED_CERVICAL: Final[dict[Level, str]] = {
    Level.C1: "14806007",
    Level.C2: "39976000",
    Level.C3: "113205007",
    Level.C4: "5329002",
    Level.C5: "36978003",
    Level.C6: "36054005",
    Level.C7: "87391001",
}
"""CID 7602, of which :data:`trabecula.anatomy.SNOMED_VERTEBRA` has the rest."""

ANATOMICAL_STRUCTURE: Final = Code("91723000", "SCT", "Anatomical Structure")
TISSUE: Final = Code("85756007", "SCT", "Tissue")
VERTEBRA: Final = Code("51282000", "SCT", "Vertebra")
SKELETAL_MUSCLE: Final = Code("127954009", "SCT", "Skeletal muscle")
FAT: Final = Code("55603005", "SCT", "Adipose tissue")
SUBCUTANEOUS_FAT: Final = Code("67769002", "SCT", "Subcutaneous fatty tissue")
TRUNK: Final = Code("22943007", "SCT", "Trunk")
VERTEBRAL_COLUMN: Final = Code("421060004", "SCT", "Vertebral column")

ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
CT_UNSPECIFIED_REGION: Final = Code("25045-6", "LN", "CT unspecified body region")
"""Of CID 100; the chest's own codes are not in it."""

ATTENUATION: Final = Code("112031", "DCM", "Attenuation Coefficient")
AREA: Final = Code("42798000", "SCT", "Area")
VOLUME: Final = Code("118565006", "SCT", "Volume")
MEAN: Final = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION: Final = Code("386136009", "SCT", "Standard Deviation")

HU: Final = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
MG_CM3: Final = Code("mg/cm3", "UCUM", "mg/cm3")
MM: Final = Code("mm", "UCUM", "mm")
MM3: Final = Code("mm3", "UCUM", "mm3")
CM2: Final = Code("cm2", "UCUM", "cm2")
CM2_M2: Final = Code("cm2/m2", "UCUM", "cm2/m2")
RATIO: Final = Code("{ratio}", "UCUM", "ratio")
NO_UNITS: Final = Code("1", "UCUM", "no units")


def vertebra(level: Level) -> Code:
    """SNOMED CT code of a vertebra."""
    return Code(SNOMED_VERTEBRA.get(level) or SNOMED_CERVICAL[level], "SCT", f"{level.value} vertebra")


def own(value: str, meaning: str) -> CodedConcept:
    """A code of the project's scheme; a meaning longer than LO allows is cut at a word."""
    if len(meaning) > 64:
        meaning = meaning[:64].rsplit(" ", 1)[0]
    return CodedConcept(value, SCHEME, meaning)


def scheme() -> CodingSchemeIdentificationItem:
    """What the scheme's designator stands for (PS3.3 C.12.1.1.10)."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Trabecula CT bone metrics", uid=UID(SCHEME_UID), responsible_organization="Trabecula"
    )
