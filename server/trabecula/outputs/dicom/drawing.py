"""The page's pictures as pixels: grey picture, tissue colours, outlines and level names in one RGB image."""

from __future__ import annotations

import base64
import io
import re
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from trabecula.outputs.page.pictures import Picture

RGB = tuple[int, int, int]

OUTLINES: Final[dict[str, RGB]] = {
    "body": (160, 200, 225),
    "roi": (255, 214, 10),
    "roi-excluded": (255, 92, 92),
}
MARK: Final[RGB] = (230, 236, 242)
MARK_USED: Final[RGB] = (255, 214, 10)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


def draw(picture: Picture, pixel_mm: float) -> Image.Image:
    """One picture at square pixels of the size given."""
    size = (max(1, round(picture.width_mm / pixel_mm)), max(1, round(picture.height_mm / pixel_mm)))
    image = _decoded(picture.image).convert("RGB").resize(size, Image.Resampling.BILINEAR)
    if picture.overlay is not None:
        colours = _decoded(picture.overlay).convert("RGBA").resize(size, Image.Resampling.NEAREST)
        image.paste(colours, (0, 0), colours)
    pencil = ImageDraw.Draw(image)
    for outline in picture.outlines:
        points = [(x / pixel_mm, y / pixel_mm) for x, y in _points(outline.path)]
        pencil.line([*points, points[0]], fill=OUTLINES[outline.kind], width=1 if outline.kind == "body" else 2)
    letters = font(max(10, round(picture.letter_mm / pixel_mm)))
    for mark in picture.marks:
        place = (mark.x_mm / pixel_mm, mark.y_mm / pixel_mm)
        colour = MARK_USED if mark.emphasis else MARK
        pencil.text(place, mark.text, fill=colour, font=letters, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))
    return image


def font(size_pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own face."""
    return ImageFont.load_default(size_pixels)


def _decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def _points(path: str) -> list[tuple[float, float]]:
    """Corners of a closed line in SVG path data, mm."""
    numbers = [float(text) for text in _NUMBER.findall(path)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
