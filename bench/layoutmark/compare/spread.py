"""Variation of a set metric's difference between prompts and between seeds, for planning studies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layoutmark.compare.rows import ResampleCache
from layoutmark.evidence import Evidence
from layoutmark.metrics import SetMetric
from layoutmark.statistics import Spread, estimate_spread, paired_statistic_difference, pseudo_values
from layoutmark.statistics.clusters import clustered_mean

MAX_PILOT_GROUPS = 500
"""Maximum number of groups of images whose images are left out one by one to split the spread."""


def set_metric_spread(
    metric: SetMetric, a: Sequence[Evidence], b: Sequence[Evidence], groups: Sequence[str] = (),
    resamples: ResampleCache | None = None,
) -> Spread | None:  # fmt: skip
    """Standard deviations of a - b between groups, and between the seeds of one sample.

    The overall size is that of the standard error which comparisons report (half-samples of the prompts). Jackknife
    pseudo-values only decide how it splits, because leaving out single images overstates the variation of a statistic
    that jumps, such as AP. Returns None if the metric has no such standard error, or for fewer than two groups.

    Args:
        metric: The metric.
        a: Images of the first row.
        b: Images of the second row; image i of both has the same sample and seed.
        groups: A key per image (default: its prompt).
        resamples: Cache shared with other calls on the same evidence.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> boxes = {True: {"cat": (0, 0, 0.5, 0.5)}, False: {}}
    >>> a = [example_image(prompt=p, detections=boxes[True]) for p in "pqrs"]
    >>> b = [example_image(prompt=p, detections=boxes[p != "p"]) for p in "pqrs"]
    >>> spread = set_metric_spread(all_metrics({"detector": "yolo"})[0], a, b)
    >>> round(spread.between_prompts, 1), spread.between_seeds
    (0.5, None)
    """
    prompts = [e.sample.prompt for e in a]
    keys = list(groups or prompts)
    resamples = resamples or ResampleCache()
    value_a, deviations_a = resamples.value_and_deviations(metric, a)
    value_b, deviations_b = resamples.value_and_deviations(metric, b)
    if value_a is None or value_b is None or deviations_a is None or deviations_b is None or len(set(keys)) < 2:
        return None
    pair = paired_statistic_difference(value_a, value_b, deviations_a, deviations_b, len(set(prompts)))
    pilot_keys = set(sorted(set(keys))[:: -(-len(set(keys)) // MAX_PILOT_GROUPS)])
    pilot = [k for k, key in enumerate(keys) if key in pilot_keys]
    weights = np.ones((len(pilot), len(a)), dtype=np.int8)
    weights[np.arange(len(pilot)), pilot] = 0
    leave_one_out = metric.resampled_values(a, weights) - metric.resampled_values(b, weights)
    if pair is None or np.isnan(leave_one_out).any():
        return None
    values = pseudo_values(value_a - value_b, leave_one_out, len(a))
    split = estimate_spread(values, [keys[k] for k in pilot], [a[k].sample.id for k in pilot])
    deviation = pair.standard_error * math.sqrt(pair.clusters)
    pseudo_mean = clustered_mean(values, [prompts[k] for k in pilot])
    if pseudo_mean is None or pseudo_mean.standard_error == 0:
        return replace(split, between_prompts=deviation)
    scale = deviation / (pseudo_mean.standard_error * math.sqrt(pseudo_mean.clusters))
    return replace(
        split,
        between_prompts=split.between_prompts * scale,
        between_seeds=None if split.between_seeds is None else split.between_seeds * scale,
    )
