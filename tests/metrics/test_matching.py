"""One-to-one assignment against trying every assignment."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from layoutmark.evidence import Evidence
from layoutmark.layout import box_iou
from layoutmark.metrics.matching import best_overlap, generalised_iou, hits, likeliest

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]


def parts(e: Evidence) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Targets, boxes of sure detections, and their labels and indices."""
    assert e.detections is not None
    sure = np.flatnonzero(e.detections.scores >= 0.25)
    return e.sample.layout.boxes(), e.detections.boxes[sure], [e.detections.labels[k] for k in sure], sure


def every_assignment(e: Evidence) -> list[tuple[int, ...]]:
    """All one-to-one assignments within categories: for each target a sure detection or -1."""
    _, _, labels, sure = parts(e)
    names = [t.category for t in e.sample.layout.instances]
    choices = [[-1] + [k for k, label in enumerate(labels) if label == name] for name in names]
    found = []
    for pick in itertools.product(*choices):
        used = [k for k in pick if k >= 0]
        if len(used) == len(set(used)):
            found.append(tuple(int(sure[k]) if k >= 0 else -1 for k in pick))
    return found


@pytest.fixture
def small(random_evidence: RandomSet) -> list[Evidence]:
    return [e for seed in range(4) for e in random_evidence(seed, images=10)]


def test_best_overlap_has_the_greatest_sum(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        ious = box_iou(e.sample.layout.boxes(), e.detections.boxes)
        best = max(sum(ious[i, j] for i, j in enumerate(pick) if j >= 0) for pick in every_assignment(e))
        assert best_overlap(e.sample.layout, e.detections).sum() == pytest.approx(best, abs=1e-12)


def test_hits_are_as_many_as_can_be(small: list[Evidence]) -> None:
    most = 0
    for e in small:
        assert e.detections is not None
        ious = box_iou(e.sample.layout.boxes(), e.detections.boxes)
        valid = [p for p in every_assignment(e) if all(j < 0 or ious[i, j] >= 0.5 for i, j in enumerate(p))]
        best = max((sum(j >= 0 for j in p), sum(ious[i, j] for i, j in enumerate(p) if j >= 0)) for p in valid)
        found = hits(e.sample.layout, e.detections)
        overlap = sum(ious[i, j] for i, j in enumerate(found) if j >= 0)
        assert ((found >= 0).sum(), overlap) == (best[0], pytest.approx(best[1], abs=1e-12))
        assert all(ious[i, j] >= 0.5 for i, j in enumerate(found) if j >= 0)
        most = max(most, best[0])
    assert most > 2


def test_likeliest_leaves_no_pair_unmade_and_ranks_by_generalised_iou(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        worth = generalised_iou(e.sample.layout.boxes(), e.detections.boxes)
        every = every_assignment(e)
        best = max((sum(j >= 0 for j in p), sum(worth[i, j] for i, j in enumerate(p) if j >= 0)) for p in every)
        found = likeliest(e.sample.layout, e.detections)
        total = sum(worth[i, j] for i, j in enumerate(found) if j >= 0)
        assert ((found >= 0).sum(), total) == (best[0], pytest.approx(best[1], abs=1e-12))


def test_no_detection_serves_two_targets(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        for match in (hits, likeliest):
            used = [j for j in match(e.sample.layout, e.detections) if j >= 0]
            assert len(used) == len(set(used))


def test_two_boxes_of_one_category(make: Make) -> None:
    """Greedy by overlap takes the middle box for the left target and leaves the right one empty-handed."""
    left, right = (0.10, 0.1, 0.40, 0.5), (0.30, 0.1, 0.60, 0.5)
    middle, far_left = (0.18, 0.1, 0.48, 0.5), (0.00, 0.1, 0.30, 0.5)
    e = make([("cat", left), ("cat", right)], [("cat", 0.9, middle), ("cat", 0.8, far_left)])
    assert e.detections is not None
    overlaps = best_overlap(e.sample.layout, e.detections)
    assert overlaps == pytest.approx([0.2 / 0.4, 0.18 / 0.42])
    assert list(hits(e.sample.layout, e.detections, iou=0.4)) == [1, 0]
    alone = make([("cat", left), ("cat", left)], [("cat", 0.9, left)])
    assert alone.detections is not None
    assert sorted(best_overlap(alone.sample.layout, alone.detections)) == [0.0, 1.0]


def test_three_fair_hits_beat_two_perfect_ones(make: Make) -> None:
    """A row of boxes, each a third of a width further: two fit the next one exactly, and then one is lost."""
    row = [(0.096 * k, 0.1, 0.096 * k + 0.3, 0.5) for k in range(4)]
    e = make([("cat", box) for box in row[:3]], [("cat", 0.9, box) for box in row[1:]])
    assert e.detections is not None
    assert list(hits(e.sample.layout, e.detections)) == [0, 1, 2]
    assert list(best_overlap(e.sample.layout, e.detections)) == pytest.approx([0.012 / 0.588, 1.0, 1.0], abs=1e-12)


def test_confidence_and_category_are_respected(make: Make) -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    e = make([("cat", box), ("dog", box)], [("cat", 0.25, box), ("dog", 0.2499, box), ("bus", 0.9, box)])
    assert e.detections is not None
    assert list(best_overlap(e.sample.layout, e.detections)) == [1.0, 0.0]
    assert list(likeliest(e.sample.layout, e.detections)) == [1, -1]


def test_likeliest_takes_a_thing_that_touches_nothing(make: Make) -> None:
    e = make([("cat", (0.0, 0.0, 0.2, 0.2))], [("cat", 0.9, (0.8, 0.8, 1, 1)), ("cat", 0.4, (0.3, 0.3, 0.5, 0.5))])
    assert e.detections is not None
    assert list(likeliest(e.sample.layout, e.detections)) == [1]
    assert list(hits(e.sample.layout, e.detections)) == [-1]


def test_nothing_wanted_and_nothing_seen(make: Make) -> None:
    for e in (make([], []), make([("cat", (0, 0, 1, 1))], []), make([], [("cat", 0.9, (0, 0, 1, 1))])):
        assert e.detections is not None
        n = len(e.sample.layout.instances)
        assert best_overlap(e.sample.layout, e.detections).tolist() == [0.0] * n
        assert likeliest(e.sample.layout, e.detections).tolist() == [-1] * n


def test_generalised_iou_of_known_boxes() -> None:
    a = np.array([[0.0, 0.0, 0.5, 0.5]])
    b = np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], [0.25, 0.0, 0.75, 0.5]])
    assert generalised_iou(a, b)[0] == pytest.approx([1.0, -0.5, 1 / 3])


def test_generalised_iou_equals_torchvision(random_evidence: RandomSet) -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra")
    ops = pytest.importorskip("torchvision.ops", reason="torchvision is an extra")
    a = np.concatenate([e.sample.layout.boxes() for e in random_evidence(0)])
    b = np.concatenate([e.sample.layout.boxes() for e in random_evidence(1)])
    expected = ops.generalized_box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert generalised_iou(a, b) == pytest.approx(expected, abs=1e-12)
