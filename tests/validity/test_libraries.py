"""Each metric equals other people's libraries, and the table in the documents is the one that this code gives."""

from __future__ import annotations

import libraries
import pytest

for name in ("faster_coco_eval", "torchmetrics", "skimage"):
    pytest.importorskip(name, reason="the extra dev installs it")


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], libraries.Pairs]:
    return libraries.compare()


def test_no_metric_differs(found: dict[tuple[str, str], libraries.Pairs]) -> None:
    most = {key: libraries.difference(pairs) for key, pairs in found.items()}
    assert {key: v for key, v in most.items() if not v <= libraries.MOST[key[1]]} == {}
    assert {library for _, library in found} == {libraries.FASTER, libraries.TORCH, libraries.SKIMAGE}


def test_the_table_in_the_documents_is_current(found: dict[tuple[str, str], libraries.Pairs]) -> None:
    document = libraries.DOCUMENT.read_text("utf-8")
    assert libraries.written(document, found) == document, "run: python tests/validity/libraries.py"


def test_a_difference_is_seen() -> None:
    assert libraries.difference([(0.5, 0.5), (0.25, 0.5)]) == 0.25
    assert libraries.difference([(0.5, None)]) == float("inf")
    assert "1e-01" in libraries.table({("miou", libraries.TORCH): [(0.2, 0.3)]})
