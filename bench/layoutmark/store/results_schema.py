"""The form of results.json: what must be there and fit together, so that a reader can rely on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.score import Status

SCHEMA = "layoutmark-results-1"
STATUSES = tuple(str(status) for status in Status)
NUMBER, TEXT = (int, float), (str,)
_Types = tuple[type, ...]

TOP: Mapping[str, _Types] = {
    "name": TEXT, "protocol": (dict,), "suite": (dict,), "stack": (dict,), "seeds": (list,), "methods": (list,),
    "metrics": (list,), "rows": (list,), "pairs": (list,), "ties": (dict,), "samples": (list,), "images": (list,),
    "environment": (dict,),
}  # fmt: skip
WITHIN: Mapping[str, Mapping[str, _Types]] = {
    "protocol": {"hash": TEXT, "parts": (dict,)}, "suite": {"name": TEXT}, "stack": {"name": TEXT},
}  # fmt: skip
TABLES: Mapping[str, Mapping[str, _Types]] = {
    "methods": {"name": TEXT, "kind": TEXT, "counts": (dict,)},
    "metrics": {"name": TEXT, "variant": TEXT, "unit": TEXT, "higher_is_better": (bool,)},
    "rows": {
        "method": TEXT, "metric": TEXT, "variant": TEXT, "value": (*NUMBER, type(None)), "low": (*NUMBER, type(None)),
        "high": (*NUMBER, type(None)), "n": (int,), "of": (int,), "unit": TEXT, "higher_is_better": (bool,),
    },
    "pairs": {"a": TEXT, "b": TEXT, "metric": TEXT},
    "samples": {"id": TEXT, "prompt": TEXT, "instances": (list,)},
    "images": {"method": TEXT, "sample": TEXT, "seed": (int,), "status": TEXT, "scores": (dict,)},
}  # fmt: skip
MAY_LACK: Mapping[str, Mapping[str, _Types]] = {
    "rows": {"worst": (*NUMBER, type(None)), "caution": TEXT}, "images": {"instances": (dict,)},
}  # fmt: skip
"""Keys that came later: of this type where they are."""
WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text", dict: "an object", list: "a list"}
Problem = tuple[str, str, str]
"""Where, what was found, what was expected."""


def problem(data: Mapping[str, Any]) -> Problem | None:
    """The first thing that is wrong with results whose schema is `SCHEMA`, or None."""
    return (
        _types("results", data, TOP)
        or next((p for key, keys in WITHIN.items() if (p := _types(key, data[key], keys))), None)
        or next((p for key in TABLES for p in _tables(key, data[key])), None)
        or next((p for p in _names(data)), None)
    )


def _tables(key: str, items: Sequence[Any]) -> Sequence[Problem]:
    found = []
    for i, item in enumerate(items):
        where = f"{key}[{i}]"
        wrong = (where, _word(type(item)), "an object") if not isinstance(item, dict) else None
        later = {k: types for k, types in MAY_LACK.get(key, {}).items() if not wrong and k in item}
        found.append(wrong or _types(where, item, {**TABLES[key], **later}))
    return [f for f in found if f]


def _types(where: str, item: Mapping[str, Any], keys: Mapping[str, _Types]) -> Problem | None:
    for key, types in keys.items():
        if key not in item:
            return where, f"no key {key!r}", " or ".join(map(_word, types))
        # bool is an int to Python, not to a reader.
        if not isinstance(item[key], types) or (isinstance(item[key], bool) and bool not in types):
            expected = " or ".join(dict.fromkeys(map(_word, types)))
            return f"{where}, key {key!r}", _shown(item[key]), expected
    return None


def _names(data: Mapping[str, Any]) -> Sequence[Problem]:
    """Names that point nowhere, values without their interval order, counts that cannot be."""
    methods, metrics = {m["name"] for m in data["methods"]}, {m["name"] for m in data["metrics"]}
    samples = {s["id"] for s in data["samples"]}
    for i, row in enumerate(data["rows"]):
        where = f"rows[{i}]"
        if row["method"] not in methods:
            return [(where, f"method {row['method']!r}", "a method of the list 'methods'")]
        if row["metric"] not in metrics:
            return [(where, f"metric {row['metric']!r}", "a metric of the list 'metrics'")]
        if not 0 <= row["n"] <= row["of"]:
            return [(where, f"n {row['n']} of {row['of']}", "0 <= n <= of")]
    for i, image in enumerate(data["images"]):
        if image["method"] not in methods or image["sample"] not in samples:
            return [(f"images[{i}]", f"{image['method']!r}, {image['sample']!r}", "a method and a sample of this file")]
        if image["status"] not in STATUSES:
            return [(f"images[{i}], key 'status'", repr(image["status"]), "one of " + ", ".join(STATUSES))]
        if absent := metrics - image["scores"].keys():
            return [(f"images[{i}], key 'scores'", f"no {min(absent)!r}", "every metric of the list 'metrics'")]
        for part, scores in ((f"images[{i}]", image["scores"]), *_of_instances(i, image)):
            if not isinstance(scores, dict):
                return [(part, _shown(scores), "an object")]
            for metric, value in scores.items():
                if type(value) not in NUMBER and not _unscored(value):
                    return [(f"{part}, score {metric!r}", _shown(value), 'a number or {"unscored": reason}')]
    return []


def _of_instances(i: int, image: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    listed = image.get("instances", {})
    return [(f"images[{i}], instance {key!r}", scores) for key, scores in listed.items()]


def _unscored(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("unscored"), str)


def _shown(value: Any) -> str:
    shown = repr(value) if isinstance(value, str | int | float) else ""
    return f"{_word(type(value))} {shown}".strip()


def _word(kind: type) -> str:
    return WORDS.get(kind, "null")
