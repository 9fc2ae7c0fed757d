"""Matplotlib figures as inline SVG: no style attributes, no unused ids, colours that follow the theme.

The content security policy forbids style attributes, so they become presentation attributes.  Two placeholder colours
become ``currentColor`` and the background of the page, so that one drawing serves light and dark.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Placeholder for the text colour."""
PAPER = "#fdfcfb"
"""Placeholder for the background."""
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
# References to an id: url(#name) anywhere, or #name as the whole value unless it is a colour.
_ID_REFERENCE = re.compile(r"(?<=url\(#)[\w-]+|(?<=^#)(?![0-9a-f]{6}$)[\w-]+")
_FONT_SHORTHAND = re.compile(r"(?P<weight>bold\s+|\d00\s+)?(?P<size>[\d.]+px)")


def text_colour_on(background: str) -> str:
    """Black or white, whichever has the higher contrast on `background` (``#rrggbb``), at least 4.5 to 1 (WCAG 2).

    >>> text_colour_on("#27966b"), text_colour_on("#7d1020")
    ('#000000', '#ffffff')
    """
    channels = [int(background[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000000"


def figure_to_svg(figure: Figure, label: str, salt: str) -> Markup:
    """The figure as an `svg` element with the accessible name `label`; equal figures and salts give equal text.

    `salt` is a suffix of all ids, unique on the page.
    """
    stream = io.StringIO()
    with style.context(["default", {**RC, "svg.hashsalt": salt}]), warnings.catch_warnings():
        # The reader's fonts draw glyphs that are missing in the font by which matplotlib measures.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*missing.*")
        figure.savefig(stream, format="svg", transparent=True)
    root = ElementTree.fromstring(stream.getvalue())
    view_box = root.attrib["viewBox"]
    used_ids = {
        name for element in root.iter() for value in element.attrib.values() for name in _ID_REFERENCE.findall(value)
    }
    _clean_element(root, used_ids, salt)
    root.attrib = {
        "viewBox": view_box,
        "role": "img",
        "aria-label": label,
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "class": "plot",
    }
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean_element(element: ElementTree.Element, used_ids: set[str], salt: str) -> None:
    """Remove namespaces, metadata and white space in place; turn styles into attributes and add `salt` to ids."""
    element.tag = _local_name(element.tag)
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    for child in [c for c in element if _local_name(c.tag) in ("metadata", "style")]:
        element.remove(child)
    element.attrib = {
        key: {INK: "currentColor", PAPER: "var(--paper)"}.get(value) or _ID_REFERENCE.sub(rf"\g<0>-{salt}", value)
        for key, value in _clean_attributes(element.attrib, used_ids, salt).items()
    }
    for child in element:
        _clean_element(child, used_ids, salt)


def _clean_attributes(attributes: dict[str, str], used_ids: set[str], salt: str) -> dict[str, str]:
    cleaned: dict[str, str] = {}
    for key, value in attributes.items():
        name = _local_name(key)
        if name == "style":
            cleaned.update(_parse_style(value))
        elif name == "id":
            if value in used_ids:
                cleaned["id"] = f"{value}-{salt}"
        elif not (key.startswith("{") and name == "space"):
            cleaned[name] = value
    return cleaned


def _local_name(qualified: str) -> str:
    return qualified.rpartition("}")[2]


def _parse_style(text: str) -> dict[str, str]:
    """Declarations of a style attribute as presentation attributes, without the font family."""
    attributes: dict[str, str] = {}
    for declaration in text.split(";"):
        key, colon, value = (item.strip() for item in declaration.partition(":"))
        if not colon or key == "font-family":
            continue
        if key != "font":
            attributes[key] = value
        elif match := _FONT_SHORTHAND.search(value):
            attributes["font-size"] = match["size"]
            if match["weight"]:
                attributes["font-weight"] = match["weight"].strip()
    return attributes
