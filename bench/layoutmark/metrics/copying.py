"""Is a thing drawn, or pasted?  Diversity over seeds, and the guard that compares fidelity with true pictures.

A method that pastes its reference has the highest fidelity there is.  Two things give it away: other seeds bring the
same crop (`metrics`), and its crops are nearer to the reference than crops of true pictures are (`nearer_than_true`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from layoutmark.door import Metric
from layoutmark.evidence import Evidence, SampleOutcome, Vector
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.metrics.mean import mean_of_instances, unscored, without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored


@dataclass(frozen=True)
class SeedDiversity:
    """Per instance the mean of 1 - cosine between its target crop and those of the sample's other seeds."""

    info: MetricInfo
    key: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        places: dict[tuple[str, str], dict[int, Vector]] = {}
        for e in evidence:
            for crop in e.crops:
                if without_pixels(e) is None and self.key in crop.vectors:
                    places.setdefault((e.sample.id, crop.instance), {})[e.seed] = crop.vectors[self.key]
        return [self._outcome(e, places) for e in evidence]

    def _outcome(self, evidence: Evidence, places: Mapping[tuple[str, str], Mapping[int, Vector]]) -> SampleOutcome:
        reason = without_pixels(evidence)
        if reason is not None:
            return unscored(evidence, reason)
        outcomes: list[Outcome] = []
        for instance in evidence.sample.layout.instances:
            seeds = places.get((evidence.sample.id, instance.id), {})
            if evidence.seed not in seeds:
                outcomes.append(Unscored("no crop features stored"))
                continue
            mine = seeds[evidence.seed]
            pairs = [cosine({"a": mine, "b": v}, {}, "a", "b") for seed, v in seeds.items() if seed != evidence.seed]
            known = [1.0 - p.value for p in pairs if isinstance(p, Score)]
            outcomes.append(Score(sum(known) / len(known)) if known else Unscored("one seed"))
        return mean_of_instances(evidence, outcomes)


def nearer_than_true(
    fidelity: Sequence[SampleOutcome], true: Sequence[SampleOutcome], quantile: float = 0.95
) -> float | None:
    """Share of instances whose similarity with the reference is above that quantile of true pictures.

    `fidelity` and `true` are outcomes of one fidelity metric for a method and for the ceiling row.  A method as good as
    the truth stays near 1 - quantile; one that pastes comes near 1.  None where either side has no scored instance, or
    where true pictures serve as their own references (all similarities 1): nothing can then be nearer.
    """
    mine, ceiling = _values(fidelity), _values(true)
    if not len(mine) or not len(ceiling) or np.allclose(ceiling, 1.0):
        return None
    return float((mine > np.quantile(ceiling, quantile)).mean())


def _values(outcomes: Sequence[SampleOutcome]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([i.outcome.value for o in outcomes for i in o.instances if isinstance(i.outcome, Score)])


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Diversity over seeds, for the encoders that are there."""
    found = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind in scorers:
            full = f"{name}_diversity"
            variant = f"{full}[{TARGET_CROP}, 1 - cosine between seeds, {scorers[kind]}]"
            info = MetricInfo(
                full, variant, f"Diversity over seeds, {title}", "1 - cosine", Direction.HIGHER, 0.0, 2.0, "1"
            )
            found.append(SeedDiversity(info, f"{kind}/target-crop"))
    return tuple(found)
