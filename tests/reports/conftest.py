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
def part() -> Callable[[str], ModuleType]:
    """A module of the HTML report by its name."""
    loaded = Registry().get_report("html").load()
    package = loaded.__name__.rpartition(".")[0]

    def get(name: str) -> ModuleType:
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{name}"]

    return get


@pytest.fixture(scope="session")
def render(part: Callable[[str], ModuleType]) -> Callable[[Mapping[str, Any], Path], str]:
    """Render below `run` and return the page's text."""

    def page(results: Mapping[str, Any], run: Path) -> str:
        path: Path = part("render").render(results, run, run / "report")
        assert path == run / "report" / "index.html"
        return path.read_text("utf-8")

    return page


@pytest.fixture(scope="session")
def hostile(example: ModuleType, render: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Results full of hostile texts, and their page."""
    run = tmp_path_factory.mktemp("hostile")
    results = example.make_results(run)
    return results, render(results, run)
