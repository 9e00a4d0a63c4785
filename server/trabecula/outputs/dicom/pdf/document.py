"""The report as PDF: one or two pages, the numbers and words of the HTML page, and its pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape  # escapes, parses nothing  # nosec B406

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, Image, KeepTogether, PageTemplate, Paragraph, Spacer
from reportlab.platypus import Table as PdfTable

from trabecula.outcome import Severity
from trabecula.outputs.dicom.drawing import draw
from trabecula.outputs.page import words
from trabecula.outputs.page.charts import key_density
from trabecula.outputs.page.pictures import pictures
from trabecula.report import Screening, ScreeningReport

MARGIN: Final = 16 * mm
WIDTH: Final = A4[0] - 2 * MARGIN
PIXEL_MM: Final = 0.6
"""Of the pictures; finer than most scans."""
NAVY: Final = colors.HexColor("#16202b")
GREY: Final = colors.HexColor("#5a6772")
LINE: Final = colors.HexColor("#c5ced6")
AMBER: Final = colors.HexColor("#fff3d6")

BODY: Final = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11, textColor=NAVY)
SMALL: Final = ParagraphStyle("small", parent=BODY, fontSize=7, leading=8.6, textColor=GREY)
CELL: Final = ParagraphStyle("cell", parent=BODY, fontSize=7.6, leading=9)
RIGHT: Final = ParagraphStyle("right", parent=CELL, alignment=2)
HEADING: Final = ParagraphStyle(
    "heading", parent=BODY, fontName="Helvetica-Bold", fontSize=10, leading=13, spaceBefore=5
)
TITLE: Final = ParagraphStyle("title", parent=BODY, fontName="Helvetica-Bold", fontSize=15, leading=18)
BANNER: Final = ParagraphStyle(
    "banner", parent=BODY, fontName="Helvetica-Bold", backColor=AMBER, borderPadding=4, spaceBefore=4, spaceAfter=6
)

_SAFE: Final = str.maketrans(
    {"\u2212": "-", "\u2080": "0", "\u2082": "2", "\u2084": "4", "\u2265": ">=", "\u2264": "<="}
)


def to_pdf(screening: Screening, statement: str) -> bytes:
    """The report as a PDF of one or two pages; the same screening gives the same bytes.

    Like the HTML page it names no patient: the object around it does.

    Args:
        statement: whether a person has verified the result.
    """
    report = screening.report
    story: list[Flowable] = [
        Paragraph(_text("Bone, muscle and fat from an existing CT"), SMALL),
        Paragraph(_text("Not reported" if report.refusals else words.headline(report.assessment)), TITLE),
        Paragraph(_text(statement), BANNER),
        *_refusals(report),
        *_result(report),
        *_warnings(report),
        *_vertebrae(report),
        *_composition(report),
        *_pictures(screening),
        *_about(report),
    ]
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title="Trabecula report",
        author="Trabecula",
        subject="Bone, muscle and fat from an existing CT",
        invariant=1,
    )
    frame = Frame(MARGIN, MARGIN, WIDTH, A4[1] - 2 * MARGIN, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=lambda canvas, _: _foot(canvas, report, statement))])
    document.build(story)
    return buffer.getvalue()


def _foot(canvas: Canvas, report: ScreeningReport, statement: str) -> None:
    canvas.setFont("Helvetica", 6.5)
    canvas.setFillColor(GREY)
    line = f"Trabecula {report.software_version} · result {report.screening_id} · {report.created_at[:16]} UTC"
    canvas.drawString(MARGIN, MARGIN / 2 + 4, _plain(line))
    canvas.drawString(MARGIN, MARGIN / 2 - 4, _plain(statement))
    canvas.drawRightString(A4[0] - MARGIN, MARGIN / 2, f"Page {canvas.getPageNumber()}")


def _refusals(report: ScreeningReport) -> list[Flowable]:
    return [
        Paragraph(
            f"{_text(refusal.message)}<br/><b>How to mend it:</b> {_text(refusal.remedy)}<br/>"
            f"Code {_text(refusal.code.value)}. No number is given, and nothing follows from this about the "
            "patient's bones.",
            BODY,
        )
        for refusal in report.refusals
    ]


def _result(report: ScreeningReport) -> list[Flowable]:
    assessment, density = report.assessment, report.density
    found: list[Flowable] = []
    if assessment is not None:
        found.append(Paragraph(_text(assessment.statement), BODY))
    key = key_density(report)
    if key is not None and density is not None:
        value = words.with_error(key.value_mg_cm3, key.standard_uncertainty_mg_cm3)
        kind = "read at its own level" if key.direct else "lumbar equivalent"
        found.append(
            Paragraph(
                f"<b>{_text(value)} mg/cm³</b> trabecular density, {kind}, {_text(density.scale.value)} scale, "
                f"± one standard uncertainty, from {_text(words.levels(key.levels))}. "
                "Not a DXA T-score and not comparable to one.",
                BODY,
            )
        )
    if assessment is not None:
        reasons = " ".join(words.sentence(reason) for reason in assessment.confidence_reasons)
        found.append(Paragraph(f"<b>{_text(words.CONFIDENCE[assessment.confidence])}.</b> {_text(reasons)}", BODY))
    if report.recommendations:
        found.append(Paragraph("Advised", HEADING))
        found += [
            Paragraph(f"- {_text(one.text)} <i>{_text(one.citation)}</i>", BODY) for one in report.recommendations
        ]
    return found


def _warnings(report: ScreeningReport) -> list[Flowable]:
    texts = [notice.message for notice in report.notices if notice.severity is Severity.WARNING]
    if not texts:
        return []
    return [
        Paragraph("To bear in mind", HEADING),
        *(Paragraph(f"- {_text(words.sentence(text))}", BODY) for text in texts),
    ]


def _vertebrae(report: ScreeningReport) -> list[Flowable]:
    if not report.vertebrae:
        return []
    used = () if report.density is None else report.density.levels_used
    rows = [
        [
            vertebra.level.value,
            words.with_error(vertebra.hu_mean, vertebra.hu_sd, 0),
            words.with_error(vertebra.vbmd_mg_cm3, vertebra.vbmd_standard_uncertainty_mg_cm3),
            words.with_error(vertebra.lumbar_equivalent_mg_cm3, vertebra.lumbar_equivalent_standard_uncertainty_mg_cm3),
            " / ".join(
                words.number(height)
                for height in (vertebra.height_anterior_mm, vertebra.height_middle_mm, vertebra.height_posterior_mm)
            ),
            words.deformity(vertebra.deformity),
            f"No: {words.exclusions(vertebra.excluded)}"
            if vertebra.excluded
            else ("Yes" if vertebra.level in used else "Not needed"),
        ]
        for vertebra in report.vertebrae
    ]
    if report.density is not None:
        density = report.density
        mean = words.with_error(density.vbmd_mean_mg_cm3, density.vbmd_mean_standard_uncertainty_mg_cm3)
        lumbar = words.with_error(
            density.lumbar_equivalent_mg_cm3, density.lumbar_equivalent_standard_uncertainty_mg_cm3
        )
        rows.append(["Mean", "", mean, lumbar, "", "", words.levels(density.levels_used)])
    head = ["Level", "HU", "Density mg/cm³", "Lumbar eq. mg/cm³", "Heights a/m/p mm", "Deformity", "Counts"]
    widths = [0.08, 0.12, 0.15, 0.16, 0.17, 0.16, 0.16]
    return [Paragraph("Vertebrae", HEADING), _table(head, rows, widths, numeric=range(1, 5))]


def _composition(report: ScreeningReport) -> list[Flowable]:
    if not report.composition:
        return []
    rows = [
        [
            f"{one.level.value}{' *' if one.truncated else ''}",
            words.number(one.muscle_area_cm2),
            words.number(one.muscle_attenuation_hu),
            words.number(one.paraspinal_muscle_area_cm2),
            words.number(one.paraspinal_muscle_attenuation_hu),
            words.number(one.imat_area_cm2),
            words.number(one.sat_area_cm2),
            words.number(one.vat_area_cm2),
            words.number(one.vat_sat_ratio, 2),
            words.number(one.muscle_index_cm2_m2),
        ]
        for one in report.composition
    ]
    head = ["Level", "Muscle", "HU", "Paraspinal", "HU", "IMAT", "SAT", "VAT", "VAT/SAT", "cm²/m²"]
    widths = [0.1] * 10
    note = "Areas in cm² in the axial slice through the middle of each body."
    if any(one.truncated for one in report.composition):
        note += " * The body is cut by the field of view: areas are lower bounds."
    return [
        Paragraph("Muscle and fat", HEADING),
        _table(head, rows, widths, numeric=range(1, 10)),
        Paragraph(_text(note), SMALL),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float], numeric: range) -> PdfTable:
    def cell(text: str, column: int, *, bold: bool = False) -> Paragraph:
        marked = f"<b>{_text(text)}</b>" if bold else _text(text)
        return Paragraph(marked, RIGHT if column in numeric else CELL)

    data = [[cell(text, column, bold=True) for column, text in enumerate(head)]]
    data += [[cell(text, column) for column, text in enumerate(row)] for row in rows]
    return PdfTable(
        data,
        colWidths=[width * WIDTH for width in widths],
        repeatRows=1,
        hAlign="LEFT",
        style=[
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, NAVY),
            ("LINEBELOW", (0, 1), (-1, -1), 0.25, LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("TOPPADDING", (0, 0), (-1, -1), 1.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
            ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ],
    )


def _pictures(screening: Screening) -> list[Flowable]:
    found = pictures(screening.evidence.views, screening.report)
    if not found:
        return []
    height = 62 * mm
    cells, titles, widths = [], [], []
    for picture in found:
        buffer = io.BytesIO()
        draw(picture, PIXEL_MM).save(buffer, format="PNG")
        buffer.seek(0)
        width = min(height * picture.width_mm / picture.height_mm, WIDTH / len(found) - 4)
        cells.append(Image(buffer, width, width * picture.height_mm / picture.width_mm))
        titles.append(Paragraph(_text(picture.title), SMALL))
        widths.append(width + 4)
    table = PdfTable([cells, titles], colWidths=widths, hAlign="LEFT", style=[("VALIGN", (0, 0), (-1, -1), "BOTTOM")])
    note = "Yellow: trabecular regions that count; red: left out. Colours: muscle orange, fat inside muscle yellow, "
    note += "subcutaneous fat blue, visceral fat pink."
    return [KeepTogether([Paragraph("Pictures", HEADING), table, Paragraph(_text(note), SMALL)])]


def _about(report: ScreeningReport) -> list[Flowable]:
    lines = [f"{name}: {value}" for name, value in words.acquisition(report)]
    if report.calibration is not None:
        lines.append(f"Calibration: {words.METHODS[report.calibration.method]}")
    if report.study is not None:
        lines.append(f"Study {report.study.study_instance_uid}")
    models = [f"{model.name} {model.version}" for model in report.models]
    if models:
        lines.append(f"Models: {', '.join(models)}")
    return [
        Spacer(1, 3 * mm),
        Paragraph("<br/>".join(_text(text) for text in report.limits_of_use), SMALL),
        Paragraph(_text(". ".join(lines)), SMALL),
    ]


def _plain(text: str) -> str:
    """Text in the characters that PDF's own fonts have."""
    return words.prose(text).translate(_SAFE).encode("cp1252", "replace").decode("cp1252")


def _text(text: str) -> str:
    return escape(_plain(text))
