"""Jinja2 environments for HTML pages: every value is escaped, and characters that HTML cannot hold are replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# Control characters except tab and line ends, two noncharacters, and lone surrogates.
_INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_BREAK_OPPORTUNITY = re.compile("(?<=_)(?=[^_@])|(?<=[^@])(?=@)")


def make_environment(folder: Path, filters: Mapping[str, Callable[..., Any]] | None = None) -> Environment:
    """Environment for the templates in `folder`: autoescape, `clean_text` on every value, undefined names are errors.

    `filters` are added to Jinja2's own by their names; `breakable` is always there.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update({"breakable": breakable, **(filters or {})})
    return environment


def clean_text(value: object) -> str:
    r"""`value` as text, with each character that neither HTML nor SVG can hold replaced by U+FFFD.

    >>> clean_text("red\x1b[31m")
    'red\ufffd[31m'
    """
    return _INVALID.sub("\ufffd", str(value))


def escape_text(value: object) -> Markup:
    """`value` cleaned and escaped for HTML content and quoted attributes; Markup is returned as it is."""
    from markupsafe import Markup, escape

    return value if isinstance(value, Markup) else escape(clean_text(value))


def breakable(value: object) -> Markup:
    """`value` escaped, with a line-break opportunity after each run of ``_`` and before ``@``.

    >>> str(breakable("instancediffusion@masked_attention"))
    'instancediffusion<wbr>@masked_<wbr>attention'
    """
    from markupsafe import Markup

    return Markup(_BREAK_OPPORTUNITY.sub("<wbr>", str(escape_text(value))))


def _finalize(value: object) -> object:
    from markupsafe import Markup

    return value if isinstance(value, Markup) else clean_text(value)
