"""How different the pictures of one sample look from seed to seed, by LPIPS."""

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
    wanted: Sequence[Job], names: Mapping[str, str], pictures: Mapping[str, Pixels], looker: FeatureCache
) -> dict[str, float]:
    """Per job the mean LPIPS between its picture and those of the sample's other seeds; empty without an LPIPS.

    names: digest of a job's pixels by its key, for jobs that have some; pictures: by that digest.  A job whose sample
    has no other picture is left out.
    """
    if SCORER not in looker.digests:
        return {}
    by_sample: dict[str, list[str]] = {}
    for job in wanted:
        if job.key in names:
            by_sample.setdefault(job.sample.id, []).append(job.key)
    pairs = {
        frozenset((a, b)): sorted((names[a], names[b])) for keys in by_sample.values() for a, b in combinations(keys, 2)
    }
    contents = {digest(["pair", *pair]): (pictures[pair[0]], pictures[pair[1]]) for pair in pairs.values()}

    def compute(batch: list[tuple[Pixels, Pixels]]) -> list[Mapping[str, npt.NDArray[Any]]]:
        found = looker.scorers.lpips.distances([a for a, _ in batch], [b for _, b in batch])
        return [{"distance": np.array([d])} for d in found]

    seen = looker.look(SCORER, contents, compute)
    apart = {keys: float(seen[digest(["pair", *pair])]["distance"][0]) for keys, pair in pairs.items()}
    return {
        key: float(np.mean([apart[frozenset((key, other))] for other in keys if other != key]))
        for keys in by_sample.values()
        if len(keys) > 1
        for key in keys
    }
