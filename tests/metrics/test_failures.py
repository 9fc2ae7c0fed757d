"""One hand-made case for each kind of failure, and properties that hold for any image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence
from layoutmark.metrics.failures import Failure, diagnose, metrics
from layoutmark.score import Direction, Score, Status, Unscored

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]
LEFT, RIGHT, FAR = (0.1, 0.1, 0.4, 0.5), (0.45, 0.1, 0.75, 0.5), (0.6, 0.6, 0.9, 0.95)
BOTH = (0.1, 0.1, 0.75, 0.5)


def diagnosed_kinds(e: Evidence, cosines: Sequence[Sequence[float]] | None = None) -> tuple[list[str], int]:
    assert e.detections is not None
    diagnosis = diagnose(e.sample.layout, e.detections, None if cosines is None else np.array(cosines))
    return [str(k) for k in diagnosis.kinds], diagnosis.unexplained


@pytest.mark.parametrize(
    ("targets", "detected", "expected", "unexplained"),
    [
        ([("cat", LEFT)], [("cat", 0.9, LEFT)], ["sound"], 0),
        ([("cat", LEFT)], [], ["missing"], 0),
        ([("cat", LEFT)], [("cat", 0.24, LEFT)], ["missing"], 0),
        ([("cat", LEFT)], [("cat", 0.9, FAR)], ["misplaced"], 0),
        ([("cat", LEFT)], [("dog", 0.9, LEFT)], ["wrong_class"], 0),
        ([("cat", LEFT)], [("dog", 0.9, FAR)], ["missing"], 1),
        ([("cat", LEFT)], [("cat", 0.9, LEFT), ("cat", 0.8, LEFT)], ["duplicated"], 0),
        ([("cat", LEFT)], [("cat", 0.9, LEFT), ("cat", 0.8, FAR)], ["sound"], 1),
        ([("cat", LEFT)], [("cat", 0.9, LEFT), ("dog", 0.8, LEFT)], ["sound"], 1),
        ([("cat", LEFT), ("cat", RIGHT)], [("cat", 0.9, BOTH)], ["merged", "merged"], 0),
        ([("cat", LEFT), ("dog", RIGHT)], [("cat", 0.9, BOTH)], ["misplaced", "missing"], 0),
        ([("cat", LEFT), ("dog", RIGHT)], [("dog", 0.9, LEFT), ("cat", 0.9, RIGHT)], ["wrong_class"] * 2, 0),
        ([("cat", LEFT), ("cat", RIGHT)], [("cat", 0.9, LEFT), ("cat", 0.8, FAR)], ["sound", "misplaced"], 0),
        ([], [("cat", 0.9, LEFT)], [], 1),
    ],
)
def test_each_failure_kind_is_diagnosed(make: Make, targets, detected, expected: list[str], unexplained: int) -> None:
    assert diagnosed_kinds(make(targets, detected)) == (expected, unexplained)


def test_identity_is_judged_for_detected_targets(make: Make) -> None:
    targets, detected = [("cat", LEFT), ("cat", RIGHT)], [("cat", 0.9, LEFT), ("cat", 0.9, RIGHT)]
    assert diagnosed_kinds(make(targets, detected), [[0.9, 0.6], [0.6, 0.9]])[0] == ["sound", "sound"]
    assert diagnosed_kinds(make(targets, detected), [[0.6, 0.9], [0.9, 0.6]])[0] == ["leaked_identity"] * 2
    assert diagnosed_kinds(make(targets, detected), [[0.9, 0.6], [0.3, 0.2]])[0] == ["sound", "wrong_identity"]
    assert diagnosed_kinds(make(targets, detected[:1]), [[0.2, 0.6], [0.9, 0.6]])[0] == ["leaked_identity", "missing"]
    assert diagnosed_kinds(make(targets, detected), [[np.nan, 0.6], [np.nan, 0.2]])[0] == ["sound", "wrong_identity"]


def test_shares_add_up_and_sound_is_at_most_recall(random_evidence: RandomSet, scorers: dict[str, str]) -> None:
    from layoutmark.metrics.miou import metrics as match_metrics

    evidence = [e for seed in range(4) for e in random_evidence(seed)]
    metric_by_name = {m.info.name: m for m in metrics(scorers)}
    columns = {n: m.outcomes(evidence) for n, m in metric_by_name.items() if n != "unexplained"}
    assert set(columns) == {f"targets_{k}" for k in Failure}
    (recall,) = (m.outcomes(evidence) for m in match_metrics(scorers) if m.info.name == "recall50")
    (extra,) = (m.outcomes(evidence) for m in match_metrics(scorers) if m.info.name == "extra_rate")
    occurring_kinds = set()
    for k, e in enumerate(evidence):
        rows = [c[k] for c in columns.values()]
        unexplained = metric_by_name["unexplained"].outcomes([e])[0].outcome
        assert isinstance(unexplained, Score)
        assert 0 <= unexplained.value <= extra[k].outcome.value  # type: ignore[union-attr]
        if not e.sample.layout.instances:
            assert {r.outcome for r in rows} == {Unscored("no targets")}
            continue
        assert sum(r.outcome.value for r in rows) == pytest.approx(1.0)  # type: ignore[union-attr]
        hit = sum(columns[f"targets_{x}"][k].outcome.value for x in ("sound", "duplicated"))  # type: ignore[union-attr]
        assert hit == pytest.approx(recall[k].outcome.value)  # type: ignore[union-attr]
        occurring_kinds |= {n for n, c in columns.items() if c[k].outcome.value > 0}  # type: ignore[union-attr]
    assert len(occurring_kinds) >= 4


def test_order_does_not_matter(random_evidence: RandomSet) -> None:
    rng = np.random.default_rng(0)
    for e in random_evidence(5):
        d = e.detections
        assert d is not None
        order = rng.permutation(len(d))
        shuffled = Detections(d.boxes[order], d.scores[order], tuple(d.labels[k] for k in order))
        assert diagnose(e.sample.layout, shuffled) == diagnose(e.sample.layout, d)


def test_only_sound_is_better_when_higher_and_no_image_is_dropped(make: Make, scorers: dict[str, str]) -> None:
    for metric in metrics(scorers):
        assert (metric.info.direction is Direction.HIGHER) == (metric.info.name == "targets_sound")
        images = [make([("cat", LEFT)], None, status=Status.FAILED), make([("cat", LEFT)], None)]
        outcomes = [o.outcome for o in metric.outcomes(images)]
        assert outcomes == [Unscored("failed"), Unscored("no detections stored")]
    without_encoder = [m.info.name for m in metrics({"detector": "d"})]
    assert "targets_leaked_identity" not in without_encoder
    assert "targets_missing" in without_encoder
