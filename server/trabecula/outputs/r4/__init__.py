"""FHIR R4: the report as resources that keep their profiles, and as a transaction Bundle."""

from trabecula.outputs.r4.bundle import to_bundle, to_resources, transaction
from trabecula.outputs.r4.filing import FhirOptions
from trabecula.outputs.r4.forms import ModelCard
from trabecula.outputs.r4.profiles import PROFILES, Profile, profile_of

__all__ = ["PROFILES", "FhirOptions", "ModelCard", "Profile", "profile_of", "to_bundle", "to_resources", "transaction"]
