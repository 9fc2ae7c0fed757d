"""The results of a run: metrics with confidence intervals computed from evidence, and the files they are written to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layoutmark.api import Metric, Suite
from layoutmark.compare import (
    add_normalised_values,
    cells_by_instance_count,
    incomplete_methods,
    metrics_led_by_adversaries,
    paired_differences,
    result_row,
    tied_methods,
)
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.features.scorers import Scorers
from layoutmark.measure import pixels
from layoutmark.measure.collect import collect_evidence
from layoutmark.measure.generation_cost import generation_costs
from layoutmark.measure.result_records import image_records, method_record, metric_record, sample_record
from layoutmark.metrics import HEADLINE_METRICS, all_metrics
from layoutmark.metrics.leakage import leakage_matrix
from layoutmark.plan.plan import Plan
from layoutmark.provenance import digest_code, package_versions, protocol_hash
from layoutmark.registry import Registry
from layoutmark.registry.card_types import SuiteItem
from layoutmark.store import RunFolder, Store
from layoutmark.store.results_schema import RESULTS_SCHEMA
from layoutmark.suites import token_strata

METRICS_BY_INSTANCE_COUNT = ("success_rate", "recall50", "miou")
"""Metrics that are also reported by the number of instances in a layout."""
PORTRAIT, TRUE_CROP = "reference portrait", "target-box crop of the true image"
CODE_PACKAGES = ("metrics", "features", "statistics", "measure")
"""Packages whose code is part of the protocol."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Evidence by row, and the outcomes of each metric by row and metric name."""

    metrics: Sequence[Metric]
    evidence: Mapping[str, Sequence[Evidence]]
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]]


def scorer_names(suite: Suite, scorers: Scorers) -> dict[str, str]:
    """Return the full names of the scorers, of the reference that fidelity is measured against, and of the pixel code.

    They decide which metrics exist, and enter the metrics' variants and the protocol.
    """
    first = suite.samples[0].id
    reference = (
        PORTRAIT if suite.references(first) else TRUE_CROP if suite.true_image(first) is not None else "no reference"
    )
    return {**scorers.names(), **scorers.metric_facts(), "reference": reference, "pixels": pixels.NAME}


def measure(
    plan: Plan, suite: Suite, card: SuiteItem, licence: str, registry: Registry, store: Store, run: Path,
    device: str | None, progress: Callable[[str, int, int], None], seconds: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Score the images of a plan and write results.json, results.csv, detections.parquet and images/ into `run`.

    `progress` is called with row name, rows done and rows in total; `seconds` is the generation time of each row.
    Returns the results as read back from the file.
    """
    stack = registry.get_stack(plan.stack)
    scorers = Scorers(stack.card, stack.folder, device)
    feature_counts = Counter(stored=0, computed=0)
    evidence = collect_evidence(plan, suite, scorers, store, progress, feature_counts)
    names = scorer_names(suite, scorers)
    metrics = all_metrics(names)
    outcomes = {row.name: {m.info.name: list(m.outcomes(evidence[row.name])) for m in metrics} for row in plan.rows}
    scored = _Scored(metrics, evidence, outcomes)
    parts = _protocol_parts(plan, suite, scorers, names, metrics)
    results: dict[str, Any] = {
        "schema": RESULTS_SCHEMA,
        "name": plan.name,
        "protocol": {"hash": protocol_hash(parts), "parts": parts},
        "suite": {
            "name": plan.suite,
            "version": suite.version,
            "title": card.title,
            "digest": suite.digest,
            "licence": licence,
            "categories": list(suite.categories),
            "samples": len(suite.samples),
            "notes": list(suite.notes),
        },
        "stack": {
            "name": plan.stack,
            "version": stack.card.version,
            "title": stack.card.title,
            "digest": plan.stack_digest,
            "scorers": scorers.names(),
        },
        "seeds": list(plan.seeds),
        "left_out": dict(plan.left_out),
        "methods": [method_record(row, evidence[row.name], registry) for row in plan.rows],
        "metrics": [metric_record(m) for m in metrics],
        **_comparisons(plan, scored),
        "samples": _sample_records(suite, run),
        "images": [
            image
            for row in plan.rows
            for image in image_records(plan, suite, row, evidence[row.name], outcomes[row.name], store, run)
        ],
        "leakage": _leakage(evidence, names),
        "environment": {"versions": package_versions()},
        "times": {
            "generate_seconds": dict(seconds),
            **generation_costs(plan, suite, store),
            "features": dict(feature_counts),
        },
    }
    return _write(RunFolder(run), results, evidence)


def _protocol_parts(
    plan: Plan, suite: Suite, scorers: Scorers, names: Mapping[str, str], metrics: Sequence[Metric]
) -> dict[str, Any]:
    package = Path(__file__).parents[1]
    return {
        "suite": {"name": plan.suite, "version": suite.version, "digest": suite.digest, "limit": plan.limit},
        "stack": {"name": plan.stack, "generator": plan.stack_digest, "scorers": scorers.digests(), "names": names},
        "seeds": list(plan.seeds),
        "metrics": {m.info.name: m.info.version for m in metrics},
        "code": {name: digest_code(package / name) for name in CODE_PACKAGES},
    }


def _comparisons(plan: Plan, scored: _Scored) -> dict[str, Any]:
    """Return the cells of the results table and the comparisons between its rows."""
    evidence, outcomes = scored.evidence, scored.outcomes
    references = [r.name for r in plan.rows if r.kind == "reference"]
    methods = [r.name for r in plan.rows if r.kind != "reference"]
    headline = [m for m in scored.metrics if m.info.name in HEADLINE_METRICS]
    rows = [
        result_row(row.name, m, evidence[row.name], outcomes[row.name][m.info.name])
        for row in plan.rows
        for m in scored.metrics
    ]
    rows = add_normalised_values(rows, references)
    pairs = paired_differences({n: evidence[n] for n in methods}, {n: outcomes[n] for n in methods}, headline)
    return {
        "rows": rows,
        "adversaries_ahead": metrics_led_by_adversaries(rows, references),
        "pairs": pairs,
        "ties": tied_methods(rows, pairs, methods, headline),
        "unranked": {m: metrics for m, metrics in incomplete_methods(rows).items() if m in methods},
        "by_count": {
            m.info.name: {
                r.name: cells_by_instance_count(m, evidence[r.name], outcomes[r.name][m.info.name]) for r in plan.rows
            }
            for m in scored.metrics
            if m.info.name in METRICS_BY_INSTANCE_COUNT
        },
    }


def _sample_records(suite: Suite, run: Path) -> list[dict[str, Any]]:
    prompt_lengths = token_strata(suite, (s.id for s in suite.samples))
    return [sample_record(s, suite, run, prompt_lengths) for s in suite.samples]


def _leakage(evidence: Mapping[str, Sequence[Evidence]], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the leakage matrix by encoder and row; a row without crops or references to compare is left out."""
    encoders = [k for k in ("dino", "clip") if k in names]
    matrices = {
        encoder: {row: leakage_matrix(items, encoder) for row, items in evidence.items()} for encoder in encoders
    }
    return {encoder: {row: matrix for row, matrix in by_row.items() if matrix} for encoder, by_row in matrices.items()}


def _write(folder: RunFolder, results: dict[str, Any], evidence: Mapping[str, Sequence[Evidence]]) -> dict[str, Any]:
    folder.write_results(results)
    folder.write_csv(results["rows"])
    folder.write_detections(
        (name, e.sample.id, e.seed, e.detections)
        for name, items in evidence.items()
        for e in items
        if e.detections is not None
    )
    # Read back from the file, so that a report written now and one written later are the same.
    return folder.read_results()
