"""The entries of results.json for methods, metrics, samples and images.  Their images are saved beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from layoutmark import atomic
from layoutmark.api import Metric, Pixels, Suite
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Sample, sample_to_json
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import Plan, Row
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry
from layoutmark.score import SCORED_STATUSES, Outcome, Score, Status
from layoutmark.store import Store
from layoutmark.store.images import encode_png
from layoutmark.suites.tokens import STRATUM

MIN_DISPLAY_CONFIDENCE = 0.25
"""Detections of at least this confidence are kept in results.json for display; detections.parquet has all of them."""
MAX_DISPLAY_DETECTIONS = 50


def method_record(row: Row, evidence: Sequence[Evidence], registry: Registry) -> dict[str, Any]:
    """Return the entry of one row: identity, settings, published values, and its images by status and reason."""
    counts = Counter(str(e.status) for e in evidence)
    name = row.name.partition("@")[0]
    # A run may be measured where the method itself is not installed.
    published = registry.get_method(name).card.published if row.kind == "method" and name in registry.methods() else ()
    return {
        "name": row.name, "kind": row.kind, "title": row.title, "version": row.version, "preset": row.preset,
        "settings": dict(row.settings), "code": row.code, "weights": row.weights, "inputs": list(row.inputs),
        "deviations": [dict(d) for d in row.deviations],
        "published": [asdict(p) for p in published if row.preset in p.presets],
        "counts": {"requested": len(evidence), **{str(s): counts.get(str(s), 0) for s in Status}},
        "reasons": dict(sorted(Counter(e.reason for e in evidence if e.reason).items())),
    }  # fmt: skip


def metric_record(metric: Metric) -> dict[str, Any]:
    """Return the entry of one metric: everything a reader of the results needs to know about it."""
    info = metric.info
    return {
        "name": info.name, "variant": info.variant, "title": info.title, "unit": info.unit,
        "higher_is_better": info.direction == "higher", "low": info.low, "high": info.high, "version": info.version,
    }  # fmt: skip


def sample_record(sample: Sample, suite: Suite, run: Path, prompt_lengths: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry of one sample; its true image and references are saved below `run`."""
    data = sample_to_json(sample)
    if sample.id in prompt_lengths:
        data["strata"][STRATUM] = prompt_lengths[sample.id]
    for instance in data["instances"]:
        instance.pop("mask", None)  # exact masks stay in the suite; results would grow tenfold
    true_image = suite.true_image(sample.id)
    data["true_image"] = None if true_image is None else _save_image(true_image, run)
    data["references"] = {k: _save_image(r.image, run) for k, r in sorted(suite.references(sample.id).items())}
    return data


def image_records(
    plan: Plan, suite: Suite, row: Row, evidence: Sequence[Evidence], outcomes: Mapping[str, Sequence[SampleOutcome]],
    store: Store, run: Path,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the entries of all images of a row, in the order of its jobs; the images are saved below `run`."""
    entries = []
    row_jobs = list_jobs(plan, suite, row)
    records = store.records([j.key for j in row_jobs])
    for position, (job, e) in enumerate(zip(row_jobs, evidence, strict=True)):
        image = store.image(job.key) if e.status in SCORED_STATUSES else None
        image_outcomes = {name: metric_outcomes[position] for name, metric_outcomes in outcomes.items()}
        entries.append(
            {
                "method": row.name, "sample": e.sample.id, "seed": e.seed, "status": str(e.status), "reason": e.reason,
                "image": None if image is None else _save_image(image, run),
                "notes": records.get(job.key, {}).get("notes", {}),
                "detections": _displayed_detections(e.detections),
                "scores": {name: _outcome_json(o.outcome) for name, o in image_outcomes.items()},
                "instances": _instance_outcomes(image_outcomes),
            }
        )  # fmt: skip
    return entries


def _instance_outcomes(image_outcomes: Mapping[str, SampleOutcome]) -> dict[str, dict[str, Any]]:
    """Return instance -> metric -> outcome."""
    by_instance: dict[str, dict[str, Any]] = {}
    for name, image_outcome in image_outcomes.items():
        for o in image_outcome.instances:
            by_instance.setdefault(o.instance, {})[name] = _outcome_json(o.outcome)
    return by_instance


def _outcome_json(outcome: Outcome) -> Any:
    return outcome.value if isinstance(outcome, Score) else {"unscored": outcome.reason}


def _displayed_detections(detections: Detections | None) -> list[list[Any]]:
    """Return rows of four corners, confidence and label."""
    if detections is None:
        return []
    confident = [k for k in range(len(detections)) if detections.scores[k] >= MIN_DISPLAY_CONFIDENCE]
    return [
        [
            *(round(float(c), 6) for c in detections.boxes[k]),
            round(float(detections.scores[k]), 4),
            detections.labels[k],
        ]
        for k in confident[:MAX_DISPLAY_DETECTIONS]
    ]


def _save_image(pixels: Pixels, run: Path) -> str:
    """Write an image under the digest of its pixels; return its path relative to the run."""
    name = digest_pixels(pixels)
    relative_path = f"images/{name[:2]}/{name}.png"
    if not (run / relative_path).exists():
        atomic.write_bytes(run / relative_path, encode_png(pixels))
    return relative_path
