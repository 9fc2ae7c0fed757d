"""Aggregation of outcomes: the mean of scores, and counts of unscored images by reason."""

from __future__ import annotations

from layoutmark.evidence import SampleOutcome
from layoutmark.metrics.aggregation import Summary, summarise_outcomes
from layoutmark.score import Score, Unscored


def test_unscored_is_never_zero_and_never_dropped() -> None:
    outcomes = [
        SampleOutcome("a", 0, Score(1.0)),
        SampleOutcome("b", 0, Unscored("failed")),
        SampleOutcome("c", 0, Score(0.0)),
        SampleOutcome("d", 0, Unscored("failed")),
        SampleOutcome("e", 0, Unscored("missing")),
    ]
    assert summarise_outcomes(outcomes) == Summary(0.5, 2, 5, {"failed": 2, "missing": 1})


def test_without_scores_there_is_no_value() -> None:
    assert summarise_outcomes([]) == Summary(None, 0, 0, {})
    assert summarise_outcomes([SampleOutcome("a", 0, Unscored("failed"))]) == Summary(None, 0, 1, {"failed": 1})


def test_order_does_not_change_the_last_digit() -> None:
    values = [0.1, 1e-17, 0.7, 0.3, 1e16, -1e16, 0.2]
    outcomes = [SampleOutcome(str(k), 0, Score(v)) for k, v in enumerate(values)]
    assert summarise_outcomes(outcomes).value == summarise_outcomes(outcomes[::-1]).value
    assert summarise_outcomes(outcomes).value == 1.3 / 7
