"""Screening in, HTML text out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trabecula.outputs.page import words
from trabecula.outputs.page.charts import COVERAGE, calibration_chart, density_chart, key_density
from trabecula.outputs.page.pictures import legend, pictures
from trabecula.report import ReportStatus, Screening

TEMPLATES: Final = Path(__file__).parent / "templates"


PRELIMINARY_BANNER: Final = Markup(
    '<div class="banner"><strong>PRELIMINARY</strong> '
    "Machine result, not reviewed by a physician. Not a diagnosis.</div>"
)


@dataclass(frozen=True)
class ReviewNote:
    """A person's last decision on the result, for the banner."""

    status: str
    """``final``, ``corrected`` or ``entered-in-error``."""
    by: str
    at: str

    @property
    def banner(self) -> Markup:
        """Markup in place of the one for a preliminary result; the name is escaped."""
        done = "Withdrawn" if self.status == "entered-in-error" else "Made by a machine, reviewed and signed"
        return Markup('<div class="banner"><strong>{}</strong> {} by {}, {}.</div>').format(
            self.status.upper(), done, self.by, self.at
        )


def with_review(html: str, review: ReviewNote) -> str:
    """A page of :func:`to_html` with the banner of a person's decision."""
    return html.replace(PRELIMINARY_BANNER, review.banner, 1)


def to_html(screening: Screening, review: ReviewNote | None = None) -> str:
    """The report as one HTML page with styles and pictures inside.

    Args:
        review: the decision of the person who signed, when there is one.

    Shows no patient name or id; the study's UID and accession number tell a reader where it belongs.
    Every value of the report is escaped. The page holds no script and asks for nothing.
    """
    report = screening.report
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            banner=PRELIMINARY_BANNER if review is None else review.banner,
            refused=report.status is ReportStatus.REFUSED,
            headline=words.headline(report.assessment),
            tone="refused" if report.assessment is None else report.assessment.category.value,
            density_chart=density_chart(report),
            key=key_density(report),
            coverage=COVERAGE,
            calibration_chart=calibration_chart(report.calibration),
            pictures=pictures(screening.evidence.views, report),
            legend=legend(),
            acquisition=words.acquisition(report),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        with_error=words.with_error,
        percent=words.percent,
        unit=words.unit,
        prose=words.prose,
        scale=words.scale,
        sentence=words.sentence,
        code_words=words.code_words,
        exclusions=words.exclusions,
        deformity=words.deformity,
        levels=words.levels,
        patient=words.patient,
        by_domain=words.by_domain,
        unknown_context=words.unknown_context,
        ranges=words.ranges,
    )
    environment.globals.update(
        TISSUES=words.TISSUES,
        METHODS=words.METHODS,
        CORRECTIONS=words.CORRECTIONS,
        CONFIDENCE=words.CONFIDENCE,
        TIERS=words.TIERS,
        FINDINGS=words.FINDINGS,
        READINGS=words.READINGS,
    )
    return environment
