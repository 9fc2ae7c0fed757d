"""Which numbers may be compared, and their differences: intervals of rows, paired differences, Holm, tie groups."""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping, Sequence
from functools import partial
from itertools import chain, combinations, count
from typing import Any

import numpy as np

from layoutmark.door import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence, InstanceOutcome, SampleOutcome
from layoutmark.layout import sample_from_json
from layoutmark.metrics import HEADLINE, SetMetric, all_metrics, summarise, summary
from layoutmark.score import Direction, Outcome, Score, Status, Unscored
from layoutmark.statistics import (
    bootstrap_interval,
    cluster_weights,
    holm,
    mean_interval,
    paired_mean_difference,
    paired_statistic_difference,
    tie_groups,
)
from layoutmark.store import RunFolder

DRAWS = 1000
SEED = 20_240_517
LEVEL = 0.95


def result_row(
    name: str, metric: Metric, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome]
) -> dict[str, Any]:
    """One cell of the table: value, interval (clustered by prompt), n of N, what was not scored and why."""
    found = summarise(metric, evidence) if isinstance(metric, SetMetric) else summary(outcomes)
    low = high = None
    if found.value is not None:
        if isinstance(metric, SetMetric):
            draws = _draws(metric, evidence, DRAWS)
            interval = bootstrap_interval(found.value, draws, LEVEL) if draws is not None else None
        else:
            scored = [
                (o.outcome.value, e.sample.prompt)
                for o, e in zip(outcomes, evidence, strict=True)
                if isinstance(o.outcome, Score)
            ]
            interval = mean_interval(np.array([v for v, _ in scored]), [p for _, p in scored], LEVEL)
        if interval is not None:
            # An interval may not leave the range that the metric can take.
            low, high = max(interval.low, metric.info.low), min(interval.high, metric.info.high)
    info = metric.info
    return {
        "method": name, "metric": info.name, "variant": info.variant, "value": found.value, "low": low, "high": high,
        "n": found.n, "of": found.of, "unit": info.unit, "higher_is_better": info.direction is Direction.HIGHER,
        "unscored": dict(found.unscored),
    }  # fmt: skip


def all_pairs(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    metrics: Sequence[Metric],
) -> list[dict[str, Any]]:
    """Differences a - b of every pair of rows on every metric, over images both have; Holm over the whole list."""
    found: list[dict[str, Any]] = []
    couples = list(combinations(evidence, 2))
    # The least p of resampling is 1 / (draws + 1): after Holm over the list it must still be able to fall below 0.05.
    draws = max(DRAWS, 40 * len(couples) * len(metrics))
    for a, b in couples:
        for metric in metrics:
            name = metric.info.name
            pair = _pair(metric, evidence[a], evidence[b], outcomes[a][name], outcomes[b][name], draws)
            found.append({"a": a, "b": b, "metric": name, **pair})
    known = [k for k, pair in enumerate(found) if pair["p"] is not None]
    for k, adjusted in zip(known, holm([found[k]["p"] for k in known]), strict=True):
        found[k]["p_holm"] = adjusted
    return found


def all_ties(
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    metrics: Sequence[Metric],
) -> dict[str, list[list[str]]]:
    """Per metric, methods best first in groups that the data cannot tell apart (Holm-adjusted p at least 0.05)."""
    found = {}
    for metric in metrics:
        name = metric.info.name
        values = {
            r["method"]: r["value"]
            for r in rows
            if r["metric"] == name and r["method"] in methods and r["value"] is not None
        }
        sign = -1 if metric.info.direction is Direction.HIGHER else 1
        ordered = sorted(values, key=lambda m: (sign * values[m], m))
        apart = {
            frozenset((p["a"], p["b"]))
            for p in pairs
            if p["metric"] == name and p["p_holm"] is not None and p["p_holm"] < 1 - LEVEL
        }
        found[name] = tie_groups(ordered, partial(_separated, apart))
    return found


def compare_runs(addresses: Sequence[tuple[str, RunFolder, str | None]]) -> dict[str, Any]:
    """Compare rows of finished runs: `addresses` are (label, run, method or None for all its methods).

    Raises LayoutmarkError when protocols differ, a method is unknown, or fewer than two rows are named.
    """
    evidence: dict[str, list[Evidence]] = {}
    outcomes: dict[str, dict[str, list[SampleOutcome]]] = {}
    protocol: tuple[str, str] | None = None
    metrics: list[Metric] = []
    for label, run, method in addresses:
        results = run.read_results()
        here = str(results["protocol"]["hash"])
        if protocol is not None and here != protocol[1]:
            raise LayoutmarkError(
                f"runs {protocol[0]!r} and {label!r}",
                found=f"protocols {protocol[1]} and {here}: {', '.join(_differing(addresses[0][1], results))} differ",
                expected="one protocol",
                do="Score both again with the same suite, stack, seeds and version.",
            )
        protocol = (label, here)
        parts = results["protocol"]["parts"]
        metrics = all_metrics(parts["stack"]["names"])
        now = {m.info.name: m.info.version for m in metrics}
        if now != parts["metrics"]:
            other = sorted({name for name, _ in now.items() ^ parts["metrics"].items()})
            raise LayoutmarkError(
                f"run {label!r}",
                found=f"other versions of {', '.join(other)}",
                expected="those of this version",
                do=f"Run: layoutmark measure {results['name']}",
            )
        known = {m["name"]: m["kind"] for m in results["methods"]}
        close = difflib.get_close_matches(method or "", known, n=1)
        if method is not None and method not in known:
            raise LayoutmarkError(
                f"run {label!r}",
                found=f"no method {method!r}",
                expected="one of " + ", ".join(known),
                do=f"Did you mean {close[0]!r}?" if close else "Name RUN:METHOD.",
            )
        names = [method] if method is not None else [n for n, kind in known.items() if kind != "reference"]
        restored = _restored(results, run)
        for name in names:
            key = _unused(label if method is not None else f"{label}:{name}", evidence)
            evidence[key], outcomes[key] = restored[name]
    if len(evidence) < 2:
        raise LayoutmarkError(
            "compare", found=f"{len(evidence)} method", expected="at least two", do="Name another RUN or RUN:METHOD."
        )
    headline = [m for m in metrics if m.info.name in HEADLINE]
    rows = [result_row(n, m, evidence[n], outcomes[n][m.info.name]) for n in evidence for m in headline]
    pairs = all_pairs(evidence, outcomes, headline)
    ties = all_ties(rows, pairs, list(evidence), headline)
    return {
        "protocol": protocol[1] if protocol else "",
        "rows": rows,
        "pairs": pairs,
        "ties": ties,
        "pareto": pareto(rows),
    }


def pareto(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods that no other beats or equals on every headline metric that both have, while beating it on one."""
    table: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["value"] is not None:
            table.setdefault(row["method"], {})[row["metric"]] = (
                row["value"] if row["higher_is_better"] else -row["value"]
            )

    def beats(a: str, b: str) -> bool:
        shared = table[a].keys() & table[b].keys()
        return (
            bool(shared)
            and all(table[a][m] >= table[b][m] for m in shared)
            and any(table[a][m] > table[b][m] for m in shared)
        )

    return [m for m in table if not any(beats(other, m) for other in table if other != m)]


def _unused(name: str, taken: Container[str]) -> str:
    """The name itself, or with a number where it is compared with itself."""
    return next(n for n in chain([name], (f"{name} ({k})" for k in count(2))) if n not in taken)


def _separated(apart: set[frozenset[str]], a: str, b: str) -> bool:
    return frozenset((a, b)) in apart


def _draws(metric: SetMetric, evidence: Sequence[Evidence], draws: int) -> Any:
    """The metric under resampled prompts; None where some resample has no value or there is one prompt only."""
    clusters = [e.sample.prompt for e in evidence]
    if len(set(clusters)) < 2:
        return None
    values = metric.resampled(evidence, cluster_weights(clusters, draws, SEED))
    return None if np.isnan(values).any() else values


def _pair(
    metric: Metric,
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    outcomes_a: Sequence[SampleOutcome],
    outcomes_b: Sequence[SampleOutcome],
    resamples: int,
) -> dict[str, Any]:
    nothing = {"difference": None, "low": None, "high": None, "p": None, "p_holm": None, "n": 0}
    if isinstance(metric, SetMetric):
        both = _shared(a, b)
        mine, theirs = [a[i] for i, _ in both], [b[j] for _, j in both]
        values = [summarise(metric, mine).value, summarise(metric, theirs).value] if both else [None, None]
        draws = [_draws(metric, mine, resamples), _draws(metric, theirs, resamples)] if both else [None, None]
        if values[0] is None or values[1] is None or draws[0] is None or draws[1] is None:
            return nothing
        found = paired_statistic_difference(values[0], values[1], draws[0], draws[1], LEVEL)
        n = len(both)
    else:
        scored = [
            (x.value, y.value, a[i].sample.prompt)
            for i, j in _shared(a, b)
            if isinstance(x := outcomes_a[i].outcome, Score) and isinstance(y := outcomes_b[j].outcome, Score)
        ]
        pair = paired_mean_difference(
            np.array([x for x, _, _ in scored]), np.array([y for _, y, _ in scored]), [p for _, _, p in scored], LEVEL
        ) if scored else None  # fmt: skip
        if pair is None:
            return nothing
        found, n = pair, len(scored)
    return {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "p_holm": None, "n": n}


def _shared(a: Sequence[Evidence], b: Sequence[Evidence]) -> list[tuple[int, int]]:
    """Positions in `a` and `b` of the images that both have pixels for, by sample and seed."""
    at = {(e.sample.id, e.seed): j for j, e in enumerate(b) if e.detections is not None or e.vectors}
    return [
        (i, at[e.sample.id, e.seed])
        for i, e in enumerate(a)
        if (e.detections is not None or e.vectors) and (e.sample.id, e.seed) in at
    ]


def _differing(run: RunFolder, results: Mapping[str, Any]) -> list[str]:
    first, second = run.read_results()["protocol"]["parts"], results["protocol"]["parts"]
    return [part for part in first if first[part] != second.get(part)]


def _restored(
    results: Mapping[str, Any], run: RunFolder
) -> dict[str, tuple[list[Evidence], dict[str, list[SampleOutcome]]]]:
    """Evidence (detections) and outcomes of a stored run, without any model."""
    samples = {s["id"]: sample_from_json(s) for s in results["samples"]}
    seen: dict[tuple[str, str, int], Detections] = {}
    for (method, sample, seed), part in run.read_detections().groupby(["method", "sample", "seed"], sort=False):
        boxes = part[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float64)
        seen[method, sample, int(seed)] = Detections(
            boxes, part["score"].to_numpy(dtype=np.float64), tuple(part["label"])
        )
    nothing = Detections(np.empty((0, 4)), np.empty(0), ())
    names = [m["name"] for m in results["metrics"]]
    found: dict[str, tuple[list[Evidence], dict[str, list[SampleOutcome]]]] = {}
    for image in results["images"]:
        evidence, outcomes = found.setdefault(image["method"], ([], {n: [] for n in names}))
        key = (image["method"], image["sample"], image["seed"])
        pixels = image["image"] is not None
        evidence.append(
            Evidence(
                samples[image["sample"]], image["seed"], Status(image["status"]), image["reason"],
                detections=seen.get(key, nothing) if pixels else None,
            )
        )  # fmt: skip
        for name in names:
            parts = tuple(InstanceOutcome(i, _outcome(s[name])) for i, s in image["instances"].items() if name in s)
            outcomes[name].append(SampleOutcome(image["sample"], image["seed"], _outcome(image["scores"][name]), parts))
    return found


def _outcome(data: Any) -> Outcome:
    return Unscored(str(data["unscored"])) if isinstance(data, Mapping) else Score(float(data))
