import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from layoutmark.registry import Registry


@pytest.fixture(scope="session")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_example", Path(__file__).with_name("example.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def report_module() -> Callable[[str], ModuleType]:
    """`report_module(name)` imports a module of the HTML report."""
    plugin = Registry().get_report("html").load()
    package = plugin.__name__.rpartition(".")[0]

    def load(name: str) -> ModuleType:
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{name}"]

    return load


@pytest.fixture(scope="session")
def render_section(report_module: Callable[[str], ModuleType]) -> Callable[[str, Mapping[str, Any]], str]:
    """`render_section(template, results)`: the HTML of one template of the page."""

    def render(template: str, results: Mapping[str, Any]) -> str:
        view = report_module("results").Results(results)
        context = report_module("render")._make_context(view)
        text: str = report_module("page_templates").render_template(template, **context)
        return text

    return render


@pytest.fixture(scope="session")
def render_page(report_module: Callable[[str], ModuleType]) -> Callable[[Mapping[str, Any], Path], str]:
    """`render_page(results, run)`: write the page below `run` and return its text."""

    def render(results: Mapping[str, Any], run: Path) -> str:
        path: Path = report_module("render").render(results, run, run / "report")
        assert path == run / "report" / "index.html"
        return path.read_text("utf-8")

    return render


@pytest.fixture(scope="session")
def hostile(
    example: ModuleType, render_page: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str]:
    """Results full of hostile texts, and their page."""
    run = tmp_path_factory.mktemp("hostile")
    results = example.make_results(run)
    return results, render_page(results, run)
