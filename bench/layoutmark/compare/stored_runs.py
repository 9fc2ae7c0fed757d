"""Rows of finished runs, read back without any model: which of them may be compared at all, and how they compare."""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.pairs import all_pairs
from layoutmark.compare.ranking import all_ranks, all_ties, incomplete, pareto
from layoutmark.compare.rows import result_row
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence, InstanceOutcome, SampleOutcome
from layoutmark.layout import Sample, sample_from_json
from layoutmark.metrics import HEADLINE, all_metrics
from layoutmark.score import Outcome, Score, Status, Unscored
from layoutmark.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

VERSIONS = frozenset({"code", "metrics"})
"""Parts of a protocol that differ when only the versions of the package do."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows that may be compared, under one protocol (its hash): evidence by row, outcomes by row and metric."""

    protocol: str
    metrics: list[Metric]
    evidence: dict[str, list[Evidence]]
    outcomes: dict[str, dict[str, list[SampleOutcome]]]


def read_rows(addresses: Sequence[tuple[str, RunFolder, str | None]]) -> Rows:
    """Rows of finished runs: `addresses` are (label, run, method or None for all its methods).

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
            differing = _differing(addresses[0][1], results)
            advice = "Score both again with the same suite, stack, seeds and version."
            if VERSIONS.issuperset(differing):
                paths = " and ".join(f"layoutmark measure {r.path}" for r in (addresses[0][1], run))
                advice = f"Bring both up to this version: {paths}"
            raise LayoutmarkError(
                f"runs {protocol[0]!r} and {label!r}",
                found=f"protocols {protocol[1]} and {here}: {', '.join(differing)} differ",
                expected="one protocol",
                do=advice,
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
        rows_of = restored(results, run.read_detections())
        for name in names:
            key = _unused(label if method is not None else f"{label}:{name}", evidence)
            evidence[key], outcomes[key] = rows_of[name]
    if protocol is None or len(evidence) < 2:
        raise LayoutmarkError(
            "compare", found=f"{len(evidence)} method", expected="at least two", do="Name another RUN or RUN:METHOD."
        )
    return Rows(protocol[1], metrics, evidence, outcomes)


def compare_runs(addresses: Sequence[tuple[str, RunFolder, str | None]], metrics: Sequence[str] = ()) -> dict[str, Any]:
    """Compare rows of finished runs on the metrics of these names, or on the headline ones.

    Raises LayoutmarkError as `read_rows` does, and for a metric that the runs have not.
    """
    found = read_rows(addresses)
    evidence, outcomes = found.evidence, found.outcomes
    known = [m.info.name for m in found.metrics]
    headline = [named(found.metrics, name) for name in metrics or [name for name in HEADLINE if name in known]]
    rows = [result_row(n, m, evidence[n], outcomes[n][m.info.name]) for n in evidence for m in headline]
    pairs = all_pairs(evidence, outcomes, headline)
    ties = all_ties(rows, pairs, list(evidence), headline)
    return {
        "protocol": found.protocol,
        "rows": rows,
        "pairs": pairs,
        "ties": ties,
        "unranked": incomplete(rows),
        "ranks": all_ranks(evidence, outcomes, pairs, ties, headline),
        "pareto": pareto(rows),
    }


def named(metrics: Sequence[Metric], name: str) -> Metric:
    """The metric of this name.  Raises LayoutmarkError with the closest name."""
    known = {m.info.name: m for m in metrics}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise LayoutmarkError(
            "unknown metric", found=repr(name), expected="one of " + ", ".join(known),
            do=f"Did you mean {close[0]!r}?" if close else "Name a metric of these runs.",
        )  # fmt: skip
    return known[name]


def _unused(name: str, taken: Container[str]) -> str:
    """The name itself, or with a number where it is compared with itself."""
    return next(n for n in chain([name], (f"{name} ({k})" for k in count(2))) if n not in taken)


def _differing(run: RunFolder, results: Mapping[str, Any]) -> list[str]:
    first, second = run.read_results()["protocol"]["parts"], results["protocol"]["parts"]
    return [part for part in first if first[part] != second.get(part)]


def restored(
    results: Mapping[str, Any], detections: pd.DataFrame
) -> dict[str, tuple[list[Evidence], dict[str, list[SampleOutcome]]]]:
    """Evidence (detections) and outcomes of stored results by method, without any model.

    `results` needs `samples`, `images` and `metrics` as in results.json (samples may be read already), `detections`
    are those of its images.
    """
    read = (s if isinstance(s, Sample) else sample_from_json(s) for s in results["samples"])
    samples = {s.id: s for s in read}
    seen = _by_image(detections)
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


def _by_image(detections: pd.DataFrame) -> dict[tuple[str, str, int], Detections]:
    """Detections by (method, sample, seed), each in the order of the table."""
    boxes = detections[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float64)
    scores, labels = detections["score"].to_numpy(dtype=np.float64), detections["label"].to_numpy(dtype=object)
    rows = detections.groupby(["method", "sample", "seed"], sort=False).indices
    return {
        (method, sample, int(seed)): Detections(boxes[at], scores[at], tuple(labels[at]))
        for (method, sample, seed), at in rows.items()
    }


def _outcome(data: Any) -> Outcome:
    return Unscored(str(data["unscored"])) if isinstance(data, Mapping) else Score(float(data))
