"""The data behind the sample explorer, in a compact form that only page.js reads.

Data that every image has is a column of integers with a one-letter key.  Texts, reasons and images are stored once and
referred to by number.  A score is an integer in ten-thousandths, or `REASON_OFFSET` plus the number of the reason why
there is none.  Long data are compressed.  So a page of 200,000 images with forty scores each still opens.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.html_templates import clean_text

from .bins import sort_bins
from .results import CEILING, Results
from .text import finite_or_none
from .thumbnails import Thumbnails

REASON_OFFSET = 10**9
"""An integer from here on is the number of a reason, plus this."""
MIN_COMPRESSED_CHARACTERS = 4_000_000
MAX_IMAGES_WITH_TARGET_SCORES = 20_000
"""Larger runs keep the outcome of each target, but not each score of each target."""
OUTCOME_PREFIX = "targets_"
"""Metrics that are 1 for the targets with one outcome and 0 for the others."""


class TextTable:
    """Texts that repeat, each stored once and referred to by number."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, text: object) -> int:
        """Number of `text`, which is stored if it is new."""
        key = clean_text(text)
        if key not in self._numbers:
            self._numbers[key] = len(self.texts)
            self.texts.append(key)
        return self._numbers[key]


def make_payload(results: Results, thumbnails: Thumbnails) -> dict[str, Any]:
    """JSON data for page.js.

    `images` has the columns `m` (number of the method), `s` (of the sample), `e` (seed), `p` (of the thumbnail, or
    null), `d` (number of detections), and `more`, which maps the number of an image to fields that few images have.
    `detections` is flat: x0, y0, x1, y1, score, all in thousandths, and the number of the label.  `scores[k]` is the
    column of metric k over `images`.  `targetScores[k]` is the same over all targets of all images in order (null if no
    target has that metric), and `targetOutcomes` indexes `outcomeNames`, with -1 for unknown.
    """
    reasons, labels = TextTable(), TextTable()
    method_numbers = {name: i for i, name in enumerate(results.row_names)}
    sample_numbers = {str(s["id"]): i for i, s in enumerate(results.samples)}
    images = [i for i in results.images if str(i["method"]) in method_numbers and str(i["sample"]) in sample_numbers]
    targets = _list_targets(results, images)
    metrics = _list_image_metrics(results)
    outcomes = sorted({k for t in targets for k in t if k.startswith(OUTCOME_PREFIX)}, key=list(results.metrics).index)
    has_target_scores = len(images) <= MAX_IMAGES_WITH_TARGET_SCORES
    return {
        "columns": _list_columns(results),
        "metrics": [_describe_metric(results, m) for m in metrics],
        "headlineCount": sum(m in {h.name for h in results.headline_metrics} for m in metrics),
        "strata": _collect_strata(results.samples),
        "seeds": sorted({int(i["seed"]) for i in results.images}),
        "samples": [_encode_sample(s, thumbnails) for s in results.samples],
        "images": {
            "m": [method_numbers[str(i["method"])] for i in images],
            "s": [sample_numbers[str(i["sample"])] for i in images],
            "e": [int(i["seed"]) for i in images],
            "p": [thumbnails.add(i.get("image")) for i in images],
            "d": [len(i.get("detections") or ()) for i in images],
            "more": {x: more for x, i in enumerate(images) if (more := _encode_rare_fields(i, reasons, thumbnails))},
        },
        "detections": [v for i in images for d in i.get("detections") or () for v in _encode_detection(d, labels)],
        "scores": [[_encode_score((i.get("scores") or {}).get(m), reasons) for i in images] for m in metrics],
        "targetScores": [
            _encode_column(targets, m, reasons) if m not in outcomes and has_target_scores else None for m in metrics
        ],
        "outcomeNames": [clean_text(k.removeprefix(OUTCOME_PREFIX).replace("_", " ")) for k in outcomes],
        "targetOutcomes": [_find_outcome(target, outcomes) for target in targets] if outcomes else [],
        "labels": labels.texts,
        "reasons": reasons.texts,
        "thumbnails": thumbnails.uris,
        "thumbnailSizes": thumbnails.sizes,
    }


def pack_script_data(data: object) -> tuple[str, str]:
    """Content of the data element and its packing: ``""`` for JSON, or ``deflate`` (zlib, then base64).

    From `MIN_COMPRESSED_CHARACTERS` on it is compressed: a browser inflates far faster than it parses a page.
    """
    text = script_json(data)
    if len(text) < MIN_COMPRESSED_CHARACTERS:
        return text, ""
    return base64.b64encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii"), "deflate"


def script_json(data: object) -> str:
    """JSON that is safe inside a script element: pure ASCII, and without ``<``, ``>`` and ``&``."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _list_targets(results: Results, images: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Scores of every target of every image, by metric."""
    target_ids = {str(s["id"]): [str(i["id"]) for i in s["instances"]] for s in results.samples}
    return [
        (image.get("instances") or {}).get(target) or {}
        for image in images
        for target in target_ids[str(image["sample"])]
    ]


def _list_columns(results: Results) -> list[dict[str, Any]]:
    """True images first, then methods, then floors, which are hidden at first."""
    references: list[dict[str, Any]] = [
        {"name": clean_text(name), "method": i, "kind": "truth" if name == CEILING else "reference"}
        for i, name in enumerate(results.row_names)
        if i >= len(results.methods)
    ]
    truth = [c for c in references if c["kind"] == "truth"]
    if not truth and any(s.get("true_image") for s in results.samples):
        truth = [{"name": "true image", "method": None, "kind": "truth"}]
    methods = [{"name": clean_text(m["name"]), "method": i, "kind": "method"} for i, m in enumerate(results.methods)]
    return [*truth, *methods, *(c for c in references if c["kind"] == "reference")]


def _list_image_metrics(results: Results) -> list[str]:
    """Names of the metrics that single images have, headline metrics first."""
    names: set[str] = set()
    for image in results.images:
        names.update(image.get("scores") or {})
    known = [m.name for m in (*results.headline_metrics, *results.other_metrics) if m.name in names]
    return known + sorted(names - set(known))


def _describe_metric(results: Results, name: str) -> list[Any]:
    """Name, title, and whether higher is better."""
    metric = results.metrics.get(name)
    return (
        [name, clean_text(name), True] if metric is None else [name, clean_text(metric.title), metric.higher_is_better]
    )


def _collect_strata(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Every stratum with its bins in their natural order."""
    bins: dict[str, dict[str, None]] = {}
    for sample in samples:
        for stratum, value in (sample.get("strata") or {}).items():
            bins.setdefault(clean_text(stratum), {})[clean_text(value)] = None
    return {stratum: sort_bins(list(values)) for stratum, values in bins.items()}


def _encode_sample(sample: Mapping[str, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    references = sample.get("references") or {}
    width, height = (sample.get("canvas") or [1, 1])[:2]
    return {
        "id": clean_text(sample["id"]),
        "prompt": clean_text(sample["prompt"]),
        "canvas": [max(1, int(width)), max(1, int(height))],
        "strata": {clean_text(k): clean_text(v) for k, v in (sample.get("strata") or {}).items()},
        "truth": thumbnails.add(sample.get("true_image")),
        "instances": [
            {
                "id": clean_text(i["id"]),
                "phrase": clean_text(i["phrase"]),
                "category": clean_text(i["category"]),
                "box": [_clip_fraction(v) for v in i["box"]],
                "reference": thumbnails.add(references.get(i.get("reference"))),
            }
            for i in sample["instances"]
        ],
    }


def _encode_rare_fields(image: Mapping[str, Any], reasons: TextTable, thumbnails: Thumbnails) -> dict[str, Any]:
    """Fields that few images have.

    `t` is a status other than ok, `r` the number of its reason, `gone` marks an unreadable file, `f` links the file in
    full size, `n` lists notes.
    """
    fields: dict[str, Any] = {}
    number = thumbnails.add(image.get("image"))
    if image.get("status") != "ok":
        fields["t"] = clean_text(image.get("status"))
        fields["r"] = reasons.add(image.get("reason") or "no reason given")
    if image.get("image") and number is None:
        fields["gone"] = 1
    link = thumbnails.link(image.get("image"))
    if link is not None and (number is None or link != thumbnails.uris[number]):
        fields["f"] = link
    if image.get("notes"):
        fields["n"] = [f"{clean_text(k)}: {clean_text(v)}" for k, v in image["notes"].items()]
    return fields


def _encode_detection(detection: Sequence[Any], labels: TextTable) -> list[int]:
    return [*(round(1000 * _clip_fraction(v)) for v in detection[:5]), labels.add(detection[5])]


def _encode_column(targets: Sequence[Mapping[str, Any]], metric: str, reasons: TextTable) -> list[int | None] | None:
    return [_encode_score(t.get(metric), reasons) for t in targets] if any(metric in t for t in targets) else None


def _find_outcome(target: Mapping[str, Any], outcomes: Sequence[str]) -> int:
    return next((k for k, outcome in enumerate(outcomes) if target.get(outcome) == 1), -1)


def _encode_score(value: object, reasons: TextTable) -> int | None:
    """Ten-thousandths; `REASON_OFFSET` and more without a score; None where the metric does not apply."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return REASON_OFFSET + reasons.add(value.get("unscored") or "no reason given")
    score = finite_or_none(value)
    return REASON_OFFSET + reasons.add("not a finite number") if score is None else round(score * 10_000)


def _clip_fraction(value: object) -> float:
    return round(min(1.0, max(0.0, finite_or_none(value) or 0.0)), 4)
