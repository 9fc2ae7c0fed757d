"""Is a thing drawn, or pasted?  Diversity over seeds, and the guard that compares fidelity with true pictures.

A method that pastes its reference has the highest fidelity there is.  Two things give it away: other seeds bring the
same crop (`SeedDiversity`), and its crops are nearer to the reference than crops of true pictures (`NearerThanTrue`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome, Vector
from layoutmark.metrics.aggregation import mean_of_instances, unscored, without_pixels
from layoutmark.metrics.cosine import cosine
from layoutmark.metrics.fidelity import TARGET_CROP
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

QUANTILE = 0.95


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


@dataclass(frozen=True)
class NearerThanTrue:
    """The share of instances that are nearer to their reference than `QUANTILE` of true things are to theirs.

    True things are those of the samples at hand: the target-box crops of their true images, each counted once.  A
    method as good as the truth stays near 1 - `QUANTILE`, one that pastes comes near 1.  Where the true crops are the
    references themselves nothing can be nearer, and nothing is scored.
    """

    info: MetricInfo
    kind: str

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        true = self._true(evidence)
        if not len(true):
            reason = Unscored("no true image to compare with")
        elif np.allclose(true, 1.0):
            reason = Unscored("true images are the references")
        else:
            reason = None
        bound = float(np.quantile(true, QUANTILE)) if len(true) else 1.0
        return [self._outcome(e, bound, reason) for e in evidence]

    def _true(self, evidence: Sequence[Evidence]) -> npt.NDArray[np.float64]:
        """Similarities of true things with their references, each thing of each sample once."""
        found = {}
        for e in evidence:
            for crop in e.crops:
                pair = cosine(crop.vectors, crop.absent, f"{self.kind}/reference", f"{self.kind}/true-crop")
                if isinstance(pair, Score):
                    found[e.sample.id, crop.instance] = pair.value
        return np.array(list(found.values()))

    def _outcome(self, evidence: Evidence, bound: float, reason: Unscored | None) -> SampleOutcome:
        none = without_pixels(evidence) or reason
        if none is not None:
            return unscored(evidence, none)
        crops = {c.instance: c for c in evidence.crops}
        outcomes: list[Outcome] = []
        for instance in evidence.sample.layout.instances:
            crop = crops.get(instance.id)
            pair: Outcome = Unscored("no crop features stored")
            if crop is not None:
                pair = cosine(crop.vectors, crop.absent, f"{self.kind}/reference", f"{self.kind}/target-crop")
            outcomes.append(Score(float(pair.value > bound)) if isinstance(pair, Score) else pair)
        return mean_of_instances(evidence, outcomes)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """Diversity over seeds and the guard against pasting, for the encoders that are there."""
    found: list[Metric] = []
    for kind, name, title in (("clip", "clip_i", "CLIP-I"), ("dino", "dino", "DINO")):
        if kind in scorers:
            full, copied = f"{name}_diversity", f"{name}_copied"
            variant = f"{full}[{TARGET_CROP}, 1 - cosine between seeds, {scorers[kind]}]"
            info = MetricInfo(
                full, variant, f"Diversity over seeds, {title}", "1 - cosine", Direction.HIGHER, 0.0, 2.0, "1"
            )
            against = scorers.get("reference", "reference")
            how = f"{TARGET_CROP}, nearer to {against} than {QUANTILE:.0%} of true crops, {scorers[kind]}"
            nearer = MetricInfo(
                copied, f"{copied}[{how}]", f"Nearer than true things, {title}", "share", Direction.LOWER, 0.0, 1.0, "1"
            )
            found += [SeedDiversity(info, f"{kind}/target-crop"), NearerThanTrue(nearer, kind)]
    return tuple(found)
