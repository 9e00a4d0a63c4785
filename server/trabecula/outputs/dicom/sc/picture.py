"""One picture: the spine, the slices, the numbers, and whether a person has looked at it."""

from __future__ import annotations

import textwrap
from typing import Final

from PIL import Image, ImageDraw

from trabecula.outcome import Severity
from trabecula.outputs.dicom.drawing import RGB, draw, font
from trabecula.outputs.page import words
from trabecula.outputs.page.charts import key_density
from trabecula.outputs.page.pictures import Picture, pictures
from trabecula.report import Screening, ScreeningReport

SIZE: Final = (1280, 960)
PICTURES_HEIGHT: Final = 500
_WHITE: Final[RGB] = (236, 240, 244)
_GREY: Final[RGB] = (160, 170, 180)
_AMBER: Final[RGB] = (255, 196, 70)
_EDGE: Final = 24
_COLUMN: Final = 640
_WRAP: Final = 64


def summary_picture(screening: Screening, statement: str) -> Image.Image:
    """The result on one RGB picture. Names no patient."""
    report = screening.report
    image = Image.new("RGB", SIZE)
    pencil = ImageDraw.Draw(image)
    headline = "Not reported" if report.refusals else words.headline(report.assessment)
    pencil.text((_EDGE, 14), statement.upper(), fill=_AMBER, font=font(26))
    pencil.text((_EDGE, 52), _plain(headline), fill=_WHITE, font=font(28))
    _place(image, pencil, pictures(screening.evidence.views, report))
    top = 612 if screening.evidence.views else 110
    _lines(pencil, _left(report), _EDGE, top)
    _lines(pencil, _right(report), _COLUMN, top)
    foot = f"Trabecula {report.software_version}  {report.created_at[:16]} UTC  Not a DXA T-score. Research use."
    pencil.text((_EDGE, SIZE[1] - 28), foot, fill=_GREY, font=font(15))
    return image


def _place(image: Image.Image, pencil: ImageDraw.ImageDraw, found: tuple[Picture, ...]) -> None:
    """The column at full height, then slices at half of it, two in a column."""
    x, top = _EDGE, 96
    for picture in (one for one in found if one.kind == "sagittal"):
        drawn = draw(picture, picture.height_mm / PICTURES_HEIGHT)
        image.paste(drawn, (x, top))
        x += drawn.width + 8
    slices = [draw(one, one.height_mm / (PICTURES_HEIGHT // 2 - 4)) for one in found if one.kind != "sagittal"]
    titles = [one.title for one in found if one.kind != "sagittal"]
    for index in range(0, len(slices), 2):
        pair = slices[index : index + 2]
        if x + max(one.width for one in pair) > SIZE[0]:
            break
        for below, drawn in enumerate(pair):
            y = top + below * (PICTURES_HEIGHT // 2 + 4)
            image.paste(drawn, (x, y))
            pencil.text((x + 4, y + 2), titles[index + below], fill=_GREY, font=font(14))
        x += max(one.width for one in pair) + 8


def _left(report: ScreeningReport) -> list[tuple[str, RGB]]:
    lines = [(f"{refusal.message} {refusal.remedy}", _WHITE) for refusal in report.refusals]
    key = key_density(report)
    if key is not None and report.density is not None:
        value = words.with_error(key.value_mg_cm3, key.standard_uncertainty_mg_cm3)
        kind = "at its own level" if key.direct else "lumbar equivalent"
        lines.append((f"{value} mg/cm3 {report.density.scale.value}, {kind}, from {words.levels(key.levels)}", _WHITE))
    used = () if report.density is None else report.density.levels_used
    measured = [vertebra for vertebra in report.vertebrae if vertebra.level in used or vertebra.excluded]
    for vertebra in measured[-6:]:
        density = words.with_error(vertebra.vbmd_mg_cm3, vertebra.vbmd_standard_uncertainty_mg_cm3)
        hu = words.with_error(vertebra.hu_mean, vertebra.hu_sd, 0)
        out = f"  left out: {words.exclusions(vertebra.excluded)}" if vertebra.excluded else ""
        lines.append((f"{vertebra.level.value}  {hu} HU  {density} mg/cm3{out}", _GREY if out else _WHITE))
    return lines


def _right(report: ScreeningReport) -> list[tuple[str, RGB]]:
    lines: list[tuple[str, RGB]] = []
    for one in report.composition:
        cut = " (body cut)" if one.truncated else ""
        muscle, fat = words.number(one.muscle_area_cm2), words.number(one.imat_area_cm2)
        hu = words.number(one.muscle_attenuation_hu)
        lines.append((f"{one.level.value}{cut}  muscle {muscle} cm2 {hu} HU  fat inside {fat} cm2", _WHITE))
    lines += [(f"Advised: {one.text}", _WHITE) for one in report.recommendations[:2]]
    warnings = [notice.message for notice in report.notices if notice.severity is Severity.WARNING]
    lines += [(text, _GREY) for text in warnings[:3]]
    return lines


def _lines(pencil: ImageDraw.ImageDraw, lines: list[tuple[str, RGB]], x: int, top: int) -> None:
    letters, y = font(18), top
    for text, colour in lines:
        for part in textwrap.wrap(_plain(text), _WRAP):
            if y > SIZE[1] - 56:
                return
            pencil.text((x, y), part, fill=colour, font=letters)
            y += 24
        y += 4


def _plain(text: str) -> str:
    """Characters that the face has."""
    return text.replace(words.MINUS, "-").replace(words.SPACE, " ").replace(words.DASH, "-")
