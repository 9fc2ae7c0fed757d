"""A figure of the page, and empty matplotlib figures to draw it in."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


class PageFigure(NamedTuple):
    """An SVG drawing with its caption; `group` is the key of the part of the page where it stands."""

    group: str
    title: Markup
    svg: Markup
    note: str = ""
    """Shown less prominently behind the title."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches with an SVG canvas."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure
