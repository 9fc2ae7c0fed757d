"""Numbers with intervals out of evidence, and the files of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layoutmark import atomic
from layoutmark.api import Metric, Pixels, Suite
from layoutmark.compare import adversaries_ahead, all_pairs, all_ties, by_count, incomplete, normalised, result_row
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Sample, sample_to_json
from layoutmark.measure import pixels
from layoutmark.measure.collect import collect
from layoutmark.metrics import HEADLINE, all_metrics
from layoutmark.metrics.leakage import leakage
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import Plan, Row
from layoutmark.provenance import digest_code, digest_pixels, protocol_hash, versions
from layoutmark.registry import Registry
from layoutmark.registry.card_types import SuiteItem
from layoutmark.score import SCORED, Outcome, Score, Status
from layoutmark.store import RunFolder, Store
from layoutmark.store.images import encode
from layoutmark.store.results_schema import SCHEMA
from layoutmark.suites import token_strata
from layoutmark.suites.tokens import STRATUM

SHOWN = 0.25
"""Confidence from which detections are kept in results.json for display; all of them are in detections.parquet."""
MOST_SHOWN = 50
COUNTED = ("success_rate", "recall50", "miou")
"""Metrics that are told by number of instances too."""
UNKNOWN = "unknown"
"""What drew an image of which nobody wrote it down."""
PORTRAIT, TRUE_CROP = "reference portrait", "target-box crop of the true image"


def scorer_names(suite: Suite, scorers: Scorers) -> dict[str, str]:
    """Full names of the scorers, what fidelity is measured against on this suite, and how pixels are read."""
    first = suite.samples[0].id
    against = (
        PORTRAIT if suite.references(first) else TRUE_CROP if suite.true_image(first) is not None else "no reference"
    )
    return {**scorers.names(), **scorers.facts(), "reference": against, "pixels": pixels.NAME}


def measure(
    plan: Plan, suite: Suite, card: SuiteItem, licence: str, registry: Registry, store: Store, run: Path, device: str | None,
    progress: Callable[[str, int, int], None], seconds: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Write results.json, results.csv, detections.parquet and images/ of a run; returns the results."""
    stack = registry.get_stack(plan.stack)
    scorers = Scorers(stack.card, stack.folder, device)
    told = Counter(stored=0, computed=0)
    evidence = collect(plan, suite, scorers, store, progress, told)
    names = scorer_names(suite, scorers)
    metrics = all_metrics(names)
    outcomes = {row.name: {m.info.name: list(m.outcomes(evidence[row.name])) for m in metrics} for row in plan.rows}
    rows = [
        result_row(row.name, m, evidence[row.name], outcomes[row.name][m.info.name])
        for row in plan.rows
        for m in metrics
    ]
    references = [r.name for r in plan.rows if r.kind == "reference"]
    rows = normalised(rows, references)
    methods = [r.name for r in plan.rows if r.kind != "reference"]
    headline = [m for m in metrics if m.info.name in HEADLINE]
    pairs = all_pairs({n: evidence[n] for n in methods}, {n: outcomes[n] for n in methods}, headline)
    package = Path(__file__).parents[1]
    parts = {
        "suite": {"name": plan.suite, "version": suite.version, "digest": suite.digest, "limit": plan.limit},
        "stack": {"name": plan.stack, "generator": plan.stack_digest, "scorers": scorers.digests(), "names": names},
        "seeds": list(plan.seeds),
        "metrics": {m.info.name: m.info.version for m in metrics},
        "code": {room: digest_code(package / room) for room in ("metrics", "features", "statistics", "measure")},
    }
    folder = RunFolder(run)
    lengths = token_strata(suite, (s.id for s in suite.samples))
    results: dict[str, Any] = {
        "schema": SCHEMA,
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
        "methods": [_method_json(row, evidence[row.name], registry) for row in plan.rows],
        "metrics": [_metric_json(m) for m in metrics],
        "rows": rows,
        "adversaries_ahead": adversaries_ahead(rows, references),
        "pairs": pairs,
        "ties": all_ties(rows, pairs, methods, headline),
        "unranked": {m: lost for m, lost in incomplete(rows).items() if m in methods},
        "by_count": {
            m.info.name: {r.name: by_count(m, evidence[r.name], outcomes[r.name][m.info.name]) for r in plan.rows}
            for m in metrics
            if m.info.name in COUNTED
        },
        "samples": [_sample_json(s, suite, run, lengths) for s in suite.samples],
        "images": [
            image
            for row in plan.rows
            for image in _images_json(plan, suite, row, evidence[row.name], outcomes[row.name], store, run)
        ],
        "leakage": _leakage(evidence, names),
        "environment": {"versions": versions()},
        "times": {"generate_seconds": dict(seconds), **_costs(plan, suite, store), "features": dict(told)},
    }
    folder.write_results(results)
    folder.write_csv(rows)
    folder.write_detections(
        (name, e.sample.id, e.seed, e.detections)
        for name, items in evidence.items()
        for e in items
        if e.detections is not None
    )
    # What was stored, so that a report written now and one written later are the same.
    return folder.read_results()


def _method_json(row: Row, evidence: Sequence[Evidence], registry: Registry) -> dict[str, Any]:
    counts = Counter(str(e.status) for e in evidence)
    name = row.name.partition("@")[0]
    # A run may be measured where the method itself is not.
    published = registry.get_method(name).card.published if row.kind == "method" and name in registry.methods() else ()
    return {
        "name": row.name, "kind": row.kind, "title": row.title, "version": row.version, "preset": row.preset,
        "settings": dict(row.settings), "code": row.code, "weights": row.weights, "inputs": list(row.inputs),
        "deviations": [dict(d) for d in row.deviations],
        "published": [asdict(p) for p in published if row.preset in p.presets],
        "counts": {"requested": len(evidence), **{str(s): counts.get(str(s), 0) for s in Status}},
        "reasons": dict(sorted(Counter(e.reason for e in evidence if e.reason).items())),
    }  # fmt: skip


def _metric_json(metric: Metric) -> dict[str, Any]:
    info = metric.info
    return {
        "name": info.name, "variant": info.variant, "title": info.title, "unit": info.unit,
        "higher_is_better": info.direction == "higher", "low": info.low, "high": info.high, "version": info.version,
    }  # fmt: skip


def _sample_json(sample: Sample, suite: Suite, run: Path, lengths: Mapping[str, str]) -> dict[str, Any]:
    data = sample_to_json(sample)
    if sample.id in lengths:
        data["strata"][STRATUM] = lengths[sample.id]
    for instance in data["instances"]:
        instance.pop("mask", None)  # exact masks stay in the suite; results would grow tenfold
    true = suite.true_image(sample.id)
    data["true_image"] = None if true is None else _saved(true, run)
    data["references"] = {k: _saved(r.image, run) for k, r in sorted(suite.references(sample.id).items())}
    return data


def _images_json(
    plan: Plan,
    suite: Suite,
    row: Row,
    evidence: Sequence[Evidence],
    outcomes: Mapping[str, Sequence[SampleOutcome]],
    store: Store,
    run: Path,
) -> list[dict[str, Any]]:
    found = []
    wanted = jobs(plan, suite, row)
    records = store.records([j.key for j in wanted])
    for position, (job, e) in enumerate(zip(wanted, evidence, strict=True)):
        image = store.image(job.key) if e.status in SCORED else None
        mine = {name: listed[position] for name, listed in outcomes.items()}
        instances: dict[str, dict[str, Any]] = {}
        for name, outcome in mine.items():
            for part in outcome.instances:
                instances.setdefault(part.instance, {})[name] = _outcome_json(part.outcome)
        found.append(
            {
                "method": row.name, "sample": e.sample.id, "seed": e.seed, "status": str(e.status), "reason": e.reason,
                "image": None if image is None else _saved(image, run),
                "notes": records.get(job.key, {}).get("notes", {}),
                "detections": _shown(e.detections),
                "scores": {name: _outcome_json(o.outcome) for name, o in mine.items()},
                "instances": instances,
            }
        )  # fmt: skip
    return found


def _outcome_json(outcome: Outcome) -> Any:
    return outcome.value if isinstance(outcome, Score) else {"unscored": outcome.reason}


def _shown(detections: Detections | None) -> list[list[Any]]:
    if detections is None:
        return []
    best = [k for k in range(len(detections)) if detections.scores[k] >= SHOWN][:MOST_SHOWN]
    return [
        [
            *(round(float(c), 6) for c in detections.boxes[k]),
            round(float(detections.scores[k]), 4),
            detections.labels[k],
        ]
        for k in best
    ]


def _saved(pixels: Pixels, run: Path) -> str:
    """Write a picture under the digest of its pixels; returns the path relative to the run."""
    name = digest_pixels(pixels)
    relative = f"images/{name[:2]}/{name}.png"
    if not (run / relative).exists():
        atomic.write_bytes(run / relative, encode(pixels))
    return relative


def _leakage(evidence: Mapping[str, Sequence[Evidence]], names: Mapping[str, str]) -> dict[str, Any]:
    """Per encoder and row; a row without crops or references to compare is left out."""
    kinds = [k for k in ("dino", "clip") if k in names]
    found = {kind: {row: leakage(items, kind) for row, items in evidence.items()} for kind in kinds}
    return {kind: {row: part for row, part in by_row.items() if part} for kind, by_row in found.items()}


def _costs(plan: Plan, suite: Suite, store: Store) -> dict[str, Any]:
    """Seconds and peak memory by number of instances, and on what: as written down when the images were made."""
    seconds, cost, devices = {}, {}, {}
    for row in plan.rows:
        if row.kind != "method":
            continue
        wanted = jobs(plan, suite, row)
        records = store.records([j.key for j in wanted])
        by_number: dict[int, list[Mapping[str, Any]]] = {}
        for job in wanted:
            record = records.get(job.key)
            if record is not None and record["status"] in SCORED:
                by_number.setdefault(len(job.sample.layout.instances), []).append(record)
        listed = [float(r["seconds"]) for part in by_number.values() for r in part]
        if listed:
            seconds[row.name] = sum(listed) / len(listed)
            drawn = [str(r.get("device", UNKNOWN)) for part in by_number.values() for r in part]
            devices[row.name] = dict(sorted(Counter(drawn).items()))
            cost[row.name] = [
                _cost(count, part, row.settings.get("steps")) for count, part in sorted(by_number.items())
            ]
    return {"per_image_seconds": seconds, "cost": cost, "drawn_on": devices}


def _cost(count: int, records: Sequence[Mapping[str, Any]], steps: Any) -> dict[str, Any]:
    peaks = [int(r["peak_bytes"]) for r in records if r.get("peak_bytes") is not None]
    kinds = {r.get("memory") for r in records}
    return {
        "instances": count, "images": len(records), "steps": steps if isinstance(steps, int) else None,
        "seconds": sum(float(r["seconds"]) for r in records) / len(records),
        "peak_bytes": max(peaks) if len(peaks) == len(records) and len(kinds) == 1 else None,
        "memory": kinds.pop() if len(kinds) == 1 else None,
    }  # fmt: skip
