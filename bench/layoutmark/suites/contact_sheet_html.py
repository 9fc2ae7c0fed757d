"""Contact sheets as one self-contained HTML page: layouts as SVG, with searchable prompts and phrases."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.html_templates import make_environment
from layoutmark.layout import Instance, Mask, Sample
from layoutmark.suites.contact_sheet import COLOURS, MASK_OPACITY, TILE

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).with_name("templates")
Point = tuple[float, float]


class DrawnInstance(NamedTuple):
    """An instance of a layout; coordinates are pixels of the drawing."""

    number: int
    phrase: str
    category: str
    """Empty if it equals the phrase."""
    colour: str
    x: float
    y: float
    width: float
    height: float
    mask_uri: str
    scribble: list[Point]
    point: Point | None


class DrawnSample(NamedTuple):
    """A layout with its prompt, drawn in `width` x `height` pixels; `true_image_uri` may be empty."""

    sample: Sample
    width: int
    height: int
    true_image_uri: str
    instances: list[DrawnInstance]


def render_contact_sheet(suite: Suite, samples: Sequence[Sample]) -> str:
    """A page of `samples`: each with boxes, masks, points, scribbles, the prompt and a numbered list of phrases.

    True images, if the suite has them, are shown faded behind the layouts.
    """
    figures = [_draw_sample(sample, suite.true_image(sample.id)) for sample in samples]
    return _template().render(suite=suite, figures=figures)


@cache
def _template() -> Template:
    return make_environment(TEMPLATES).get_template("contact_sheet.html")


def _draw_sample(sample: Sample, true_image: Pixels | None) -> DrawnSample:
    canvas = sample.layout.canvas
    scale = TILE / max(canvas.width, canvas.height)
    width, height = max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale))
    uri = "" if true_image is None else _data_uri(Image.fromarray(true_image).resize((width, height)))
    instances = [_draw_instance(i, k, width, height) for k, i in enumerate(sample.layout.instances)]
    return DrawnSample(sample, width, height, uri, instances)


def _draw_instance(instance: Instance, index: int, width: int, height: int) -> DrawnInstance:
    x0, y0, x1, y1 = instance.box.xyxy
    rgb = COLOURS[index % len(COLOURS)]
    return DrawnInstance(
        number=index + 1,
        phrase=instance.phrase,
        category="" if instance.category == instance.phrase else instance.category,
        colour="#" + "".join(f"{channel:02x}" for channel in rgb),
        x=x0 * width,
        y=y0 * height,
        width=(x1 - x0) * width,
        height=(y1 - y0) * height,
        mask_uri="" if instance.mask is None else _data_uri(_colour_mask(instance.mask, rgb)),
        scribble=[(x * width, y * height) for x, y in instance.scribble or ()],
        point=None if instance.point is None else (instance.point[0] * width, instance.point[1] * height),
    )


def _colour_mask(mask: Mask, rgb: tuple[int, int, int]) -> Image.Image:
    """The mask in colour, transparent elsewhere, at most the size of a tile."""
    alpha = Image.fromarray(mask.to_array().astype(np.uint8) * np.uint8(MASK_OPACITY))
    alpha.thumbnail((TILE, TILE))
    image = Image.new("RGBA", alpha.size, (*rgb, 0))
    image.putalpha(alpha)
    return image


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
