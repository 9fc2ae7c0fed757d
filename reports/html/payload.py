"""The data behind the grid: samples and images as short lists, pictures, words and reasons by number.

What repeats per image stands in columns of whole numbers with short names; page.js is the one reader.  Scores are
ten-thousandths, or `REASON` plus the number of the reason why there is none.  What is long is packed.  So 200,000
images with forty scores each stay a page that opens.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from .results import CEILING, Results
from .text import clean, finite
from .thumbnails import Thumbnails

REASON = 10**9
"""From here on a whole number is the number of a reason."""
PACKED = 4_000_000
DETAIL = 20_000
"""Runs of more images than this show what became of each target, but not every score of each target."""
FATE = "targets_"
"""Metrics that say, target by target, what became of it (1 for the one kind that holds)."""
SIZES = ("none", "no", "tiny", "small", "few", "some", "medium", "large", "many", "huge", "yes", "all")


def payload(results: Results, thumbnails: Thumbnails) -> dict[str, Any]:
    """Plain data for the grid.

    `images` has the columns `m` (number of the method), `s` (of the sample), `e` (seed), `p` (of the picture, or null),
    `d` (how many detections), and `more`: by number of the image what few have.  `detections` is flat: x0, y0, x1, y1,
    score in thousandths and the number of the word.  `scores[k]` is the column of metric k over `images`; `parts[k]`
    the same over all targets of all images in order (null when no target has it), and `fates` numbers `kinds`, -1 where
    nobody looked.
    """
    reasons, words = _Numbers(), _Numbers()
    methods = {n: i for i, n in enumerate(results.names)}
    samples = {str(s["id"]): i for i, s in enumerate(results.samples)}
    targets = [[str(i["id"]) for i in s["instances"]] for s in results.samples]
    metrics = _per_image(results)
    known = [i for i in results.images if str(i["method"]) in methods and str(i["sample"]) in samples]
    found: list[tuple[Mapping[str, Any], str]] = [
        ((image.get("instances") or {}).get(target) or {}, target)
        for image in known
        for target in targets[samples[str(image["sample"])]]
    ]
    kinds = sorted({k for part, _ in found for k in part if k.startswith(FATE)}, key=list(results.metrics).index)
    return {
        "columns": _columns(results),
        "metrics": [
            [m, clean(results.metrics[m].title), results.metrics[m].higher]
            if m in results.metrics
            else [m, clean(m), True]
            for m in metrics
        ],
        "headline": sum(m in {h.name for h in results.headline} for m in metrics),
        "strata": _strata(results.samples),
        "seeds": sorted({int(i["seed"]) for i in results.images}),
        "samples": [_sample(s, thumbnails) for s in results.samples],
        "images": {
            "m": [methods[str(i["method"])] for i in known],
            "s": [samples[str(i["sample"])] for i in known],
            "e": [int(i["seed"]) for i in known],
            "p": [thumbnails.add(i.get("image")) for i in known],
            "d": [len(i.get("detections") or ()) for i in known],
            "more": {x: more for x, i in enumerate(known) if (more := _more(i, reasons, thumbnails))},
        },
        "detections": [v for i in known for d in i.get("detections") or () for v in _detection(d, words)],
        "scores": [[_outcome((i.get("scores") or {}).get(m), reasons) for i in known] for m in metrics],
        "parts": [
            _column([part for part, _ in found], m, reasons) if m not in kinds and len(known) <= DETAIL else None
            for m in metrics
        ],
        "kinds": [clean(k.removeprefix(FATE).replace("_", " ")) for k in kinds],
        "fates": [_fate(part, kinds) for part, _ in found] if kinds else [],
        "words": words.texts,
        "reasons": reasons.texts,
        "pictures": thumbnails.entries,
        "sizes": thumbnails.sizes,
    }


def script_text(data: object) -> tuple[str, str]:
    """What stands inside the script element, and how it is packed: ``""`` or ``deflate`` (zlib, then base64).

    Packed from `PACKED` characters on: a browser inflates far faster than it reads a page.
    """
    text = script_json(data)
    if len(text) < PACKED:
        return text, ""
    return base64.b64encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii"), "deflate"


def script_json(data: object) -> str:
    """JSON that may stand inside a script element: pure ASCII, and without ``<``, ``>`` and ``&``."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Numbers:
    """Texts that repeat, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def add(self, text: object) -> int:
        key = clean(text)
        if key not in self._numbers:
            self._numbers[key] = len(self.texts)
            self.texts.append(key)
        return self._numbers[key]


def _columns(results: Results) -> list[dict[str, Any]]:
    """True images first, then methods, then floors (off at first)."""
    columns = [
        {"name": clean(name), "method": i, "kind": "truth" if name == CEILING else "reference"}
        for i, name in enumerate(results.names)
        if i >= len(results.methods)
    ]
    truth: list[dict[str, Any]] = [c for c in columns if c["kind"] == "truth"]
    if not truth and any(s.get("true_image") for s in results.samples):
        truth = [{"name": "true image", "method": None, "kind": "truth"}]
    methods = [{"name": clean(m["name"]), "method": i, "kind": "method"} for i, m in enumerate(results.methods)]
    return [*truth, *methods, *(c for c in columns if c["kind"] == "reference")]


def _per_image(results: Results) -> list[str]:
    """Names of metrics that single images have, headline metrics first."""
    found: set[str] = set()
    for image in results.images:
        found.update(image.get("scores") or {})
    known = [m.name for m in (*results.headline, *results.others) if m.name in found]
    return known + sorted(found - set(known))


def _strata(samples: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Every stratum with its bins: numbers in order, names in order of appearance."""
    bins: dict[str, dict[str, None]] = {}
    for sample in samples:
        for stratum, value in (sample.get("strata") or {}).items():
            bins.setdefault(clean(stratum), {})[clean(value)] = None
    return {s: ordered(list(values)) for s, values in bins.items()}


def ordered(values: list[str]) -> list[str]:
    """Bins in a natural order: by number if all start with one, by size if all are words for one, else as they came."""
    if set(values) <= set(SIZES):
        return sorted(values, key=SIZES.index)
    leading = [v.lstrip("<>=\u2264\u2265 ").split("-")[0].split("\u2013")[0].rstrip("+") for v in values]
    try:
        return [v for _, v in sorted(zip(map(float, leading), values, strict=True))]
    except ValueError:
        return values


def _sample(sample: Mapping[str, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    references = sample.get("references") or {}
    width, height = (sample.get("canvas") or [1, 1])[:2]
    return {
        "id": clean(sample["id"]),
        "prompt": clean(sample["prompt"]),
        "canvas": [max(1, int(width)), max(1, int(height))],
        "strata": {clean(k): clean(v) for k, v in (sample.get("strata") or {}).items()},
        "truth": thumbnails.add(sample.get("true_image")),
        "instances": [
            {
                "id": clean(i["id"]),
                "phrase": clean(i["phrase"]),
                "category": clean(i["category"]),
                "box": [_fraction(v) for v in i["box"]],
                "reference": thumbnails.add(references.get(i.get("reference"))),
            }
            for i in sample["instances"]
        ],
    }


def _more(image: Mapping[str, Any], reasons: _Numbers, thumbnails: Thumbnails) -> dict[str, Any]:
    """What few images have.

    `t` is a state other than ok, `r` the number of its reason, `gone` an unreadable picture, `f` the full picture's
    file, `n` notes.
    """
    data: dict[str, Any] = {}
    number = thumbnails.add(image.get("image"))
    if image.get("status") != "ok":
        data["t"] = clean(image.get("status"))
        data["r"] = reasons.add(image.get("reason") or "no reason given")
    if image.get("image") and number is None:
        data["gone"] = 1
    link = thumbnails.link(image.get("image"))
    if link is not None and (number is None or link != thumbnails.entries[number]):
        data["f"] = link
    if image.get("notes"):
        data["n"] = [f"{clean(k)}: {clean(v)}" for k, v in image["notes"].items()]
    return data


def _detection(found: Sequence[Any], words: _Numbers) -> list[int]:
    return [*(round(1000 * _fraction(v)) for v in found[:5]), words.add(found[5])]


def _column(parts: Sequence[Mapping[str, Any]], metric: str, reasons: _Numbers) -> list[int | None] | None:
    return [_outcome(p.get(metric), reasons) for p in parts] if any(metric in p for p in parts) else None


def _fate(part: Mapping[str, Any], kinds: Sequence[str]) -> int:
    return next((k for k, kind in enumerate(kinds) if part.get(kind) == 1), -1)


def _outcome(value: object, reasons: _Numbers) -> int | None:
    """Ten-thousandths; or `REASON` and more; or None when the metric says nothing of this image."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return REASON + reasons.add(value.get("unscored") or "no reason given")
    found = finite(value)
    return REASON + reasons.add("not a finite number") if found is None else round(found * 10_000)


def _fraction(value: object) -> float:
    return round(min(1.0, max(0.0, finite(value) or 0.0)), 4)
