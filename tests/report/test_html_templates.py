"""Templates of HTML pages: every value is cleaned and escaped, and undefined names are errors."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from layoutmark.html_templates import breakable, make_environment


def render(folder: Path, source: str, **context: object) -> str:
    (folder / "page.html").write_text(source)
    return make_environment(folder).get_template("page.html").render(context)


def test_values_are_escaped_and_markup_is_not(tmp_path: Path) -> None:
    source = '<p title="{{ text }}">{{ markup }}</p>'
    page = render(tmp_path, source, text="\"'<&>", markup=Markup("<b>x</b>"))
    assert page == '<p title="&#34;&#39;&lt;&amp;&gt;"><b>x</b></p>'


def test_characters_that_html_cannot_hold_are_replaced(tmp_path: Path) -> None:
    assert render(tmp_path, "{{ text }}", text="a\x00\x1b\ud800\u0085b\t") == "a\ufffd\ufffd\ufffd\ufffdb\t"


def test_undefined_names_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        render(tmp_path, "{{ nothing }}")


def test_breakable_text_is_escaped_once() -> None:
    assert breakable("a_<b>@c") == "a_<wbr>&lt;b&gt;<wbr>@c"
    assert breakable(Markup("a_&lt;b")) == "a_<wbr>&lt;b"
