"""FHIR R4: the report as a transaction Bundle."""

from trabecula.outputs.r4.bundle import to_bundle
from trabecula.outputs.r4.filing import FhirOptions

__all__ = ["FhirOptions", "to_bundle"]
