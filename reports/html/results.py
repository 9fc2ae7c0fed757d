"""A view of results.json by name: which methods, which metrics, which row, which image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layoutmark.errors import LayoutmarkError

from .text import finite

SCHEMA = "layoutmark-results-1"
HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
STATUSES = ("ok", "degenerate", "filtered", "not_applicable", "failed", "missing")
CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Metric:
    """What is said of a metric; `variant` is its full name, `low` and `high` bound its values."""

    name: str
    variant: str
    title: str
    unit: str
    higher: bool
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table: value and interval, how many of how many, and why the rest has none.

    `worst` is the value if every lost image counted as the worst; None where that is not known or nothing is lost.
    `normalised` is the value between the best floor row (0) and the true images (1); None where they bound nothing.
    `caution` says why a value asks for care.
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
    """Read access to the content of results.json.  Raises LayoutmarkError for another schema or a missing part."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        if data.get("schema") != SCHEMA:
            raise LayoutmarkError(
                "results",
                found=f"schema {data.get('schema')!r}",
                expected=repr(SCHEMA),
                do="Write the results anew with this version: layoutmark measure",
            )
        parts = ("name", "protocol", "suite", "stack", "methods", "metrics", "rows", "samples", "images")
        absent = [p for p in parts if p not in data]
        if absent:
            raise LayoutmarkError(
                "results", found=f"no {', '.join(absent)}", expected="a complete results.json", do="Run it again."
            )
        self.data = data
        self.methods: list[Mapping[str, Any]] = [m for m in data["methods"] if m.get("kind") != "reference"]
        self.references: list[Mapping[str, Any]] = [m for m in data["methods"] if m.get("kind") == "reference"]
        self.samples: Sequence[Mapping[str, Any]] = data["samples"]
        self.images: Sequence[Mapping[str, Any]] = data["images"]
        self.metrics = {str(m["name"]): _metric(m) for m in data["metrics"]}
        self._rows = {(r["method"], r["metric"]): r for r in data["rows"]}

    @property
    def headline(self) -> list[Metric]:
        """Headline metrics these results have, in their usual order; all metrics if they have none of them."""
        found = [self.metrics[n] for n in HEADLINE if n in self.metrics]
        return found or list(self.metrics.values())

    @property
    def others(self) -> list[Metric]:
        """Metrics that are not headlines."""
        headline = {m.name for m in self.headline}
        return [m for m in self.metrics.values() if m.name not in headline]

    @property
    def names(self) -> list[str]:
        """Names of the methods, then of the reference rows."""
        return [str(m["name"]) for m in (*self.methods, *self.references)]

    def cell(self, method: str, metric: str) -> Cell | None:
        """The number of a method on a metric; None when the results have no such row."""
        row = self._rows.get((method, metric))
        if row is None:
            return None
        value = finite(row.get("value"))
        unscored = dict(row.get("unscored") or {})
        if value is None and row.get("value") is not None:
            unscored["not a finite number"] = int(row.get("of", 0))
        low, high = finite(row.get("low")), finite(row.get("high"))
        worst = finite(row.get("worst")) if row.get("worst") != row.get("value") else None
        placed = finite(row.get("normalised"))
        return Cell(value, low, high, int(row.get("n", 0)), int(row.get("of", 0)), unscored, worst, placed,
                    str(row.get("caution") or ""))  # fmt: skip

    def group(self, method: str, metric: str) -> int | None:
        """Place of a method's tie group, best 0; None when nothing was compared."""
        groups = (self.data.get("ties", {}).get(metric) or []) if len(self.methods) > 1 else []
        return next((place for place, names in enumerate(groups) if method in names), None)

    def counts(self) -> dict[str, int]:
        """What became of the images of all methods, reference rows left out."""
        total = dict.fromkeys(("requested", *STATUSES), 0)
        for method in self.methods:
            for key in total:
                total[key] += int(method.get("counts", {}).get(key, 0))
        return total


def _metric(data: Mapping[str, Any]) -> Metric:
    low, high = finite(data.get("low")), finite(data.get("high"))
    return Metric(
        name=str(data["name"]),
        variant=str(data["variant"]),
        title=str(data.get("title") or data["name"]),
        unit=str(data.get("unit", "")),
        higher=bool(data["higher_is_better"]),
        low=-math.inf if low is None else low,
        high=math.inf if high is None else high,
    )
