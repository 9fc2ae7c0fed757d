"""AP and AR by pycocotools: values of a set of images, for all targets or for those of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, Summary, missing_pixels_reason, summarise_outcomes
from layoutmark.metrics.ap_table import (
    ApTable,
    ap_from_table,
    ap_per_image,
    ap_table,
    ar_per_image,
    build_ap_table,
    resampled_ap,
    resampled_ar,
    select_thresholds,
)
from layoutmark.metrics.coco import (
    ALL_AREAS,
    MAX_DETECTIONS,
    MIN_RANKED_CONFIDENCE,
    accumulate,
    coco_ap,
    match_images,
    mean_of_defined,
)
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

__all__ = [
    "ApTable", "AveragePrecision", "AverageRecall", "ap_from_table", "ap_table", "coco_ap", "metrics", "resampled_ap",
    "resampled_ar",
]  # fmt: skip

IOU_50_95 = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
ALL_THRESHOLDS = slice(None)
AREA_RANGES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's size classes: areas in pixels of the layout's canvas, both ends included."""
MAX_CACHED_IMAGES = 250_000
"""Limit on the images whose matches are cached, summed over all sets (rows of a table, subsets shared by pairs)."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchTables:
    """Everything computed from one matching of a set of images: pycocotools' tables, and an `ApTable` per area."""

    precision: npt.NDArray[np.float64] | None
    recall: npt.NDArray[np.float64] | None
    ap_tables: tuple[ApTable, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MatchCache:
    """Matching is far slower than computing values from it, so all values of a set of images share one matching."""

    areas: tuple[tuple[float, float], ...]
    iou_thresholds: tuple[float, ...] = IOU_50_95
    use_masks: bool = False
    """Whether IoU is computed between masks instead of boxes."""
    cache: dict[tuple[Evidence, ...], MatchTables] = field(default_factory=dict)

    def tables(self, evidence: Sequence[Evidence]) -> MatchTables:
        """The tables of these images, in this order."""
        key = tuple(evidence)
        if key not in self.cache:
            while self.cache and sum(map(len, self.cache)) + len(key) > MAX_CACHED_IMAGES:
                del self.cache[next(iter(self.cache))]
            matched = match_images(evidence, self.iou_thresholds, self.areas, self.use_masks)
            ap_tables = tuple(build_ap_table(matched, len(key), self.iou_thresholds, k) for k in range(len(self.areas)))
            coco_tables = {} if matched is None else accumulate(matched)
            self.cache[key] = MatchTables(coco_tables.get("precision"), coco_tables.get("recall"), ap_tables)
        return self.cache[key]


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision of a set of images, averaged over categories and IoU thresholds; range [0, 1].

    An image's own outcome is the AP of that image alone; the mean of these is not the AP of the set.

    Args:
        info: Name and description.
        matches: Cache of matchings.
        thresholds: Which of the IoU thresholds of `matches` to average over.
        area: Index of one of the areas of `matches`.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> [round(metric.summarise([image]).value, 3) for metric in metrics({"detector": "yolo"})[:3]]
    [1.0, 0.7, 1.0]
    """

    info: MetricInfo
    matches: MatchCache
    thresholds: slice
    area: int

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The value over the images with pixels and stored detections; `n` counts these images."""
        counts = summarise_outcomes(self._scorable(evidence))
        value = self._value(self.matches.tables(evidence))
        if value is not None or not counts.n:
            return Summary(value, counts.n, counts.requested, counts.unscored)
        return Summary(None, 0, counts.requested, {**counts.unscored, self._no_targets_reason: counts.n})

    def resampled_values(
        self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """The values, shape (draws,), under each row of weights (draws, len(evidence))."""
        return self._resampled(self._ap_table(evidence), weights)

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """The value of each image alone, in order."""
        outcomes = []
        for scorable, value in zip(self._scorable(evidence), self._per_image(self._ap_table(evidence)), strict=True):
            outcome = scorable.outcome
            if isinstance(outcome, Score):
                outcome = Unscored(self._no_targets_reason) if np.isnan(value) else Score(float(value))
            outcomes.append(SampleOutcome(scorable.sample, scorable.seed, outcome))
        return outcomes

    @property
    def _no_targets_reason(self) -> str:
        return NO_TARGETS if self.matches.areas[self.area] == ALL_AREAS else f"{NO_TARGETS} of this size"

    def _ap_table(self, evidence: Sequence[Evidence]) -> ApTable:
        return select_thresholds(self.matches.tables(evidence).ap_tables[self.area], self.thresholds)

    def _value(self, tables: MatchTables) -> float | None:
        precision = tables.precision
        return None if precision is None else mean_of_defined(precision[self.thresholds, :, :, self.area])

    def _resampled(self, table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        return resampled_ap(table, weights)

    def _per_image(self, table: ApTable) -> npt.NDArray[np.float64]:
        return ap_per_image(table)

    def _scorable(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """A placeholder score for each image that can take part, else the reason why it cannot."""

        def outcome(e: Evidence) -> Outcome:
            return missing_pixels_reason(e) or (
                Unscored("no detections stored") if e.detections is None else Score(1.0)
            )

        return [SampleOutcome(e.sample.id, e.seed, outcome(e)) for e in evidence]


@dataclass(frozen=True)
class AverageRecall(AveragePrecision):
    """Average recall of a set of images over IoU thresholds: the share of targets detected; range [0, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> metrics({"detector": "yolo"})[-1].summarise([image]).value
    0.7
    """

    def _value(self, tables: MatchTables) -> float | None:
        recall = tables.recall
        return None if recall is None else mean_of_defined(recall[self.thresholds, :, self.area])

    def _resampled(self, table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        return resampled_ar(table, weights)

    def _per_image(self, table: ApTable) -> npt.NDArray[np.float64]:
        return ar_per_image(table)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`ap50`, `ap`, `ap75`, `ap_small`, `ap_medium`, `ap_large` and `ar`, if there is a detector.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['ap50', 'ap', 'ap75', 'ap_small', 'ap_medium', 'ap_large', 'ar']
    """
    if "detector" not in scorers:
        return ()
    detector = scorers["detector"]
    how = f"conf>={MIN_RANKED_CONFIDENCE}, at most {MAX_DETECTIONS} detections, detector {detector}, pycocotools"
    # Separate caches: leaderboards compute AP50 alone and should not wait for ten thresholds and three sizes.
    at_half = MatchCache((ALL_AREAS,), IOU_50_95[:1])
    all_sizes, by_size = MatchCache((ALL_AREAS,)), MatchCache(tuple(AREA_RANGES.values()))

    def info(name: str, title: str, details: str, unit: str = "AP") -> MetricInfo:
        return MetricInfo(name, f"{name}[box, {details}, {how}]", title, unit, Direction.HIGHER, 0.0, 1.0, "1")

    iou_range = "IoU 0.5:0.95"
    sized = [
        AveragePrecision(
            info(f"ap_{size}", f"AP {size}", f"{iou_range}, area {low:g} to {high:g} px of the canvas"),
            by_size,
            ALL_THRESHOLDS,
            area,
        )
        for area, (size, (low, high)) in enumerate(AREA_RANGES.items())
    ]
    return (
        AveragePrecision(info("ap50", "AP50", "IoU 0.5"), at_half, ALL_THRESHOLDS, 0),
        AveragePrecision(info("ap", "AP", iou_range), all_sizes, ALL_THRESHOLDS, 0),
        AveragePrecision(info("ap75", "AP75", "IoU 0.75"), all_sizes, slice(5, 6), 0),
        *sized,
        AverageRecall(info("ar", "AR", iou_range, "AR"), all_sizes, ALL_THRESHOLDS, 0),
    )
