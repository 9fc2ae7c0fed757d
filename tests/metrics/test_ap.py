"""AP against pycocotools called directly, against a plain implementation, and on cases with known answers."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import Summary, summarise_metric
from layoutmark.metrics.ap import IOU_50_95, AveragePrecision, ap_from_table, ap_table, metrics, resampled_ap
from layoutmark.score import Score, Status, Unscored

RandomSet = Callable[..., list[Evidence]]
Make = Callable[..., Evidence]
ORACLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "oracles" / "padilla_toy"


@pytest.fixture
def ap50(scorers: dict[str, str]) -> AveragePrecision:
    return find_metric("ap50", scorers)


def find_metric(name: str, scorers: dict[str, str]) -> AveragePrecision:
    (metric,) = (m for m in metrics(scorers) if m.info.name == name)
    assert isinstance(metric, AveragePrecision)
    return metric


def pycocotools_ap(evidence: Sequence[Evidence]) -> tuple[float, float, float]:
    """AP, AP50, AP75 by pycocotools with its default parameters, loaded by `loadRes` in the given order."""
    names = ["bus", "cat", "dog", "kite"]
    annotations, results = [], []
    for image, e in enumerate(evidence, start=10):
        canvas = e.sample.layout.canvas
        for t in e.sample.layout.instances:
            x0, y0, x1, y1 = t.box.to_pixels(canvas)
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": names.index(t.category) + 1, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
        assert e.detections is not None
        for label, score, (x0, y0, x1, y1) in zip(
            e.detections.labels, e.detections.scores, e.detections.boxes, strict=True
        ):
            box = [x0 * canvas.width, y0 * canvas.height, (x1 - x0) * canvas.width, (y1 - y0) * canvas.height]
            results.append({"image_id": image, "category_id": names.index(label) + 1, "bbox": box, "score": score})
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(10, 10 + len(evidence))],
        "categories": [{"id": k, "name": n} for k, n in enumerate(names, start=1)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0]), float(run.stats[1]), float(run.stats[2])


def plain_ap(evidence: Sequence[Evidence], threshold: float) -> float:
    """AP in plain Python: greedy matching in order of confidence, precision at 101 recalls, mean over categories."""
    values = []
    for name in sorted({t.category for e in evidence for t in e.sample.layout.instances}):
        ranked_detections = []
        positives = 0
        for e in evidence:
            targets = [t.box.xyxy for t in e.sample.layout.instances if t.category == name]
            positives += len(targets)
            unmatched = list(targets)
            assert e.detections is not None
            for label, score, box in zip(e.detections.labels, e.detections.scores, e.detections.boxes, strict=True):
                if label == name:
                    best = max(unmatched, key=lambda t: overlap(t, box), default=None)
                    hit = best is not None and overlap(best, box) >= threshold
                    if hit:
                        unmatched.remove(best)  # type: ignore[arg-type]
                    ranked_detections.append((score, hit))
        ranked_detections.sort(key=lambda r: -r[0])
        true_positives = 0
        curve = []
        for rank, (_, hit) in enumerate(ranked_detections, start=1):
            true_positives += hit
            curve.append((true_positives / positives, true_positives / rank))
        highest = [max((p for r, p in curve if r >= level / 100 - 1e-12), default=0.0) for level in range(101)]
        values.append(sum(highest) / 101)
    return sum(values) / len(values)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools_called_directly(seed: int, random_evidence: RandomSet, scorers: dict[str, str]) -> None:
    evidence = random_evidence(seed)
    values = [summarise_metric(find_metric(n, scorers), evidence).value for n in ("ap", "ap50", "ap75")]
    assert values == pytest.approx(pycocotools_ap(evidence), abs=1e-12)
    assert 0.05 < values[0] < 0.95  # type: ignore[operator]


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_plain_implementation(seed: int, random_evidence: RandomSet, ap50: AveragePrecision) -> None:
    evidence = random_evidence(100 + seed)
    assert summarise_metric(ap50, evidence).value == pytest.approx(plain_ap(evidence, 0.5), abs=1e-9)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("thresholds", [(0.5,), IOU_50_95])
def test_weights_of_one_give_the_metric(tied: bool, thresholds: tuple[float, ...], random_evidence: RandomSet) -> None:
    evidence = random_evidence(7, tied=tied)
    table = ap_table(evidence, thresholds)
    expected = pycocotools_ap(evidence)[1 if thresholds == (0.5,) else 0]
    assert ap_from_table(table, np.ones(len(evidence), np.int64)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_physical_copies(seed: int, tied: bool, random_evidence: RandomSet) -> None:
    evidence = random_evidence(seed, images=20, tied=tied)
    table = ap_table(evidence)
    weights = np.random.default_rng(seed).multinomial(len(evidence), np.full(len(evidence), 1 / len(evidence)))
    assert weights.min() == 0
    assert weights.max() > 1
    copies = [e for e, w in zip(evidence, weights, strict=True) for _ in range(w)]
    assert ap_from_table(table, weights) == pytest.approx(pycocotools_ap(copies)[1], abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("thresholds", [(0.5,), IOU_50_95])
def test_many_draws_equal_single_draws(tied: bool, thresholds: tuple[float, ...], random_evidence: RandomSet) -> None:
    evidence = random_evidence(4, images=20, tied=tied)
    table = ap_table(evidence, thresholds)
    weights = np.random.default_rng(4).integers(0, 4, (50, len(evidence)))
    weights[3] = 0
    weights[4, 1:] = 0
    single = [ap_from_table(table, w) for w in weights]
    expected = np.array([np.nan if v is None else v for v in single])
    assert np.isnan(expected[3])
    np.testing.assert_allclose(resampled_ap(table, weights), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_hit_first", [False, True])
def test_ties_inside_an_image_repeat_as_a_group(is_hit_first: bool, make: Make) -> None:
    """A hit and a miss with one score, in an image that counts three times: a b a b a b, not a a a b b b."""
    box, other_box = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9)
    detected = [("cat", 0.5, box), ("cat", 0.5, other_box)]
    evidence = [make([("cat", box)], detected if is_hit_first else detected[::-1])]
    value = ap_from_table(ap_table(evidence), np.array([3]))
    assert value == pytest.approx(pycocotools_ap(evidence * 3)[1], abs=1e-12)
    assert value == pytest.approx((34 * 1 + 33 * 2 / 3 + 34 * 3 / 5) / 101 if is_hit_first else 0.5)


def test_order_and_mirror_do_not_matter(random_evidence: RandomSet, ap50: AveragePrecision) -> None:
    evidence = random_evidence(3, tied=True)
    value = summarise_metric(ap50, evidence).value
    assert summarise_metric(ap50, evidence[::-1]).value == value
    assert summarise_metric(ap50, [mirrored(e) for e in evidence]).value == pytest.approx(value, abs=1e-12)


def mirrored(e: Evidence) -> Evidence:
    instances = tuple(dataclasses.replace(i, box=i.box.flipped()) for i in e.sample.layout.instances)
    assert e.detections is not None
    boxes = e.detections.boxes.copy()
    boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, instances))
    return dataclasses.replace(e, sample=sample, detections=Detections(boxes, e.detections.scores, e.detections.labels))


def test_better_boxes_score_better_and_perfect_is_one(make: Make, scorers: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    boxes = [(0.1 + 0.2 * k, 0.2, 0.25 + 0.2 * k, 0.6) for k in range(4)]

    def moved(scale: float) -> list[Evidence]:
        noise = rng.normal(size=(30, 4, 4))
        return [
            make(
                [("cat", p) for p in boxes],
                [("cat", 0.9, tuple(np.clip(np.array(p) + scale * n, 0, 1))) for p, n in zip(boxes, rows, strict=True)],
                id=f"s{k}",
            )
            for k, rows in enumerate(noise)
        ]

    values = [summarise_metric(find_metric("ap", scorers), moved(scale)).value for scale in (0.0, 0.005, 0.02, 0.08)]
    assert values[0] == pytest.approx(1.0, abs=1e-12)
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    assert len(set(values)) == 4


def test_the_first_annotation_can_be_matched(make: Make, ap50: AveragePrecision) -> None:
    """With ids from 0, pycocotools takes the match of the first annotation for no match, and AP becomes 0."""
    box = (0.1, 0.1, 0.5, 0.5)
    assert summarise_metric(ap50, [make([("cat", box)], [("cat", 0.9, box)])]).value == pytest.approx(1.0)


def test_detections_below_the_threshold_and_of_other_categories_do_not_count(
    make: Make, ap50: AveragePrecision
) -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    evidence = [make([("cat", box)], [("cat", 0.0009, box), ("dog", 0.9, box)])]
    assert summarise_metric(ap50, evidence).value == 0.0
    evidence = [make([("cat", box)], [("cat", 0.001, box), ("dog", 0.9, box)])]
    assert summarise_metric(ap50, evidence).value == pytest.approx(1.0)


def test_nothing_to_average_gives_none_not_minus_one(make: Make, ap50: AveragePrecision) -> None:
    detected = [("cat", 0.9, (0.1, 0.1, 0.5, 0.5))]
    empty = summarise_metric(ap50, [])
    assert (empty.value, empty.n, empty.requested) == (None, 0, 0)
    without_targets = summarise_metric(ap50, [make([], detected)])
    assert without_targets == Summary(None, 0, 1, {"no targets": 1})
    failed = summarise_metric(ap50, [make([("cat", (0.1, 0.1, 0.5, 0.5))], None, status=Status.FAILED)])
    assert failed == Summary(None, 0, 1, {"failed": 1})
    table = ap_table([make([], detected)])
    assert ap_from_table(table, np.array([1])) is None


def test_a_category_without_targets_in_the_draw_is_not_averaged(make: Make) -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    evidence = [make([("cat", box)], [("cat", 0.9, box)], id="a"), make([("dog", box)], [], id="b")]
    table = ap_table(evidence)
    assert ap_from_table(table, np.array([1, 1])) == pytest.approx(0.5)
    assert ap_from_table(table, np.array([1, 0])) == pytest.approx(1.0)
    assert ap_from_table(table, np.array([0, 0])) is None


def test_images_without_pixels_are_left_out_and_counted(
    make: Make, random_evidence: RandomSet, ap50: AveragePrecision
) -> None:
    evidence = random_evidence(1)
    lost_images = [
        make([("cat", (0.1, 0.1, 0.5, 0.5))], None, id="x", status=Status.MISSING),
        make([("cat", (0.1, 0.1, 0.5, 0.5))], None, id="y", status=Status.NOT_APPLICABLE),
        make([("cat", (0.1, 0.1, 0.5, 0.5))], None, id="z"),
    ]
    images = [lost_images[0], *evidence, *lost_images[1:]]
    summary = summarise_metric(ap50, images)
    assert summary.value == summarise_metric(ap50, evidence).value
    assert (summary.n, summary.requested) == (len(evidence), len(evidence) + 3)
    assert summary.unscored == {"missing": 1, "no detections stored": 1, "not_applicable": 1}
    weights = np.ones((1, len(evidence) + 3), np.int64)
    assert ap50.resampled_values(images, weights) == pytest.approx(summary.value, abs=1e-12)


def test_degenerate_images_are_scored(make: Make, ap50: AveragePrecision) -> None:
    summary = summarise_metric(ap50, [make([("cat", (0.1, 0.1, 0.5, 0.5))], [], status=Status.DEGENERATE)])
    assert (summary.value, summary.n) == (0.0, 1)


def test_an_outcome_is_the_ap_of_the_image_alone(
    make: Make, random_evidence: RandomSet, ap50: AveragePrecision
) -> None:
    evidence = [*random_evidence(5), make([], [], id="t"), make([], None, id="u", status=Status.FAILED)]
    outcomes = ap50.outcomes(evidence)
    assert [o.sample for o in outcomes] == [e.sample.id for e in evidence]
    assert [o.seed for o in outcomes] == [e.seed for e in evidence]
    for e, o in zip(evidence, outcomes, strict=True):
        if isinstance(o.outcome, Score):
            assert o.outcome.value == pytest.approx(pycocotools_ap([e])[1], abs=1e-12)
        else:
            assert not e.sample.layout.instances
    assert [o.outcome for o in outcomes[-2:]] == [Unscored("no targets"), Unscored("failed")]


def test_weights_of_another_shape_are_refused(random_evidence: RandomSet) -> None:
    table = ap_table(random_evidence(0))
    with pytest.raises(LayoutmarkError, match=r"weights of AP: found shape \(3,\), smallest 1; expected shape \(12,\)"):
        ap_from_table(table, np.ones(3, np.int64))
    with pytest.raises(LayoutmarkError, match="smallest -1"):
        ap_from_table(table, -np.ones(12, np.int64))


def test_the_variant_names_everything_that_changes_the_value(ap50: AveragePrecision) -> None:
    assert ap50.info.variant == (
        "ap50[box, IoU 0.5, conf>=0.001, at most 100 detections, detector tiny-yolo, pycocotools]"
    )


def test_ap_of_a_public_toy_data_set(scorers: dict[str, str]) -> None:
    """Padilla et al.'s public toy set. Its first annotation has id 0; AP50 is 0.7595 if that is read as "no match"."""
    ground_truth_path = ORACLES / "gts_coco_format/toy_example_coco.JSON"
    detections_path = ORACLES / "dets_coco_format/coco_dets.json"
    if not ground_truth_path.exists():
        pytest.skip("the toy data set is not available")
    gt = json.loads(ground_truth_path.read_text("utf-8"))
    dt = json.loads(detections_path.read_text("utf-8"))["annotations"]
    evidence = []
    for image in gt["images"]:
        canvas = Canvas(image["width"], image["height"])
        size = np.array([canvas.width, canvas.height] * 2)
        image_targets = [a for a in gt["annotations"] if a["image_id"] == image["id"]]
        detected = sorted((d for d in dt if d["image_id"] == image["id"]), key=lambda d: -d["score"])
        instances = tuple(
            Instance(str(a["id"]), "", str(a["category_id"]), Box.from_pixels_xywh(*a["bbox"], canvas))
            for a in image_targets
        )
        boxes = np.array([d["bbox"] for d in detected], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = tuple(str(d["category_id"]) for d in detected)
        scores = np.array([d["score"] for d in detected], dtype=np.float64)
        sample = Sample(f"{image['id']:05d}", "", Layout(canvas, instances))
        evidence.append(Evidence(sample, 0, Status.OK, "", Detections(boxes / size, scores, labels)))
    values = [summarise_metric(find_metric(n, scorers), evidence).value for n in ("ap", "ap50", "ap75")]
    assert values == pytest.approx([0.5979231495, 0.8902640264, 0.5092409241], abs=1e-9)
