"""AP and AR as metrics: a set's value by pycocotools, of all targets or of those of one size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, Summary, summary, without_pixels
from layoutmark.metrics.ap_table import (
    ApTable,
    ap_alone,
    ap_draws,
    ap_from_table,
    ap_table,
    ar_alone,
    ar_draws,
    at_thresholds,
    tabulated,
)
from layoutmark.metrics.coco import (
    CONFIDENCE,
    EVERY_AREA,
    MAX_DETECTIONS,
    accumulated,
    average,
    coco_ap,
    match,
)
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

__all__ = [
    "ApTable", "AveragePrecision", "AverageRecall", "ap_draws", "ap_from_table", "ap_table", "ar_draws", "coco_ap",
    "metrics",
]  # fmt: skip

IOU_50_95 = tuple(float(t) for t in np.linspace(0.5, 0.95, 10))
ALL = slice(None)
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's areas in pixels of the layout's canvas, both ends included."""
KEPT = 250_000
"""Images whose matches are remembered, over all sets: rows of a table, or subsets that pairs of methods share."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """One match of a set of images: pycocotools' tables, and per area the table for resampling."""

    precision: npt.NDArray[np.float64] | None
    recall: npt.NDArray[np.float64] | None
    tables: tuple[ApTable, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matching takes far longer than any figure made of it, so all figures of a set of images share one match."""

    areas: tuple[tuple[float, float], ...]
    ious: tuple[float, ...] = IOU_50_95
    masks: bool = False
    """Whether overlap is that of masks, not of boxes."""
    kept: dict[tuple[Evidence, ...], Figures] = field(default_factory=dict)

    def of(self, evidence: Sequence[Evidence]) -> Figures:
        """The match of these images, in this order."""
        key = tuple(evidence)
        if key not in self.kept:
            while self.kept and sum(map(len, self.kept)) + len(key) > KEPT:
                del self.kept[next(iter(self.kept))]
            matched = match(evidence, self.ious, self.areas, self.masks)
            tables = tuple(tabulated(matched, len(key), self.ious, k) for k in range(len(self.areas)))
            found = {} if matched is None else accumulated(matched)
            self.kept[key] = Figures(found.get("precision"), found.get("recall"), tables)
        return self.kept[key]


@dataclass(frozen=True)
class AveragePrecision:
    """AP over IoU thresholds.  Its value belongs to the set; an image's outcome is the AP of that image alone.

    `thresholds` are places in the IoU thresholds of `matches`, `area` is a place in its areas.
    """

    info: MetricInfo
    matches: Matches
    thresholds: slice
    area: int

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """AP of the images that have pixels and stored detections; `n` counts them."""
        counted = summary(self._states(evidence))
        value = self._value(self.matches.of(evidence))
        if value is not None or not counted.n:
            return Summary(value, counted.n, counted.of, counted.unscored)
        return Summary(None, 0, counted.of, {**counted.unscored, self._nothing: counted.n})

    def resampled(self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """The value under each row of weights (draws, len(evidence))."""
        return self._draws(self._table(evidence), weights)

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """The value of each image alone, in order.  Their mean is not the value of the set."""
        found = []
        for state, alone in zip(self._states(evidence), self._alone(self._table(evidence)), strict=True):
            outcome = state.outcome
            if isinstance(outcome, Score):
                outcome = Unscored(self._nothing) if np.isnan(alone) else Score(float(alone))
            found.append(SampleOutcome(state.sample, state.seed, outcome))
        return found

    @property
    def _nothing(self) -> str:
        return NO_TARGETS if self.matches.areas[self.area] == EVERY_AREA else f"{NO_TARGETS} of this size"

    def _table(self, evidence: Sequence[Evidence]) -> ApTable:
        return at_thresholds(self.matches.of(evidence).tables[self.area], self.thresholds)

    def _value(self, figures: Figures) -> float | None:
        table = figures.precision
        return None if table is None else average(table[self.thresholds, :, :, self.area])

    def _draws(self, table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        return ap_draws(table, weights)

    def _alone(self, table: ApTable) -> npt.NDArray[np.float64]:
        return ap_alone(table)

    def _states(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        def state(e: Evidence) -> Outcome:
            return without_pixels(e) or (Unscored("no detections stored") if e.detections is None else Score(1.0))

        return [SampleOutcome(e.sample.id, e.seed, state(e)) for e in evidence]


@dataclass(frozen=True)
class AverageRecall(AveragePrecision):
    """AR over IoU thresholds: how many targets the detections hold at all, with no regard to their order."""

    def _value(self, figures: Figures) -> float | None:
        table = figures.recall
        return None if table is None else average(table[self.thresholds, :, self.area])

    def _draws(self, table: ApTable, weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        return ar_draws(table, weights)

    def _alone(self, table: ApTable) -> npt.NDArray[np.float64]:
        return ar_alone(table)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`ap50`, `ap`, `ap75`, `ap_small`, `ap_medium`, `ap_large` and `ar`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"conf>={CONFIDENCE}, at most {MAX_DETECTIONS} detections, detector {scorers['detector']}, pycocotools"
    # Three matches: who asks for AP50 alone, as boards do, shall not wait for ten thresholds and three sizes.
    at_half = Matches((EVERY_AREA,), IOU_50_95[:1])
    matches, by_size = Matches((EVERY_AREA,)), Matches(tuple(SIZES.values()))

    def info(name: str, title: str, what: str, unit: str = "AP") -> MetricInfo:
        return MetricInfo(name, f"{name}[box, {what}, {how}]", title, unit, Direction.HIGHER, 0.0, 1.0, "1")

    every = "IoU 0.5:0.95"
    sized = [
        AveragePrecision(
            info(f"ap_{size}", f"AP {size}", f"{every}, area {low:g} to {high:g} px of the canvas"), by_size, ALL, place
        )
        for place, (size, (low, high)) in enumerate(SIZES.items())
    ]
    return (
        AveragePrecision(info("ap50", "AP50", "IoU 0.5"), at_half, ALL, 0),
        AveragePrecision(info("ap", "AP", every), matches, ALL, 0),
        AveragePrecision(info("ap75", "AP75", "IoU 0.75"), matches, slice(5, 6), 0),
        *sized,
        AverageRecall(info("ar", "AR", every, "AR"), matches, ALL, 0),
    )
