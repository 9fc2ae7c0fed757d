"""Every metric equals its twin, and the table in the documents is current."""

from __future__ import annotations

import cases
import parity
import pytest

from layoutmark.metrics import all_metrics


@pytest.fixture(scope="module")
def lines() -> list[parity.Line]:
    return parity.compare()


def test_every_metric_equals_its_twin(lines: list[parity.Line]) -> None:
    assert {x.metric: x.difference for x in lines if not x.difference <= parity.MAX_ROUNDING_DIFFERENCE} == {}
    assert [x.metric for x in lines if x.numbers < 3] == [], "too few numbers to compare"


def test_every_metric_has_a_twin_or_a_reason(lines: list[parity.Line]) -> None:
    listed = [*(x.metric for x in lines), *parity.WITHOUT_TWIN]
    assert sorted(listed) == sorted(m.info.name for m in all_metrics(cases.ALL_SCORERS))


def test_the_table_in_the_documents_is_current(lines: list[parity.Line]) -> None:
    document = parity.DOCUMENT.read_text("utf-8")
    assert parity.with_table(document, lines) == document, "run: python tests/validity/parity.py"


def test_difference_is_detected() -> None:
    line = parity._line("miou", [(0.5, 0.5), (0.25, 0.26)])
    assert line.difference == pytest.approx(0.01)
    assert "1e-02" in parity.table([line])
    assert parity._line("miou", [(0.5, None)]).difference == float("inf")
    assert parity._line("miou", [(None, None)]).difference == 0.0
