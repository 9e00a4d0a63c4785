"""What decisions rest on beside the patient: addresses of this installation and the numbers of ``constants.toml``."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.clinical import ClinicalConstants
from trabecula.outputs.r4 import FhirOptions


@dataclass(frozen=True)
class CardPolicy:
    public_base_url: str
    """Without a slash at its end."""
    fhir_base_url: str
    """Canonical base of the project's artefacts at this site."""
    recent_months: int
    """A DXA so many months old or younger is not repeated."""
    report_path: str = "/results/{screening_id}"
    """Where the report page of a screening is, below the public base."""

    def canonical(self, address: str) -> str:
        """A project artefact's canonical address below the site's base."""
        return address.replace(FhirOptions.base_url, self.fhir_base_url, 1)

    def report_url(self, screening_id: str) -> str:
        return self.public_base_url + self.report_path.format(screening_id=screening_id)


def card_policy(constants: ClinicalConstants, public_base_url: str, fhir_base_url: str) -> CardPolicy:
    """The policy of an installation.

    Raises:
        ClinicalDataError: if a number is missing.
    """
    return CardPolicy(
        public_base_url=public_base_url.rstrip("/"),
        fhir_base_url=fhir_base_url.rstrip("/"),
        recent_months=round(constants.number("hooks.dxa.recent_months")),
    )
