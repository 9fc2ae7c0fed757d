"""AP50, AP and AP75 as metrics: a set's value by pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.door import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.ap_table import ApTable, ap_draws, ap_from_table, ap_table
from layoutmark.metrics.coco import CONFIDENCE, MAX_DETECTIONS, coco_ap
from layoutmark.metrics.mean import NO_TARGETS, Summary, summary, without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

__all__ = ["ApTable", "AveragePrecision", "ap_draws", "ap_from_table", "ap_table", "coco_ap", "metrics"]

IOU_50_95 = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))


@dataclass(frozen=True)
class AveragePrecision:
    """AP over IoU thresholds.  Its value belongs to the set; an image's outcome is the AP of that image alone."""

    info: MetricInfo
    thresholds: tuple[float, ...]

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """AP of the images that have pixels and stored detections; `n` counts them."""
        counted = summary(self._states(evidence))
        value = coco_ap(evidence, self.thresholds)
        if value is not None or not counted.n:
            return Summary(value, counted.n, counted.of, counted.unscored)
        return Summary(None, 0, counted.of, {**counted.unscored, NO_TARGETS: counted.n})

    def resampled(self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """AP under each row of weights (draws, len(evidence))."""
        return ap_draws(ap_table(evidence, self.thresholds), weights)

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """AP of each image alone, in order.  Their mean is not the AP of the set."""
        table = ap_table(evidence, self.thresholds)
        found = []
        for position, state in enumerate(self._states(evidence)):
            outcome = state.outcome
            if isinstance(outcome, Score):
                weights = np.zeros(len(evidence), dtype=np.int64)
                weights[position] = 1
                alone = ap_from_table(table, weights)
                outcome = Unscored(NO_TARGETS) if alone is None else Score(alone)
            found.append(SampleOutcome(state.sample, state.seed, outcome))
        return found

    def _states(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        def state(e: Evidence) -> Outcome:
            return without_pixels(e) or (Unscored("no detections stored") if e.detections is None else Score(1.0))

        return [SampleOutcome(e.sample.id, e.seed, state(e)) for e in evidence]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`ap50`, `ap` and `ap75`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"conf>={CONFIDENCE}, at most {MAX_DETECTIONS} detections, detector {scorers['detector']}, pycocotools"
    kinds = (("ap50", "AP50", "0.5", (0.5,)), ("ap", "AP", "0.5:0.95", IOU_50_95), ("ap75", "AP75", "0.75", (0.75,)))
    return tuple(
        AveragePrecision(
            MetricInfo(name, f"{name}[box, IoU {iou}, {how}]", title, "AP", Direction.HIGHER, 0.0, 1.0, "1"), thresholds
        )
        for name, title, iou, thresholds in kinds
    )
