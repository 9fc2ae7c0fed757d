"""The Jinja2 templates of the page with their filters."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.html_templates import make_environment
from layoutmark.plurals import counted

from .plots import describe_direction
from .text import (
    format_count,
    format_interval,
    format_number,
    format_p_value,
    join_words,
    name_html,
    reasons_html,
)

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("templates")


def render_template(name: str, **context: Any) -> str:
    """The text of a template of the folder `templates`."""
    return _environment().get_template(name).render(context)


@cache
def _environment() -> Environment:
    return make_environment(
        FOLDER,
        {
            "count": format_count,
            "count_noun": counted,
            "direction": describe_direction,
            "interval": lambda bounded, sign=False: format_interval(bounded.low, bounded.high, sign=sign),
            "join_words": join_words,
            "name": name_html,
            "number": format_number,
            "p_value": format_p_value,
            "plain_json": _plain_json,
            "reasons": reasons_html,
        },
    )


def _plain_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, default=str)
