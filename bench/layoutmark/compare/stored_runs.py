"""Rows of finished runs, read back without any model, and their comparison."""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.pairs import paired_differences
from layoutmark.compare.ranking import incomplete_methods, pareto_set, rank_methods, tied_methods
from layoutmark.compare.rows import result_row
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence, InstanceOutcome, SampleOutcome
from layoutmark.layout import Sample, sample_from_json
from layoutmark.metrics import HEADLINE_METRICS, all_metrics
from layoutmark.plurals import counted
from layoutmark.score import Outcome, Score, Status, Unscored
from layoutmark.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

VERSION_PARTS = frozenset({"code", "metrics"})
"""Parts of a protocol that differ when only the package versions differ."""
Address = tuple[str, RunFolder, str | None]
"""(label, run, method or None for all methods of the run)."""


@dataclass(frozen=True, slots=True, eq=False)
class ComparableRows:
    """Rows measured under one protocol, given by its hash: evidence by row, outcomes by row and metric."""

    protocol: str
    metrics: list[Metric]
    evidence: dict[str, list[Evidence]]
    outcomes: dict[str, dict[str, list[SampleOutcome]]]


def read_rows(addresses: Sequence[Address]) -> ComparableRows:
    """Read rows of finished runs.

    Args:
        addresses: (label, run, method) triples; method None stands for all methods of the run.

    Raises LayoutmarkError when protocols differ, when a run was measured by other metric versions, when a method is
    unknown, or when there are fewer than two rows.

    >>> read_rows([])
    Traceback (most recent call last):
    layoutmark.errors.LayoutmarkError: compare: found 0 methods; expected at least two. Name another RUN or RUN:METHOD.
    """
    evidence: dict[str, list[Evidence]] = {}
    outcomes: dict[str, dict[str, list[SampleOutcome]]] = {}
    protocol: tuple[str, str] | None = None
    metrics: list[Metric] = []
    for label, run, method in addresses:
        results = run.read_results()
        protocol_hash = str(results["protocol"]["hash"])
        if protocol is not None and protocol_hash != protocol[1]:
            raise _protocol_error(addresses[0][1], run, results, protocol, (label, protocol_hash))
        protocol = (label, protocol_hash)
        metrics = all_metrics(results["protocol"]["parts"]["stack"]["names"])
        _check_metric_versions(label, run, results, metrics)
        stored_rows = restore_results(results, run.read_detections())
        for name in _selected_methods(label, results, method):
            key = _unused_key(label if method is not None else f"{label}:{name}", evidence)
            evidence[key], outcomes[key] = stored_rows[name]
    if protocol is None or len(evidence) < 2:
        raise LayoutmarkError(
            "compare",
            found=counted(len(evidence), "method"),
            expected="at least two",
            do="Name another RUN or RUN:METHOD.",
        )
    return ComparableRows(protocol[1], metrics, evidence, outcomes)


def _protocol_error(
    first: RunFolder, run: RunFolder, results: Mapping[str, Any], expected: tuple[str, str], found: tuple[str, str]
) -> LayoutmarkError:
    differing_parts = _differing_parts(first, results)
    advice = "Score both again with the same suite, stack, seeds and version."
    if VERSION_PARTS.issuperset(differing_parts):
        commands = " and ".join(f"layoutmark measure {r.path}" for r in (first, run))
        advice = f"Bring both up to this version: {commands}"
    return LayoutmarkError(
        f"runs {expected[0]!r} and {found[0]!r}",
        found=f"protocols {expected[1]} and {found[1]}: {', '.join(differing_parts)} differ",
        expected="one protocol",
        do=advice,
    )


def _check_metric_versions(label: str, run: RunFolder, results: Mapping[str, Any], metrics: Sequence[Metric]) -> None:
    current = {m.info.name: m.info.version for m in metrics}
    stored = results["protocol"]["parts"]["metrics"]
    if current != stored:
        differing = sorted({name for name, _ in current.items() ^ stored.items()})
        raise LayoutmarkError(
            f"run {label!r}",
            found=f"other versions of {', '.join(differing)}",
            expected="those of this version",
            do=f"Run: layoutmark measure {run.path}",
        )


def _selected_methods(label: str, results: Mapping[str, Any], method: str | None) -> list[str]:
    """The method itself, or all methods of the run that are not reference rows."""
    kind_by_name = {m["name"]: m["kind"] for m in results["methods"]}
    if method is None:
        return [name for name, kind in kind_by_name.items() if kind != "reference"]
    if method not in kind_by_name:
        close = difflib.get_close_matches(method, kind_by_name, n=1)
        raise LayoutmarkError(
            f"run {label!r}",
            found=f"no method {method!r}",
            expected="one of " + ", ".join(kind_by_name),
            do=f"Did you mean {close[0]!r}?" if close else "Name RUN:METHOD.",
        )
    return [method]


def compare_runs(addresses: Sequence[Address], metric_names: Sequence[str] = ()) -> dict[str, Any]:
    """Compare rows of finished runs on the named metrics (default: the headline metrics).

    Args:
        addresses: (label, run, method) triples, as for `read_rows`.
        metric_names: Names of metrics.

    Returns `protocol` (its hash), `rows`, `pairs`, `ties`, `unranked`, `ranks` and `pareto`, as the functions of this
    package give them. Raises LayoutmarkError under the conditions of `read_rows`, and for a metric that the runs lack.

    >>> compare_runs([])
    Traceback (most recent call last):
    layoutmark.errors.LayoutmarkError: compare: found 0 methods; expected at least two. Name another RUN or RUN:METHOD.
    """
    comparable = read_rows(addresses)
    evidence, outcomes = comparable.evidence, comparable.outcomes
    known = [m.info.name for m in comparable.metrics]
    names = metric_names or [name for name in HEADLINE_METRICS if name in known]
    metrics = [find_metric(comparable.metrics, name) for name in names]
    rows = [result_row(n, m, evidence[n], outcomes[n][m.info.name]) for n in evidence for m in metrics]
    pairs = paired_differences(evidence, outcomes, metrics)
    ties = tied_methods(rows, pairs, list(evidence), metrics)
    return {
        "protocol": comparable.protocol,
        "rows": rows,
        "pairs": pairs,
        "ties": ties,
        "unranked": incomplete_methods(rows),
        "ranks": rank_methods(evidence, outcomes, pairs, ties, metrics),
        "pareto": pareto_set(rows),
    }


def find_metric(metrics: Sequence[Metric], name: str) -> Metric:
    """The metric of this name. Raises LayoutmarkError, suggesting the closest name, if there is none.

    >>> find_metric(all_metrics({"detector": "yolo"}), "miou").info.title
    'mIoU'
    """
    metric_by_name = {m.info.name: m for m in metrics}
    if name not in metric_by_name:
        close = difflib.get_close_matches(name, metric_by_name, n=1)
        raise LayoutmarkError(
            "unknown metric", found=repr(name), expected="one of " + ", ".join(metric_by_name),
            do=f"Did you mean {close[0]!r}?" if close else "Name a metric of these runs.",
        )  # fmt: skip
    return metric_by_name[name]


def _unused_key(name: str, taken: Container[str]) -> str:
    """The name itself, or the name with a number if a row is compared with itself."""
    return next(n for n in chain([name], (f"{name} ({k})" for k in count(2))) if n not in taken)


def _differing_parts(run: RunFolder, results: Mapping[str, Any]) -> list[str]:
    first, second = run.read_results()["protocol"]["parts"], results["protocol"]["parts"]
    return [part for part in first if first[part] != second.get(part)]


def restore_results(
    results: Mapping[str, Any], detections: pd.DataFrame
) -> dict[str, tuple[list[Evidence], dict[str, list[SampleOutcome]]]]:
    """Evidence (detections only) and outcomes of stored results by method, without any model.

    Args:
        results: `samples`, `images` and `metrics` as in results.json; samples may already be `Sample` objects.
        detections: The stored detections of these images.

    >>> import pandas as pd
    >>> from layoutmark.metrics.examples import example_image
    >>> image = {"method": "ours", "sample": "a cat", "seed": 0, "image": None, "status": "failed", "reason": "",
    ...     "scores": {"miou": {"unscored": "failed"}}, "instances": {}}
    >>> results = {"samples": [example_image().sample], "images": [image], "metrics": [{"name": "miou"}]}
    >>> columns = ["method", "sample", "seed", "x0", "y0", "x1", "y1", "score", "label"]
    >>> evidence, outcomes = restore_results(results, pd.DataFrame(columns=columns))["ours"]
    >>> outcomes["miou"][0].outcome
    Unscored(reason='failed')
    """
    samples = {s.id: s for s in (s if isinstance(s, Sample) else sample_from_json(s) for s in results["samples"])}
    detections_by_image = _group_by_image(detections)
    no_detections = Detections(np.empty((0, 4)), np.empty(0), ())
    names = [m["name"] for m in results["metrics"]]
    rows: dict[str, tuple[list[Evidence], dict[str, list[SampleOutcome]]]] = {}
    for image in results["images"]:
        evidence, outcomes = rows.setdefault(image["method"], ([], {n: [] for n in names}))
        key = (image["method"], image["sample"], image["seed"])
        has_pixels = image["image"] is not None
        evidence.append(
            Evidence(
                samples[image["sample"]], image["seed"], Status(image["status"]), image["reason"],
                detections=detections_by_image.get(key, no_detections) if has_pixels else None,
            )
        )  # fmt: skip
        for name in names:
            instances = tuple(
                InstanceOutcome(i, _read_outcome(scores[name]))
                for i, scores in image["instances"].items()
                if name in scores
            )
            outcome = _read_outcome(image["scores"][name])
            outcomes[name].append(SampleOutcome(image["sample"], image["seed"], outcome, instances))
    return rows


def _group_by_image(detections: pd.DataFrame) -> dict[tuple[str, str, int], Detections]:
    """Detections by (method, sample, seed), each in the order of the table."""
    boxes = detections[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float64)
    scores, labels = detections["score"].to_numpy(dtype=np.float64), detections["label"].to_numpy(dtype=object)
    groups = detections.groupby(["method", "sample", "seed"], sort=False).indices
    return {
        (method, sample, int(seed)): Detections(boxes[positions], scores[positions], tuple(labels[positions]))
        for (method, sample, seed), positions in groups.items()
    }


def _read_outcome(data: Any) -> Outcome:
    return Unscored(str(data["unscored"])) if isinstance(data, Mapping) else Score(float(data))
