"""LPIPS between the images of one sample: how much its images differ from seed to seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.measure.feature_cache import FeatureCache
from layoutmark.plan.jobs import Job
from layoutmark.provenance import digest

SCORER = "lpips"


def lpips_diversity(
    jobs: Sequence[Job], digests: Mapping[str, str], images: Mapping[str, Pixels], cache: FeatureCache
) -> dict[str, float]:
    """Return, by job key, the mean LPIPS between a job's image and those of the sample's other seeds.

    Jobs whose sample has no other image are left out.  Empty if the stack has no LPIPS.

    Args:
        jobs: jobs of one row.
        digests: pixel digest by job key, for the jobs that have an image.
        images: images by pixel digest.
        cache: computes or reads the distances.
    """
    if SCORER not in cache.digests:
        return {}
    keys_by_sample: dict[str, list[str]] = {}
    for job in jobs:
        if job.key in digests:
            keys_by_sample.setdefault(job.sample.id, []).append(job.key)
    pairs = {
        frozenset((a, b)): sorted((digests[a], digests[b]))
        for keys in keys_by_sample.values()
        for a, b in combinations(keys, 2)
    }
    contents = {digest(["pair", *pair]): (images[pair[0]], images[pair[1]]) for pair in pairs.values()}

    def compute(batch: list[tuple[Pixels, Pixels]]) -> list[Mapping[str, npt.NDArray[Any]]]:
        distances = cache.scorers.lpips.distances([a for a, _ in batch], [b for _, b in batch])
        return [{"distance": np.array([d])} for d in distances]

    arrays = cache.get_or_compute(SCORER, contents, compute)
    distances = {keys: float(arrays[digest(["pair", *pair])]["distance"][0]) for keys, pair in pairs.items()}
    return {
        key: float(np.mean([distances[frozenset((key, other))] for other in keys if other != key]))
        for keys in keys_by_sample.values()
        if len(keys) > 1
        for key in keys
    }
