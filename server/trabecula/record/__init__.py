"""The record: FHIR resources in their versions, searchable; what a screening found, for answers within milliseconds."""

from trabecula.record.publish import publish, publish_result
from trabecula.record.results import (
    ResultSummary,
    StoredRecommendation,
    StoredRefusal,
    StoredResult,
    facts_of,
    result_of_report,
    result_of_screening,
    results_for_patient,
    results_of_study,
)
from trabecula.record.store import Stored, history, of_screening, put, read, vread

__all__ = [
    "ResultSummary",
    "Stored",
    "StoredRecommendation",
    "StoredRefusal",
    "StoredResult",
    "facts_of",
    "history",
    "of_screening",
    "publish",
    "publish_result",
    "put",
    "read",
    "result_of_report",
    "result_of_screening",
    "results_for_patient",
    "results_of_study",
    "vread",
]
