"""Codes by which the chart is read: DXA done, DXA ordered, osteoporosis known. Reading only; none is asserted.

Sources: LOINC RAD/BMD table, OHDSI Themis list of the DXA family, eCQM value sets
2.16.840.1.113883.3.464.1003.113.12.1051 (DXA), .1038 (osteoporosis) and .1049 (osteopenia).
"""

from __future__ import annotations

from typing import Final

LOINC: Final = "http://loinc.org"
SCT: Final = "http://snomed.info/sct"
CPT: Final = "http://www.ama-assn.org/go/cpt"
ICD10: Final = "http://hl7.org/fhir/sid/icd-10"
ICD10CM: Final = "http://hl7.org/fhir/sid/icd-10-cm"
STANDARD: Final = frozenset({LOINC, SCT, CPT, ICD10, ICD10CM})
"""Where one of these codes something, words beside it are not read."""

SAME_SYSTEM: Final[dict[str, str]] = {
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "urn:oid:2.16.840.1.113883.6.96": SCT,
    "urn:oid:2.16.840.1.113883.6.12": CPT,
    "urn:oid:2.16.840.1.113883.6.3": ICD10,
    "urn:oid:2.16.840.1.113883.6.90": ICD10CM,
}
"""EHRs that came from CDA write the same code systems as OIDs."""

DXA_LOINC: Final = ("83012-5", "83014-1", "83311-1", "38268-9", "38269-7")
"""Axial DXA as an order or a report; 83013-3 is peripheral and does not answer the question."""
DXA_SCT: Final = ("241686001", "312681000")
DXA_CPT: Final = ("77080", "77085")

DXA_STUDIES: Final = frozenset(
    {(LOINC, code) for code in DXA_LOINC} | {(SCT, code) for code in DXA_SCT} | {(CPT, code) for code in DXA_CPT}
)
"""Codes of an order or a report of axial densitometry."""

DXA_RESULTS_LOINC: Final = (
    *("24966-4", "38267-1", "38261-4", "38264-8", "24701-5", "38263-0", "46278-8", "46279-6"),
    *("80932-7", "80956-6", "85385-3", "85394-5", "104938-6"),
)
"""Values of hip, femur and spine DXA; forearm values (24890-6, 38265-5) are left out."""
DXA_RESULTS: Final = frozenset((LOINC, code) for code in DXA_RESULTS_LOINC)

OSTEOPOROSIS_SCT: Final = frozenset(
    {"64859006", "309745002", "203438009", "240198002", "311890007", "311891006", "443165006"}
)
OSTEOPOROSIS_ICD10: Final = ("M80", "M81", "M82")
"""With fracture, without, in other diseases (M82: ICD-10 only); every code below them counts."""
OSTEOPENIA_SCT: Final = frozenset({"312894000", "78441005"})
OSTEOPENIA_ICD10: Final = ("M858",)

FRACTURE_SCT: Final = frozenset({"240198002", "311890007", "311891006", "443165006"})
FRACTURE_ICD10: Final = ("M80", "S220", "S320", "S720", "S721", "S722", "S422", "S525")
"""Fractures of spine, hip, upper humerus and lower forearm: the places where bone of low density breaks."""

CT_CHEST: Final = frozenset(
    {(LOINC, code) for code in ("24627-2", "29252-4", "24628-0", "30598-7", "37441-3", "47366-0")}
    | {(CPT, code) for code in ("71250", "71260", "71270")}
)
