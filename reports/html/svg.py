"""Matplotlib figures as SVG inside the page: no style attributes, no ids nobody uses, colours that follow the theme.

A strict content security policy forbids style attributes, so they become presentation attributes.  Two sentinel colours
of the figure become ``currentColor`` and the page's background, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from matplotlib import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
PAPER = "#fdfcfb"
RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
}
# What points to an id: url(#name) anywhere, or #name as a whole value unless it is a colour.
_REFERENCE = re.compile(r"(?<=url\(#)[\w-]+|(?<=^#)(?![0-9a-f]{6}$)[\w-]+")
_FONT = re.compile(r"(?P<weight>bold\s+|\d00\s+)?(?P<size>[\d.]+px)")


def ink_on(colour: str) -> str:
    """Black or white, whichever stands out more on ``#rrggbb``: 4.5 to 1 at least, by the luminance of WCAG 2."""
    shares = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def to_svg(figure: Figure, label: str, salt: str) -> str:
    """The figure as an `svg` element named `label`; equal figures and salts give equal text."""
    stream = io.StringIO()
    with style.context(["default", {**RC, "svg.hashsalt": salt}]), warnings.catch_warnings():
        # Glyphs the measuring font lacks are drawn by the reader's own fonts.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing.*")
        figure.savefig(stream, format="svg", transparent=True)
    root = ElementTree.fromstring(stream.getvalue())
    box = root.attrib["viewBox"]
    used = {name for element in root.iter() for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    _clean(root, used, salt)
    root.attrib = {
        "viewBox": box,
        "role": "img",
        "aria-label": label,
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "class": "plot",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, used: set[str], salt: str) -> None:
    element.tag = element.tag.rpartition("}")[2]
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    for child in [c for c in element if c.tag.rpartition("}")[2] in ("metadata", "style")]:
        element.remove(child)
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        local = key.rpartition("}")[2]
        if local == "style":
            attributes.update(_style(value))
        elif local == "id":
            if value in used:
                attributes["id"] = f"{value}-{salt}"
        elif key.startswith("{") and local in ("space",):
            continue
        else:
            attributes[local] = value
    element.attrib = {
        key: {INK: "currentColor", PAPER: "var(--paper)"}.get(value) or _REFERENCE.sub(rf"\g<0>-{salt}", value)
        for key, value in attributes.items()
    }
    for child in element:
        _clean(child, used, salt)


def _style(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(";"):
        key, colon, value = (p.strip() for p in part.partition(":"))
        if not colon or key == "font-family":
            continue
        if key == "font":
            match = _FONT.search(value)
            if match:
                found["font-size"] = match["size"]
                if match["weight"]:
                    found["font-weight"] = match["weight"].strip()
        else:
            found[key] = value
    return found
