"""Read access to the content of results.json: methods, metrics, rows and images by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layoutmark.errors import LayoutmarkError

from .text import finite_or_none

SCHEMA = "layoutmark-results-1"
REQUIRED_KEYS = ("name", "protocol", "suite", "stack", "methods", "metrics", "rows", "samples", "images")
HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
STATUSES = ("ok", "degenerate", "filtered", "not_applicable", "failed", "missing")
CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Metric:
    """Name, direction and range of a metric; `variant` is its full name, `low` and `high` bound its values."""

    name: str
    variant: str
    title: str
    unit: str
    higher_is_better: bool
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Cell:
    """One score of the table: value, 95 % interval, how many images of how many, and why the others have no score.

    `worst` is the value if every lost image had scored worst; None if it is unknown or no image is lost.
    `normalised` is the value between the best floor row (0) and the true images (1); None if they do not bound it.
    `caution` says why to read the value with care.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    of: int
    unscored: Mapping[str, int]
    worst: float | None = None
    normalised: float | None = None
    caution: str = ""


class Results:
    """View of results.json.  Raises LayoutmarkError for another schema or a missing key."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        _check_schema(data)
        self.data = data
        self.methods: list[Mapping[str, Any]] = [m for m in data["methods"] if m.get("kind") != "reference"]
        self.references: list[Mapping[str, Any]] = [m for m in data["methods"] if m.get("kind") == "reference"]
        self.samples: Sequence[Mapping[str, Any]] = data["samples"]
        self.images: Sequence[Mapping[str, Any]] = data["images"]
        self.metrics = {str(m["name"]): _parse_metric(m) for m in data["metrics"]}
        self._rows = {(r["method"], r["metric"]): r for r in data["rows"]}

    @property
    def headline_metrics(self) -> list[Metric]:
        """The headline metrics of these results in their usual order; all metrics if there are none."""
        return [self.metrics[n] for n in HEADLINE if n in self.metrics] or list(self.metrics.values())

    @property
    def other_metrics(self) -> list[Metric]:
        """Metrics that are not headline metrics."""
        headline = {m.name for m in self.headline_metrics}
        return [m for m in self.metrics.values() if m.name not in headline]

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """Methods, then reference rows."""
        return [*self.methods, *self.references]

    @property
    def row_names(self) -> list[str]:
        """Names of the methods, then of the reference rows."""
        return [str(m["name"]) for m in self.rows]

    def cell(self, method: str, metric: str) -> Cell | None:
        """The score of a method on a metric; None if it was not measured."""
        row = self._rows.get((method, metric))
        if row is None:
            return None
        value = finite_or_none(row.get("value"))
        unscored = dict(row.get("unscored") or {})
        if value is None and row.get("value") is not None:
            unscored["not a finite number"] = int(row.get("of", 0))
        return Cell(
            value=value,
            low=finite_or_none(row.get("low")),
            high=finite_or_none(row.get("high")),
            n=int(row.get("n", 0)),
            of=int(row.get("of", 0)),
            unscored=unscored,
            worst=finite_or_none(row.get("worst")) if row.get("worst") != row.get("value") else None,
            normalised=finite_or_none(row.get("normalised")),
            caution=str(row.get("caution") or ""),
        )

    def tie_group(self, method: str, metric: str) -> int | None:
        """Index of the method's tie group, 0 for the best; None if no methods were compared."""
        groups = (self.data.get("ties", {}).get(metric) or []) if len(self.methods) > 1 else []
        return next((index for index, names in enumerate(groups) if method in names), None)

    def count_statuses(self) -> dict[str, int]:
        """Images requested and images of each status over all methods, without reference rows."""
        totals = dict.fromkeys(("requested", *STATUSES), 0)
        for method in self.methods:
            for key in totals:
                totals[key] += int(method.get("counts", {}).get(key, 0))
        return totals


def _check_schema(data: Mapping[str, Any]) -> None:
    if data.get("schema") != SCHEMA:
        raise LayoutmarkError(
            "results",
            found=f"schema {data.get('schema')!r}",
            expected=repr(SCHEMA),
            do="Measure the run again with this version: layoutmark measure RUN",
        )
    if missing := [key for key in REQUIRED_KEYS if key not in data]:
        raise LayoutmarkError(
            "results",
            found=f"no {', '.join(missing)}",
            expected="a complete results.json",
            do="Measure the run again: layoutmark measure RUN",
        )


def _parse_metric(data: Mapping[str, Any]) -> Metric:
    low, high = finite_or_none(data.get("low")), finite_or_none(data.get("high"))
    return Metric(
        name=str(data["name"]),
        variant=str(data["variant"]),
        title=str(data.get("title") or data["name"]),
        unit=str(data.get("unit", "")),
        higher_is_better=bool(data["higher_is_better"]),
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
    )
