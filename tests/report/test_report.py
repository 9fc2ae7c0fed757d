from pathlib import Path
from typing import Any

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry
from layoutmark.report import write_report

CARD = 'name = "{name}"\ntitle = "T"\nsummary = "S"\nversion = "1"\noutput = "out.txt"\n'


def make_plugin(root: Path, name: str, body: str) -> Registry:
    folder = root / "reports" / name
    folder.mkdir(parents=True)
    (folder / "report.toml").write_text(CARD.format(name=name))
    (folder / "render.py").write_text(f"def render(results, run, out):\n    {body}\n")
    return Registry([root])


def test_a_plugin_report_is_written_below_the_run(tmp_path: Path) -> None:
    body = "out.mkdir(); p = out / 'out.txt'; p.write_text(results['name']); return p"
    registry = make_plugin(tmp_path / "plugins", "plain_text", body)
    results: dict[str, Any] = {"name": "x"}
    path = write_report(results, tmp_path, "plain_text", registry)
    assert path == tmp_path / "report" / "out.txt"
    assert path.read_text() == "x"


def test_an_unknown_kind_suggests_the_closest(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        write_report({}, tmp_path, "htlm")
    assert caught.value.do == "Did you mean 'html'?"


def test_errors_of_a_report_are_passed_on(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        write_report({"schema": "other"}, tmp_path)
    assert caught.value.what == "results"


def test_an_exception_in_a_report_is_wrapped_with_its_kind(tmp_path: Path) -> None:
    registry = make_plugin(tmp_path / "plugins", "breaks", "raise KeyError('rows')")
    with pytest.raises(LayoutmarkError) as caught:
        write_report({}, tmp_path, "breaks", registry)
    assert caught.value.what == "report 'breaks'"
    assert caught.value.found == "KeyError: 'rows'"
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_report_that_writes_no_file_is_an_error(tmp_path: Path) -> None:
    registry = make_plugin(tmp_path / "plugins", "leaves_nothing", "return out / 'out.txt'")
    with pytest.raises(LayoutmarkError, match=r"found no file .*out\.txt; expected out\.txt below"):
        write_report({}, tmp_path, "leaves_nothing", registry)
