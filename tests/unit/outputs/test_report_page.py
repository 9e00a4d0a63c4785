"""The page: says what the report says, in words, safely, and stands alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import report_samples as samples

from trabecula.anatomy import Level
from trabecula.assessment.assessment import Category
from trabecula.outcome import Notice, Severity, Stage
from trabecula.outputs.page import to_html, words
from trabecula.outputs.page.charts import calibration_chart, density_chart, key_density
from trabecula.report import Evidence, Screening, ScreeningReport

REPORTS = samples.all_reports()
VOID = {"meta", "input", "br", "image", "line", "rect", "circle", "path", "img", "hr", "link"}


class Page(HTMLParser):
    """Text, tags and attributes of a page; tags must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def page_of(report: ScreeningReport) -> Page:
    return Page(to_html(Screening(report, Evidence((), None))))


@pytest.fixture(scope="module")
def whole() -> Page:
    return Page(to_html(samples.screening()))


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_gives_a_well_formed_page(name: str) -> None:
    page = Page(to_html(samples.screening(REPORTS[name])))
    assert ("html", {"lang": "en"}) in page.tags
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert "PRELIMINARY" in page.text
    assert "not reviewed by a physician" in page.text


def test_the_page_stands_alone(whole: Page) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in whole.tags}
    for _, attributes in whole.tags:
        for name in ("src", "href"):
            if attributes.get(name):
                assert str(attributes[name]).startswith("data:image/png;base64,")
        assert not any(name.startswith("on") for name in attributes)


def test_pictures_have_text_for_those_who_do_not_see_them(whole: Page) -> None:
    drawings = [attributes for tag, attributes in whole.tags if tag == "svg"]
    assert len(drawings) == 4 + 2
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in drawings)
    assert any("T11, T12, L1, L2" in str(attributes["aria-label"]) for attributes in drawings)


def test_the_key_number_stands_with_scale_and_uncertainty(whole: Page) -> None:
    assert "88.1 mg/cm³" in whole.text
    assert "K₂HPO₄" in whole.text
    assert "standard uncertainty 5.3" in whole.text
    assert "78 to 99" in whole.text
    assert "Bone density in the low range" in whole.text


def test_vertebrae_and_their_exclusions_are_listed(whole: Page) -> None:
    for level in samples.LEVELS:
        assert level.value in whole.text
    assert "fracture suspected" in whole.text
    assert "141.2" in whole.text


def test_excluded_region_is_drawn_apart(whole: Page) -> None:
    dashed = [attributes for tag, attributes in whole.tags if tag == "path" and "stroke-dasharray" in attributes]
    assert len(dashed) == 1


def test_recommendations_carry_rule_and_source(whole: Page) -> None:
    assert "Confirm by DXA of hip and lumbar spine." in whole.text
    assert "Quant Imaging Med Surg 2020;10:2066-2077" in whole.text
    assert "low-range-dxa" in whole.text
    assert "Facts: category low-bone-density-range" in " ".join(whole.text.split())
    assert whole.text.count("source not verified") == 3  # one rule, two readings by Hu


def test_rejected_reference_says_why(whole: Page) -> None:
    assert "45 HU off the fit of the other references" in whole.text
    assert "Open: rejected" in whole.text


def test_models_timings_series_limits_are_there(whole: Page) -> None:
    for words_expected in ("coarse 0.1.0", "sha256 aaaaaaaaaaaaaaaa", "6.90 s", "sharp kernel raises noise in bone"):
        assert words_expected in whole.text
    assert "Cannot be used to rule out low bone mineral density." in whole.text


def test_no_patient_identifier_is_shown(whole: Page) -> None:
    assert "SAMPLE-0001" not in whole.text
    assert "SAMPLE HOSPITAL" not in whole.text
    assert samples.STUDY_UID in whole.text


def test_no_t_score_and_no_all_clear() -> None:
    assessment = replace(samples.assessment(), category=Category.NO_SIGN_OF_LOW_DENSITY, statement="Above 120.")
    page = page_of(replace(samples.reported(), assessment=assessment, recommendations=()))
    assert "No sign of low bone density on this scan" in page.text
    assert "not an all-clear" in page.text
    assert "normal" not in page.text.lower()
    assert re.findall(r"[^.]{12}T-score", page.text)
    assert all("not a" in found.lower() for found in re.findall(r"[^.;]{0,14}T-score", page.text))


def test_refusal_says_what_is_wrong_and_how_to_mend_it() -> None:
    page = page_of(samples.refused())
    assert "Not reported" in page.text
    assert "The scan ends above T11" in page.text
    assert "How to mend it" in page.text
    assert "Send a series of the same study that reaches to L1 or lower." in page.text
    assert "level-not-in-view" in page.text
    assert "mg/cm³" not in page.text


def test_indeterminate_names_both_sides() -> None:
    page = page_of(samples.enhanced())
    assert "Indeterminate: between the osteoporosis range and the low range" in page.text
    assert "11.4 ± 8.0 HU taken off" in page.text.replace("\u00a0", " ")


def test_unknown_context_is_said() -> None:
    assert "Not known: age, sex, menopausal status." in page_of(samples.unknown_context()).text


def test_text_from_outside_cannot_become_markup() -> None:
    attack = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    report = samples.reported()
    assert report.acquisition is not None
    hostile = replace(
        report,
        acquisition=replace(report.acquisition, manufacturer=attack, kernel=attack, acquired_at=attack),
        series=(replace(report.series[0], description_kind=attack),),
        notices=(Notice("x", Stage.IMAGING, Severity.WARNING, attack),),
        level_evidence=(attack,),
        assessment=replace(samples.assessment(), statement=attack),
    )
    page = page_of(hostile)
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.text.count('alert("x")') >= 5


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_density_chart_draws_what_the_assessment_compared_with(count: int) -> None:
    cutoffs = (80.0, 120.0, 150.0)[:count]
    report = replace(samples.reported(), assessment=replace(samples.assessment(), density_cutoffs_mg_cm3=cutoffs))
    chart = density_chart(report)
    assert chart is not None
    assert [text for _, text in chart.cutoffs] == ["80", "120", "150"][:count]
    assert len(chart.zones) == count + 1
    assert (chart.zones[0].label == "osteoporosis range") == (count == 2)
    assert chart.interval is not None
    assert chart.interval[0] < chart.point < chart.interval[1]


def test_density_chart_puts_the_number_between_its_cutoffs() -> None:
    chart = density_chart(samples.reported())
    assert chart is not None
    (low, _), (high, _) = chart.cutoffs
    assert low < chart.point < high
    # 88.1 lies 8.1 of 40 of the way
    assert (chart.point - low) / (high - low) == pytest.approx(8.1 / 40, abs=0.01)


def test_the_number_shown_is_the_one_that_decides() -> None:
    report = samples.reported()
    assert report.assessment is not None
    direct = replace(report.assessment.readings[0], decides=True)
    changed = replace(
        report,
        assessment=replace(
            report.assessment,
            readings=(direct, *(replace(each, decides=False) for each in report.assessment.readings[1:])),
            density_cutoffs_mg_cm3=(91.0, 128.0),
        ),
    )
    lumbar, own = key_density(report), key_density(changed)
    assert lumbar is not None
    assert own is not None
    assert (lumbar.value_mg_cm3, lumbar.levels, lumbar.direct) == (88.1, (Level.L1,), False)
    assert (own.value_mg_cm3, own.levels, own.direct) == (95.3, (Level.T12,), True)
    chart = density_chart(changed)
    assert chart is not None
    assert chart.description.startswith("95.3")


def test_without_density_there_is_no_chart_but_a_page() -> None:
    empty = replace(samples.density(), lumbar_equivalent_mg_cm3=None, vbmd_mean_mg_cm3=None, levels_used=())
    report = replace(samples.reported(), density=empty)
    assert density_chart(report) is None
    assert words.DASH in page_of(report).text


def test_calibration_chart_shows_residuals_of_the_line() -> None:
    calibration = samples.calibration()
    chart = calibration_chart(calibration)
    assert chart is not None
    by_name = {reference.name: reference for reference in chart.references}
    assert not by_name["Aortic blood"].used
    assert by_name["Aortic blood"].outside
    assert by_name["Aortic blood"].residual_text == "+47"
    assert by_name["Outside air"].residual < chart.residual_zero
    x1, y1, x2, y2 = chart.line
    air = by_name["Outside air"]
    on_line = y1 + (air.x - x1) * (y2 - y1) / (x2 - x1)
    assert air.y == pytest.approx(on_line, abs=2.5)


@pytest.mark.parametrize(
    ("value", "digits", "expected"), [(-1.25, 1, "\u22121.2"), (-0.01, 1, "0.0"), (None, 2, "–"), (88.06, 1, "88.1")]
)
def test_numbers_for_reading(value: float | None, digits: int, expected: str) -> None:
    assert words.number(value, digits) == expected


def test_every_code_has_words() -> None:
    assert set(words.HEADLINES) == set(Category) == set(words.CATEGORY_NOUNS)
    assert words.levels((Level.T11, Level.L1)) == "T11, L1"


def test_the_same_screening_gives_the_same_page() -> None:
    assert to_html(samples.screening()) == to_html(samples.screening())


def test_shape_shell_and_what_is_left_out_are_shown_with_their_reason(whole: Page) -> None:
    assert "Fracture suspected: biconcave, Genant grade 2" in whole.text
    assert "for a person to confirm" in whole.text
    assert "Part of the region: dense spots" in whole.text
    assert "Whole vertebra: suspected fracture" in whole.text
    assert "Because of noise the region was made larger at T11" in whole.text
    assert "compact bone of 1600 HU" in whole.text


def test_a_shell_that_the_scan_cannot_resolve_has_no_number() -> None:
    report = samples.reported()
    coarse = replace(
        samples.cortex(),
        resolved=False,
        why_not="slices of 5.0 mm, more than 3 mm",
        thickness_mm=None,
        thickness_standard_uncertainty_mm=None,
        attenuation_hu=None,
        attenuation_standard_uncertainty_hu=None,
    )
    page = page_of(replace(report, vertebrae=tuple(replace(v, cortex=coarse) for v in report.vertebrae)))
    assert "cannot resolve the shell: slices of 5.0 mm" in page.text
    assert "0.34" not in page.text
