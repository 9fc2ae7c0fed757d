"""Every metric equals other libraries, and the table in the documents is current."""

from __future__ import annotations

import libraries
import pytest

for name in ("faster_coco_eval", "torchmetrics", "skimage"):
    pytest.importorskip(name, reason="the extra dev installs it")


@pytest.fixture(scope="module")
def comparisons() -> dict[tuple[str, str], libraries.Pairs]:
    return libraries.compare()


def test_metrics_agree_with_other_libraries(comparisons: dict[tuple[str, str], libraries.Pairs]) -> None:
    largest = {key: libraries.difference(pairs) for key, pairs in comparisons.items()}
    assert {key: v for key, v in largest.items() if not v <= libraries.MAX_ROUNDING_DIFFERENCE[key[1]]} == {}
    assert {library for _, library in comparisons} == {libraries.FASTER, libraries.TORCH, libraries.SKIMAGE}


def test_the_table_in_the_documents_is_current(comparisons: dict[tuple[str, str], libraries.Pairs]) -> None:
    document = libraries.DOCUMENT.read_text("utf-8")
    assert libraries.with_table(document, comparisons) == document, "run: python tests/validity/libraries.py"


def test_difference_is_detected() -> None:
    assert libraries.difference([(0.5, 0.5), (0.25, 0.5)]) == 0.25
    assert libraries.difference([(0.5, None)]) == float("inf")
    assert "1e-01" in libraries.table({("miou", libraries.TORCH): [(0.2, 0.3)]})
