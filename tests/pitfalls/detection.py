"""Pitfalls 1 to 22: detection and average precision."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import Any

import numpy as np

from layoutmark.evidence import CropEvidence, Detections
from layoutmark.features import detector as yolo
from layoutmark.features.images import letterbox
from layoutmark.layout import box_iou
from layoutmark.metrics import all_metrics, ap_table, coco, coco_match, matching, miou
from layoutmark.provenance import protocol_hash
from layoutmark.registry import Registry
from registry import (
    Bench,
    assert_doctor_fails,
    assert_refused,
    assert_twin_differs,
    expect,
    make_evidence_of,
    metric_value,
    not_injected,
    pitfall,
)

LEFT, RIGHT = (0.0, 0.2, 0.4, 0.6), (0.5, 0.2, 0.9, 0.6)


@pitfall(
    1,
    "a detector's own AP is not COCO AP",
    "AP sampled at 11 recall levels instead of 101",
    "twin: pycocotools directly",
)
def use_11_recall_levels(bench: Bench) -> None:
    for module in (coco, ap_table):
        bench.patch.setattr(module, "RECALL_LEVELS", np.linspace(0, 1, 11), raising=False)
    assert_twin_differs("ap50", "ap")


@pitfall(2, "detections truncated at the display threshold", "detector run from confidence 0.25", "doctor")
def truncate_at_display_threshold(bench: Bench) -> None:
    bench.patch.setattr(yolo, "MIN_RANKED_CONFIDENCE", 0.25)
    assert_doctor_fails(bench, "detections are stored from low confidence")


@pitfall(3, "NMS or image size changed", "NMS at IoU 0.3", "full detector name, and thus the protocol hash")
def change_nms(bench: Bench) -> None:
    before = bench.context.scorers.names()
    bench.patch.setattr(yolo, "NMS_IOU", 0.3)
    after = bench.context.scorers.names()
    expect(before["detector"] != after["detector"] and protocol_hash(before) != protocol_hash(after))


@pitfall(4, "detector depends on its batch", "confidences increase with the batch size", "doctor")
def scale_confidence_with_batch(bench: Bench) -> None:
    original = yolo.YoloDetector.detect

    def detect(self: yolo.YoloDetector, images: Any) -> list[Detections]:
        detections = original(self, images)
        return [dataclasses.replace(d, scores=d.scores * (1 - 0.01 / len(images))) for d in detections]

    bench.patch.setattr(yolo.YoloDetector, "detect", detect)
    assert_doctor_fails(bench, "scores do not depend on the batch")


@pitfall(5, "class index mapped to another class", "class table rotated by one", "doctor")
def rotate_class_table(bench: Bench) -> None:
    model = bench.context.scorers.detector
    bench.patch.setattr(model, "names", (*model.names[1:], model.names[0]))
    assert_doctor_fails(bench, "detector finds true objects")


@pitfall(
    6, "annotation id 0 read as unmatched", "a match with target 0 treated as no match", "doctor: perfect boxes score 1"
)
def drop_matches_with_target_zero(bench: Bench) -> None:
    original = coco_match._match_greedily
    bench.patch.setattr(
        coco_match, "_match_greedily", lambda *arguments: {d: g for d, g in original(*arguments).items() if g}
    )
    assert_doctor_fails(bench, "perfect boxes score 1")


@pitfall(
    7, "areas in other units, -1 for an empty bin", "areas in fractions of the canvas", "twin: pycocotools directly"
)
def measure_areas_in_fractions(bench: Bench) -> None:
    original = coco._objects

    def objects_in_fractions(*arguments: Any) -> coco_match.Objects:
        objects = original(*arguments)
        return dataclasses.replace(objects, areas=objects.areas / 256**2)

    expect(
        metric_value("ap_large", make_evidence_of(("dog", LEFT), found=[("dog", LEFT, 0.9)])) is None,
        "an empty bin has a value",
    )
    bench.patch.setattr(coco, "_objects", objects_in_fractions)
    assert_twin_differs("ap_medium")


@pitfall(8, "the image set depends on a recipe", "one sample of a suite edited by hand", "suite checksum")
def edit_suite(bench: Bench) -> None:
    opened = Registry().get_suite("mini").load().open_suite("mini")
    suites = importlib.import_module(type(opened).__module__)
    rows = [opened._row(s.id) for s in opened.samples[:2]]
    moved = {**rows[0], "things": [[*t[:3], t[3] + 1, *t[4:]] for t in rows[0]["things"]]}
    listing = {"version": "1", "digest": opened.digest, "samples": [moved, rows[1]]}
    assert_refused(lambda: suites.MiniSuite("mini", listing), "as published")
    assert_refused(lambda: suites.MiniSuite("mini", {**listing, "samples": rows}), "as published")


@pitfall(9, "labels are not exhaustive", "a detection of an unverified category", "`judged`: not counted as a mistake")
def detect_unverified_category(bench: Bench) -> None:
    detections = [("dog", LEFT, 0.9), ("cat", RIGHT, 0.9)]
    expect(metric_value("precision50", make_evidence_of(("dog", LEFT), found=detections, judged=("dog",))) == 1.0)
    expect(metric_value("precision50", make_evidence_of(("dog", LEFT), found=detections, judged=("dog", "cat"))) == 0.5)


@pitfall(10, "a subset is compared with the full set", "a different sample limit", "protocol hash; compare refuses")
def change_sample_limit(bench: Bench) -> None:
    parts = {"suite": {"name": "mini", "limit": 24}}
    expect(protocol_hash(parts) != protocol_hash({"suite": {"name": "mini", "limit": None}}))


not_injected(11, "bootstrap of AP is biased", "a property, not a fault; simulated in `tests/validity/coverage.py`")


def assign_with_repetition(worth: Any, maximize: bool = True) -> tuple[Any, Any]:
    """The best column for each row, even if another row uses it too."""
    return np.arange(len(worth)), np.asarray(worth).argmax(axis=1)


@pitfall(12, "the best detection for each target, even if already used", "assignment by largest IoU", "twin")
def reuse_best_detections(bench: Bench) -> None:
    bench.patch.setattr(matching, "linear_sum_assignment", assign_with_repetition)
    assert_twin_differs("miou")


@pitfall(13, "one detection for several targets", "assignment by largest IoU", "two dogs, one detection: recall 0.5")
def match_detection_to_two_targets(bench: Bench) -> None:
    two = make_evidence_of(("dog", LEFT), ("dog", (0.02, 0.2, 0.42, 0.6)), found=[("dog", LEFT, 0.9)])
    assert metric_value("recall50", two) == 0.5
    bench.patch.setattr(matching, "linear_sum_assignment", assign_with_repetition)
    expect(metric_value("recall50", two) != 0.5)


@pitfall(14, "mean IoU of detected objects only", "targets without a detection omitted", "twin")
def average_detected_targets_only(bench: Bench) -> None:
    original = matching.matched_ious
    bench.patch.setattr(
        miou, "matched_ious", lambda *a: np.where((v := original(*a)) == 0, v[v > 0].mean() if v.any() else 0, v)
    )
    assert_twin_differs("miou")


@pitfall(15, "extra objects are never penalised", "ten detections of nothing", "`precision50` and `extra_rate`")
def add_extra_detections(bench: Bench) -> None:
    correct, extras = ("dog", LEFT, 0.9), [("dog", (0.5 + k / 40, 0.7, 0.6 + k / 40, 0.9), 0.8) for k in range(10)]
    image = make_evidence_of(("dog", LEFT), found=[correct, *extras])
    expect(metric_value("miou", image) == 1.0 and metric_value("extra_rate", image) == 10)
    expect((metric_value("precision50", image) or 1) < 0.1)


@pitfall(16, "IoU with an extra pixel per side", "boxes enlarged by 1/64", "twin")
def enlarge_boxes(bench: Bench) -> None:
    def enlarged_box_iou(a: Any, b: Any) -> Any:
        grown = np.array([0, 0, 1 / 64, 1 / 64])
        return box_iou(a + grown, b + grown)

    bench.patch.setattr(matching, "box_iou", enlarged_box_iou)
    assert_twin_differs("miou")


@pitfall(17, "anything detected scores more than nothing", "a detection that touches no target", "scores stay 0")
def detect_beside_target(bench: Bench) -> None:
    image = make_evidence_of(("dog", LEFT), found=[("dog", RIGHT, 0.9)])
    expect([metric_value(n, image) for n in ("miou", "recall50", "success_rate", "ap50", "ap")] == [0.0] * 5)


@pitfall(18, "labels used as keys, so repeated classes collapse", "two dogs, one detected", "ids: recall 0.5")
def detect_one_of_two_dogs(bench: Bench) -> None:
    image = make_evidence_of(("dog", LEFT), ("dog", RIGHT), found=[("dog", LEFT, 0.9)])
    expect(metric_value("recall50", image) == 0.5 and metric_value("miou", image) == 0.5)


@pitfall(19, "boxes shifted on images that are not square", "letterbox bars not subtracted", "doctor")
def ignore_letterbox_bars(bench: Bench) -> None:
    def letterbox_without_bars(pixels: Any, size: int) -> Any:
        image, _ = letterbox(pixels, size)
        return image, (0.0, 0.0, float(size), float(size))

    bench.patch.setattr(yolo, "letterbox", letterbox_without_bars)
    assert_doctor_fails(bench, "boxes are right on any canvas")


@pitfall(20, "detections change with the machine", "detector weights perturbed by 3 %", "doctor: stored canaries")
def perturb_weights(bench: Bench) -> None:
    import torch

    weights = list(bench.context.scorers.detector._model.parameters())
    before = [w.clone() for w in weights]
    generator = torch.Generator().manual_seed(0)
    try:
        for w in weights:
            w.mul_(1 + 0.03 * torch.randn(w.shape, generator=generator))
        assert_doctor_fails(bench, "scorers match stored outputs")
    finally:
        for w, original in zip(weights, before, strict=True):
            w.copy_(original)


@pitfall(21, "detector misses a class that people see", "true images on which a class is never detected", "calibration")
def hide_a_class(bench: Bench) -> None:
    loaded = Registry().get_report("html").load()
    package = loaded.__name__.rpartition(".")[0]
    calibration = importlib.import_module(f"{package}.calibration")
    results = sys.modules[f"{package}.results"].Results
    data = bench.tiny.results()
    for image in data["images"]:
        if image["method"] == "ceiling":
            for instance in image["instances"].values():
                instance["recall50"] = 0.0

    def list_rarely_detected(run_results: Any) -> list[str]:
        rows = calibration.calibrate(results(run_results)).true_images.rows
        return [row.value for row in rows if row.is_rarely_detected]

    expect(not list_rarely_detected(bench.tiny.results()) and list_rarely_detected(data))


@pitfall(22, "the colour of a tiny crop is arbitrary", "a box of fewer than 100 pixels", "not assessed, and counted")
def judge_tiny_crop(bench: Bench) -> None:
    from layoutmark.metrics.colour import judge_colour_in_box
    from layoutmark.score import Unscored

    crop = CropEvidence("0", {}, {}, {"red": 1.0}, 99)
    outcome = judge_colour_in_box("red", crop)
    expect(isinstance(outcome, Unscored) and "100 pixels" in outcome.reason)
    names = {m.info.name: m.info.variant for m in all_metrics({"pixels": "hsv"})}
    expect("at least 100 pixels" in names["colour_accuracy"])
