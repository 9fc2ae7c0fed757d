"""Contact sheets as one HTML page that needs nothing else: layouts as SVG, their words as text that can be searched."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.layout import Instance, Mask, Sample
from layoutmark.suites.contact_sheet import COLOURS, TILE

VEIL = 110
"""Opacity of a mask, of 255."""
STYLE = (
    "body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem;color:#1e1e1e;background:#fff}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.5rem}"
    "figure{margin:0}svg{background:#ececec;max-width:100%;height:auto}figcaption{overflow-wrap:anywhere}"
    "ol{margin:.3rem 0;padding-left:1.5rem}small{color:#555}"
)


def sheet_html(suite: Suite, samples: Sequence[Sample]) -> str:
    """A page of `samples`: each with boxes, masks, points, scribbles, the prompt and a numbered list of phrases.

    The true picture lies beneath, pale, where the suite has it.
    """
    figures = "".join(_figure(sample, suite.true_image(sample.id)) for sample in samples)
    name = escape(f"{suite.name} {suite.version}")
    told = f"{len(samples):,} of {len(suite.samples):,} layouts; sha256 {escape(suite.digest)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"><h1>{name}</h1><p>{told}</p>'
        f"<main>{figures}</main></html>\n"
    )


def _figure(sample: Sample, true: Pixels | None) -> str:
    canvas = sample.layout.canvas
    factor = TILE / max(canvas.width, canvas.height)
    width, height = max(1, round(canvas.width * factor)), max(1, round(canvas.height * factor))
    beneath = (
        "" if true is None else _image(Image.fromarray(true).resize((width, height)), width, height, ' opacity=".5"')
    )
    drawn = "".join(_drawn(i, n, width, height) for n, i in enumerate(sample.layout.instances))
    words = "".join(
        f'<li style="color:{_colour(n)}"><span style="color:#1e1e1e">{escape(i.phrase)}</span>'
        f"{_small(i.category if i.category != i.phrase else '')}</li>"
        for n, i in enumerate(sample.layout.instances)
    )
    return (
        f'<figure id="{escape(sample.id)}"><svg role="img" aria-label="layout of {escape(sample.id)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{beneath}{drawn}</svg>'
        f"<figcaption><small>{escape(sample.id)}, {canvas.width} x {canvas.height}</small><br>"
        f"<bdi>{escape(sample.prompt)}</bdi><ol>{words}</ol></figcaption></figure>"
    )


def _drawn(instance: Instance, number: int, width: int, height: int) -> str:
    colour = _colour(number)
    parts = [] if instance.mask is None else [_image(_veil(instance.mask, number), width, height)]
    x0, y0, x1, y1 = instance.box.xyxy
    place = (
        f'x="{x0 * width:.2f}" y="{y0 * height:.2f}" width="{(x1 - x0) * width:.2f}" height="{(y1 - y0) * height:.2f}"'
    )
    parts.append(
        f'<rect {place} fill="none" stroke="{colour}" stroke-width="2"><title>{escape(instance.phrase)}</title></rect>'
    )
    if instance.scribble:
        points = " ".join(f"{x * width:.2f},{y * height:.2f}" for x, y in instance.scribble)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="3"/>')
    if instance.point is not None:
        x, y = instance.point
        parts.append(f'<circle cx="{x * width:.2f}" cy="{y * height:.2f}" r="4" fill="{colour}" stroke="#fff"/>')
    parts.append(
        f'<text x="{x0 * width + 3:.2f}" y="{y0 * height + 12:.2f}" font-size="11" paint-order="stroke" stroke="#fff" '
        f'stroke-width="3">{number + 1} {escape(instance.phrase)}</text>'
    )
    return "".join(parts)


def _veil(mask: Mask, number: int) -> Image.Image:
    """A mask as a picture of its colour, clear elsewhere, at the size of a tile at most."""
    alpha = Image.fromarray(mask.array().astype(np.uint8) * np.uint8(VEIL))
    alpha.thumbnail((TILE, TILE))
    picture = Image.new("RGBA", alpha.size, (*COLOURS[number % len(COLOURS)], 0))
    picture.putalpha(alpha)
    return picture


def _image(picture: Image.Image, width: int, height: int, more: str = "") -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    size = f'width="{width}" height="{height}" preserveAspectRatio="none"'
    return f'<image href="data:image/png;base64,{data}" {size}{more}/>'


def _colour(number: int) -> str:
    return "#" + "".join(f"{part:02x}" for part in COLOURS[number % len(COLOURS)])


def _small(text: str) -> str:
    return f" <small>{escape(text)}</small>" if text else ""
