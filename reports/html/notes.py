"""Notes at the end of the page: deviations, how to read the numbers, and what made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from layoutmark.plurals import counted

from .results import Results
from .stratum_plots import MIN_SAMPLES_PER_BIN

READING_GUIDE = (
    "Brackets hold 95 % intervals. Images that share a prompt form one cluster, across all seeds.",
    "A verdict compares two methods on the same samples and seeds. A difference counts when its interval excludes zero "
    "and its p value, adjusted by Holm's method over all pairs and metrics, is below 0.05.",
    "The dot marks the best tie group of a column: methods that cannot be told apart from the best one. Letters name "
    "the groups, best first.",
    "An image without a score has a reason instead. It never counts as 0.",
    "The ceiling row scores the true images; floor rows score images that ignore the layout. They bound the range in "
    "which to read a score.",
    "Solid boxes are detections, dashed boxes are targets. A detection takes the colour of the target of its category "
    "that it overlaps most, and is white without one; the scores match them by their own rules.",
    "Rings in a plot of two metrics mark the Pareto front: no other method equals or beats these on both. The front "
    "uses the values as they are; the whiskers show their uncertainty.",
    "Whiskers in the plots by stratum are 1.96 standard errors over samples; hatched bars stand for fewer than "
    f"{MIN_SAMPLES_PER_BIN} samples.",
)


class MethodNotes(NamedTuple):
    """What made the images of a row."""

    name: str
    deviations: list[dict[str, Any]]
    facts: dict[str, object]
    settings: Mapping[str, Any]
    is_reference: bool


class Notes(NamedTuple):
    """Content of the notes section."""

    reading_guide: tuple[str, ...]
    methods: list[MethodNotes]
    devices: dict[str, str]
    suite_and_models: dict[str, object]
    versions: dict[str, object]


def make_notes(results: Results) -> Notes:
    """Notes on these results."""
    return Notes(
        reading_guide=READING_GUIDE,
        methods=[_make_method_notes(row) for row in results.rows],
        devices=_describe_devices(results),
        suite_and_models=_describe_suite_and_models(results),
        versions=dict(results.data.get("environment", {}).get("versions", {})),
    )


def _make_method_notes(row: Mapping[str, Any]) -> MethodNotes:
    facts: dict[str, object] = {
        "version": row.get("version", ""),
        "preset": row.get("preset") or "none",
        "inputs": ", ".join(map(str, row.get("inputs") or ())) or "none",
        "code": row.get("code") or "none",
        "weights": row.get("weights") or "none of its own",
    }
    deviations = [{"what": d.get("what", ""), "why": d.get("why", "")} for d in row.get("deviations") or ()]
    is_reference = row.get("kind") == "reference"
    return MethodNotes(str(row["name"]), deviations, facts, row.get("settings") or {}, is_reference)


def _describe_devices(results: Results) -> dict[str, str]:
    """Devices that generated the images of each method, with a warning where there are several."""
    devices_by_method = (results.data.get("times") or {}).get("drawn_on") or {}
    return {
        method: "; ".join(f"{device}: {counted(count, 'image')}" for device, count in devices.items())
        + (" (pixels of different devices may differ by rounding)" if len(devices) > 1 else "")
        for method, devices in devices_by_method.items()
    }


def _describe_suite_and_models(results: Results) -> dict[str, object]:
    suite, stack = results.data["suite"], results.data["stack"]
    return {
        "suite": f"{suite['name']} {suite.get('version', '')}",
        "suite digest": suite.get("digest", ""),
        "licence": suite.get("licence", ""),
        "stack": f"{stack['name']} {stack.get('version', '')}",
        "stack digest": stack.get("digest", ""),
        **{f"scorer, {kind}": scorer for kind, scorer in (stack.get("scorers") or {}).items()},
    }
