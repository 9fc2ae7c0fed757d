"""One-to-one assignment against exhaustive search."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from layoutmark.evidence import Evidence
from layoutmark.layout import box_iou
from layoutmark.metrics.matching import generalised_iou, match_hits, match_nearest, matched_ious

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]


def split_image(e: Evidence) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Target boxes, and boxes, labels and indices of the confident detections."""
    assert e.detections is not None
    confident = np.flatnonzero(e.detections.scores >= 0.25)
    return (
        e.sample.layout.boxes(),
        e.detections.boxes[confident],
        [e.detections.labels[k] for k in confident],
        confident,
    )


def all_assignments(e: Evidence) -> list[tuple[int, ...]]:
    """All one-to-one assignments within categories: for each target a confident detection or -1."""
    _, _, labels, confident = split_image(e)
    names = [t.category for t in e.sample.layout.instances]
    choices = [[-1] + [k for k, label in enumerate(labels) if label == name] for name in names]
    assignments = []
    for assignment in itertools.product(*choices):
        used = [k for k in assignment if k >= 0]
        if len(used) == len(set(used)):
            assignments.append(tuple(int(confident[k]) if k >= 0 else -1 for k in assignment))
    return assignments


@pytest.fixture
def small(random_evidence: RandomSet) -> list[Evidence]:
    return [e for seed in range(4) for e in random_evidence(seed, images=10)]


def test_matched_ious_have_the_largest_sum(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        ious = box_iou(e.sample.layout.boxes(), e.detections.boxes)
        best = max(sum(ious[i, j] for i, j in enumerate(assignment) if j >= 0) for assignment in all_assignments(e))
        assert matched_ious(e.sample.layout, e.detections).sum() == pytest.approx(best, abs=1e-12)


def test_as_many_targets_as_possible_are_hit(small: list[Evidence]) -> None:
    max_hits = 0
    for e in small:
        assert e.detections is not None
        ious = box_iou(e.sample.layout.boxes(), e.detections.boxes)
        valid = [p for p in all_assignments(e) if all(j < 0 or ious[i, j] >= 0.5 for i, j in enumerate(p))]
        best = max((sum(j >= 0 for j in p), sum(ious[i, j] for i, j in enumerate(p) if j >= 0)) for p in valid)
        hits = match_hits(e.sample.layout, e.detections)
        overlap = sum(ious[i, j] for i, j in enumerate(hits) if j >= 0)
        assert ((hits >= 0).sum(), overlap) == (best[0], pytest.approx(best[1], abs=1e-12))
        assert all(ious[i, j] >= 0.5 for i, j in enumerate(hits) if j >= 0)
        max_hits = max(max_hits, best[0])
    assert max_hits > 2


def test_nearest_matches_all_possible_pairs_and_maximises_generalised_iou(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        gain = generalised_iou(e.sample.layout.boxes(), e.detections.boxes)
        assignments = all_assignments(e)
        best = max((sum(j >= 0 for j in p), sum(gain[i, j] for i, j in enumerate(p) if j >= 0)) for p in assignments)
        assigned = match_nearest(e.sample.layout, e.detections)
        total = sum(gain[i, j] for i, j in enumerate(assigned) if j >= 0)
        assert ((assigned >= 0).sum(), total) == (best[0], pytest.approx(best[1], abs=1e-12))


def test_no_detection_serves_two_targets(small: list[Evidence]) -> None:
    for e in small:
        assert e.detections is not None
        for match_fn in (match_hits, match_nearest):
            used = [j for j in match_fn(e.sample.layout, e.detections) if j >= 0]
            assert len(used) == len(set(used))


def test_two_boxes_of_one_category(make: Make) -> None:
    """Greedy matching would give the middle box to the left target and leave the right target without one."""
    left, right = (0.10, 0.1, 0.40, 0.5), (0.30, 0.1, 0.60, 0.5)
    middle, far_left = (0.18, 0.1, 0.48, 0.5), (0.00, 0.1, 0.30, 0.5)
    e = make([("cat", left), ("cat", right)], [("cat", 0.9, middle), ("cat", 0.8, far_left)])
    assert e.detections is not None
    ious = matched_ious(e.sample.layout, e.detections)
    assert ious == pytest.approx([0.2 / 0.4, 0.18 / 0.42])
    assert list(match_hits(e.sample.layout, e.detections, iou=0.4)) == [1, 0]
    one_detection = make([("cat", left), ("cat", left)], [("cat", 0.9, left)])
    assert one_detection.detections is not None
    assert sorted(matched_ious(one_detection.sample.layout, one_detection.detections)) == [0.0, 1.0]


def test_three_fair_hits_beat_two_perfect_ones(make: Make) -> None:
    """Boxes in a row, each shifted by a third of the width: matching two perfectly would leave the third unmatched."""
    boxes = [(0.096 * k, 0.1, 0.096 * k + 0.3, 0.5) for k in range(4)]
    e = make([("cat", box) for box in boxes[:3]], [("cat", 0.9, box) for box in boxes[1:]])
    assert e.detections is not None
    assert list(match_hits(e.sample.layout, e.detections)) == [0, 1, 2]
    assert list(matched_ious(e.sample.layout, e.detections)) == pytest.approx([0.012 / 0.588, 1.0, 1.0], abs=1e-12)


def test_confidence_and_category_are_respected(make: Make) -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    e = make([("cat", box), ("dog", box)], [("cat", 0.25, box), ("dog", 0.2499, box), ("bus", 0.9, box)])
    assert e.detections is not None
    assert list(matched_ious(e.sample.layout, e.detections)) == [1.0, 0.0]
    assert list(match_nearest(e.sample.layout, e.detections)) == [1, -1]


def test_nearest_matches_boxes_that_do_not_touch(make: Make) -> None:
    e = make([("cat", (0.0, 0.0, 0.2, 0.2))], [("cat", 0.9, (0.8, 0.8, 1, 1)), ("cat", 0.4, (0.3, 0.3, 0.5, 0.5))])
    assert e.detections is not None
    assert list(match_nearest(e.sample.layout, e.detections)) == [1]
    assert list(match_hits(e.sample.layout, e.detections)) == [-1]


def test_no_targets_and_no_detections(make: Make) -> None:
    for e in (make([], []), make([("cat", (0, 0, 1, 1))], []), make([], [("cat", 0.9, (0, 0, 1, 1))])):
        assert e.detections is not None
        n = len(e.sample.layout.instances)
        assert matched_ious(e.sample.layout, e.detections).tolist() == [0.0] * n
        assert match_nearest(e.sample.layout, e.detections).tolist() == [-1] * n


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
