"""How a difference of a metric that is no mean of images varies between prompts, and between seeds of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from layoutmark.compare.rows import Resamples
from layoutmark.evidence import Evidence
from layoutmark.metrics import SetMetric
from layoutmark.statistics import Spread, paired_statistic_difference, pseudo_values, split_spread
from layoutmark.statistics.clusters import clustered_mean

PILOT = 500
"""Most groups of images that a spread is split by; each of their images is left out once."""


def set_spread(
    metric: SetMetric, a: Sequence[Evidence], b: Sequence[Evidence], groups: Sequence[str] = (),
    resamples: Resamples | None = None,
) -> Spread | None:  # fmt: skip
    """Standard deviations of a - b between groups and between seeds of one sample; image i of both is the same one.

    `groups`: a key for each image (default: its prompt).  The size is that of the standard error which comparisons
    state (halves of the prompts); only how it splits follows from pseudo-values, because leaving out single images
    says too much of a ranking that jumps.  None where the metric has no such error, or with fewer than two groups.
    """
    prompts = [e.sample.prompt for e in a]
    keys = list(groups or prompts)
    resamples = resamples or Resamples()
    (value_a, off_a), (value_b, off_b) = resamples.of(metric, a), resamples.of(metric, b)
    if value_a is None or value_b is None or off_a is None or off_b is None or len(set(keys)) < 2:
        return None
    pair = paired_statistic_difference(value_a, value_b, off_a, off_b, len(set(prompts)))
    pilot = set(sorted(set(keys))[:: -(-len(set(keys)) // PILOT)])
    out = [k for k, key in enumerate(keys) if key in pilot]
    weights = np.ones((len(out), len(a)), dtype=np.int8)
    weights[np.arange(len(out)), out] = 0
    left_out = metric.resampled(a, weights) - metric.resampled(b, weights)
    if pair is None or np.isnan(left_out).any():
        return None
    values = pseudo_values(value_a - value_b, left_out, len(a))
    split = split_spread(values, [keys[k] for k in out], [a[k].sample.id for k in out])
    alone = clustered_mean(values, [prompts[k] for k in out])
    if alone is None or alone.standard_error == 0:
        return replace(split, prompts=pair.error * math.sqrt(pair.clusters))
    scale = pair.error * math.sqrt(pair.clusters) / (alone.standard_error * math.sqrt(alone.clusters))
    return replace(split, prompts=split.prompts * scale, seeds=None if split.seeds is None else split.seeds * scale)
